"""Whether the queue that is asked for is part of what is submitted."""

from collections.abc import Callable
from pathlib import Path

from intercede.testing.clauses.scheduler.probes.ask import expect, get_script, make_batch, make_scheduler

_QUEUES = ("long", "short")
_COPIES = (1, 3)


def probe_queues(part: Callable[[], object], _tmp: Path) -> None:
    """Expect a fragment of its own for each queue and for none, of one copy and of several."""
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
