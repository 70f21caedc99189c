"""A transport runs commands on one machine and streams the commands' input and output. It does nothing else.

Files are sent and received as tar through stdin and stdout of a command. ``intercede.batch`` makes a backend from
a transport and a scheduler.
"""

from abc import abstractmethod
from collections.abc import AsyncIterable, Sequence
from types import TracebackType
from typing import Annotated, Protocol, Self, runtime_checkable

from pydantic import Field

from intercede.contract.job import _Data

__all__ = ["ByteSink", "CommandResult", "Transport"]


class CommandResult(_Data):
    """The result of a command. If the command does not exist, ``returncode`` is 127, as in a shell."""

    returncode: Annotated[int, Field(strict=True, ge=0, le=255)]
    """The exit code of the command, or 128 + n if signal n ended it."""
    stdout: bytes = b""
    """The whole stdout of the command. It is empty if a ``ByteSink`` received the output."""
    stderr: bytes = b""
    """The last 1 MiB of the stderr of the command."""


@runtime_checkable
class ByteSink(Protocol):
    """Receives the stdout of a command while it runs."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Receive the next bytes. No more output is read before ``write`` returns, so a slow sink slows the command.

        Args:
            data: The next bytes of the output, at least one.

        Raises:
            Exception: Any exception ends the command, and ``Transport.run`` raises the exception.
        """
        ...


@runtime_checkable
class Transport(Protocol):
    """Runs commands on one machine. Every object with these methods is a transport, and need not inherit this class.

    Constructing a transport opens no connection, starts no process and writes no file; entering a transport may.
    Leaving a transport twice is allowed. Any number of ``run`` calls may be awaited at once. A class may define
    ``commands_in_flight() -> int``: the maximum number of commands that a caller should run at once; the default is 8.
    """

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Connect if a connection is needed, and return the transport itself.

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
        """Close all connections and end all commands. An exception of the ``async with`` block is passed on."""
        ...

    @abstractmethod
    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: AsyncIterable[bytes] | None = None,
        stdout: ByteSink | None = None,
    ) -> CommandResult:
        """Run a command on the machine, wait until the command ends, and return the command's result.

        ``run`` sets no environment, working directory or time limit: use ``sh -c`` and ``asyncio.timeout``. A command
        may end without reading all of stdin: EPIPE is ignored, and the iterator is closed. Cancelling ``run`` ends the
        command and all processes that the command started, in any process group or session, within a limited time. A
        process that has detached itself (it has started a session of its own, and its parent has ended) does not belong
        to the command any more: the process continues.

        Args:
            argv: The command and its arguments: at least one text. They are passed on byte for byte, without a shell.
            stdin: The bytes for the command's stdin, which are streamed. None means ``/dev/null``.
            stdout: The sink that receives the command's stdout while the command runs. If ``stdout`` is None, the
                result has the whole stdout.

        Returns:
            The exit code (128 + n if signal n ended the command), stdout, and the last 1 MiB of stderr. If the command
            does not exist, the result has a nonzero code, and no exception is raised.

        Raises:
            NotOpenError: The call is outside the transport's ``async with`` block.
            TransportError: The connection is lost, or the exit code cannot be read.
            Exception: The sink or the iterator raised this exception, and the command was ended.
        """
        ...
