"""The operations of each program, and their measurement: a JSON line for each operation.

A program submits many quick jobs, waits until all are over and fetches their output. Then it submits many jobs that
sleep, asks once for their status, and kills them. Each program runs with its own Python, as the remote user if it is
local.
"""

import asyncio
import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Self

QUICK = ("head", "-c", "1024", "/dev/zero")
LONG = ("sleep", "900")
PAUSE = 2.0
"""The seconds between two queries, if the program has such an option."""
TURNS = 3
"""The number of runs with quick jobs; the best counts."""


class LeftOutError(Exception):
    """The program has no such operation; the message says why."""


class Peer(ABC):
    """One way to run jobs on a Slurm. Entering opens whatever connection it needs."""

    async def __aenter__(self) -> Self:
        """Nothing to open, unless a peer says otherwise."""
        return self

    async def __aexit__(  # noqa: B027 -- nothing to close, unless a peer says otherwise
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Nothing to close, unless a peer says otherwise."""

    @abstractmethod
    async def submit(self, copies: int, command: Sequence[str]) -> None:
        """Queue a number of jobs; all other verbs are about these from now on."""

    @abstractmethod
    async def over(self) -> int:
        """Return the number of jobs that are over."""

    async def status(self) -> None:
        """Ask once."""
        await self.over()

    async def fetch(self, into: Path) -> None:  # noqa: ARG002 -- for those that fetch
        """Fetch the output of the jobs into an empty local directory."""
        raise LeftOutError("it runs on the login node itself, and leaves outputs on the shared file system")

    def fetches(self) -> Mapping[str, Callable[[Path], Awaitable[None]]]:
        """Return the ways to fetch, by name."""
        return {"fetch": self.fetch}

    @abstractmethod
    async def kill(self) -> None:
        """Kill all jobs."""


def counters() -> Counter[str]:
    """Return the numbers of started processes and opened connections so far."""
    log = Path(os.environ["BENCH_SSHD_LOG"]).read_text(errors="replace")
    calls: Counter[str] = Counter(Path(os.environ["BENCH_CALLS"]).read_text().split())
    calls.update(connections=log.count("Accepted publickey"), execs=log.count("Starting session: "))
    return calls


def resident() -> float:
    """Return the memory of this process, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Blocked:
    """The longest block of the event loop, and the processor time of the longest block."""

    def __init__(self) -> None:
        self.wall = 0.0
        self.cpu = 0.0

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[None]:
        """Measure the block every millisecond, while the caller works."""
        watch = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        try:
            yield
        finally:
            await asyncio.sleep(0.002)  # includes the last block
            watch.cancel()

    async def _watch(self) -> None:
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            self.wall = max(self.wall, time.perf_counter() - wall - 0.001)
            self.cpu = max(self.cpu, time.thread_time() - cpu)


@asynccontextmanager
async def measured(operation: str) -> AsyncGenerator[None]:
    """Run an operation, and print its measurement, or the reason why there is none."""
    line: dict[str, object] = {"operation": operation}
    blocked, before, memory, cpu = Blocked(), counters(), resident(), time.process_time()
    try:
        async with blocked.watching():
            start = time.perf_counter()
            try:
                yield
            finally:
                line["seconds"] = round(time.perf_counter() - start, 4)
    except LeftOutError as error:
        line["left_out"] = str(error)
    except Exception as error:
        line["failed"] = f"{type(error).__name__}: {error}"[:300]
        raise
    finally:
        line |= {
            "cpu": round(time.process_time() - cpu, 4),
            "grown_mib": round(resident() - memory, 1),
            "blocked_ms": round(blocked.wall * 1e3, 1),
            "blocked_cpu_ms": round(blocked.cpu * 1e3, 1),
            "counts": dict(counters() - before),
        }
        print(json.dumps(line), flush=True)


async def until_over(peer: Peer, copies: int, seconds: float) -> None:
    """Ask until all jobs are over."""
    async with asyncio.timeout(seconds):
        while await peer.over() < copies:  # noqa: ASYNC110 -- nobody tells an event
            await asyncio.sleep(PAUSE)


async def _look(peer: Peer, operation: str) -> None:
    for _ in range(TURNS):
        async with measured(operation):
            await peer.status()


async def quick(peer: Peer, copies: int, seconds: float) -> None:
    """Run quick jobs to their end, and fetch their output."""
    async with measured("submit"):
        await peer.submit(copies, QUICK)
    async with measured("end"):
        await until_over(peer, copies, seconds)
    await _look(peer, "status, all over")
    for operation, fetch in peer.fetches().items():
        # Files are removed at the end: ext4 searches recently freed inodes, which would slow down the next program.
        directory = Path(mkdtemp(dir=Path.home()))
        fetched = False
        async with measured(operation):
            await fetch(directory)
            fetched = True
        if fetched:  # else it is left out
            _see_that_all_came(directory, copies)


def _see_that_all_came(directory: Path, copies: int) -> None:
    came = sum(path.is_file() for path in directory.rglob("*"))
    if came < copies:
        raise RuntimeError(f"{came} files came of {copies} jobs")


async def long(peer: Peer, copies: int, _: float) -> None:
    """Start jobs that sleep, ask once, and kill them."""
    async with measured("submit"):
        await peer.submit(copies, LONG)
    await _look(peer, "status")
    async with measured("kill"):
        await peer.kill()


Scene = Callable[[Peer, int, float], Awaitable[None]]
SCENES: dict[str, Scene] = {"quick": quick, "long": long}


async def _play(peer: Peer, copies: int, scenes: Collection[str], seconds: float) -> None:
    async with AsyncExitStack() as stack:
        async with measured("open"):
            await stack.enter_async_context(peer)
        for name in scenes:
            await SCENES[name](peer, copies, seconds)


def main(peer: Peer) -> None:
    """Run the scenes that the command line names: COPIES SECONDS SCENE..."""
    copies, seconds, *scenes = sys.argv[1:]
    asyncio.run(_play(peer, int(copies), scenes, float(seconds)))
