"""Fixtures of the tests of batch: a root for each test, and a backend that is open on it."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from tests.batch.sites import Site

from intercede.batch import BatchBackend
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport

Working = Callable[[Path], list[str]]


def _list_working(place: Path) -> list[str]:
    """Return the processes whose working directory lies below a path, or did before it was removed."""
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has ended
            if str((process / "cwd").readlink()).startswith(str(place)):
                found.append(process.name)
    return found


@pytest.fixture
def working_in() -> Working:
    """Return a function that finds the processes that work below a path."""
    return _list_working


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Return a new root, in which no process may be left after the test."""
    yield tmp_path / "root"
    deadline = time.monotonic() + 30
    while left := _list_working(tmp_path):
        assert time.monotonic() < deadline, f"processes {left} were left behind"
        time.sleep(0.02)


@pytest.fixture
def site(root: Path) -> Site:
    """Return the new root, and backends that share it."""
    return Site(root)


@pytest_asyncio.fixture
async def backend(root: Path) -> AsyncIterator[BatchBackend]:
    """Return a backend that is open on the root, and runs jobs on this machine."""
    async with BatchBackend(LocalTransport(), DirectScheduler(4, grace_s=1), root=str(root)) as opened:
        yield opened


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """Return an empty directory, beside which no test may write."""
    (tmp_path / "dest").mkdir()
    return tmp_path / "dest"
