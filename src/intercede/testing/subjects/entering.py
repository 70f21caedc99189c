"""Entering subjects, many at a time: a server drops logins when many come at once."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import TypeVar
from weakref import WeakKeyDictionary

from intercede.contract.errors import TransportError

__all__ = ["Door", "Semaphores", "entered"]

_PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before a way there that failed, and may be tried again, is."""
_FEW = 2
"""So many enter at a time once a way there has failed."""

_T = TypeVar("_T")
_E = TypeVar("_E", bound=AbstractAsyncContextManager[object])


class Semaphores:
    """Admit at most N at a time on each event loop: a semaphore of asyncio belongs to one loop only."""

    def __init__(self, many: int) -> None:
        self._many = many
        self._of: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    @property
    def here(self) -> asyncio.Semaphore:
        """That of the running loop."""
        return self._of.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self._many))


class Door:
    """Lets everybody in at once, until a way there fails that may be tried again: from then on, a few at a time.

    A server drops logins when many come at once. The checks of a run share one. If all tries failed and nobody was ever let
    in, it is shut: who comes later tries once.
    """

    def __init__(self) -> None:
        self._is_wide = True
        self._is_shut = self._has_let_in = False
        self._few = Semaphores(_FEW)

    async def enter(self, attempt: Callable[[], Awaitable[_T]], scale: float) -> _T:
        """Try to enter, and again after a pause if that makes sense.

        Args:
            attempt: Tries once.
            scale: Multiplies the pauses.

        Raises:
            TransportError: It makes no sense to try again, or all tries failed.
        """
        for pause in () if self._is_shut else _PAUSES:
            try:
                return await self._enter_once(attempt)
            except TransportError as error:
                if not error.retryable:
                    raise
            self._is_wide = False
            await asyncio.sleep(pause * scale)
        self._is_shut = not self._has_let_in  # unless this last try is let in
        return await self._enter_once(attempt)

    async def _enter_once(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        async with nullcontext() if self._is_wide else self._few.here:
            entered = await attempt()
        self._has_let_in, self._is_shut = True, False
        return entered


@asynccontextmanager
async def entered(make: Callable[[], _E]) -> AsyncGenerator[_E]:
    """Enter a subject in a child process, which has a door of its own, and leave it afterwards.

    Args:
        make: Makes a fresh one for each try.

    Raises:
        TransportError: It makes no sense to try again, or all tries failed.
    """

    async def attempt() -> _E:
        made = make()
        await made.__aenter__()
        return made

    made = await Door().enter(attempt, 1)
    async with AsyncExitStack() as leaving:
        leaving.push_async_exit(made)
        yield made
