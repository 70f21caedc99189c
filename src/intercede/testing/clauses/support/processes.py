"""Count tasks, threads, descriptors and child processes of this process, and measure pauses of its event loop.

Processes are read from /proc. Without /proc, no processes are found.
"""

import asyncio
import gc
import os
import threading
import time
from collections.abc import Awaitable, Iterator, Mapping
from pathlib import Path

from intercede.testing.isolation.timeouts import Deadline

__all__ = ["count_belongings", "measure_growth", "measure_pause", "read_descendants"]

_GROWTH = 4
"""The smallest growth of a count that is a leak. A pool that is still filling may cause a smaller growth."""
_PROC = Path("/proc")


def count_belongings() -> Mapping[str, int]:
    """Count the tasks, threads, open descriptors and child processes of this process."""
    gc.collect()
    descriptors = Path("/proc/self/fd") if _PROC.joinpath("self").exists() else Path("/dev/fd")
    return {
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "open descriptors": len(os.listdir(descriptors)),  # noqa: PTH208 -- a count of names, no paths
        # No child processes of process 1 are counted, because process 1 of a container is also the parent of all
        # processes that detached themselves.
        "child processes": sum(parent == os.getpid() != 1 for parent in _get_parents().values()),
    }


async def measure_growth(before: Mapping[str, int], seconds: float) -> Mapping[str, int]:
    """Return the counts that have grown. Wait some seconds for them to fall: closing may take a loop iteration."""
    patience = Deadline(seconds)
    while True:
        grown = {what: count - before.get(what, 0) for what, count in count_belongings().items()}
        leaks = {what: count for what, count in grown.items() if count >= _GROWTH}
        if not leaks or not patience.seconds_left:
            return leaks
        await asyncio.sleep(0.1)


async def measure_pause(awaitable: Awaitable[object]) -> float:
    """Await something, and return the longest time between two iterations of the event loop meanwhile."""
    longest, last = 0.0, time.monotonic()
    task = asyncio.ensure_future(awaitable)
    while not task.done():
        await asyncio.wait({task}, timeout=0.01)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    await task
    return longest


def read_descendants() -> Iterator[tuple[int, bytes]]:
    """Yield the argument list and environment of every process that descends from this process."""
    parents = _get_parents()
    for pid in parents:
        if os.getpid() in _list_ancestors(pid, parents):
            yield pid, _read_proc(pid, "cmdline") + _read_proc(pid, "environ")


def _list_ancestors(pid: int, parents: Mapping[int, int]) -> Iterator[int]:
    seen: set[int] = set()
    while pid in parents and pid not in seen:
        seen.add(pid)
        pid = parents[pid]
        yield pid


def _get_parents() -> dict[int, int]:
    """Return the id of the parent of each process."""
    pids = [int(each.name) for each in _PROC.glob("[0-9]*")]
    # The fields follow the last parenthesis, because a program's name may itself contain parentheses.
    fields = {pid: _read_proc(pid, "stat").rpartition(b")")[2].split() for pid in pids}
    return {pid: int(rest[1]) for pid, rest in fields.items() if len(rest) > 1}


def _read_proc(pid: int, what: str) -> bytes:
    try:
        return _PROC.joinpath(str(pid), what).read_bytes()
    except OSError:  # the process has ended, or this user has no permission to read it
        return b""
