"""A transport reaches a machine: it runs commands on it and streams their input and output, and does nothing else.

Files are sent and received as tar through stdin and stdout of a command. ``intercede.batch`` makes a backend of a
transport and a scheduler.
"""

from abc import abstractmethod
from collections.abc import AsyncIterable, Sequence
from types import TracebackType
from typing import Annotated, Protocol, Self, runtime_checkable

from pydantic import Field

from intercede.contract.job import _Data

__all__ = ["ByteSink", "CommandResult", "Transport"]


class CommandResult(_Data):
    """How a command ended. If the command does not exist, the result has code 127, as in a shell."""

    returncode: Annotated[int, Field(strict=True, ge=0, le=255)]
    """The exit code of the command, or 128 + n if signal n ended it."""
    stdout: bytes = b""
    """The whole stdout of the command. It is empty if a sink received the output."""
    stderr: bytes = b""
    """The last 1 MiB of the stderr of the command."""


@runtime_checkable
class ByteSink(Protocol):
    """Receives the stdout of a command while it runs."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Take the next bytes. No more output is read before this returns, so a slow sink slows the command down.

        Args:
            data: Never empty.

        Raises:
            Exception: Any exception. It ends the command, and ``Transport.run`` raises it.
        """
        ...


@runtime_checkable
class Transport(Protocol):
    """Runs commands on one machine. Every object with these methods is a transport; it need not inherit this class.

    Constructing it opens no connection, starts no process and writes no file; entering it may. Leaving it twice is
    allowed. Any number of ``run`` calls may be awaited at once. A class may define ``commands_in_flight() -> int``: the
    maximum number of commands that a caller should run at once; the default is 8.
    """

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Connect, if a connection is needed. Returns the object itself.

        Raises:
            TransportError: The machine cannot be reached.
            AuthenticationError: The machine refuses the login.
        """
        ...

    @abstractmethod
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close all connections and end all commands. An exception of the ``with`` block is passed on."""
        ...

    @abstractmethod
    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: AsyncIterable[bytes] | None = None,
        stdout: ByteSink | None = None,
    ) -> CommandResult:
        """Run a command on the machine and wait for its end.

        This sets no environment, working directory or time limit: use ``sh -c`` and ``asyncio.timeout``. A command may
        end without reading all of stdin: EPIPE is ignored, and the iterator is closed. Cancelling ends the command and
        what it started, in any process group or session, and returns in bounded time. A process that has detached
        itself (it has started a session of its own, and its parent has ended) does not belong to the command any more:
        it continues.

        Args:
            argv: The command and its arguments, at least one. They are passed on byte for byte, without a shell.
            stdin: The bytes for the command's stdin, which are streamed. None means ``/dev/null``.
            stdout: The sink that receives the command's stdout while it runs. If it is None, the result has the whole
                stdout.

        Returns:
            The exit code (128 + n for death by signal n), stdout, and the last 1 MiB of stderr. A command that does
            not exist is a result with a non-zero code, never an exception.

        Raises:
            NotOpenError: Before entering or after leaving.
            TransportError: The connection is lost, or the exit code cannot be read.
            Exception: Any exception of the sink or the iterator, after the command was ended.
        """
        ...
