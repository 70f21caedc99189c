"""Coalesce the status requests of many callers into one command.

Callers share an answer only if all of them asked before the command began, so no answer is older than a request for it.
During the minimum interval between two commands, callers wait. No answer is ever cached.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from intercede.batch.remote.layout import Job
from intercede.contract.errors import NotOpenError
from intercede.contract.job import JobStatus

__all__ = ["StatusCoalescer"]

_Ask = Callable[[Collection[Job]], Awaitable[tuple[Mapping[Job, JobStatus], bool]]]


class _Round:
    """The next status command: the jobs to ask about, and the number of callers that wait for the answer."""

    def __init__(self) -> None:
        self.jobs: set[Job] = set()
        self.waiting = 0
        self.task: asyncio.Task[Mapping[Job, JobStatus]] | None = None


class StatusCoalescer:
    """Runs one status command after another, each for all callers that wait when it begins.

    Args:
        ask: Runs a command about some jobs. It returns the statuses, and whether the scheduler was asked for them.
        min_interval: The minimum number of seconds between the starts of two commands, if the first one asked the
            scheduler.
    """

    def __init__(self, ask: _Ask, min_interval: float) -> None:
        self._ask = ask
        self._min_interval = min_interval
        self._last_start: float | None = None
        self._one_at_a_time = asyncio.Lock()
        self._next: _Round | None = None
        self._closed = False
        self._tasks: set[asyncio.Task[Mapping[Job, JobStatus]]] = set()

    async def status(self, jobs: Collection[Job]) -> Mapping[Job, JobStatus]:
        """Return the statuses of the given jobs, as read by a command that begins after this call.

        If the caller is cancelled, the command is cancelled too, unless another caller waits for it.

        Raises:
            NotOpenError: The backend was left before the command ended.
        """
        round_ = self._join_round(jobs)
        task = self._start_task(round_)
        round_.waiting += 1
        try:
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._closed and not _is_cancelled():
                raise NotOpenError("the backend was left while a status request was running") from None
            if round_.waiting == 1:
                await self._cancel_round(round_, task)
            raise
        finally:
            round_.waiting -= 1
        return {job: answer[job] for job in jobs}

    async def close(self) -> None:
        """Cancel every command that is waiting or running. Callers that wait for a command get a NotOpenError."""
        self._closed = True
        self._next = None
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _join_round(self, jobs: Collection[Job]) -> _Round:
        self._next = self._next or _Round()
        self._next.jobs.update(jobs)
        return self._next

    def _start_task(self, round_: _Round) -> asyncio.Task[Mapping[Job, JobStatus]]:
        if round_.task is None:
            round_.task = asyncio.create_task(self._run(round_))
            self._tasks.add(round_.task)
            round_.task.add_done_callback(self._tasks.discard)
            round_.task.add_done_callback(_retrieve_exception)
        return round_.task

    async def _run(self, round_: _Round) -> Mapping[Job, JobStatus]:
        async with self._one_at_a_time:
            now = asyncio.get_running_loop().time
            if self._last_start is not None:
                await asyncio.sleep(max(0.0, self._last_start + self._min_interval - now()))
            before, self._last_start = self._last_start, now()
            if self._next is round_:
                self._next = None  # callers that ask from now on wait for the next command
            answer, listed = await self._ask(round_.jobs)
            if not listed:
                self._last_start = before  # a command that did not ask the scheduler starts no minimum interval
            return answer

    async def _cancel_round(self, round_: _Round, task: asyncio.Task[Mapping[Job, JobStatus]]) -> None:
        if self._next is round_:
            self._next = None
        task.cancel()
        await asyncio.wait({task})


def _is_cancelled() -> bool:
    """Return whether the current task itself is being cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _retrieve_exception(task: asyncio.Task[Mapping[Job, JobStatus]]) -> None:
    if not task.cancelled():
        # Callers that waited for the task have raised the exception. If no caller waited, asyncio would warn that the
        # exception was never retrieved.
        task.exception()
