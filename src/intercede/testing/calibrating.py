"""How much slower than a quiet machine a resource is: measured with one small job."""

import tempfile
import time
from pathlib import Path

from intercede.testing import bounded
from intercede.testing.cleaning import clean_up
from intercede.testing.context import Context, shown
from intercede.testing.journal import brief
from intercede.testing.redaction import scrubber
from intercede.testing.subjects import Subject
from intercede.testing.verdict import Facts

__all__ = ["calibrate"]

_LONGEST = 1800.0
"""Seconds that the probe may take: what is slower than that needs a number."""
_ORDINARY = 5.0
"""Seconds from submitting a small job to seeing its end for which the bounds were made."""


def calibrate(subject: Subject, facts: Facts) -> tuple[float, str]:
    """Run one job and return what to multiply bounds by, and a sentence on how that was found.

    Never less than 1. A probe that fails says nothing about time, so the bounds stay: the checks will tell what is wrong.
    """
    if facts.refusal is not None or "backend" not in facts.roles:
        return 1.0, ""
    with tempfile.TemporaryDirectory(prefix="intercede-", ignore_cleanup_errors=True) as directory:
        tmp, aside = Path(directory, "probe"), Path(directory, "aside")
        tmp.mkdir()
        context = Context(subject, tmp, capabilities=facts.capabilities, scale=_LONGEST / _ORDINARY)
        began = time.monotonic()
        ending = bounded.run(lambda: _probe(context), _LONGEST, stall=_LONGEST)
        seconds = time.monotonic() - began
        context.scale = 1.0
        clean_up(context, aside, evidence=False)
    if ending.raised is not None:
        why = brief(scrubber(facts.config)(shown(ending.raised)))
        return 1.0, f"the probe failed, so bounds stay as they are: {why}"
    scale = max(1.0, round(seconds / _ORDINARY, 1))
    return scale, f"a small job took {seconds:.1f} s, so bounds are multiplied by {scale:g}"


async def _probe(context: Context) -> None:
    async with context.opened() as backend:
        submission = await context.submit(backend, context.sh("exit 0"))
        await context.finish(backend, list(submission.handles.values()), within=_ORDINARY)
