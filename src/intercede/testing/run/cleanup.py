"""Kill and purge the jobs that a check leaves behind, through a fresh object of the same subject.

What a check's context remembers, handles and tags, is what may be left: each goes from there once it is gone.
"""

import asyncio
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from intercede.contract.backend import JobBackend
from intercede.contract.job import JobHandle, JobOutput, OpOutcome
from intercede.testing.isolation import timeouts
from intercede.testing.isolation.files import regular
from intercede.testing.run.context import CheckFailed, Context, collect, format_value
from intercede.testing.run.finding import format_error

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
"""How long all of it may take."""
_END_SECONDS = 10.0
"""How long killed jobs may take to end."""
_AT_ONCE = 4
"""After so many checks is cleaned up at a time: each opens a backend of its own."""
_SHOWN_JOBS, _SHOWN_BYTES = 3, 300
"""So much of a payload's output is shown, and as much of its end."""


@dataclass
class Leftovers:
    """The findings of a clean-up."""

    outputs: str = ""
    """The output of the payloads, for the text of a red check."""
    left: str = ""
    """The jobs that could not be cleaned up, and why."""


def clean_up(check: Context, tmp: Path, *, evidence: bool) -> Leftovers:
    """End and purge the jobs of a check, in bounded time.

    Args:
        check: The context of the check.
        tmp: An empty directory.
        evidence: Whether what the payloads wrote is wanted.

    Raises:
        KeyboardInterrupt: The user's own.
    """
    remains, context = Leftovers(), _make_cleaner(check, tmp)
    if context is not None:
        stall = max(timeouts.STALL * check.scale, 1.0)
        ending = timeouts.run(lambda: _clean(check, context, remains, evidence=evidence), SECONDS * check.scale, stall)
        _note_error(remains, ending.raised)
    return remains


def clean_up_all(checks: Collection[Context], tmp: Path, scale: float) -> None:
    """End and purge the jobs of several checks, all of them in the time of one.

    Args:
        checks: The contexts of the checks.
        tmp: An empty directory.
        scale: Multiplies that time.

    Raises:
        KeyboardInterrupt: The user's own.
    """
    if checks:
        timeouts.run(lambda: _clean_up_each(checks, tmp), SECONDS * scale, max(timeouts.STALL * scale, 1.0))


async def _clean_up_each(checks: Iterable[Context], tmp: Path) -> None:
    few = asyncio.Semaphore(_AT_ONCE)

    async def cleaned(number: int, check: Context) -> None:
        async with few:
            await clean_up_on_loop(check, tmp / str(number), evidence=False)

    await asyncio.gather(*(cleaned(number, check) for number, check in enumerate(checks)))


def has_leftovers(check: Context) -> bool:
    """Whether anything of a check's may be left."""
    return bool(check.handles or check.tags)


def describe_leftovers(check: Context) -> str:
    """Name what may be left of a check's jobs: their handles, and the tags of submissions that told of none."""
    # In ASCII: a wrong one may be no text.
    handles = [json.dumps(each.model_dump(), separators=(",", ":")) for each in check.handles]
    tags = [f"whatever has the tag {each}" for each in check.tags]
    return ", ".join([*handles, *tags])


async def clean_up_on_loop(check: Context, tmp: Path, *, evidence: bool) -> Leftovers:
    """Do the same on the running loop."""
    remains, context = Leftovers(), _make_cleaner(check, tmp)
    if context is not None:
        work = _clean(check, context, remains, evidence=evidence)
        cleaning = timeouts.limit(SECONDS * check.scale, work, lambda: context.queue_seconds)
        _note_error(remains, (await timeouts.capture(cleaning)).raised)
    return remains


def _make_cleaner(check: Context, tmp: Path) -> Context | None:
    """Return what can clean up after a check; None where it left nothing."""
    if not has_leftovers(check):
        return None
    return Context(check.subject, tmp, capabilities=check.capabilities, scale=check.scale, traffic=check.traffic)


def _note_error(remains: Leftovers, raised: BaseException | None) -> None:
    if raised is not None:
        remains.left = f"cleaning up failed, jobs may be left: {format_error(raised)}"


async def _clean(check: Context, context: Context, remains: Leftovers, *, evidence: bool) -> None:
    async with context.open_backend() as backend:
        for tag in tuple(check.tags) if "find" in check.capabilities else ():
            check.remember(collect(await _find_jobs(context, backend, tag)))
            del check.tags[tag]
        if check.handles:
            if evidence and "output" in check.capabilities:
                fetching = await timeouts.capture(_fetch_outputs(context, backend, check.handles))
                remains.outputs = fetching.value or ""
                if fetching.raised is not None:  # what is left must be ended all the same
                    remains.outputs = f"what it wrote could not be fetched: {format_error(fetching.raised)}"
            await _end(check, context, backend)


async def _find_jobs(context: Context, backend: JobBackend, tag: str) -> Iterable[JobHandle]:
    """Find the jobs of a tag; none where others are found by a tag that no job has: those are not ours to end."""
    return () if await context.find(backend, context.make_token()) else await context.find(backend, tag)


async def _end(check: Context, context: Context, backend: JobBackend) -> None:
    """Purge; what is still running is refused, so kill that and purge it then."""
    await _purge(check, context, backend)
    if check.handles and "kill" in context.capabilities:
        await context.kill(backend, tuple(check.handles))
    if check.handles and {"kill", "purge"} & context.capabilities:
        await context.wait_until_final(backend, tuple(check.handles), within=_END_SECONDS)
    if refused := await _purge(check, context, backend):
        raise CheckFailed("purge to remove what has ended", format_value(refused))
    if check.handles:
        statuses = await context.status(backend, tuple(check.handles))
        _forget(check, (each for each in check.handles if statuses[each].state.final))


async def _purge(check: Context, context: Context, backend: JobBackend) -> Mapping[JobHandle, OpOutcome]:
    """Purge what is left and forget what is gone; return the outcomes of the rest."""
    if "purge" not in context.capabilities or not check.handles:
        return {}
    outcomes = await context.purge(backend, tuple(check.handles))
    refused = {each: outcomes[each] for each in check.handles if not outcomes[each].ok}
    _forget(check, (each for each in check.handles if each not in refused))
    return refused


def _forget(check: Context, gone: Iterable[JobHandle]) -> None:
    for each in tuple(gone):
        check.handles.pop(each, None)


async def _fetch_outputs(context: Context, backend: JobBackend, handles: Iterable[JobHandle]) -> str:
    """Read what the first payloads wrote, as far as the subject returns it."""
    some = tuple(handles)[:_SHOWN_JOBS]
    fetched = await context.fetch(backend, some)
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
        return _beginning_and_end(path)
    except (OSError, ValueError) as error:
        return f" cannot be read: {error}"


def _beginning_and_end(path: Path) -> str:
    with regular(path) as file:
        first, size = file.read(2 * _SHOWN_BYTES), os.fstat(file.fileno()).st_size
        if not size:
            return ""
        if size <= 2 * _SHOWN_BYTES:
            return f" ({size} bytes): {first!r}"
        file.seek(-_SHOWN_BYTES, os.SEEK_END)
        return f" ({size} bytes): {first[:_SHOWN_BYTES]!r} ... {file.read(_SHOWN_BYTES)!r}"
