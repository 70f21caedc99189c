"""The transport ``local`` compared with bare asyncio subprocesses: commands and megabytes per second.

Run it with ``python benchmarks/transport.py``. Both sides are measured alternately in one run, and the best result of
each counts.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from intercede.transports.local import LocalTransport

COMMANDS = 200
AT_ONCE = 8
CHUNK = bytes(65536)
CHUNKS = 16384
ROUNDS = 3

Work = Callable[[], Awaitable[None]]


class Counter:
    """A sink that counts bytes."""

    def __init__(self) -> None:
        self.total = 0

    async def write(self, data: bytes) -> None:
        """Count the bytes."""
        self.total += len(data)

    def check(self) -> None:
        """Raise if bytes are missing: a time without them is wrong."""
        if self.total != len(CHUNK) * CHUNKS:
            raise RuntimeError(f"{self.total} bytes arrived of {len(CHUNK) * CHUNKS}")


async def generate_chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNKS):
        yield CHUNK


async def run_bare() -> None:
    process = await asyncio.create_subprocess_exec(
        "true",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    await process.communicate()


async def write_bare() -> None:
    process = await asyncio.create_subprocess_exec(
        "cat", "-", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    if process.stdin is None:
        raise RuntimeError("the process has no stdin")
    async for chunk in generate_chunks():
        process.stdin.write(chunk)
        await process.stdin.drain()
    process.stdin.close()
    await process.wait()


async def read_bare() -> None:
    process = await asyncio.create_subprocess_exec(
        "head", "-c", str(len(CHUNK) * CHUNKS), "/dev/zero", stdout=asyncio.subprocess.PIPE
    )
    if process.stdout is None:
        raise RuntimeError("the process has no stdout")
    counter = Counter()
    while data := await process.stdout.read(65536):
        await counter.write(data)
    await process.wait()
    counter.check()


async def run_repeatedly(work: Work) -> None:
    async def some() -> None:
        for _ in range(COMMANDS // AT_ONCE):
            await work()

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def measure_seconds(work: Work) -> float:
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


async def compare(title: str, unit: str, amount: float, ours: Work, bare: Work) -> None:
    pairs = [(await measure_seconds(ours), await measure_seconds(bare)) for _ in range(ROUNDS)]
    mine, theirs = (min(column) for column in zip(*pairs, strict=True))
    print(f"{title:32} {amount / mine:8.0f} {unit:4}  bare {amount / theirs:8.0f} {unit:4}  ratio {theirs / mine:.2f}")


async def main() -> None:
    async with LocalTransport() as transport:

        async def one() -> None:
            await transport.run(["true"])

        async def into() -> None:
            await transport.run(["sh", "-c", "cat - >/dev/null"], stdin=generate_chunks())

        async def out() -> None:
            counter = Counter()
            await transport.run(["head", "-c", str(len(CHUNK) * CHUNKS), "/dev/zero"], stdout=counter)
            counter.check()

        megabytes = len(CHUNK) * CHUNKS / 1e6
        await compare(
            f"commands, {AT_ONCE} at once",
            "/s",
            COMMANDS,
            lambda: run_repeatedly(one),
            lambda: run_repeatedly(run_bare),
        )
        await compare("stdin to cat", "MB/s", megabytes, into, write_bare)
        await compare("stdout of head", "MB/s", megabytes, out, read_bare)


if __name__ == "__main__":
    asyncio.run(main())
