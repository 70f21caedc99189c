"""Run a few small jobs at once, and measure how much slower the resource is than a quiet machine."""

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import cast

from intercede.contract.backend import Capability
from intercede.redaction import make_scrubber
from intercede.testing.isolation import timeouts
from intercede.testing.isolation.files import make_scratch_directory
from intercede.testing.model.calls import shorten
from intercede.testing.model.verdict import SubjectInfo
from intercede.testing.run.cleanup import SECONDS as _CLEAN_UP_SECONDS
from intercede.testing.run.cleanup import clean_up, describe_leftovers, has_leftovers
from intercede.testing.run.context import Context, format_value
from intercede.testing.run.driver import open_backend
from intercede.testing.run.finding import format_error
from intercede.testing.subjects.child import ChildContext, ChildFunction, run_child
from intercede.testing.subjects.subject import Subject

__all__ = ["calibrate", "end_calibration_jobs", "run_calibration_jobs"]

_LONGEST = 1800.0
"""The time limit of the measurement, in seconds. If the resource needs more time, the user must give the timeout scale
as a number."""
_COPIES, _NAP = 8, 1
"""The number of jobs that are measured at once, and the seconds that each job sleeps. Several jobs are measured,
because concurrent checks share a queue as well."""
_ORDINARY = 5.0
"""The seconds that the jobs take on a quiet machine from submission to end, apart from their sleep. The time limits of
checks are made for such a machine."""


def calibrate(subject: Subject, facts: SubjectInfo) -> tuple[float, str]:
    """Run a few jobs, and return the timeout scale and a sentence that says how the scale was measured.

    The scale is at least 1. The scale is 1 if the jobs fail, because a failure says nothing about time. The checks will
    find the reason of the failure. The jobs are submitted from a child process, because this process is not protected
    from the subject yet.

    Args:
        subject: The subject.
        facts: The description of the subject.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C. The jobs are ended first. Notes of the exception name jobs that
            may be left.
    """
    if facts.refusal is not None or "backend" not in facts.roles:
        return 1.0, ""
    scrub = make_scrubber(facts.config)
    found, left = _measure_in_child(subject, sorted(facts.capabilities))
    also = f"; {scrub(left)}" if left else ""
    if isinstance(found, str):
        return 1.0, f"the measurement failed, so time limits stay as they are: {shorten(scrub(found))}{also}"
    scale = max(1.0, round(found / _ORDINARY, 1))
    jobs = f"{_COPIES} jobs of {_NAP} s at once took {found + _NAP:.1f} s"
    return scale, f"{jobs}, so time limits are multiplied by {scale:g}{also}"


def _measure_in_child(subject: Subject, claimed: Sequence[Capability]) -> tuple[float | str, str]:
    """Measure in a child process how many seconds short jobs take on the resource.

    Return the seconds or an error message, and a text that names the jobs that may still run. The text is empty if
    there are none.
    """
    arguments = [f"ic-{secrets.token_hex(6)}", *claimed]
    try:
        found, left = _run_in_child(subject, run_calibration_jobs, arguments)
    except KeyboardInterrupt as interruption:
        interruption.add_note(f"jobs for the measurement were running, with the tag {arguments[0]}")
        _, left = _run_in_child(subject, end_calibration_jobs, arguments)
        if left:
            interruption.add_note(left)
        raise
    if left:
        _, left = _run_in_child(subject, end_calibration_jobs, arguments)
    return found, left


def _run_in_child(subject: Subject, function: ChildFunction, arguments: Sequence[str]) -> tuple[float | str, str]:
    """Call ``run_calibration_jobs`` or ``end_calibration_jobs`` in a child process, and return the child's report."""
    seconds = _LONGEST + _CLEAN_UP_SECONDS * _LONGEST / _ORDINARY
    with make_scratch_directory(gettempdir()) as directory:
        outcome = timeouts.run_in_thread(
            lambda: run_child(subject, function, arguments, directory, seconds=seconds, jobs=True), seconds
        )
    child = outcome.value
    if child is not None and child.report is not None:
        found, left = cast("tuple[float | str, str]", child.report)
        return found, left
    reason = (
        f"the process ended with exit code {child.code}: {child.last_words}" if child else format_value(outcome.raised)
    )
    return reason, f"jobs may be left with the tag {arguments[0]}"


def run_calibration_jobs(child: ChildContext) -> None:
    """Run the jobs of the measurement from this child process, end and purge them, and report the seconds they took.

    ``child.arguments`` contains the tag of the jobs, and the capabilities that the subject claims. The report contains
    the seconds or an error message, and a text that names jobs that may be left.
    """
    tag, *claimed = child.arguments
    with make_scratch_directory(gettempdir()) as directory:
        tmp, aside = directory / "jobs", directory / "aside"
        tmp.mkdir()
        context = _make_context(child.subject, tmp, claimed, _LONGEST / _ORDINARY)
        began = time.monotonic()
        outcome = timeouts.run_in_thread(lambda: _submit_and_wait(context, tag), _LONGEST)
        seconds = max(0.0, time.monotonic() - began - _NAP)
        context.scale = max(1.0, seconds / _ORDINARY)
        clean_up(context, aside, evidence=False)
    child.report((seconds if outcome.raised is None else format_error(outcome.raised), _describe_left(context)))


def end_calibration_jobs(child: ChildContext) -> None:
    """End the jobs of a measurement that was interrupted or that left jobs.

    The arguments and the report have the same form as the arguments and the report of ``run_calibration_jobs``.
    """
    tag, *claimed = child.arguments
    with make_scratch_directory(gettempdir()) as directory:
        context = _make_context(child.subject, directory, claimed, 1.0)
        context.tags[tag] = None
        clean_up(context, directory / "aside", evidence=False)
    child.report((0.0, _describe_left(context)))


def _make_context(subject: Subject, tmp: Path, claimed: Sequence[str], scale: float) -> Context:
    return Context(subject, tmp, capabilities=frozenset(cast("Sequence[Capability]", claimed)), scale=scale)


def _describe_left(context: Context) -> str:
    return f"jobs may be left: {describe_leftovers(context)}" if has_leftovers(context) else ""


async def _submit_and_wait(context: Context, tag: str) -> None:
    async with open_backend(context) as backend:
        submission = await backend.submit(context.sh(f"sleep {_NAP}", tag=tag), _COPIES)
        await backend.wait_until_final(list(submission.handles.values()), within=_ORDINARY)
