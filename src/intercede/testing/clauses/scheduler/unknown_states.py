"""IC-SCHEDULER: an unknown native state is UNKNOWN."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import cast

from intercede.contract.job import JobState, JobStatus
from intercede.contract.scheduler import Scheduler
from intercede.testing.clauses import clause
from intercede.testing.clauses.support.probe import ALL_SECONDS, run_probe
from intercede.testing.clauses.support.recordings import StatusRecording
from intercede.testing.clauses.support.scheduler_questions import list_answers, make_scheduler, parse_recording
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import CheckFailed, Context, format_value

_MOST = 30
"""The maximum number of places in one answer where a word is replaced."""


@clause(
    "IC-SCHEDULER-05",
    title="An unknown native state is UNKNOWN, with the native word.",
    level=MUST,
    seconds=ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-09",),
    hint=(
        "The default of the table from native words to states must be JobStatus(state=JobState.UNKNOWN, "
        "native=word). Newer versions and plugins of a scheduler have words that you have not seen; a guess may end "
        "a job that runs. A SchedulerError for one word would hide all other jobs."
    ),
)
async def check_unknown_states(context: Context) -> None:
    """In recorded answers, replace the native states of waiting and running jobs by words that no scheduler has."""
    await run_probe(context, probe_unknown_states)


def probe_unknown_states(part: Callable[[], object], _tmp: Path) -> None:
    """Replace the native states of waiting and running jobs by words that no scheduler has."""
    scheduler = make_scheduler(part)
    for recording, job, word in list_live_words(scheduler):
        tried = [(fake, _parse_status(scheduler, job, text)) for fake, text in _replace_word(recording, word)]
        if not any(_is_unknown(status, fake) for fake, status in tried):
            fake, status = tried[0]
            raise CheckFailed(
                f"UNKNOWN with the native word {fake!r} for a job of that state",
                f"{format_value(status)}, with {fake!r} in place of {word!r} in {format_value(recording.stdout)}",
            )


def list_live_words(scheduler: Scheduler) -> Iterator[tuple[StatusRecording, str, str]]:
    """Yield a recording, a job and its native state, once for each native state of an unfinished job.

    The native state is a word in the stdout of the recording.
    """
    seen = set[str]()
    for recording in list_answers(scheduler, StatusRecording):
        for job, status in cast("Mapping[str, JobStatus]", recording.expected).items():
            word = status.native or ""
            ongoing = status.state in {JobState.QUEUED, JobState.HELD, JobState.RUNNING}
            if ongoing and word not in seen and _find_places(recording.stdout, word):
                seen.add(word)
                yield recording, job, word


def _find_places(text: str, word: str) -> list[re.Match[str]]:
    return list(re.finditer(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", text)) if word else []


def _replace_word(recording: StatusRecording, word: str) -> Iterator[tuple[str, StatusRecording]]:
    """Yield fake words, each with a recording in which the fake word replaces a given word.

    The first recording for a fake word has all occurrences of the given word replaced. Each further recording has one
    occurrence replaced, because the given word may have another meaning in some places.
    """
    places, text = _find_places(recording.stdout, word)[:_MOST], recording.stdout
    for fake in _make_fakes(word):
        texts = [fake.join(_split_between(text, places))]
        texts += [f"{text[: each.start()]}{fake}{text[each.end() :]}" for each in places]
        for each in texts:
            yield fake, recording.model_copy(update={"stdout": each})


def _split_between(text: str, places: list[re.Match[str]]) -> list[str]:
    ends = [0, *(each.end() for each in places)]
    starts = [*(each.start() for each in places), len(text)]
    return [text[end:start] for end, start in zip(ends, starts, strict=True)]


def _make_fakes(word: str) -> tuple[str, ...]:
    """Return several words of the same form as a given word.

    One word is not enough, because a letter or a number may happen to be a real state.
    """
    if word.isdecimal():
        return "97", "83", "71"
    fakes = ("J", "Y", "V") if len(word) == 1 else ("XYZZY", "QJXV", "ZXJQ")
    return tuple(map(str.lower, fakes)) if word.islower() else fakes


def _parse_status(scheduler: Scheduler, job: str, recording: StatusRecording) -> object:
    found = parse_recording(scheduler, recording)
    return cast("Mapping[str, object]", found).get(job, "no answer for it") if isinstance(found, Mapping) else found


def _is_unknown(status: object, word: str) -> bool:
    return isinstance(status, JobStatus) and status.state is JobState.UNKNOWN and word in (status.native or "")
