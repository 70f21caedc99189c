"""A small transport that keeps the contract, and unusual ones, to find checks that are too strict."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import asyncio
import random
import shlex
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from types import TracebackType
from typing import Self

from intercede.contract import ByteSink, CommandResult, NotOpenError
from intercede.plugin_tools.transport import TailBuffer
from intercede.testing.gallery.busy_server import BusyServer
from intercede.testing.gallery.process_tree import kill_process_tree


class Plain:
    """Runs commands on this machine by asyncio's subprocesses. The wrong transports are subclasses."""

    stderr_limit = 2**20

    def __init__(self) -> None:
        self.is_open = False

    async def __aenter__(self) -> Self:
        self.is_open = True
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None:
        self.is_open = False
        return None

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        if not self.is_open:
            raise NotOpenError("enter it first")
        try:
            process = await self.start(self.make_command(argv), PIPE if stdin is not None else DEVNULL)
        except OSError as error:
            return CommandResult(returncode=127, stderr=str(error).encode())
        taken, said = TailBuffer(), TailBuffer(self.stderr_limit)
        try:
            async with asyncio.TaskGroup() as group:
                feeding = group.create_task(self.feed(process, stdin))
                group.create_task(self.read(process.stdout, stdout or taken))
                group.create_task(self.read(process.stderr, said))
                code = await process.wait()
                feeding.cancel()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            if process.returncode is None:
                await self.end(process)
        code = code if code >= 0 else 128 - code
        return CommandResult(returncode=code, stdout=bytes(taken.data), stderr=bytes(said.data))

    def make_command(self, argv: Sequence[str]) -> Sequence[str]:
        return argv

    async def start(self, argv: Sequence[str], stdin: int) -> Process:
        """Start a process. A start is not cancelled halfway, because Python 3.11 would then wait for ever."""
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(*argv, stdin=stdin, stdout=PIPE, stderr=PIPE, start_new_session=True)
        )
        try:
            await asyncio.wait({starting})
        except asyncio.CancelledError:
            await asyncio.wait({starting})
            if starting.exception() is None:
                await self.end(starting.result())
            raise
        return starting.result()

    async def feed(self, process: Process, stdin: AsyncIterable[bytes] | None) -> None:
        if stdin is None or process.stdin is None:
            return
        iterator = aiter(stdin)
        try:
            async for data in iterator:
                if not await self.write_chunk(process.stdin, data):
                    return
        finally:
            await self.close(iterator)
        process.stdin.close()

    async def write_chunk(self, pipe: asyncio.StreamWriter, data: bytes) -> bool:
        """Write a chunk of data. Return False if the command reads no more."""
        pipe.write(data)
        try:
            await pipe.drain()
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    async def close(self, iterator: AsyncIterator[bytes]) -> None:
        """Close an async generator. Other iterators cannot be closed."""
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()

    async def read(self, pipe: asyncio.StreamReader | None, sink: ByteSink) -> None:
        while pipe and (data := await pipe.read(65536)):
            await sink.write(data)

    async def end(self, process: Process) -> None:
        kill_process_tree(process.pid)
        rest = (pipe.read() for pipe in (process.stdout, process.stderr) if pipe)
        await asyncio.gather(*rest, process.wait(), return_exceptions=True)


class ThroughAShell(Plain):
    """Runs every command through `sh -c`, with correct quoting."""

    def make_command(self, argv: Sequence[str]) -> Sequence[str]:
        return ["sh", "-c", f"exec {shlex.join(argv)}"]


class StartsLate(Plain):
    """Waits a random short time before it starts a command."""

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        if self.is_open:
            await asyncio.sleep(random.choice((0, 0.02, 0.1, 0.2)))  # noqa: S311 -- no cryptography
        return await super().run(argv, stdin=stdin, stdout=stdout)


class InPiecesOfAnySize(Plain):
    """Passes stdout to the sink in chunks of random sizes, with random pauses."""

    async def read(self, pipe: asyncio.StreamReader | None, sink: ByteSink) -> None:
        while pipe and (data := await pipe.read(random.choice((1, 7, 4096, 2**20)))):  # noqa: S311 -- no cryptography
            await asyncio.sleep(random.choice((0, 0, 0, 0.001)))  # noqa: S311 -- no cryptography
            await sink.write(data)


class FourAtATime(Plain):
    """Runs at most four commands at once and lets others wait, and reports that limit."""

    def __init__(self, host: str = "localhost") -> None:
        super().__init__()
        self._turns = asyncio.Semaphore(4)
        self.host = host

    def commands_in_flight(self) -> int:
        return 4

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: AsyncIterable[bytes] | None = None,
        stdout: ByteSink | None = None,
        nice: int = 0,
    ) -> CommandResult:
        async with self._turns:
            return await super().run(argv, stdin=stdin, stdout=stdout)


class ComesThroughABusyServer(Plain):
    """Logs in to a server that sometimes drops a login when it is entered, and raises a retryable error."""

    server = BusyServer()

    async def __aenter__(self) -> Self:
        await self.server.login()
        return await super().__aenter__()
