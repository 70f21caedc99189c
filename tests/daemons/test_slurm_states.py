"""Jobs on a real Slurm get the right states when the user, the administrator or a fault changes them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from tests.prefixed import Prefixed

from intercede.batch.backend import BatchBackend
from intercede.contract import (
    JobHandle,
    JobState,
    JobStatus,
    Resources,
    SchedulerError,
    SubmissionSpec,
)
from intercede.schedulers.slurm import SlurmScheduler

if TYPE_CHECKING:
    from tests.daemons.conftest import Daemons, Host

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(400)]
ON = Path(__file__).with_name("on.sh")
USER = "griduser"
GRIDS = {"22.05": {"HOST": "grid"}, "24.11": {"HOST": "gridtrixie", "RELEASE": "trixie"}}


class Login(Prefixed):
    """A transport that runs commands on a pretend host, as one of its users."""

    def __init__(self, host: Host) -> None:
        super().__init__(str(ON), host.name, USER)
        self.host = host


class Life:
    """One submission on a real Slurm, and the changes to it."""

    def __init__(self, host: Host, backend: BatchBackend) -> None:
        self.host, self.backend, self.handles = host, backend, list[JobHandle]()
        self.tag = secrets.token_hex(8)

    async def submit(self, script: str, copies: int = 1, wall_time_s: int | None = None) -> None:
        """Submit a script."""
        resources = Resources(wall_time_s=wall_time_s)
        spec = SubmissionSpec(executable="sh", arguments=("-c", script), resources=resources, tag=self.tag)
        submission = await self.backend.submit(spec, copies)
        self.handles = list(submission.handles.values())

    async def statuses(self) -> list[JobStatus]:
        """Return the statuses of all jobs."""
        told = await self.backend.status(self.handles)
        return [told[handle] for handle in self.handles]

    async def until(self, state: JobState, seconds: float = 60) -> list[JobStatus]:
        """Wait until each job is in a state, and return the statuses."""
        end = time.monotonic() + seconds
        statuses = await self.statuses()
        while any(each.state is not state for each in statuses):
            assert time.monotonic() < end, statuses
            statuses = await self.statuses()
        return statuses

    def admin(self, *command: str) -> str:
        """Run a command as the administrator."""
        ended = self.host.run(*command, user="root")
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def natives(self) -> list[str]:
        """Return Slurm's ids of the tasks."""
        lines = self.admin("squeue", "--noheader", "--array", "--user", USER, "--format=%i|%j").splitlines()
        submission_id = self.handles[0].job.partition(".")[0]
        return [line.partition("|")[0] for line in lines if submission_id in line]


@asynccontextmanager
async def open_life(host: Host, *arguments: str) -> AsyncGenerator[Life]:
    """Yield a submission on a host's Slurm, and purge its jobs at the end."""
    backend = BatchBackend(Login(host), SlurmScheduler(arguments), min_poll_interval=0.3)
    async with backend:
        life = Life(host, backend)
        try:
            yield life
        finally:
            await backend.kill(life.handles)
            for _ in range(20):
                if all(outcome.ok for outcome in (await backend.purge(life.handles)).values()):
                    break
                await asyncio.sleep(0.5)


@pytest.fixture(params=GRIDS)
def host(request: pytest.FixtureRequest, daemons: Daemons) -> Host:
    """Return a host with Slurm and accounting, once for each version."""
    return daemons.up("slurm", ACCT="1", **GRIDS[request.param]).host


@pytest_asyncio.fixture
async def life(host: Host) -> AsyncIterator[Life]:
    """Return a submission on that host."""
    async with open_life(host) as begun:
        yield begun


@pytest.mark.asyncio
async def test_held_jobs_are_held_until_they_are_released(host: Host) -> None:
    """Jobs that the user holds are HELD, and run after they are released."""
    async with open_life(host, "--hold") as life:
        await life.submit("true", 3)
        await life.until(JobState.HELD)
        life.admin("scontrol", "release", ",".join(life.natives()))
        await life.until(JobState.DONE)


@pytest.mark.asyncio
async def test_a_requeued_job_runs_again(host: Host) -> None:
    """A job that is requeued while it runs ends with its second attempt."""
    async with open_life(host, "--requeue") as life:
        await life.submit("[ -e ../again ] && exit 3; : >../again; sleep 60")
        await life.until(JobState.RUNNING)
        await asyncio.sleep(1)
        life.admin("scontrol", "requeue", *life.natives())
        (status,) = await life.until(JobState.FAILED, 200)
        assert (status.exit_code, status.reason) == (3, "exit_code")


@pytest.mark.asyncio
async def test_a_requeued_and_held_job_is_held(host: Host) -> None:
    """A job that is requeued and held is HELD, whatever record its first attempt has."""
    async with open_life(host, "--requeue") as life:
        await life.submit("sleep 60")
        await life.until(JobState.RUNNING)
        life.admin("scontrol", "requeuehold", *life.natives())
        end = time.monotonic() + 30
        while "held state" not in life.admin("squeue", "--noheader", "--user", USER, "--format=%r"):
            assert time.monotonic() < end
        (status,) = await life.statuses()
        assert status.state in {JobState.HELD, JobState.RUNNING}  # RUNNING with the record of a signal
        outcome = await life.backend.kill(life.handles)
        assert all(each.ok for each in outcome.values())
        await life.until(JobState.KILLED)


@pytest.mark.asyncio
async def test_a_lost_node_fails_its_jobs(host: Host, life: Life) -> None:
    """The jobs of a node that is down are FAILED(node_failure), whatever their wrapper has written."""
    await life.submit("sleep 60", 2)
    await life.until(JobState.RUNNING)
    node = life.admin("sinfo", "--noheader", "--format=%n").split()[0]
    life.admin("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    try:
        statuses = await life.until(JobState.FAILED)
    finally:
        host.run("scontrol", "update", f"NodeName={node}", "State=RESUME", user="root")  # the node may be back already
    assert {status.reason for status in statuses} == {"node_failure"}


@pytest.mark.asyncio
async def test_a_job_with_a_killed_wrapper_has_failed(life: Life) -> None:
    """A job whose wrapper was killed has no record, and Slurm knows the signal."""
    await life.submit('kill -s KILL "$SLURM_TASK_PID"; sleep 60')
    (status,) = await life.until(JobState.FAILED)
    assert (status.reason, status.signal) == ("signal", 9)


@pytest.mark.asyncio
async def test_a_copy_whose_wrapper_is_gone_was_not_launched(host: Host) -> None:
    """A copy whose wrapper is missing is FAILED(launch_failure) without an exit code."""
    async with open_life(host, "--hold") as life:
        await life.submit("true", 2)
        submission_id = life.handles[0].job.partition(".")[0]
        life.admin("find", f"/home/{USER}", "-path", f"*/{submission_id}/wrapper", "-delete")
        life.admin("scontrol", "release", ",".join(life.natives()))
        statuses = await life.until(JobState.FAILED)
        assert {(each.reason, each.exit_code) for each in statuses} == {("launch_failure", None)}


@pytest.mark.asyncio
async def test_a_job_with_another_name_is_left_alone(life: Life) -> None:
    """A job with the number and another name is neither reported nor killed, as if Slurm had reused the number."""
    await life.submit("sleep 60")
    await life.until(JobState.RUNNING)
    (native,) = life.natives()
    life.admin("scontrol", "update", f"JobId={native}", "JobName=theirs")
    (status,) = await life.statuses()
    await life.backend.kill(life.handles)
    there = life.admin("squeue", "--noheader", f"--jobs={native}", "--format=%T")
    life.admin("scancel", native)
    assert (status.state, there) == (JobState.UNKNOWN, "RUNNING\n")


@pytest.mark.asyncio
async def test_a_job_beyond_its_time_limit_is_a_timeout(life: Life) -> None:
    """A job beyond its time limit has the reason timeout, and not the signal that Slurm sent."""
    await life.submit("sleep 300", wall_time_s=30)
    (status,) = await life.until(JobState.FAILED, 200)
    assert status.reason == "timeout"


@pytest.mark.asyncio
@pytest.mark.parametrize("by_us", [True, False])
async def test_a_job_cancelled_before_its_start_is_killed(host: Host, by_us: bool) -> None:
    """A job that is cancelled before its start is KILLED, by the user or by the site."""
    async with open_life(host, "--hold") as life:
        await life.submit("true", 3)
        await life.until(JobState.HELD)
        if by_us:
            outcomes = await life.backend.kill(life.handles)
            assert all(outcome.ok for outcome in outcomes.values())
        else:
            life.admin("scancel", life.natives()[0].partition("_")[0])
        statuses = await life.until(JobState.KILLED)
        assert {each.reason for each in statuses} == {"killed_by_user" if by_us else "killed_by_site"}


@pytest.mark.asyncio
async def test_killed_tasks_of_a_held_array_are_killed(host: Host) -> None:
    """Tasks that are killed before their start are KILLED though Slurm forgets them, and the others stay HELD."""
    async with open_life(host, "--hold") as life:
        await life.submit("true", 4)
        await life.until(JobState.HELD)
        outcomes = await life.backend.kill(life.handles[1:3])
        assert all(outcome.ok for outcome in outcomes.values())
        states = [status.state for status in await life.statuses()]
        assert states == [JobState.HELD, JobState.KILLED, JobState.KILLED, JobState.HELD]


@pytest.mark.asyncio
async def test_a_submission_without_an_answer_is_found_once(host: Host, life: Life) -> None:
    """A submission that Slurm queues while its controller hangs is found once, or never begins."""
    begun = f"/home/{USER}/begun-{life.tag}"
    with host.stopped("slurmctld"), pytest.raises(SchedulerError, match="find them by their tag") as caught:
        await life.submit(f"echo >>{begun}", 3)
    assert not caught.value.retryable
    life.handles = list(await life.backend.find(life.tag))
    end = time.monotonic() + 30
    while life.admin("squeue", "--noheader", "--user", USER):  # the submission may reach Slurm only now
        assert time.monotonic() < end
        assert list(await life.backend.find(life.tag)) == life.handles
    await life.until(JobState.DONE)
    assert len({handle.job for handle in life.handles}) in {0, 3}
    assert len(host.run("cat", begun).stdout) == len(life.handles)
