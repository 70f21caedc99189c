"""Transports with a mistake in stdin, stdout or stderr. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import asyncio
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import cast

from intercede.contract import ByteSink, CommandResult
from intercede.testing.gallery.transports.right import Plain


class _AnswersOtherwise(Plain):
    """Runs commands as Plain does. A subclass changes fields of the result."""

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        result = await super().run(argv, stdin=stdin, stdout=stdout)
        return result.model_copy(update=self.change_fields(result))

    def change_fields(self, result: CommandResult) -> dict[str, bytes]:
        return {}


class _ReadsOtherwise(Plain):
    """Runs commands as Plain does. A subclass wraps the caller's sink."""

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        return await super().run(argv, stdin=stdin, stdout=stdout and self.wrap_sink(stdout))

    def wrap_sink(self, sink: ByteSink) -> ByteSink:
        return sink


class DecodesAsText(_AnswersOtherwise):
    """Decodes stdout as UTF-8, which changes other bytes."""

    caught_by = "IC-TRANSPORT-03"
    message_contains = "from 129 on"

    def change_fields(self, result: CommandResult) -> dict[str, bytes]:
        return {"stdout": result.stdout.decode(errors="replace").encode()}


class StripsStderr(_AnswersOtherwise):
    """Strips blanks and newlines from the ends of stderr."""

    caught_by = "IC-TRANSPORT-03"
    message_contains = "258 bytes on stderr"

    def change_fields(self, result: CommandResult) -> dict[str, bytes]:
        return {"stderr": result.stderr.strip()}


class MergesStderr(_AnswersOtherwise):
    """Appends stderr to stdout, as a terminal does."""

    caught_by = "IC-TRANSPORT-03"
    message_contains = "517 bytes"

    def change_fields(self, result: CommandResult) -> dict[str, bytes]:
        return {"stdout": result.stdout + result.stderr, "stderr": b""}


class CutsOutput(Plain):
    """Passes on only the first 64 KiB of stdout."""

    caught_by = "IC-TRANSPORT-03"
    message_contains = "expected 2688895 bytes on stdout"

    async def read(self, pipe: asyncio.StreamReader | None, sink: ByteSink) -> None:
        left = 65536
        while pipe and (data := await pipe.read(65536)):
            if left > 0:
                await sink.write(data[:left])
            left -= len(data)


class ReadsOneStreamAfterTheOther(Plain):
    """Reads stderr only after stdout has ended, so that a full pipe of stderr blocks the command."""

    caught_by = "IC-TRANSPORT-29"
    message_contains = "run to answer within"
    scale = 0.1

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        one = _OneAtATime()
        one.is_open = self.is_open
        return await one.run(argv, stdin=stdin, stdout=stdout)


class _OneAtATime(Plain):
    def __init__(self) -> None:
        super().__init__()
        self._turn = asyncio.Lock()

    async def read(self, pipe: asyncio.StreamReader | None, sink: ByteSink) -> None:
        async with self._turn:
            await super().read(pipe, sink)


class KeepsAllOfStderr(Plain):
    """Keeps all of stderr in memory."""

    caught_by = "IC-TRANSPORT-29"
    message_contains = "2688895 bytes"
    stderr_limit = 2**40


class KeepsTheFirstOfStderr(_AnswersOtherwise):
    """Keeps the beginning of stderr instead of its end."""

    caught_by = "IC-TRANSPORT-29"
    message_contains = r"observed 1048576 bytes, from 0 on b'1\n2\n3"
    stderr_limit = 2**40

    def change_fields(self, result: CommandResult) -> dict[str, bytes]:
        return {"stderr": result.stderr[: 2**20]}


class InheritsStdin(Plain):
    """Lets a command without stdin read the stdin of this process."""

    caught_by = "IC-TRANSPORT-23"
    message_contains = "did not end"
    scale = 0.3

    async def start(self, argv: Sequence[str], stdin: int) -> Process:
        return await super().start(argv, 0 if stdin == DEVNULL else stdin)


class LeavesStdinOpen(Plain):
    """Gives a command without stdin a pipe that never ends."""

    caught_by = "IC-TRANSPORT-23"
    message_contains = "it did not end"
    scale = 0.3

    async def start(self, argv: Sequence[str], stdin: int) -> Process:
        return await super().start(argv, PIPE)


class EndsAtAnEmptyPiece(Plain):
    """Ends stdin at the first empty chunk."""

    caught_by = "IC-TRANSPORT-24"
    message_contains = "observed no byte"

    async def write_chunk(self, pipe: asyncio.StreamWriter, data: bytes) -> bool:
        if data:
            return await super().write_chunk(pipe, data)
        pipe.close()
        return False


class WritesTheBeginningOfAPiece(Plain):
    """Writes only the first 64 KiB of a chunk of stdin."""

    caught_by = "IC-TRANSPORT-24"
    also_red = ("IC-TRANSPORT-04",)
    message_contains = "to come back from `cat`"

    async def write_chunk(self, pipe: asyncio.StreamWriter, data: bytes) -> bool:
        return await super().write_chunk(pipe, data[:65536])


class WantsAGenerator(Plain):
    """Calls __anext__ of an iterable of stdin that is not an iterator."""

    caught_by = "IC-TRANSPORT-24"
    message_contains = "AttributeError"

    async def feed(self, process: Process, stdin: AsyncIterable[bytes] | None) -> None:
        pipe, iterator = process.stdin, cast("AsyncIterator[bytes]", stdin)
        while pipe:
            await self.write_chunk(pipe, await iterator.__anext__())


class WritesAllBeforeItReads(Plain):
    """Reads stdout only after all of stdin is written, so that a full pipe blocks the command."""

    caught_by = "IC-TRANSPORT-24"
    message_contains = "run to answer within"
    scale = 0.1

    def __init__(self) -> None:
        super().__init__()
        self._fed = asyncio.Event()

    async def start(self, argv: Sequence[str], stdin: int) -> Process:
        self._to_feed = stdin == PIPE
        return await super().start(argv, stdin)

    async def feed(self, process: Process, stdin: AsyncIterable[bytes] | None) -> None:
        await super().feed(process, stdin)
        self._fed.set()

    async def read(self, pipe: asyncio.StreamReader | None, sink: ByteSink) -> None:
        if self._to_feed:
            await self._fed.wait()
        await super().read(pipe, sink)


class CollectsStdin(Plain):
    """Reads all of stdin from the iterator before it writes any."""

    caught_by = "IC-TRANSPORT-05"
    message_contains = r"after b'one\n'"
    scale = 0.05

    async def feed(self, process: Process, stdin: AsyncIterable[bytes] | None) -> None:
        whole = [b"".join([data async for data in stdin])] if stdin else []
        await super().feed(process, _iterate(whole))


async def _iterate(data: Sequence[bytes]) -> AsyncIterator[bytes]:
    for one in data:
        yield one


class NeverDrains(Plain):
    """Reads from the iterator of stdin without waiting for the command, so that a buffer grows."""

    caught_by = "IC-TRANSPORT-04"
    message_contains = "MiB of 100 were taken before it began to read"

    async def write_chunk(self, pipe: asyncio.StreamWriter, data: bytes) -> bool:
        pipe.write(data)
        await asyncio.sleep(0)
        return not pipe.is_closing()


class ReadsFullBuffers(Plain):
    """Passes on stdout only in chunks of 64 KiB."""

    caught_by = "IC-TRANSPORT-05"
    message_contains = r"after b'one\n'"
    scale = 0.05

    async def read(self, pipe: asyncio.StreamReader | None, sink: ByteSink) -> None:
        while pipe and not pipe.at_eof():
            try:
                data = await pipe.readexactly(65536)
            except asyncio.IncompleteReadError as error:
                data = error.partial
            if data:
                await sink.write(data)


class KeepsWhatTheSinkTook(Plain):
    """Returns stdout in the result as well, although the caller gave a sink."""

    caught_by = "IC-TRANSPORT-28"
    message_contains = "in the result"

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        result = await super().run(argv, stdin=stdin)
        if stdout and result.stdout:
            await stdout.write(result.stdout)
        return result


class _WrappedSink:
    def __init__(self, sink: ByteSink) -> None:
        self.sink = sink


class WritesAnEmptyChunk(Plain):
    """Writes an empty chunk to the sink at the end."""

    caught_by = "IC-TRANSPORT-28"
    message_contains = "observed [b'']"

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        result = await super().run(argv, stdin=stdin, stdout=stdout)
        if stdout:
            await stdout.write(b"")
        return result


class GivesTheSinkItsBuffer(_ReadsOtherwise):
    """Writes a bytearray to the sink instead of bytes."""

    caught_by = "IC-TRANSPORT-28"
    message_contains = "observed [bytearray("

    class _Sink(_WrappedSink):
        async def write(self, data: bytes) -> None:
            await self.sink.write(bytearray(data))  # type: ignore[arg-type]  # this is the intended mistake

    def wrap_sink(self, sink: ByteSink) -> ByteSink:
        return self._Sink(sink)


class DoesNotAwaitTheSink(_ReadsOtherwise):
    """Does not wait for the sink to take a chunk."""

    caught_by = "IC-TRANSPORT-28"
    message_contains = "observed"

    class _Sink(_WrappedSink):
        async def write(self, data: bytes) -> None:
            self.task = asyncio.ensure_future(self.sink.write(data))
            await asyncio.sleep(0)

    def wrap_sink(self, sink: ByteSink) -> ByteSink:
        return self._Sink(sink)


class QueuesForTheSink(Plain):
    """Reads on while the sink is slow, so that a queue grows."""

    caught_by = "IC-TRANSPORT-27"
    message_contains = "observed it could write"

    async def read(self, pipe: asyncio.StreamReader | None, sink: ByteSink) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._drain(queue, sink))
                while pipe and (data := await pipe.read(65536)):
                    queue.put_nowait(data)
                queue.put_nowait(b"")
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _drain(self, queue: asyncio.Queue[bytes], sink: ByteSink) -> None:
        while data := await queue.get():
            await sink.write(data)


class KeepsWhatItSent(Plain):
    """Keeps all of stdin in memory."""

    caught_by = "IC-TRANSPORT-26"
    message_contains = "MiB more"

    def __init__(self) -> None:
        super().__init__()
        self._sent: list[bytes] = []

    async def write_chunk(self, pipe: asyncio.StreamWriter, data: bytes) -> bool:
        self._sent.append(data)
        return await super().write_chunk(pipe, data)


class MindsABrokenPipe(Plain):
    """Raises if the command does not read its stdin."""

    caught_by = "IC-TRANSPORT-25"
    message_contains = "Error"

    async def write_chunk(self, pipe: asyncio.StreamWriter, data: bytes) -> bool:
        pipe.write(data)
        await pipe.drain()
        return True


class WaitsForTheIterator(Plain):
    """Waits for the end of the iterator of stdin after the command has ended."""

    caught_by = "IC-TRANSPORT-25"
    message_contains = "run to answer within"
    scale = 0.1

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        over = asyncio.Event()
        source = self._iterate_to_end(stdin, over) if stdin else None
        result = await super().run(argv, stdin=source, stdout=stdout)
        if source:
            await over.wait()
        return result

    async def _iterate_to_end(self, stdin: AsyncIterable[bytes], over: asyncio.Event) -> AsyncIterator[bytes]:
        try:
            async for data in stdin:
                yield data
        except Exception:
            over.set()
            raise
        over.set()


class LeavesTheIteratorOpen(Plain):
    """Does not close the iterator of stdin after the command has ended."""

    caught_by = "IC-TRANSPORT-25"
    message_contains = "it is still open"

    async def close(self, iterator: AsyncIterator[bytes]) -> None:
        return
