"""Callers of status share commands without getting old answers, and cancelling one caller leaves the others."""

import asyncio
from collections.abc import Collection, Mapping

import pytest

from intercede.batch.coalescer import StatusCoalescer
from intercede.batch.remote.layout import Job
from intercede.contract.errors import NotOpenError, TransportError
from intercede.contract.job import JobState, JobStatus

JOBS = [Job("a" * 13, number) for number in range(5)]
RUNNING = JobStatus(state=JobState.RUNNING)


class Remote:
    """Counts the commands, and ends them when the test says."""

    def __init__(self) -> None:
        self.begun: list[set[Job]] = []
        self.cancelled = 0
        self.go = asyncio.Event()
        self.error: Exception | None = None
        self.lists = True

    async def ask(self, jobs: Collection[Job]) -> tuple[Mapping[Job, JobStatus], bool]:
        """Answer when the test says, and whether the scheduler was asked for a listing."""
        self.begun.append(set(jobs))
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return dict.fromkeys(jobs, RUNNING), self.lists


async def settle() -> None:
    """Let each task run as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_callers_share_a_command_that_has_not_begun() -> None:
    """Callers before a command begins share it, and later callers share the next one."""
    far = Remote()
    polls = StatusCoalescer(far.ask, 0)
    first = [asyncio.create_task(polls.status([job])) for job in JOBS[:2]]
    await settle()
    later = [asyncio.create_task(polls.status([job])) for job in JOBS[2:]]
    await settle()
    assert far.begun == [set(JOBS[:2])]
    far.go.set()
    assert [set(answer) for answer in await asyncio.gather(*first, *later)] == [{job} for job in JOBS]
    assert far.begun == [set(JOBS[:2]), set(JOBS[2:])]


@pytest.mark.asyncio
async def test_cancelling_one_caller_leaves_the_others() -> None:
    """A command is cancelled only with its last caller, and the next caller starts a new one."""
    far = Remote()
    polls = StatusCoalescer(far.ask, 0)
    tasks = [asyncio.create_task(polls.status(JOBS)) for _ in range(2)]
    await settle()
    tasks[0].cancel()
    await settle()
    assert far.cancelled == 0
    tasks[1].cancel()
    await asyncio.wait(tasks)
    assert far.cancelled == 1
    far.go.set()
    assert set(await polls.status(JOBS)) == set(JOBS)
    assert len(far.begun) == 2


@pytest.mark.asyncio
async def test_the_minimum_interval_makes_callers_wait() -> None:
    """The second command begins at the earliest one minimum interval after the first."""
    far = Remote()
    far.go.set()
    polls = StatusCoalescer(far.ask, 0.1)
    begun = asyncio.get_running_loop().time()
    await polls.status(JOBS)
    assert asyncio.get_running_loop().time() - begun < 0.1
    await polls.status(JOBS)
    assert asyncio.get_running_loop().time() - begun >= 0.1


@pytest.mark.asyncio
async def test_the_minimum_interval_counts_between_listings() -> None:
    """A command that needed no listing delays no later command."""
    far = Remote()
    far.go.set()
    far.lists = False
    polls = StatusCoalescer(far.ask, 3600)
    async with asyncio.timeout(60):
        for _ in range(10):
            await polls.status(JOBS)
    assert len(far.begun) == 10


@pytest.mark.asyncio
async def test_an_error_reaches_each_caller() -> None:
    """An error of a command is raised for each of its callers, and the next command is a new one."""
    far = Remote()
    far.go.set()
    far.error = TransportError("no way")
    polls = StatusCoalescer(far.ask, 0)
    for error in await asyncio.gather(*(polls.status(JOBS) for _ in range(3)), return_exceptions=True):
        assert error is far.error
    far.error = None
    assert set(await polls.status(JOBS)) == set(JOBS)


@pytest.mark.asyncio
async def test_closing_cancels_the_running_command() -> None:
    """Closing cancels the running command, its caller gets NotOpenError, and a cancelled caller stays cancelled."""
    far = Remote()
    polls = StatusCoalescer(far.ask, 0)
    task, cancelled = (asyncio.create_task(polls.status(JOBS)) for _ in range(2))
    await settle()
    cancelled.cancel()
    await polls.close()
    with pytest.raises(NotOpenError):
        await task
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert far.cancelled == 1
