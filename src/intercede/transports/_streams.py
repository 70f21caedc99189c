"""What transports have in common: arguments as bytes, sinks that keep, sources that are closed, and who cancels whom."""

import asyncio
import contextlib
from collections.abc import AsyncIterable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from intercede.contract.errors import InvalidSpecError

__all__ = ["STDERR_KEPT", "Kept", "close", "encoded", "is_being_cancelled", "uncancelled"]

STDERR_KEPT = 2**20
T = TypeVar("T")


def encoded(argv: Sequence[str]) -> list[bytes]:
    """Return a command's words as bytes: UTF-8, whatever the locale here is.

    Raises:
        InvalidSpecError: There are none, or one holds what no argument can (a NUL, a lone surrogate).
    """
    try:
        words = [argument.encode("utf-8", "surrogateescape") for argument in argv]
    except UnicodeEncodeError as error:
        raise InvalidSpecError(f"an argument is no text: {error}", field="argv", value=argv) from None
    if not words:
        raise InvalidSpecError("a command needs at least its name, and argv is empty", field="argv", value=argv)
    for word in words:
        if b"\0" in word:
            raise InvalidSpecError(f"no argument can hold a NUL: {word!r}", field="argv", value=argv)
    return words


def is_being_cancelled() -> bool:
    """Whether somebody cancels the very task that asks, and not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def uncancelled(future: asyncio.Future[T], seconds: float) -> None:
    """Wait for it, at most so long, through cancellations: whoever calls this is on the way out already."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not future.done() and loop.time() < deadline:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({future}, timeout=deadline - loop.time())


@runtime_checkable
class _Closable(Protocol):
    async def aclose(self) -> None: ...


async def close(source: AsyncIterable[bytes] | None) -> None:
    """Close an iterator that nobody reads any more, where it can be closed."""
    if isinstance(source, _Closable):
        await source.aclose()


class Kept:
    """The sink that keeps what it is given, or the last so many bytes of it."""

    def __init__(self, limit: int | None = None) -> None:
        self.data = bytearray()
        self._limit = limit

    async def write(self, data: bytes) -> None:
        """Take the next bytes."""
        self.data += data
        if self._limit is not None:
            del self.data[: -self._limit]
