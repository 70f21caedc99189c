"""Wait for jobs, with a time limit that excludes the time in the queue behind jobs of other checks."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from intercede.contract.job import JobHandle, JobState, JobStatus
from intercede.testing.isolation import timeouts

__all__ = ["IN_QUEUE", "QueueActivity", "Wait", "is_in_queue", "poll"]

IN_QUEUE = "it waits in the queue"
"""The part of an observation that says that a job did not leave the queue in time. It names no option, so that the
symptom of a known failure is the same for every front end."""
_STALL_SECONDS = 120.0
"""The seconds after which the queue counts as stalled if no job of the run starts or ends. Time in a stalled queue
counts towards time limits. The value is twice the duration of the longest payload."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.3

_S = TypeVar("_S", bound=Mapping[JobHandle, JobStatus])


def is_in_queue(status: JobStatus) -> bool:
    """Return whether a job is in the queue: its state is QUEUED or HELD."""
    return status.state is JobState.QUEUED or status.state is JobState.HELD


class QueueActivity:
    """Remembers when a job of the run last left the queue or ended. All checks of a run share one object."""

    def __init__(self) -> None:
        self.last_progress = float("-inf")
        """The time when a job was last seen to leave the queue or to end, by the monotonic clock."""
        self._seen: dict[JobHandle, JobState] = {}

    def watch(self, statuses: Mapping[JobHandle, JobStatus]) -> None:
        """Set ``last_progress`` to the current time if the statuses show that a job has left the queue or ended."""
        for handle, status in statuses.items():
            if not is_in_queue(status) and self._seen.get(handle) is not status.state:
                self._seen[handle] = status.state
                self.last_progress = time.monotonic()


class Wait:
    """A wait for jobs, with a time limit.

    Args:
        activity: The activity of the queue.
        seconds: The time limit. It excludes time in a queue that makes progress.
        scale: The factor for the time after which a queue counts as stalled.
    """

    def __init__(self, activity: QueueActivity, seconds: float, scale: float) -> None:
        self._activity, self._seconds, self._stall_seconds = activity, seconds, _STALL_SECONDS * scale
        self._last_poll = time.monotonic()
        self._waited = 0.0
        self.queue_seconds = 0.0
        """The seconds during which every unfinished job of the wait was in a queue that makes progress."""

    def is_over(self, statuses: Mapping[JobHandle, JobStatus]) -> bool:
        """Take the statuses of a poll into account, and return whether the time is up."""
        self._activity.watch(statuses)
        now = time.monotonic()
        unfinished = [each for each in statuses.values() if not each.state.final]
        makes_progress = now - self._activity.last_progress < self._stall_seconds
        if makes_progress and unfinished and all(map(is_in_queue, unfinished)):
            self.queue_seconds += now - self._last_poll
        else:
            self._waited += now - self._last_poll
        self._last_poll = now
        return self._waited > self._seconds * timeouts.get_load_factor()


async def poll(ask: Callable[[], Awaitable[_S]], is_enough: Callable[[_S], bool], waiting: Wait) -> _S:
    """Ask for statuses again and again until they meet a condition or the time is up. Return the last statuses.

    The pauses between the queries grow.
    """
    pause = _FIRST_PAUSE
    while True:
        statuses = await ask()
        if is_enough(statuses) or waiting.is_over(statuses):
            return statuses
        await asyncio.sleep(pause)
        pause = min(1.5 * pause, _LONGEST_PAUSE)
