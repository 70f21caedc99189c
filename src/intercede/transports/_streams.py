"""Helpers that both transports share: the limit of stderr, and a function that closes an iterator."""

from collections.abc import AsyncIterable
from typing import Protocol, runtime_checkable

__all__ = ["STDERR_LIMIT", "close_source"]

STDERR_LIMIT = 2**20
"""The number of bytes of stderr that a result keeps."""


@runtime_checkable
class _Closable(Protocol):
    async def aclose(self) -> None: ...


async def close_source(source: AsyncIterable[bytes] | None) -> None:
    """Close an iterator that will not be read any more, if it can be closed."""
    if isinstance(source, _Closable):
        await source.aclose()
