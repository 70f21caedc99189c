"""IC-SCHEDULER: fragments check the name of a job before they kill or find it by its number."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import cast

from intercede.batch.remote.api import Verb
from intercede.contract.job import JobState, JobStatus
from intercede.contract.scheduler import Scheduler
from intercede.testing.clauses import clause
from intercede.testing.clauses.support.marks import find_mark, find_number, list_submissions, swap_marks
from intercede.testing.clauses.support.probe import ALL_SECONDS, run_probe
from intercede.testing.clauses.support.recordings import KillRecording, ListRecording, StatusRecording
from intercede.testing.clauses.support.sandbox import Sandbox
from intercede.testing.clauses.support.scheduler_questions import (
    SUBMISSION_ID,
    expect,
    get_api,
    get_script,
    list_answers,
    make_batch,
    make_result,
    make_scheduler,
    parse,
)
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import Context, format_value

_MOST = 8
"""The maximum number of recordings to try, since each of them starts several shells."""
_QUERIES: tuple[Verb, ...] = ("status", "list")
_LIVE = frozenset({JobState.QUEUED, JobState.HELD, JobState.RUNNING})
_Calls = list[list[str]]
_Marks = Mapping[str, str]
"""Maps a native id to its mark: the part that differs between two jobs to which the queue gave the same number."""


@clause(
    "IC-SCHEDULER-11",
    title="No job is killed or found by a number alone: fragments check the name first.",
    level=MUST,
    seconds=ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-10",),
    hint=(
        "A kill_script that kills whichever job has the number now. List first, as status_script does, and kill the "
        "jobs that are listed under their own names; or give the queue's command the name as well as the number. A "
        "list_script that lists all jobs: give the queue the submission id, or compare it. The kit has only the "
        "answers in your recordings: if kill_script lists by another command, print its answer, so that it is recorded."
    ),
)
async def check_kill_by_name(context: Context) -> None:
    """Run ``kill_script`` and ``list_script``. The queue lists jobs with right names, with wrong names, or no jobs."""
    await run_probe(context, probe_kill_by_name)


def probe_kill_by_name(part: Callable[[], object], tmp: Path) -> None:
    """Run ``kill_script`` and ``list_script``.

    The queue gives recorded answers, recorded answers with other names of jobs, or an empty answer.
    """
    scheduler = make_scheduler(part)
    texts = {name: get_script(scheduler, name, *arguments) or "" for name, arguments in _FRAGMENTS}
    sandbox = Sandbox(tmp, texts.values(), get_api(scheduler))
    known = list_submissions(scheduler)
    lives = filter(None, (_find_live(each, known) for each in list_answers(scheduler, StatusRecording)))
    for live in islice(lives, _MOST):
        _expect_asked_first(sandbox, texts, live, sorted(set(_list_answers(scheduler))))
    for each in list_answers(scheduler, ListRecording)[:_MOST]:
        _expect_by_name(sandbox, scheduler, each, known)


def _find_live(recording: StatusRecording, known: Mapping[str, frozenset[str]]) -> _Marks:
    """Return the recorded jobs that have not ended, with their marks."""
    statuses = cast("Mapping[str, JobStatus]", recording.expected)
    live = [job for job in recording.ids if job in statuses and statuses[job].state in _LIVE]
    return {job: mark for job in live if (mark := find_mark(job, known))}


_FRAGMENTS: tuple[tuple[str, tuple[object, ...]], ...] = (
    ("submit_script", (make_batch(3),)),
    ("status_script", ()),
    ("kill_script", ()),
    ("list_script", (SUBMISSION_ID,)),
)


def _list_answers(scheduler: Scheduler) -> Iterator[str]:
    for kind in (StatusRecording, KillRecording, ListRecording):
        yield from (each.stdout for each in list_answers(scheduler, kind))


def _expect_asked_first(sandbox: Sandbox, texts: Mapping[str, str], live: _Marks, listings: Sequence[str]) -> None:
    """Expect no command that kills a job by its number alone.

    If the calls depend on the names that the queue lists, the fragment compares names. Calls that do not depend on
    these names, and are no queries of the other fragments, would kill whichever job has the number now.
    """

    def ending(listing: str) -> _Calls:
        return sandbox.run("kill", texts["kill_script"], list(live), listing=listing)

    theirs = {
        each: swap_marks(each, set(live.values())) for each in listings if any(mark in each for mark in live.values())
    }
    blind: dict[str, _Calls] = {}
    for own, other in theirs.items():
        blind[other] = ending(other)
        if ending(own) != blind[other]:
            return
    blind[""] = ending("")
    queries = {
        _strip_numbers(call)
        for verb in _QUERIES
        for listing in ("", *theirs)
        for call in sandbox.run(verb, texts[f"{verb}_script"], list(live), listing=listing)
    }
    for listing, calls in blind.items():
        for call in calls:
            job = next((job for job, mark in live.items() if _uses_number(call, job, mark)), None)
            situation = (
                f"its queue lists this number under another name, {format_value(listing)}"
                if listing
                else "its queue lists no job"
            )
            expect(
                job is None or _strip_numbers(call) in queries,
                f"kill_script to kill job {job} only if the queue lists it under its name: another may have its number",
                f"it runs {' '.join(call)!r}, though {situation}",
            )


def _uses_number(call: Sequence[str], job: str, mark: str) -> bool:
    number = find_number(job, mark)
    return number is not None and any(number in _split(word) for word in call[1:]) and mark not in " ".join(call)


def _split(word: str) -> list[str]:
    return "".join(letter if letter.isalnum() else " " for letter in word).split()


def _strip_numbers(call: Sequence[str]) -> tuple[str, ...]:
    """Return a called command without its words that contain digits, so that queries for different jobs are equal."""
    return tuple(word for word in call if not any(map(str.isdigit, word)))


def _expect_by_name(
    sandbox: Sandbox, scheduler: Scheduler, recording: ListRecording, known: Mapping[str, frozenset[str]]
) -> None:
    marks = {mark for job in known.get(recording.submission_id, ()) if (mark := find_mark(job, known))}
    text = get_script(scheduler, "list_script", recording.submission_id) or ""
    theirs = swap_marks(recording.stdout, marks)
    if theirs == recording.stdout:
        return
    calls = sandbox.run("list", text, listing=theirs)
    if any(recording.submission_id in word for call in calls for word in call):
        return  # the queue compares names, because the command passes the name to the queue
    found = parse(scheduler, "parse_list", make_result(sandbox.stdout))
    jobs = cast("Mapping[int, str]", found if isinstance(found, Mapping) else {})
    expected = f"list_script to find no job of {recording.submission_id} if the queue lists only jobs of another name"
    expect(not jobs, expected, f"{format_value(jobs)}, when the queue answers {format_value(theirs)}")
