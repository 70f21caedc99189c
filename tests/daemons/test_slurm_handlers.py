"""Payloads that handle the signal that is to end them, on a real Slurm: its word counts, and their exit code stands beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.daemons.test_slurm_states import Life, living

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
    """A host with Slurm of each version, with accounting and without."""
    return daemons.up("slurm", **SITES[request.param]).host


async def begin(life: Life, script: str, times: int = 1, **resources: object) -> None:
    """Submit a copy for each code, some times, and wait until they are ready."""
    spec = SubmissionSpec(
        executable="sh", arguments=("-c", script), resources=Resources.model_validate(resources), tag=life.tag
    )
    copies = [CopyVars(environment={"CODE": str(code)}) for code in CODES * times]
    life.handles = list((await life.backend.submit(spec, copies)).handles.values())
    await wait_for_files(life, "ready", len(copies))


async def wait_for_files(life: Life, name: str, count: int) -> None:
    """Wait until so many copies have such a file."""
    submission_id, end = life.handles[0].job.partition(".")[0], time.monotonic() + 60
    looking = f"ls .intercede/{submission_id}/copies/*/work/{name} 2>/dev/null | wc -l"
    while int(life.host.run("sh", "-c", looking).stdout) < count:
        assert time.monotonic() < end
        await asyncio.sleep(0.2)


def told(statuses: list[JobStatus]) -> Told:
    """Take what counts."""
    return [(status.state, status.reason, status.exit_code) for status in statuses]


async def ended(life: Life, seconds: float = 60) -> Told:
    """Wait for the end of each."""
    end = time.monotonic() + seconds
    statuses = await life.statuses()
    while not all(status.state.final for status in statuses):
        assert time.monotonic() < end, statuses
        statuses = await life.statuses()
    return told(statuses)


def all_told(state: JobState, reason: str, times: int = 1) -> Told:
    """Return what is to be told where the codes stand beside another reason."""
    return [(state, reason, code) for code in CODES * times]


MANY = 28
"""Times two: as many as the node runs at once. Slurm signals one process after the other: some payloads end before their wrapper is signalled."""
BY_THEMSELVES: Told = [(JobState.DONE, None, 0), (JobState.FAILED, "exit_code", 3)]


@pytest.mark.asyncio
async def test_what_is_killed_or_had_its_time_is_told_so(site: Host) -> None:
    """By us, by the site, by the time limit; what signals its own group was ended by nobody."""
    async with living(site) as limited, living(site) as killed, living(site) as cancelled, living(site) as own:
        await begin(limited, HANDLES, 20, wall_time_s=30)
        await begin(killed, HANDLES)
        await begin(cancelled, HANDLES)
        await begin(own, 'trap : TERM; kill -s TERM 0; : >ready; exit "$CODE"')
        assert all(outcome.ok for outcome in (await killed.backend.kill(killed.handles)).values())
        cancelled.admin("scancel", *cancelled.natives())
        assert await ended(killed) == all_told(JobState.KILLED, "killed_by_user")
        assert await ended(cancelled) == all_told(JobState.KILLED, "killed_by_site")
        assert await ended(own) == BY_THEMSELVES
        assert all(outcome.ok for outcome in (await own.backend.kill(own.handles)).values())
        assert told(await own.statuses()) == BY_THEMSELVES
        assert await ended(limited, 150) == all_told(JobState.FAILED, "timeout", 20)


@contextmanager
def urgent(host: Host) -> Generator[None]:
    """Run what needs the whole node, and comes before what runs there."""
    script = "sbatch --parsable --partition=urgent --exclusive --output=/dev/null --wrap='sleep 60'"
    job = host.run("sh", "-c", script).stdout.strip()
    try:
        yield
    finally:
        host.run("scancel", job)


@pytest.mark.asyncio
async def test_what_is_preempted_is_told_so(site: Host) -> None:
    """Slurm cancels it to make room for something else."""
    async with living(site) as life:
        await begin(life, HANDLES, MANY, queue="cancelled")
        with urgent(site):
            assert await ended(life) == all_told(JobState.FAILED, "preempted", MANY)


@pytest.mark.asyncio
async def test_of_many_that_end_at_once_each_is_told_so(site: Host) -> None:
    """Killed by us, cancelled by the site."""
    async with living(site) as killed, living(site) as cancelled:
        await begin(killed, HANDLES, MANY)
        await killed.backend.kill(killed.handles)
        assert await ended(killed) == all_told(JobState.KILLED, "killed_by_user", MANY)
        await begin(cancelled, HANDLES, MANY)
        cancelled.admin("scancel", *cancelled.natives())
        assert await ended(cancelled) == all_told(JobState.KILLED, "killed_by_site", MANY)


@pytest.mark.asyncio
async def test_what_is_preempted_and_queued_anew_goes_on(site: Host) -> None:
    """Its state was saved, and it exited with 0: that was no end. The second attempt's is."""
    async with living(site, "--requeue") as life:
        await begin(life, f'[ ! -e ../again ] || exit "$((CODE + 1))"; : >../again; {HANDLES}', queue="requeued")
        with urgent(site):
            await life.until(JobState.QUEUED)
        life.admin("scontrol", "update", f"JobId={','.join(life.natives())}", "StartTime=now+5")
        assert await ended(life, 200) == [(JobState.FAILED, "exit_code", code + 1) for code in CODES]


@pytest.mark.parametrize("accounting", FORGETFUL)
@pytest.mark.asyncio
async def test_what_squeue_has_forgotten(daemons: Daemons, accounting: str) -> None:
    """Accounting tells by whom it was ended. Where there is none nobody does: 0 may be no success, and 3 is a failure."""
    host = daemons.up("slurm", **FORGETFUL[accounting]).host
    async with living(host) as life:
        await begin(life, HANDLES)
        natives = life.natives()
        life.admin("scancel", *natives)
        end = time.monotonic() + 120
        while host.run("squeue", "--noheader", "--states=all", f"--jobs={natives[0].partition('_')[0]},1").stdout:
            assert time.monotonic() < end
            await asyncio.sleep(1)
        if accounting == "accounting":
            assert await ended(life) == all_told(JobState.KILLED, "killed_by_site")
        else:
            assert told(await life.statuses()) == [(JobState.UNKNOWN, "lost", 0), (JobState.FAILED, "exit_code", 3)]
