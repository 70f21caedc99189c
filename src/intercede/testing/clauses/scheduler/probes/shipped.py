"""Whether there are recordings, and enough of them for the other probes."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from intercede.testing.clauses.scheduler.probes.ask import list_answers, make_scheduler
from intercede.testing.clauses.scheduler.probes.words import list_live_words
from intercede.testing.clauses.scheduler.recordings import (
    EXAMPLE,
    Recording,
    SubmitRecording,
    list_places,
    load_recordings,
)
from intercede.testing.run.context import CheckFailed

_VERBS = ("submit", "status", "kill", "list")


def probe_shipped(part: Callable[[], object], _tmp: Path) -> None:
    """Read the recordings, and say which are missing."""
    scheduler = make_scheduler(part)
    found = load_recordings(scheduler)
    where = " or ".join(f"{place}/*.json" for place in list_places(scheduler)[:2])
    if not found:
        raise CheckFailed(f"recordings in {where}", f"there are none. Record real answers of the scheduler:\n{EXAMPLE}")
    copies = [each.batch.copies for each in list_answers(scheduler, SubmitRecording)]
    if lacking := ", ".join(_list_lacking(found, copies, live_words=any(list_live_words(scheduler)))):
        raise CheckFailed(f"more recordings in {where}", f"there is none of {lacking}; for instance\n{EXAMPLE}")


def _list_lacking(found: Sequence[Recording], copies: Sequence[int], *, live_words: bool) -> Iterator[str]:
    yield from (verb for verb in _VERBS if verb not in {each.verb for each in found})
    if 1 not in copies:
        yield "a submission of one copy that was taken"
    if not any(each > 1 for each in copies):
        yield "a submission of several copies that was taken"
    if not live_words:
        yield "a job that waits, is held or runs, whose 'native' stands in the stdout"
