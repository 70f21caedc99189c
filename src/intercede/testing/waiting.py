"""What the checks of a run do to one another: jobs wait in the queue behind others, and logins come all at once."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import TypeVar
from weakref import WeakKeyDictionary

from intercede.contract.errors import TransportError
from intercede.contract.job import JobHandle, JobState, JobStatus
from intercede.testing import bounded

__all__ = ["ADVICE", "Door", "Semaphores", "Traffic", "Wait", "entered", "in_queue"]

ADVICE = (
    "it waits in the queue: --intercede-timeout-scale=N (or auto) gives it more time, --intercede-jobs=N puts fewer "
    "jobs before it"
)
"""What to do about a job that never left the queue."""
_PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before a way there that failed, and may be tried again, is."""
_FEW = 2
"""So many enter at a time once a way there has failed."""
_STANDS = 120.0
"""Seconds without a job of the run that begins or ends, after which a queue stands still, and time counts again: twice as
long as the longest payload takes."""

_T = TypeVar("_T")
_E = TypeVar("_E", bound=AbstractAsyncContextManager[object])


def in_queue(status: JobStatus) -> bool:
    """Whether a job has not begun, and may."""
    return status.state is JobState.QUEUED or status.state is JobState.HELD


class Traffic:
    """When a job of a run was last seen to go on: to leave the queue, or to end. The checks of a run share one."""

    def __init__(self) -> None:
        self.moved = float("-inf")
        self._seen: dict[JobHandle, JobState] = {}

    def watch(self, statuses: Mapping[JobHandle, JobStatus]) -> None:
        """Take notice of what was told."""
        for handle, status in statuses.items():
            if not in_queue(status) and self._seen.get(handle) is not status.state:
                self._seen[handle] = status.state
                self.moved = time.monotonic()


class Wait:
    """A wait for some jobs.

    Args:
        traffic: Of the run.
        seconds: How long it may take, scaled, without what is spent in the queue.
        scale: Multiplies the time after which a queue stands still.
    """

    def __init__(self, traffic: Traffic, seconds: float, scale: float) -> None:
        self._traffic, self._seconds, self._stands = traffic, seconds, _STANDS * scale
        self._looked = time.monotonic()
        self._waited = 0.0
        self.queued = 0.0
        """Seconds so far that the jobs spent in a queue that went on."""

    def is_over(self, statuses: Mapping[JobHandle, JobStatus]) -> bool:
        """Take notice of what was told, and say whether the time is up."""
        self._traffic.watch(statuses)
        now = time.monotonic()
        unfinished = [each for each in statuses.values() if not each.state.final]
        goes_on = now - self._traffic.moved < self._stands
        if goes_on and unfinished and all(map(in_queue, unfinished)):
            self.queued += now - self._looked
        else:
            self._waited += now - self._looked
        self._looked = now
        return self._waited > self._seconds * bounded.crowding()


class Semaphores:
    """Let so many in at a time, on each event loop: one of asyncio's belongs to the first loop on which anybody has to wait."""

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
