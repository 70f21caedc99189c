"""Status requests of many callers become one command.

Callers share an answer only if they asked before its command began, so no answer is older than its question. The minimum
interval makes callers wait. It never answers from memory.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

from intercede.batch.remote.layout import Job
from intercede.contract.errors import NotOpenError
from intercede.contract.job import JobStatus

__all__ = ["StatusCoalescer"]

_Ask = Callable[[Collection[Job]], Awaitable[tuple[Mapping[Job, JobStatus], bool]]]


class _Round:
    """One command to come: who asked, and what for."""

    def __init__(self) -> None:
        self.jobs: set[Job] = set()
        self.waiting = 0
        self.task: asyncio.Task[Mapping[Job, JobStatus]] | None = None


class StatusCoalescer:
    """Asks for many callers at a time: one command after the other.

    Args:
        ask: The command; returns the answer, and whether the scheduler was asked for it.
        min_interval: Minimum number of seconds between the starts of two commands, if the first asked the scheduler.
    """

    def __init__(self, ask: _Ask, min_interval: float) -> None:
        self._ask = ask
        self._min_interval = min_interval
        self._begun: float | None = None
        self._one_at_a_time = asyncio.Lock()
        self._next: _Round | None = None
        self._closed = False
        self._tasks: set[asyncio.Task[Mapping[Job, JobStatus]]] = set()

    async def status(self, jobs: Collection[Job]) -> Mapping[Job, JobStatus]:
        """Wait for a command that begins after this call, and return its answer about these.

        Cancelling ends the command only where nobody else waits for it.

        Raises:
            NotOpenError: They are closed, or were while this waited.
        """
        round_ = self._joined(jobs)
        task = self._task_of(round_)
        round_.waiting += 1
        try:
            answer = await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._closed and not _is_cancelled():
                raise NotOpenError("the backend was left while its status was asked") from None
            if round_.waiting == 1:
                await self._end(round_, task)
            raise
        finally:
            round_.waiting -= 1
        return {job: answer[job] for job in jobs}

    async def close(self) -> None:
        """End every command that is still out."""
        self._closed = True
        self._next = None
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _joined(self, jobs: Collection[Job]) -> _Round:
        self._next = self._next or _Round()
        self._next.jobs.update(jobs)
        return self._next

    def _task_of(self, round_: _Round) -> asyncio.Task[Mapping[Job, JobStatus]]:
        if round_.task is None:
            round_.task = asyncio.create_task(self._run(round_))
            self._tasks.add(round_.task)
            round_.task.add_done_callback(self._tasks.discard)
            round_.task.add_done_callback(_seen)
        return round_.task

    async def _run(self, round_: _Round) -> Mapping[Job, JobStatus]:
        async with self._one_at_a_time:
            now = asyncio.get_running_loop().time
            if self._begun is not None:
                await asyncio.sleep(max(0.0, self._begun + self._min_interval - now()))
            before, self._begun = self._begun, now()
            if self._next is round_:
                self._next = None  # who asks from now on waits for the next one
            answer, listed = await self._ask(round_.jobs)
            if not listed:
                self._begun = before  # records alone cost the scheduler nothing
            return answer

    async def _end(self, round_: _Round, task: asyncio.Task[Mapping[Job, JobStatus]]) -> None:
        if self._next is round_:
            self._next = None
        task.cancel()
        await asyncio.wait({task})


def _is_cancelled() -> bool:
    """Return whether the running task itself is being cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _seen(task: asyncio.Task[Mapping[Job, JobStatus]]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waited has it already; nobody may have
