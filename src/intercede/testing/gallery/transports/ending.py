"""Wrong when a run ends early. Every class in this file is wrong, on purpose: its docstring says how."""

# ruff: noqa: D102 -- the class says what its methods do otherwise

import asyncio
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterable, Sequence
from contextlib import suppress
from types import TracebackType

from intercede.contract import ByteSink, CommandResult, NotOpenError, TransportError
from intercede.testing.gallery.transports.right import Plain


class AnswersWhenCancelled(Plain):
    """Swallows its cancellation, and answers as if the command had been killed."""

    caught_by = "IC-TRANSPORT-07"
    message_contains = "it answered CommandResult(returncode=137"

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        try:
            return await super().run(argv, stdin=stdin, stdout=stdout)
        except asyncio.CancelledError:
            return CommandResult(returncode=137)


class WaitsWhenCancelled(Plain):
    """Waits for the command's own end when it is cancelled."""

    caught_by = "IC-TRANSPORT-07"
    message_contains = "it has not ended"
    scale = 0.05

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        running = asyncio.ensure_future(super().run(argv, stdin=stdin, stdout=stdout))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait({running})
            raise


class FailsWhenCancelled(Plain):
    """Reports its cancellation as a failure of the connection."""

    caught_by = "IC-TRANSPORT-07"
    message_contains = "it raised TransportError('the connection broke"

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        try:
            return await super().run(argv, stdin=stdin, stdout=stdout)
        except asyncio.CancelledError as error:
            raise TransportError("the connection broke") from error


class KeepsItsLockOnceCancelled(Plain):
    """A run that is cancelled never gives back the lock that the next one waits for."""

    caught_by = "IC-TRANSPORT-07"
    message_contains = "expected the next run to work"
    scale = 0.1

    def __init__(self) -> None:
        super().__init__()
        self._lock = asyncio.Lock()

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        await self._lock.acquire()
        result = await super().run(argv, stdin=stdin, stdout=stdout)
        self._lock.release()
        return result


class IgnoresTheSinksFailure(Plain):
    """A sink that fails gets no more data, and its error is not raised."""

    caught_by = "IC-TRANSPORT-08"
    message_contains = "whose sink raises"
    scale = 0.1

    async def read(self, pipe: asyncio.StreamReader | None, sink: ByteSink) -> None:
        try:
            await super().read(pipe, sink)
        except Exception:  # noqa: BLE001 -- the mistake
            assert pipe
            await pipe.read()


class TakesAFailingIteratorForDone(Plain):
    """An iterator that fails ends the input, as if it were complete."""

    caught_by = "IC-TRANSPORT-08"
    message_contains = "whose iterator raises"
    scale = 0.1

    async def feed(self, process: Process, stdin: AsyncIterable[bytes] | None) -> None:
        try:
            await super().feed(process, stdin)
        except Exception:  # noqa: BLE001 -- the mistake
            assert process.stdin
            process.stdin.close()


class TakesTheIteratorsErrorForThePipes(Plain):
    """Ignores every broken pipe, the iterator's own as well."""

    caught_by = "IC-TRANSPORT-08"
    message_contains = "BrokenPipeError"
    scale = 0.1

    async def feed(self, process: Process, stdin: AsyncIterable[bytes] | None) -> None:
        try:
            await super().feed(process, stdin)
        except BrokenPipeError:
            assert process.stdin
            process.stdin.close()


class RaisesGroups(Plain):
    """Raises the exceptions of sink and iterator in a group."""

    caught_by = "IC-TRANSPORT-08"
    message_contains = "ExceptionGroup"

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        try:
            return await super().run(argv, stdin=stdin, stdout=stdout)
        except NotOpenError:
            raise
        except Exception as error:  # noqa: BLE001 -- the mistake
            raise ExceptionGroup("unhandled errors", [error]) from None


class EndsTheCommandAlone(Plain):
    """Ends the command's own process, but not its children."""

    caught_by = "IC-TRANSPORT-22"
    also_red = ("IC-LIFE-09",)
    message_contains = "its child went on"
    scale = 0.2

    def __init__(self) -> None:
        super().__init__()
        self._rests: list[asyncio.Future[list[bytes]]] = []

    async def end(self, process: Process) -> None:
        self.signal(process)
        self._rests.append(asyncio.gather(*(pipe.read() for pipe in (process.stdout, process.stderr) if pipe)))

    def signal(self, process: Process) -> None:
        process.kill()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        await asyncio.gather(*self._rests)
        await super().__aexit__(exc_type, exc, traceback)


class EndsTheGroupAlone(EndsTheCommandAlone):
    """Ends the command's process group, but not children that made a group of their own, or a session."""

    caught_by = "IC-TRANSPORT-30"
    message_contains = "in a process group of its own"

    def signal(self, process: Process) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
