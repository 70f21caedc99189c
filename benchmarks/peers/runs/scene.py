"""What each peer does for the benchmark, and how that is measured: a JSON line for each operation.

A peer submits many copies of a quick payload, asks until all are over and fetches what they wrote; then it submits
many that sleep, asks once, and ends them. This file and the peers run with the peers' own Python, as the user there.
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
"""Seconds between two looks, where the peer lets us choose."""
TURNS = 3
"""How often what is quick is done; the best counts."""


class LeftOutError(Exception):
    """The peer has no such operation; the message says why."""


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
        """Queue so many jobs; the other verbs are about these from now on."""

    @abstractmethod
    async def over(self) -> int:
        """Tell how many are over."""

    async def status(self) -> None:
        """Look once."""
        await self.over()

    async def fetch(self, into: Path) -> None:  # noqa: ARG002 -- for those that fetch
        """Bring what they wrote into an empty directory here."""
        raise LeftOutError("it runs on the login node itself, and leaves outputs on the shared file system")

    def fetches(self) -> Mapping[str, Callable[[Path], Awaitable[None]]]:
        """Tell the ways to fetch that are to be measured."""
        return {"fetch": self.fetch}

    @abstractmethod
    async def kill(self) -> None:
        """End them all."""


def counters() -> Counter[str]:
    """Read what was started and opened so far."""
    log = Path(os.environ["BENCH_SSHD_LOG"]).read_text(errors="replace")
    calls: Counter[str] = Counter(Path(os.environ["BENCH_CALLS"]).read_text().split())
    calls.update(connections=log.count("Accepted publickey"), execs=log.count("Starting session: "))
    return calls


def resident() -> float:
    """Tell how many MiB of memory this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Blocked:
    """The longest time for which nothing else in the event loop could run, and what of it the loop itself worked."""

    def __init__(self) -> None:
        self.wall = 0.0
        self.cpu = 0.0

    @asynccontextmanager
    async def watching(self) -> AsyncGenerator[None]:
        """Look every millisecond."""
        watch = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        try:
            yield
        finally:
            await asyncio.sleep(0.002)  # what blocked last is seen, too
            watch.cancel()

    async def _watch(self) -> None:
        while True:
            wall, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            self.wall = max(self.wall, time.perf_counter() - wall - 0.001)
            self.cpu = max(self.cpu, time.thread_time() - cpu)


@asynccontextmanager
async def measured(operation: str) -> AsyncGenerator[None]:
    """Print what an operation took, or why there is nothing to print of it."""
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
    """Look until all are over."""
    async with asyncio.timeout(seconds):
        while await peer.over() < copies:  # noqa: ASYNC110 -- nobody tells an event
            await asyncio.sleep(PAUSE)


async def _look(peer: Peer, operation: str) -> None:
    for _ in range(TURNS):
        async with measured(operation):
            await peer.status()


async def quick(peer: Peer, copies: int, seconds: float) -> None:
    """Run a quick payload to its end, and fetch its output."""
    async with measured("submit"):
        await peer.submit(copies, QUICK)
    async with measured("end"):
        await until_over(peer, copies, seconds)
    await _look(peer, "status, all over")
    for operation, fetch in peer.fetches().items():
        # What is removed now would be in the way of the next: ext4 looks at every inode that was given back lately.
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
    """Start what sleeps, look once, and end it."""
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
    """Play the scenes that the command line names: COPIES SECONDS SCENE..."""
    copies, seconds, *scenes = sys.argv[1:]
    asyncio.run(_play(peer, int(copies), scenes, float(seconds)))
