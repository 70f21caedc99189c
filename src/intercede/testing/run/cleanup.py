"""Kill and purge the jobs that a check leaves behind, through a new object of the same subject.

The context of the check remembers the handles and the tags of jobs that may be left. The clean-up removes a tag from
the context when it has found the jobs with the tag, and a handle when the job is gone.
"""

import asyncio
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from intercede.contract.job import JobHandle, JobOutput, JobStatus, OpOutcome
from intercede.testing.isolation import timeouts
from intercede.testing.isolation.files import open_regular
from intercede.testing.run.context import CheckFailed, Context, collect, format_value
from intercede.testing.run.driver import BackendDriver, open_backend
from intercede.testing.run.finding import format_error
from intercede.testing.run.waiting import poll

__all__ = [
    "SECONDS",
    "Leftovers",
    "clean_up",
    "clean_up_all",
    "clean_up_on_loop",
    "describe_leftovers",
    "has_leftovers",
]

SECONDS = 30.0
"""The time limit of a clean-up, in seconds."""
_END_SECONDS = 10.0
"""The seconds within which killed jobs must end."""
_AT_ONCE = 4
"""The largest number of checks that are cleaned up at the same time. It is limited, because each clean-up opens a
backend."""
_SHOWN_JOBS, _SHOWN_BYTES = 3, 300
"""The number of jobs whose output is shown, and the bytes shown from the beginning and from the end of each stream."""


@dataclass
class Leftovers:
    """The output of a check's jobs, and the jobs that the clean-up could not end or purge."""

    outputs: str = ""
    """The output of the payloads, for the report of a red check."""
    left: str = ""
    """A text that names the jobs that could not be ended or purged, and says why."""


def clean_up(check: Context, tmp: Path, *, evidence: bool) -> Leftovers:
    """End and purge the jobs of a check, within a time limit, and return their output and the jobs that are left.

    Args:
        check: The context of the check.
        tmp: An empty directory.
        evidence: Whether to fetch the output of the payloads.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C.
    """
    leftovers, context = Leftovers(), _make_cleaner(check, tmp)
    if context is not None:
        stall = max(timeouts.STALL * check.scale, 1.0)
        outcome = timeouts.run_in_thread(
            lambda: _clean_up_jobs(check, context, leftovers, evidence=evidence), SECONDS * check.scale, stall
        )
        _note_error(leftovers, outcome.raised)
    return leftovers


def clean_up_all(checks: Collection[Context], tmp: Path, scale: float) -> None:
    """End and purge the jobs of several checks, within the time limit of a single clean-up.

    Afterwards, the contexts of the checks contain only the jobs that could not be ended or purged.

    Args:
        checks: The contexts of the checks.
        tmp: An empty directory.
        scale: The factor by which the time limit is multiplied.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C.
    """
    if checks:
        timeouts.run_in_thread(lambda: _clean_up_each(checks, tmp), SECONDS * scale, max(timeouts.STALL * scale, 1.0))


async def _clean_up_each(checks: Iterable[Context], tmp: Path) -> None:
    slots = asyncio.Semaphore(_AT_ONCE)

    async def clean_up_one(number: int, check: Context) -> None:
        async with slots:
            await clean_up_on_loop(check, tmp / str(number), evidence=False)

    await asyncio.gather(*(clean_up_one(number, check) for number, check in enumerate(checks)))


def has_leftovers(check: Context) -> bool:
    """Return whether a check may have left jobs behind."""
    return bool(check.handles or check.tags)


def describe_leftovers(check: Context) -> str:
    """Return a text with the jobs that a check may have left: handles, and tags of submissions without a handle."""
    # The text is ASCII, because a faulty subject may put characters into a handle that the output cannot encode.
    handles = [json.dumps(each.model_dump(), separators=(",", ":")) for each in check.handles]
    tags = [f"any job with the tag {each}" for each in check.tags]
    return ", ".join([*handles, *tags])


async def clean_up_on_loop(check: Context, tmp: Path, *, evidence: bool) -> Leftovers:
    """End and purge the jobs of a check as ``clean_up`` does, but on the running event loop."""
    leftovers, context = Leftovers(), _make_cleaner(check, tmp)
    if context is not None:
        work = _clean_up_jobs(check, context, leftovers, evidence=evidence)
        cleaning = timeouts.limit_time(SECONDS * check.scale, work, lambda: context.queue_seconds)
        _note_error(leftovers, (await timeouts.capture_outcome(cleaning)).raised)
    return leftovers


def _make_cleaner(check: Context, tmp: Path) -> Context | None:
    """Return a new ``Context`` for the clean-up of a check. Return None if the check left no jobs."""
    if not has_leftovers(check):
        return None
    return Context(check.subject, tmp, capabilities=check.capabilities, scale=check.scale, traffic=check.traffic)


def _note_error(leftovers: Leftovers, raised: BaseException | None) -> None:
    if raised is not None:
        leftovers.left = f"cleaning up failed, jobs may be left: {format_error(raised)}"


async def _clean_up_jobs(check: Context, context: Context, leftovers: Leftovers, *, evidence: bool) -> None:
    async with open_backend(context) as backend:
        for tag in tuple(check.tags) if "find" in check.capabilities else ():
            check.remember(await _find_jobs(backend, tag))
            del check.tags[tag]
        if check.handles:
            if evidence and "output" in check.capabilities:
                fetching = await timeouts.capture_outcome(_fetch_outputs(backend, check.handles))
                leftovers.outputs = fetching.value or ""
                if fetching.raised is not None:  # the jobs must be ended even if fetching failed
                    leftovers.outputs = f"what it wrote could not be fetched: {format_error(fetching.raised)}"
            await _end_jobs(check, backend)


async def _find_jobs(backend: BackendDriver, tag: str) -> Iterable[JobHandle]:
    """Find the jobs with a tag, and return their handles.

    A backend that also finds jobs with an unused tag ignores tags. The jobs that such a backend finds may belong to a
    user, so no handle is returned.
    """
    unused = await backend.ask("find", backend.context.make_token())
    return () if unused else collect(cast("Iterable[JobHandle]", await backend.ask("find", tag)))


async def _end_jobs(check: Context, backend: BackendDriver) -> None:
    """Purge the jobs of a check, and kill the jobs that are still running.

    ``purge`` refuses running jobs. The refused jobs are killed, and purged again when they have ended.
    """
    await _purge_jobs(check, backend)
    if check.handles and "kill" in check.capabilities:
        await backend.ask("kill", tuple(check.handles))
    if check.handles and {"kill", "purge"} & check.capabilities:
        await _wait_for_jobs(backend, tuple(check.handles))
    if refused := await _purge_jobs(check, backend):
        raise CheckFailed("purge to remove jobs that have ended", format_value(refused))
    if check.handles:
        statuses = cast("Mapping[JobHandle, JobStatus]", await backend.ask("status", tuple(check.handles)))
        _forget_jobs(check, (each for each in check.handles if statuses[each].state.final))


async def _wait_for_jobs(backend: BackendDriver, handles: Sequence[JobHandle]) -> None:
    """Poll until every job is final.

    The types of the answers are not checked, because the jobs of a backend that answers wrong types must end, too.
    """

    async def ask() -> Mapping[JobHandle, JobStatus]:
        answer = cast("Mapping[JobHandle, JobStatus]", await backend.ask("status", handles))
        return {each: answer[each] for each in handles}

    def are_final(statuses: Mapping[JobHandle, JobStatus]) -> bool:
        return all(each.state.final for each in statuses.values())

    statuses = await poll(ask, are_final, backend.context.start_wait(_END_SECONDS))
    if not are_final(statuses):
        expected = f"a final state of each job within {_END_SECONDS * backend.context.scale:g} s"
        raise CheckFailed(expected, format_value(statuses))


async def _purge_jobs(check: Context, backend: BackendDriver) -> Mapping[JobHandle, OpOutcome]:
    """Purge the jobs of a check, forget the purged jobs, and return the outcomes of the refused jobs."""
    if "purge" not in check.capabilities or not check.handles:
        return {}
    outcomes = cast("Mapping[JobHandle, OpOutcome]", await backend.ask("purge", tuple(check.handles)))
    refused = {each: outcomes[each] for each in check.handles if not outcomes[each].ok}
    _forget_jobs(check, (each for each in check.handles if each not in refused))
    return refused


def _forget_jobs(check: Context, gone: Iterable[JobHandle]) -> None:
    for each in tuple(gone):
        check.handles.pop(each, None)


async def _fetch_outputs(backend: BackendDriver, handles: Iterable[JobHandle]) -> str:
    """Fetch the output of the first ``_SHOWN_JOBS`` jobs, and return a text with the output that was fetched."""
    some = tuple(handles)[:_SHOWN_JOBS]
    fetched = cast("Mapping[JobHandle, JobOutput]", await backend.ask("fetch_output", some))
    return "\n".join(line for handle in some for line in _format_output(handle, fetched[handle]))


def _format_output(handle: JobHandle, output: JobOutput) -> Iterator[str]:
    streams = {name: _read_stream(path) for name, path in (("stdout", output.stdout), ("stderr", output.stderr))}
    spoken = {name: text for name, text in streams.items() if text}
    partly = "" if output.ok else f" (fetched in part: {output.reason})"
    yield f"job {handle.job} wrote{partly}:" if spoken else f"job {handle.job}: its stdout and stderr are empty{partly}"
    yield from (f"  {name}{text}" for name, text in spoken.items())


def _read_stream(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return _read_both_ends(path)
    except (OSError, ValueError) as error:
        return f" cannot be read: {error}"


def _read_both_ends(path: Path) -> str:
    with open_regular(path) as file:
        first, size = file.read(2 * _SHOWN_BYTES), os.fstat(file.fileno()).st_size
        if not size:
            return ""
        if size <= 2 * _SHOWN_BYTES:
            return f" ({size} bytes): {first!r}"
        file.seek(-_SHOWN_BYTES, os.SEEK_END)
        return f" ({size} bytes): {first[:_SHOWN_BYTES]!r} ... {file.read(_SHOWN_BYTES)!r}"
