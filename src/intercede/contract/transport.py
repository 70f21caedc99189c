"""A transport reaches a machine: it runs a command there and streams both ways. That is all of it.

Files travel as tar through stdin and stdout, so there is no second path. Everything else that a batch system needs
is made from this by ``intercede.batch``.
"""

from abc import abstractmethod
from collections.abc import AsyncIterable, Sequence
from types import TracebackType
from typing import Annotated, Protocol, Self, runtime_checkable

from pydantic import Field

from intercede.contract.job import _Data

__all__ = ["ByteSink", "CommandResult", "Transport"]


class CommandResult(_Data):
    """How a command ended. A command that does not exist is a result too, as a shell would tell it: 127."""

    returncode: Annotated[int, Field(strict=True, ge=0, le=255)]
    """Its exit code; 128 + n for death by signal n."""
    stdout: bytes = b""
    """All of it; empty where a sink took it."""
    stderr: bytes = b""
    """Its last 1 MiB."""


@runtime_checkable
class ByteSink(Protocol):
    """Where a command's stdout goes while it runs."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Take the next bytes. The command is not read from meanwhile, so a slow sink slows it down.

        Args:
            data: Never empty.

        Raises:
            Exception: Whatever it likes; the command is ended and the exception passes through ``Transport.run``.
        """
        ...


@runtime_checkable
class Transport(Protocol):
    """Runs commands on one machine. Nobody inherits it; whatever has its methods is one.

    Constructing connects nowhere, starts nothing and writes nothing; entering may. Leaving twice is fine. Any number
    of ``run`` may be awaited at once. An object of a class with a method ``commands_in_flight() -> int`` tells how
    many a caller should have out at most; 8 are assumed.
    """

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Connect, where there is something to connect. Returns the object itself.

        Raises:
            TransportError: The machine cannot be reached.
            AuthenticationError: It does not let us in.
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
        """Close everything. An exception of the body passes through."""
        ...

    @abstractmethod
    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: AsyncIterable[bytes] | None = None,
        stdout: ByteSink | None = None,
    ) -> CommandResult:
        """Run a command there and wait for its end.

        It gets no environment, working directory or time limit from here: ``sh -c`` and ``asyncio.timeout`` do that.
        A command that ends without reading all of stdin is no error: EPIPE is ignored and the iterator closed.
        Cancelling ends the command, with what it started in whatever process group or session, and returns in bounded
        time. What has detached itself, a session whose starter has ended, is no part of it and lives on.

        Args:
            argv: The command and its arguments, at least one; arrives byte for byte, no shell in between.
            stdin: Streamed to its stdin; None: ``/dev/null``.
            stdout: Takes its stdout as it comes, in bounded memory; None: all of it is in the result.

        Returns:
            Its exit code (128 + n for death by signal n), stdout, and the last 1 MiB of stderr. A command that does
            not exist is a non-zero result, never an exception.

        Raises:
            NotOpenError: Before entering or after leaving.
            TransportError: The connection is lost, or the command's end cannot be told.
            Exception: Whatever the sink or the iterator raised; the command is ended first.
        """
        ...
