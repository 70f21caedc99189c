"""How much slower than a quiet machine a resource is: measured with one small job."""

import time
from tempfile import gettempdir

from intercede.contract.backend import Capability
from intercede.redaction import scrubber
from intercede.testing import bounded
from intercede.testing.child import run_child
from intercede.testing.cleaning import SECONDS as _CLEANED
from intercede.testing.cleaning import clean_up
from intercede.testing.context import Context, shown
from intercede.testing.files import scratch
from intercede.testing.finding import told
from intercede.testing.journal import brief
from intercede.testing.subjects import Subject
from intercede.testing.verdict import Facts

__all__ = ["calibrate", "probed"]

_LONGEST = 1800.0
"""Seconds that the probe may take: what is slower than that needs a number."""
_SOURCE = """
from intercede.testing.calibrating import probed
tell(probed(subject, arguments))
"""
_ORDINARY = 5.0
"""Seconds from submitting a small job to seeing its end for which the bounds were made."""


def calibrate(subject: Subject, facts: Facts) -> tuple[float, str]:
    """Run one job and return what to multiply bounds by, and a sentence on how that was found.

    Never less than 1. A probe that fails says nothing about time, so the bounds stay: the checks will tell what is wrong.
    It is done in a child process, because nothing watches over this one yet.
    """
    if facts.refusal is not None or "backend" not in facts.roles:
        return 1.0, ""
    found = _probed_elsewhere(subject, sorted(facts.capabilities))
    if isinstance(found, str):
        why = brief(scrubber(facts.config)(found))
        return 1.0, f"the probe failed, so bounds stay as they are: {why}"
    scale = max(1.0, round(found / _ORDINARY, 1))
    return scale, f"a small job took {found:.1f} s, so bounds are multiplied by {scale:g}"


def _probed_elsewhere(subject: Subject, claimed: list[str]) -> float | str:
    """Have a child process probe; return the seconds that it took, or why it failed."""
    with scratch(gettempdir()) as directory:
        ending = bounded.run(
            lambda: run_child(subject, _SOURCE, claimed, directory, seconds=_LONGEST + _CLEANED, jobs=True),
            _LONGEST + _CLEANED,
        )
    child = ending.value
    if child is None:
        return shown(ending.raised)
    if isinstance(child.told, float | str):
        return child.told
    return f"the process ended with exit code {child.code}: {child.last_words}"


def probed(subject: Subject, claimed: list[Capability]) -> float | str:
    """Run one job here, and end what is left of it; return the seconds that it took, or why it failed."""
    with scratch(gettempdir()) as directory:
        tmp, aside = directory / "probe", directory / "aside"
        tmp.mkdir()
        context = Context(subject, tmp, capabilities=frozenset(claimed), scale=_LONGEST / _ORDINARY)
        began = time.monotonic()
        ending = bounded.run(lambda: _probe(context), _LONGEST)
        seconds = time.monotonic() - began
        context.scale = 1.0
        clean_up(context, aside, evidence=False)
    return seconds if ending.raised is None else told(ending.raised)


async def _probe(context: Context) -> None:
    async with context.opened() as backend:
        submission = await context.submit(backend, context.sh("exit 0"))
        await context.finish(backend, list(submission.handles.values()), within=_ORDINARY)
