"""How much slower than a quiet machine a resource is: measured with a few small jobs at once."""

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import cast

from intercede.contract.backend import Capability
from intercede.redaction import make_scrubber
from intercede.testing.isolation import timeouts
from intercede.testing.isolation.files import scratch
from intercede.testing.model.calls import shorten
from intercede.testing.model.verdict import SubjectInfo
from intercede.testing.run.cleanup import SECONDS as _CLEANED
from intercede.testing.run.cleanup import clean_up, describe_leftovers, has_leftovers
from intercede.testing.run.context import Context, format_value
from intercede.testing.run.finding import format_error
from intercede.testing.subjects.child import run_child
from intercede.testing.subjects.subject import Subject

__all__ = ["calibrate", "probed", "swept"]

_LONGEST = 1800.0
"""Seconds that the probe may take: what is slower than that needs a number."""
_SOURCE = """
from intercede.testing.run.calibrate import {0}
tell({0}(subject, arguments))
"""
_COPIES, _NAP = 8, 1
"""The number of jobs and their seconds: if few run at once, concurrent checks wait for one another."""
_ORDINARY = 5.0
"""Seconds from submitting them to seeing their end, but for their own, for which the bounds were made."""


def calibrate(subject: Subject, facts: SubjectInfo) -> tuple[float, str]:
    """Run a few jobs and return what to multiply bounds by, and a sentence on how that was found.

    Never less than 1. A probe that fails says nothing about time, so the bounds stay: the checks will tell what is wrong.
    It is done in a child process, because nothing watches over this one yet.

    Raises:
        KeyboardInterrupt: The user's own. The jobs are ended first; a note names what is left.
    """
    if facts.refusal is not None or "backend" not in facts.roles:
        return 1.0, ""
    scrub = make_scrubber(facts.config)
    found, left = _measure_in_child(subject, sorted(facts.capabilities))
    also = f"; {scrub(left)}" if left else ""
    if isinstance(found, str):
        return 1.0, f"the probe failed, so bounds stay as they are: {shorten(scrub(found))}{also}"
    scale = max(1.0, round(found / _ORDINARY, 1))
    jobs = f"{_COPIES} jobs of {_NAP} s at once took {found + _NAP:.1f} s"
    return scale, f"{jobs}, so bounds are multiplied by {scale:g}{also}"


def _measure_in_child(subject: Subject, claimed: Sequence[Capability]) -> tuple[float | str, str]:
    """Have a child process probe; return the seconds that it took, or why it failed, and what is left of its jobs."""
    arguments = [f"ic-{secrets.token_hex(6)}", *claimed]
    try:
        found, left = _run_in_child(subject, "probed", arguments)
    except KeyboardInterrupt as interruption:
        interruption.add_note(f"jobs to measure with were out, with the tag {arguments[0]}")
        _, left = _run_in_child(subject, "swept", arguments)
        if left:
            interruption.add_note(left)
        raise
    if left:
        _, left = _run_in_child(subject, "swept", arguments)
    return found, left


def _run_in_child(subject: Subject, what: str, arguments: Sequence[str]) -> tuple[float | str, str]:
    """Do one of the two below in a child process, and return what it returned."""
    seconds = _LONGEST + _CLEANED * _LONGEST / _ORDINARY
    with scratch(gettempdir()) as directory:
        ending = timeouts.run(
            lambda: run_child(subject, _SOURCE.format(what), arguments, directory, seconds=seconds, jobs=True), seconds
        )
    child = ending.value
    if child is not None and child.told is not None:
        found, left = cast("tuple[float | str, str]", child.told)
        return found, left
    said = (
        f"the process ended with exit code {child.code}: {child.last_words}" if child else format_value(ending.raised)
    )
    return said, f"jobs may be left with the tag {arguments[0]}"


def probed(subject: Subject, arguments: Sequence[str]) -> tuple[float | str, str]:
    """Run the jobs here, and end what is left of them.

    Args:
        subject: Whose they are.
        arguments: The tag that they get, and the capabilities that the subject claims.

    Returns:
        The seconds that they took, or why that failed; and what is left of them.
    """
    tag, *claimed = arguments
    with scratch(gettempdir()) as directory:
        tmp, aside = directory / "probe", directory / "aside"
        tmp.mkdir()
        context = _context(subject, tmp, claimed, _LONGEST / _ORDINARY)
        began = time.monotonic()
        ending = timeouts.run(lambda: _run_probe(context, tag), _LONGEST)
        seconds = max(0.0, time.monotonic() - began - _NAP)
        context.scale = max(1.0, seconds / _ORDINARY)
        clean_up(context, aside, evidence=False)
    return seconds if ending.raised is None else format_error(ending.raised), _describe_left(context)


def swept(subject: Subject, arguments: Sequence[str]) -> tuple[float, str]:
    """End what is left of the jobs of a probe that was cut short; arguments and answer are as of ``probed``."""
    tag, *claimed = arguments
    with scratch(gettempdir()) as directory:
        context = _context(subject, directory, claimed, 1.0)
        context.tags[tag] = None
        clean_up(context, directory / "aside", evidence=False)
    return 0.0, _describe_left(context)


def _context(subject: Subject, tmp: Path, claimed: Sequence[str], scale: float) -> Context:
    return Context(subject, tmp, capabilities=frozenset(cast("Sequence[Capability]", claimed)), scale=scale)


def _describe_left(context: Context) -> str:
    return f"jobs may be left: {describe_leftovers(context)}" if has_leftovers(context) else ""


async def _run_probe(context: Context, tag: str) -> None:
    async with context.open_backend() as backend:
        submission = await context.submit(backend, context.sh(f"sleep {_NAP}", tag=tag), _COPIES)
        await context.wait_until_final(backend, list(submission.handles.values()), within=_ORDINARY)
