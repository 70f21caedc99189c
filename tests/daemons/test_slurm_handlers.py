"""Payloads on a real Slurm may handle the signal that ends them.

Slurm's state counts, with their exit code beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.daemons.test_slurm_states import Life, open_life

from intercede.contract import CopyVars, JobState, JobStatus, Resources, SubmissionSpec

if TYPE_CHECKING:
    from tests.daemons.conftest import Daemons, Host

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(400)]
SITES = {
    "22.05+accounting": {"HOST": "grid", "ACCT": "1"},
    "22.05": {"HOST": "gridplain"},
    "24.11+accounting": {"HOST": "gridtrixie", "RELEASE": "trixie", "ACCT": "1"},
    "24.11": {"HOST": "gridtrixieplain", "RELEASE": "trixie"},
}
FORGETFUL = {
    "accounting": {"HOST": "faults", "ACCT": "1", "MINJOBAGE": "10", "CPUS": "256"},
    "none": {"HOST": "gridplain", "MINJOBAGE": "2"},
}
CODES = (0, 3)
HANDLES = 'trap "exit $CODE" TERM; : >ready; while :; do sleep 0.1; done'
Told = list[tuple[JobState, str | None, int | None]]


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest, daemons: Daemons) -> Host:
    """Return a host with Slurm, once for each version, with and without accounting."""
    return daemons.up("slurm", **SITES[request.param]).host


async def begin(life: Life, script: str, times: int = 1, **resources: object) -> None:
    """Submit some copies for each code, and wait until they are ready."""
    spec = SubmissionSpec(
        executable="sh", arguments=("-c", script), resources=Resources.model_validate(resources), tag=life.tag
    )
    copies = [CopyVars(environment={"CODE": str(code)}) for code in CODES * times]
    life.handles = list((await life.backend.submit(spec, copies)).handles.values())
    await wait_for_files(life, "ready", len(copies))


async def wait_for_files(life: Life, name: str, count: int) -> None:
    """Wait until a number of copies have a file of this name."""
    submission_id, end = life.handles[0].job.partition(".")[0], time.monotonic() + 60
    looking = f"ls .intercede/{submission_id}/copies/*/work/{name} 2>/dev/null | wc -l"
    while int(life.host.run("sh", "-c", looking).stdout) < count:
        assert time.monotonic() < end
        await asyncio.sleep(0.2)


def pick_fields(statuses: list[JobStatus]) -> Told:
    """Return state, reason and exit code of each status."""
    return [(status.state, status.reason, status.exit_code) for status in statuses]


async def wait_for_ends(life: Life, seconds: float = 60) -> Told:
    """Wait until all jobs are final, and return the fields of their statuses."""
    end = time.monotonic() + seconds
    statuses = await life.statuses()
    while not all(status.state.final for status in statuses):
        assert time.monotonic() < end, statuses
        statuses = await life.statuses()
    return pick_fields(statuses)


def expect_all(state: JobState, reason: str, times: int = 1) -> Told:
    """Return the expected fields if all jobs have this state and reason, each with its own code."""
    return [(state, reason, code) for code in CODES * times]


MANY = 28
"""Half of the copies that the node runs at once. Slurm signals one process after the other, so that
some payloads end before their wrapper is signalled."""
BY_THEMSELVES: Told = [(JobState.DONE, None, 0), (JobState.FAILED, "exit_code", 3)]


@pytest.mark.asyncio
async def test_each_kind_of_end_has_its_reason(site: Host) -> None:
    """A job is killed by the user, by the site or by its time limit. One that signals itself ends by its exit code."""
    async with (
        open_life(site) as limited,
        open_life(site) as killed,
        open_life(site) as cancelled,
        open_life(site) as own,
    ):
        await begin(limited, HANDLES, 20, wall_time_s=30)
        await begin(killed, HANDLES)
        await begin(cancelled, HANDLES)
        await begin(own, 'trap : TERM; kill -s TERM 0; : >ready; exit "$CODE"')
        assert all(outcome.ok for outcome in (await killed.backend.kill(killed.handles)).values())
        cancelled.admin("scancel", *cancelled.natives())
        assert await wait_for_ends(killed) == expect_all(JobState.KILLED, "killed_by_user")
        assert await wait_for_ends(cancelled) == expect_all(JobState.KILLED, "killed_by_site")
        assert await wait_for_ends(own) == BY_THEMSELVES
        assert all(outcome.ok for outcome in (await own.backend.kill(own.handles)).values())
        assert pick_fields(await own.statuses()) == BY_THEMSELVES
        assert await wait_for_ends(limited, 150) == expect_all(JobState.FAILED, "timeout", 20)


@contextmanager
def run_urgent(host: Host) -> Generator[None]:
    """Run a job that needs the whole node, and preempts the jobs on it."""
    script = "sbatch --parsable --partition=urgent --exclusive --output=/dev/null --wrap='sleep 60'"
    job = host.run("sh", "-c", script).stdout.strip()
    try:
        yield
    finally:
        host.run("scancel", job)


@pytest.mark.asyncio
async def test_a_preempted_job_says_so(site: Host) -> None:
    """A job that Slurm cancels for a more urgent one is FAILED(preempted)."""
    async with open_life(site) as life:
        await begin(life, HANDLES, MANY, queue="cancelled")
        with run_urgent(site):
            assert await wait_for_ends(life) == expect_all(JobState.FAILED, "preempted", MANY)


@pytest.mark.asyncio
async def test_many_jobs_that_end_at_once_have_their_reason(site: Host) -> None:
    """Many jobs that are killed by the user or the site at once have that reason."""
    async with open_life(site) as killed, open_life(site) as cancelled:
        await begin(killed, HANDLES, MANY)
        await killed.backend.kill(killed.handles)
        assert await wait_for_ends(killed) == expect_all(JobState.KILLED, "killed_by_user", MANY)
        await begin(cancelled, HANDLES, MANY)
        cancelled.admin("scancel", *cancelled.natives())
        assert await wait_for_ends(cancelled) == expect_all(JobState.KILLED, "killed_by_site", MANY)


@pytest.mark.asyncio
async def test_a_preempted_and_requeued_job_runs_again(site: Host) -> None:
    """A job that saved its state and exited with 0 when it was preempted runs again, and its second end counts."""
    async with open_life(site, "--requeue") as life:
        await begin(life, f'[ ! -e ../again ] || exit "$((CODE + 1))"; : >../again; {HANDLES}', queue="requeued")
        with run_urgent(site):
            await life.until(JobState.QUEUED)
        life.admin("scontrol", "update", f"JobId={','.join(life.natives())}", "StartTime=now+5")
        assert await wait_for_ends(life, 200) == [(JobState.FAILED, "exit_code", code + 1) for code in CODES]


@pytest.mark.parametrize("accounting", FORGETFUL)
@pytest.mark.asyncio
async def test_an_end_that_squeue_has_forgotten(daemons: Daemons, accounting: str) -> None:
    """An end that squeue has forgotten is known from accounting. Without it, exit code 0 is lost and 3 is a failure."""
    host = daemons.up("slurm", **FORGETFUL[accounting]).host
    async with open_life(host) as life:
        await begin(life, HANDLES)
        natives = life.natives()
        life.admin("scancel", *natives)
        end = time.monotonic() + 120
        while host.run("squeue", "--noheader", "--states=all", f"--jobs={natives[0].partition('_')[0]},1").stdout:
            assert time.monotonic() < end
            await asyncio.sleep(1)
        if accounting == "accounting":
            assert await wait_for_ends(life) == expect_all(JobState.KILLED, "killed_by_site")
        else:
            assert pick_fields(await life.statuses()) == [
                (JobState.UNKNOWN, "lost", 0),
                (JobState.FAILED, "exit_code", 3),
            ]
