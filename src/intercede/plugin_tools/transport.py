"""Helpers for transports: encode arguments, keep the last bytes of a stream, end commands when the transport closes."""

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterable, Callable, Coroutine, Sequence
from typing import TypeVar

from intercede.contract.errors import InvalidSpecError, NotOpenError
from intercede.contract.transport import ByteSink, CommandResult

__all__ = ["RunningCommands", "TailBuffer", "encode_argv", "wait_uninterrupted"]

_END_SECONDS = 30.0
T = TypeVar("T")
_Run = Callable[[Sequence[str], AsyncIterable[bytes] | None, ByteSink | None], Coroutine[object, object, CommandResult]]


def encode_argv(argv: Sequence[str]) -> list[bytes]:
    """Return the arguments of a command as bytes: always UTF-8, whatever the local locale is.

    Each of the characters U+DC80 to U+DCFF becomes one byte, 0x80 to 0xFF: ``os.fsdecode`` writes the bytes of a file
    name that are not UTF-8 as these characters.

    Raises:
        InvalidSpecError: argv is empty, is a text instead of a sequence, or holds anything other than text; or an
            argument holds a NUL or another lone surrogate.
    """
    if isinstance(argv, str):
        raise InvalidSpecError(f"argv must be a sequence of arguments, not the text {argv!r}", field="argv", value=argv)
    try:
        words = [_encode(argument) for argument in argv]
    except (TypeError, UnicodeEncodeError) as error:
        raise InvalidSpecError(f"an argument is not text: {error}", field="argv", value=argv) from None
    if not words:
        raise InvalidSpecError("argv is empty: a command needs at least its name", field="argv", value=argv)
    for word in words:
        if b"\0" in word:
            raise InvalidSpecError(f"an argument cannot hold a NUL: {word!r}", field="argv", value=argv)
    return words


def _encode(argument: object) -> bytes:
    if not isinstance(argument, str):
        raise TypeError(f"it is of type {type(argument).__name__}")
    return argument.encode("utf-8", "surrogateescape")


async def wait_uninterrupted(future: asyncio.Future[T], seconds: float) -> None:
    """Wait at most this many seconds for the future, even if the caller is cancelled meanwhile.

    Call this function in a handler that raises its own exception again. Otherwise a cancellation is lost, because this
    function suppresses all of them, the first one too.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not future.done() and loop.time() < deadline:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({future}, timeout=deadline - loop.time())


class TailBuffer:
    """A sink that keeps the bytes that it gets: the last ``limit`` bytes, or all of them without a limit."""

    def __init__(self, limit: int | None = None) -> None:
        self.data = bytearray()
        """The bytes that are kept."""
        self._limit = limit

    async def write(self, data: bytes) -> None:
        """Append the next bytes."""
        self.data += data
        if self._limit is not None:
            del self.data[: max(0, len(self.data) - self._limit)]


class RunningCommands:
    """The commands that a transport runs. When the transport closes, they end, and their callers get NotOpenError.

    ::

        async def __aenter__(self):
            self._commands.open()
            return self

        async def __aexit__(self, *exc):
            await self._commands.close()

        async def run(self, argv, *, stdin=None, stdout=None):
            return await self._commands.run(run_command, argv, stdin, stdout)

    ``run_command(argv, stdin, stdout)`` is the transport's own coroutine function. When its task is cancelled, it ends
    the command within a time limit, and raises the cancellation again.

    A caller gets NotOpenError also if ``run_command`` raises or returns something else while the transport closes. Only
    a caller that is cancelled itself gets its cancellation.
    """

    def __init__(self) -> None:
        self._is_open = False
        self._tasks: set[asyncio.Task[CommandResult]] = set()
        self._cancelled: weakref.WeakSet[asyncio.Task[CommandResult]] = weakref.WeakSet()

    def open(self) -> None:
        """Make ``run`` available. A transport that was left may be entered again."""
        self._is_open = True

    async def close(self) -> None:
        """Cancel every command, and wait until no command is left.

        A command whose caller has stopped waiting counts, too. If this call is cancelled, a second call waits again.
        """
        self._is_open = False
        tasks = set(self._tasks)
        for task in tasks:
            self._cancel(task)
        if tasks:
            await asyncio.wait(tasks)

    async def run(
        self,
        run_command: _Run,
        argv: Sequence[str],
        stdin: AsyncIterable[bytes] | None,
        stdout: ByteSink | None,
    ) -> CommandResult:
        """Run a command in a task of its own, and return the result of the command.

        If the caller is cancelled, the task is cancelled only once, however often the caller is cancelled, so that
        ending the command is not interrupted. The caller waits at most half a minute for the end of the command.

        Raises:
            NotOpenError: The transport is not open, or was left while the command ran. ``__cause__`` is the exception
                that ``run_command`` raised then, if any.
            InvalidSpecError: ``encode_argv`` refuses argv.
            Exception: Any exception of ``run_command``.
        """
        if not self._is_open:
            raise NotOpenError("run was called on a transport that is not open: use it inside 'async with'")
        encode_argv(argv)  # an invalid argv raises before anything starts
        task = asyncio.ensure_future(run_command(argv, stdin, stdout))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            self._cancel(task)
            await wait_uninterrupted(task, _END_SECONDS)
            raise
        if task in self._cancelled:  # by close, since the caller was not cancelled
            cause = None if task.cancelled() else task.exception()
            raise NotOpenError(f"the transport was left while {argv[0]!r} ran: the command was ended") from cause
        return task.result()

    def _cancel(self, task: asyncio.Task[CommandResult]) -> None:
        if task not in self._cancelled and task.cancel():
            self._cancelled.add(task)

    def _forget(self, task: asyncio.Task[CommandResult]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # asyncio must not warn about this exception if the caller was cancelled
