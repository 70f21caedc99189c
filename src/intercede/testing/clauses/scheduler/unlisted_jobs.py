"""IC-SCHEDULER: parsers report nothing about unlisted jobs, and raise SchedulerError for invalid text."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

from intercede.contract.job import OpOutcome
from intercede.contract.scheduler import Scheduler
from intercede.testing.clauses import clause
from intercede.testing.clauses.support.probe import ALL_SECONDS, run_probe
from intercede.testing.clauses.support.recordings import KillRecording, StatusRecording, load_recordings
from intercede.testing.clauses.support.scheduler_questions import (
    expect,
    list_answers,
    list_questions,
    make_result,
    make_scheduler,
    parse,
    parse_recording,
)
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import Context, format_value

_MOST = 100
"""The maximum number of words to replace in one answer."""
_ODD = ("", "\n", "x", "x!", "-1", "9" * 30, "\u0663", "\udcff", "\0", "1.5", "nan", "''")
_ABOUT_JOBS = ("parse_status", "parse_kill")


@clause(
    "IC-SCHEDULER-06",
    title=(
        "A job that is not listed is absent from the answer; text that cannot be parsed raises SchedulerError, and "
        "no other error."
    ),
    level=MUST,
    seconds=ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-09",),
    hint=(
        "Ids that are compared by prefix or by `in`. A default for ids without a line: absence is not a state. "
        "Answers for jobs that were not asked for. Lines with too few words, words that are not numbers, bytes that "
        "are not valid UTF-8: skip the line if that is safe, else raise SchedulerError. A ValidationError of "
        "pydantic is a ValueError: an id is invalid."
    ),
)
async def check_unlisted_jobs(context: Context) -> None:
    """Parse listings, and ask for jobs whose ids resemble listed ids.

    Then parse truncated answers, shuffled answers and arbitrary bytes.
    """
    await run_probe(context, probe_unlisted_jobs)


def probe_unlisted_jobs(part: Callable[[], object], _tmp: Path) -> None:
    """Parse listings, and ask for jobs that are not listed. Then parse damaged recordings and arbitrary bytes."""
    scheduler = make_scheduler(part)
    for listing in _list_listings(scheduler):
        _expect_only_listed(scheduler, listing)
    for each in load_recordings(scheduler):
        for stdout in _damage(each.stdout):
            parse_recording(scheduler, each.model_copy(update={"stdout": stdout}))
    _fuzz(scheduler)


def _list_listings(scheduler: Scheduler) -> list[StatusRecording | KillRecording]:
    return [*list_answers(scheduler, StatusRecording), *list_answers(scheduler, KillRecording)]


def _expect_only_listed(scheduler: Scheduler, recording: StatusRecording | KillRecording) -> None:
    method = f"parse_{recording.verb}"
    strangers = [each for each in _make_strangers(recording) if each not in recording.ids]
    for ids, kept in (((), ()), (strangers, ()), ((*strangers, *recording.ids), recording.ids)):
        found = _get_by_id(parse(scheduler, method, ids, recording.result))
        odd = [f"{job}: {format_value(said)}" for job, said in found.items() if job not in kept]
        expected = f"{method} to say nothing of jobs that are not listed: {', '.join(strangers[:4])}"
        observed = f"{', '.join(odd[:4])} in the answer to {format_value(recording.stdout)}"
        expect(not odd, expected if ids else f"{method} to answer for no job if no job is asked for", observed)
    _expect_not_final(scheduler, method, recording.ids)


def _get_by_id(found: object) -> Mapping[str, object]:
    """Return the mapping that a parser returned, or an empty mapping if the parser raised an error."""
    return cast("Mapping[str, object]", found) if isinstance(found, Mapping) else {}


def _expect_not_final(scheduler: Scheduler, method: str, ids: tuple[str, ...]) -> None:
    """Expect a parser to report no status and no successful kill if the answer is empty."""
    found = _get_by_id(parse(scheduler, method, ids, make_result()))
    if method == "parse_status":
        expect(not found, "no answer for jobs that are not listed, or SchedulerError, if no job is listed", found)
    ok = [job for job, said in found.items() if isinstance(said, OpOutcome) and said.ok]
    expect(
        not ok, "parse_kill to report no kill as ok if the answer does not mention the job, or SchedulerError", found
    )


def _make_strangers(recording: StatusRecording | KillRecording) -> Iterator[str]:
    """Yield ids that resemble listed ids and are not listed."""
    for job in recording.ids[:10]:
        for stranger in (job[:-1], f"x{job}", f"{job}x", job[1:]):
            listed = re.search(rf"(?<![A-Za-z0-9]){re.escape(stranger)}(?![A-Za-z0-9])", recording.stdout)
            if stranger and not listed:
                yield stranger


def _damage(text: str) -> Iterator[str]:
    """Yield a text without one of its words, or with another word in its place."""
    for word in list(re.finditer(r"\w+|[^\w\s]+", text))[:_MOST]:
        for odd in _ODD:
            yield f"{text[: word.start()]}{odd}{text[word.end() :]}"


def _fuzz(scheduler: Scheduler) -> None:
    from intercede.testing.clauses.support import fuzzing  # noqa: PLC0415 -- slow to load, and only child processes need it

    texts = sorted({each.stdout.encode("utf-8", "surrogateescape") for each in load_recordings(scheduler)})
    ids = sorted({job for each in _list_listings(scheduler) for job in each.ids})

    def feed(stdout: bytes, code: int, copies: int) -> None:
        for method, arguments in list_questions(ids, make_result(stdout, code, stdout[:40]), copies):
            found = parse(scheduler, method, *arguments)
            odd = sorted(set(_get_by_id(found)) - set(ids)) if method in _ABOUT_JOBS else []
            expected = f"{method} to answer only for the jobs asked about"
            expect(not odd, expected, f"{odd} in the answer to {format_value(stdout)}")

    fuzzing.try_answers(feed, texts, _ODD)
