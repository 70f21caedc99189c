"""IC-SCHEDULER: native ids and listings hold more than a job's number, because the queue may use the number again."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

from intercede.contract.job import JobState, JobStatus, OpOutcome
from intercede.contract.scheduler import Scheduler
from intercede.testing.clauses import clause
from intercede.testing.clauses.support.marks import find_mark, list_submissions, swap_marks
from intercede.testing.clauses.support.probe import ALL_SECONDS, run_probe
from intercede.testing.clauses.support.recordings import KillRecording, ListRecording, StatusRecording
from intercede.testing.clauses.support.scheduler_questions import expect, list_answers, make_scheduler, parse_recording
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import Context, format_value


@clause(
    "IC-SCHEDULER-10",
    title="A number that the queue used again is another job's: an id, and a listing, hold more than a number.",
    level=MUST,
    seconds=ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-09", "IC-SCHEDULER-06"),
    hint=(
        "An id that is only the queue's number for the job: queues lose their state, and begin to count again. Let "
        "the id hold the submission id, which is the job's name (`17.0@SUBMISSION_ID`); let the listing show name and "
        "number; and compare both, in parse_status and parse_kill. parse_list makes the same ids. An id that the "
        "queue never uses again, such as a UUID, is fine as it is. The same number with another name is absent: it "
        "is not one of our jobs."
    ),
)
async def check_reused_numbers(context: Context) -> None:
    """Check that recorded native ids hold more than a number.

    Then parse recorded listings in which the same numbers belong to jobs with other names.
    """
    await run_probe(context, probe_reused_numbers)


def probe_reused_numbers(part: Callable[[], object], _tmp: Path) -> None:
    """Check that recorded native ids hold more than a number.

    Then parse recorded listings in which the same numbers belong to jobs with other names.
    """
    scheduler = make_scheduler(part)
    known = list_submissions(scheduler)
    for submission_id, ids in known.items():
        for job in sorted(ids):
            expected = f"an id that holds more than a number, such as the submission id: {job}@{submission_id}"
            expect(
                find_mark(job, known),
                expected,
                f"{job!r}, which another job gets when the queue counts from the start again",
            )
    abouts: list[StatusRecording | KillRecording] = [
        *list_answers(scheduler, StatusRecording),
        *list_answers(scheduler, KillRecording),
    ]
    for about in abouts:
        _expect_named(scheduler, about, known)
    for listing in list_answers(scheduler, ListRecording):
        _expect_not_found(scheduler, listing, known)


def _expect_named(
    scheduler: Scheduler, recording: StatusRecording | KillRecording, known: Mapping[str, frozenset[str]]
) -> None:
    method = f"parse_{recording.verb}"
    marks = {job: mark for job in _list_reported(recording.expected) if (mark := find_mark(job, known))}
    for job, mark in marks.items():
        shows = mark in recording.stdout
        expected = f"a listing that shows more of job {job} than its number, such as its name: {mark}"
        expect(shows, expected, f"{method} reports it from {format_value(recording.stdout)}")
    stdout = swap_marks(recording.stdout, set(marks.values()))
    reported = set(_list_reported(parse_recording(scheduler, recording.model_copy(update={"stdout": stdout}))))
    for job in marks:
        expected = f"{method} to say nothing of job {job} if its number is listed under another name"
        expect(job not in reported, expected, f"it is in the answer to {format_value(stdout)}")


def _list_reported(answered: object) -> Iterator[str]:
    """Yield the jobs that an answer reports as known or as killed."""
    answers = cast("Mapping[str, object]", answered if isinstance(answered, Mapping) else {})
    for job, said in answers.items():
        known = isinstance(said, JobStatus) and said.state is not JobState.UNKNOWN
        if known or (isinstance(said, OpOutcome) and said.ok):
            yield job


def _expect_not_found(scheduler: Scheduler, recording: ListRecording, known: Mapping[str, frozenset[str]]) -> None:
    ids = set(cast("Mapping[int, str]", recording.expected).values())
    stdout = swap_marks(recording.stdout, {mark for job in ids if (mark := find_mark(job, known))})
    found = parse_recording(scheduler, recording.model_copy(update={"stdout": stdout}))
    same = ids & set(cast("Mapping[int, str]", found).values()) if isinstance(found, Mapping) else set[str]()
    expected = (
        f"parse_list not to find the jobs of {recording.submission_id} if their numbers are listed under another name"
    )
    expect(not same, expected, f"{', '.join(sorted(same))} in {format_value(stdout)}")
