"""Helpers that watch the processes and descriptors of this process, for the tests of the transport ``local``."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from intercede.transports.local import LocalTransport

ENDLESS = "while :; do sleep 1; done"


async def wait_until(condition: Callable[[], bool], within: float = 20) -> None:
    """Wait for the condition, and fail if it does not become true in time."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Return whether the process runs; a zombie does not count."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except FileNotFoundError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def _read_children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


_EARLIER: set[str] = set()
"""The children that earlier tests in the same worker have left."""


def remember_children() -> None:
    """Remember the children that exist now: ``list_children`` leaves them out from now on."""
    _EARLIER.clear()
    _EARLIER.update(_read_children())


def list_children() -> set[str]:
    """Return the children of this process since the test began, zombies included."""
    return _read_children() - _EARLIER


def count_descriptors() -> int:
    """Return the number of open descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def has_line(path: Path) -> bool:
    """Return whether the file holds a complete line."""
    return path.exists() and path.read_text().endswith("\n")


@contextlib.asynccontextmanager
async def open_transport() -> AsyncGenerator[LocalTransport]:
    """Enter a transport; an error that the event loop reports fails the test."""
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context)))
    async with LocalTransport() as entered:
        yield entered
    assert not complaints
