"""Sinks, iterators and an exception for the tests of transports."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable


class Sink:
    """Records the bytes that it gets, and can run a coroutine for each."""

    def __init__(self, act: Callable[[bytes], Awaitable[None]] | None = None) -> None:
        self.taken = bytearray()
        self.total = 0
        self._act = act

    async def write(self, data: bytes) -> None:
        """Keep the first mebibyte, count all bytes, and run the coroutine."""
        assert data
        self.taken += data[: 2**20 - len(self.taken)]
        self.total += len(data)
        if self._act is not None:
            await self._act(data)


class Source:
    """An iterator that records whether it was closed."""

    def __init__(self, chunk: bytes, count: int, *, wait: bool = False) -> None:
        self.given = 0
        self.closed = False
        self._chunk, self._count, self._wait = chunk, count, wait

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while self.given < self._count:
                self.given += 1
                yield self._chunk
            if self._wait:
                await asyncio.Event().wait()
        finally:
            self.closed = True


class CustomError(Exception):
    """An exception that no library raises."""
