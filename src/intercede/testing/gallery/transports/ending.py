"""Transports with a mistake if a run ends early. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

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
    """Swallows the cancellation of run, and returns a result."""

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
    """Waits for the end of the command if run is cancelled."""

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
    """Raises TransportError if run is cancelled, not CancelledError."""

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
    """Leaves its lock locked if run is cancelled, so that the next run never ends."""

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
    """Does not raise the error of a sink."""

    caught_by = "IC-TRANSPORT-08"
    message_contains = "whose sink raises"
    scale = 0.1

    async def read(self, pipe: asyncio.StreamReader | None, sink: ByteSink) -> None:
        try:
            await super().read(pipe, sink)
        except Exception:  # noqa: BLE001 -- this is the intended mistake
            assert pipe
            await pipe.read()


class TakesAFailingIteratorForDone(Plain):
    """Ends stdin normally if the iterator of stdin raises."""

    caught_by = "IC-TRANSPORT-08"
    message_contains = "whose iterator raises"
    scale = 0.1

    async def feed(self, process: Process, stdin: AsyncIterable[bytes] | None) -> None:
        try:
            await super().feed(process, stdin)
        except Exception:  # noqa: BLE001 -- this is the intended mistake
            assert process.stdin
            process.stdin.close()


class TakesTheIteratorsErrorForThePipes(Plain):
    """Ignores every BrokenPipeError, also one that the iterator of stdin raises."""

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
    """Raises the error of a sink or iterator inside an ExceptionGroup."""

    caught_by = "IC-TRANSPORT-08"
    message_contains = "ExceptionGroup"

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        try:
            return await super().run(argv, stdin=stdin, stdout=stdout)
        except NotOpenError:
            raise
        except Exception as error:  # noqa: BLE001 -- this is the intended mistake
            raise ExceptionGroup("unhandled errors", [error]) from None


class EndsTheCommandAlone(Plain):
    """Kills the process of the command if run ends early, but not its children."""

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
    """Kills the process group of the command if run ends early, but not children that left the group."""

    caught_by = "IC-TRANSPORT-30"
    message_contains = "in a process group of its own"

    def signal(self, process: Process) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
