"""IC-SCHEDULER: a requested queue is part of the fragment that submits."""

from collections.abc import Callable
from pathlib import Path

from intercede.testing.clauses import clause
from intercede.testing.clauses.support.probe import ALL_SECONDS, run_probe
from intercede.testing.clauses.support.scheduler_questions import expect, get_script, make_batch, make_scheduler
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import Context

_QUEUES = ("long", "short")
_COPIES = (1, 3)


@clause(
    "IC-SCHEDULER-12",
    title="A queue that is asked for is passed on, or refused: it is never dropped.",
    level=MUST,
    seconds=ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-08",),
    hint=(
        "A submit_script that never reads `batch.resources.queue`, or reads it only if there is one copy. Pass it "
        "to the command that submits, quoted (shlex.quote). If the scheduler has no queues, raise "
        "UnsupportedSpecError: a job that runs in another queue than its user asked for may be charged, delayed or "
        "ended without notice."
    ),
)
async def check_queues(context: Context) -> None:
    """Compare the fragments for no queue, for one queue and for another one, with one copy and with three."""
    await run_probe(context, probe_queues)


def probe_queues(part: Callable[[], object], _tmp: Path) -> None:
    """Expect different fragments for no queue, for one queue and for another one."""
    scheduler = make_scheduler(part)
    for copies in _COPIES:
        without = get_script(scheduler, "submit_script", make_batch(copies))
        texts = {queue: get_script(scheduler, "submit_script", make_batch(copies, queue=queue)) for queue in _QUEUES}
        written = [text for text in texts.values() if text is not None]
        expected = f"submit_script to pass the queue on, or to refuse it with UnsupportedSpecError (copies: {copies})"
        for queue, text in texts.items():
            expect(text is None or text != without, expected, f"the same fragment for queue {queue!r} as for none")
        same = f"the same fragment for the queues {' and '.join(map(repr, _QUEUES))}"
        expect(len(set(written)) == len(written), expected, same)
