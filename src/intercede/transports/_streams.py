"""Helpers that both transports share: encode argv, buffer a stream, close a source, wait through a cancellation."""

import asyncio
import contextlib
from collections.abc import AsyncIterable, Sequence
from typing import Protocol, TypeVar, runtime_checkable

from intercede.contract.errors import InvalidSpecError

__all__ = ["STDERR_LIMIT", "TailBuffer", "close_source", "encode_argv", "is_being_cancelled", "wait_uninterrupted"]

STDERR_LIMIT = 2**20
T = TypeVar("T")


def encode_argv(argv: Sequence[str]) -> list[bytes]:
    """Return the arguments of a command as bytes: always UTF-8, whatever the local locale is.

    Raises:
        InvalidSpecError: argv is empty, or an argument holds a NUL or a lone surrogate.
    """
    try:
        words = [argument.encode("utf-8", "surrogateescape") for argument in argv]
    except UnicodeEncodeError as error:
        raise InvalidSpecError(f"an argument is not text: {error}", field="argv", value=argv) from None
    if not words:
        raise InvalidSpecError("argv is empty: a command needs at least its name", field="argv", value=argv)
    for word in words:
        if b"\0" in word:
            raise InvalidSpecError(f"an argument cannot hold a NUL: {word!r}", field="argv", value=argv)
    return words


def is_being_cancelled() -> bool:
    """Return whether the current task itself is being cancelled, and not only what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def wait_uninterrupted(future: asyncio.Future[T], seconds: float) -> None:
    """Wait at most this many seconds for the future, and ignore cancellation: the caller is already cleaning up."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not future.done() and loop.time() < deadline:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({future}, timeout=deadline - loop.time())


@runtime_checkable
class _Closable(Protocol):
    async def aclose(self) -> None: ...


async def close_source(source: AsyncIterable[bytes] | None) -> None:
    """Close an iterator that will not be read any more, if it can be closed."""
    if isinstance(source, _Closable):
        await source.aclose()


class TailBuffer:
    """A sink that keeps the bytes that it gets: the last ``limit`` bytes, or all of them without a limit."""

    def __init__(self, limit: int | None = None) -> None:
        self.data = bytearray()
        self._limit = limit

    async def write(self, data: bytes) -> None:
        """Append the next bytes."""
        self.data += data
        if self._limit is not None:
            del self.data[: -self._limit]
