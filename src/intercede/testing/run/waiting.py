"""Waiting for jobs, some of which wait in the queue behind jobs of other checks."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from intercede.contract.job import JobHandle, JobState, JobStatus
from intercede.testing.isolation import timeouts

__all__ = ["ADVICE", "QueueActivity", "Wait", "is_in_queue", "poll"]

ADVICE = "it waits in the queue"
"""What an observation says of a job that did not leave the queue in time. It names no option: the symptom of a known
failure is the same for every front end."""
_STANDS = 120.0
"""Seconds without a job of the run that begins or ends, after which a queue stands still, and time counts again: twice as
long as the longest payload takes."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.3

_S = TypeVar("_S", bound=Mapping[JobHandle, JobStatus])


def is_in_queue(status: JobStatus) -> bool:
    """Whether a job has not begun, and may."""
    return status.state is JobState.QUEUED or status.state is JobState.HELD


class QueueActivity:
    """When a job of a run was last seen to go on: to leave the queue, or to end. The checks of a run share one."""

    def __init__(self) -> None:
        self.moved = float("-inf")
        self._seen: dict[JobHandle, JobState] = {}

    def watch(self, statuses: Mapping[JobHandle, JobStatus]) -> None:
        """Take notice of what was told."""
        for handle, status in statuses.items():
            if not is_in_queue(status) and self._seen.get(handle) is not status.state:
                self._seen[handle] = status.state
                self.moved = time.monotonic()


class Wait:
    """A wait for some jobs.

    Args:
        traffic: Of the run.
        seconds: How long it may take, scaled, without what is spent in the queue.
        scale: Multiplies the time after which a queue stands still.
    """

    def __init__(self, traffic: QueueActivity, seconds: float, scale: float) -> None:
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
        if goes_on and unfinished and all(map(is_in_queue, unfinished)):
            self.queued += now - self._looked
        else:
            self._waited += now - self._looked
        self._looked = now
        return self._waited > self._seconds * timeouts.get_load_factor()


async def poll(ask: Callable[[], Awaitable[_S]], is_enough: Callable[[_S], bool], waiting: Wait) -> _S:
    """Ask for statuses, with growing pauses, until they are enough or the time is up, and return the last ones."""
    pause = _FIRST_PAUSE
    while True:
        statuses = await ask()
        if is_enough(statuses) or waiting.is_over(statuses):
            return statuses
        await asyncio.sleep(pause)
        pause = min(1.5 * pause, _LONGEST_PAUSE)
