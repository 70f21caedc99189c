"""IC-SCHEDULER: a scheduler ships enough recordings for the other clauses."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from intercede.testing.clauses import clause
from intercede.testing.clauses.scheduler.unknown_states import list_live_words
from intercede.testing.clauses.support.probe import ALL_SECONDS, run_probe
from intercede.testing.clauses.support.recordings import (
    EXAMPLE,
    Recording,
    SubmitRecording,
    list_places,
    load_recordings,
)
from intercede.testing.clauses.support.scheduler_questions import list_answers, make_scheduler
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import CheckFailed, Context

_VERBS = ("submit", "status", "kill", "list")


@clause(
    "IC-SCHEDULER-09",
    title=(
        "The scheduler ships recordings of real answers: of each verb, of one and of several copies, of a job that "
        "has not ended."
    ),
    level=MUST,
    seconds=ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-08",),
    hint=(
        "`python -m intercede.testing record NAME DIRECTORY` makes them on a machine that has the scheduler's "
        "commands. The jobs run in a temporary directory, which the nodes must share: set TMPDIR. Read the recordings "
        "through: they expect the results that your parsers gave. Add by hand the answers that a healthy scheduler "
        "does not give: an outage, a limit, rare states. Recordings are package data: make sure that your wheel has "
        "them. A module that is one file has no place for them."
    ),
)
async def check_shipped(context: Context) -> None:
    """Read the recordings beside the module of the scheduler's class, and check which are missing."""
    await run_probe(context, probe_shipped)


def probe_shipped(part: Callable[[], object], _tmp: Path) -> None:
    """Read the recordings, and name the missing ones."""
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
