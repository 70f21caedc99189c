"""Enter subjects, many at a time: a server drops logins if many come at once."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import TypeVar
from weakref import WeakKeyDictionary

from intercede.contract.errors import TransportError

__all__ = ["LoginThrottle", "Semaphores", "open_plugin"]

_PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further attempt to enter a subject."""
_FEW = 2
"""The number of subjects that are entered at a time after a login has failed."""

_T = TypeVar("_T")
_E = TypeVar("_E", bound=AbstractAsyncContextManager[object])


class Semaphores:
    """One semaphore for each event loop, because a semaphore of asyncio belongs to a single loop.

    Args:
        permits: How many tasks of a loop may hold its semaphore at a time.
    """

    def __init__(self, permits: int) -> None:
        self._permits = permits
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()

    @property
    def here(self) -> asyncio.Semaphore:
        """The semaphore of the running loop."""
        return self._by_loop.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self._permits))


class LoginThrottle:
    """Limits how many subjects are entered at a time, after the first failure of a login that may be retried.

    The checks of a run share one throttle. If a check has used all its attempts, and no login has ever succeeded, each
    later check tries once.
    """

    def __init__(self) -> None:
        self._is_limited = self._is_hopeless = self._has_succeeded = False
        self._few = Semaphores(_FEW)

    async def enter(self, attempt: Callable[[], Awaitable[_T]], scale: float) -> _T:
        """Enter a subject, in several attempts with pauses if need be.

        Args:
            attempt: Makes one attempt.
            scale: Multiplies the pauses.

        Raises:
            TransportError: Every attempt failed, or one failed with an error that is not retryable.
        """
        for pause in () if self._is_hopeless else _PAUSES:
            try:
                return await self._enter_once(attempt)
            except TransportError as error:
                if not error.retryable:
                    raise
            self._is_limited = True
            await asyncio.sleep(pause * scale)
        self._is_hopeless = not self._has_succeeded  # this holds until a login succeeds
        return await self._enter_once(attempt)

    async def _enter_once(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        async with self._few.here if self._is_limited else nullcontext():
            entered = await attempt()
        self._has_succeeded, self._is_hopeless = True, False
        return entered


@asynccontextmanager
async def open_plugin(make: Callable[[], _E]) -> AsyncGenerator[_E]:
    """Enter a subject in a child process, in several attempts if need be, and leave it afterwards.

    Args:
        make: Makes a new object for each attempt.

    Raises:
        TransportError: Every attempt failed, or one failed with an error that is not retryable.
    """

    async def attempt() -> _E:
        made = make()
        await made.__aenter__()
        return made

    made = await LoginThrottle().enter(attempt, 1)
    async with AsyncExitStack() as leaving:
        leaving.push_async_exit(made)
        yield made
