"""A job is final only after all processes of its payload have ended."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from intercede.batch import BatchBackend
from intercede.contract.job import JobHandle, JobState, JobStatus, Resources, SubmissionSpec
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport

# coreutils' timeout leads a process group, and was not killed with the payload: hermes-agent #94187.
TIMEOUT = SubmissionSpec(executable="timeout", arguments=("300", "sleep", "297"))


def list_sleepers(root: Path) -> list[int]:
    """Return the sleeping processes of the payload below a path."""
    found: list[int] = []
    for at in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            sleeps = (at / "cmdline").read_bytes() == b"sleep\x00297\x00"
            if sleeps and str((at / "cwd").readlink()).startswith(str(root)):
                found.append(int(at.name))
    return found


async def wait_for_end(backend: BatchBackend, handle: JobHandle) -> JobStatus:
    """Wait for a job's end, and return its status."""
    async with asyncio.timeout(30):
        while not (status := (await backend.status([handle]))[handle]).state.final:  # noqa: ASYNC110 -- jobs set no event
            await asyncio.sleep(0.02)
    return status


async def wait_for_sleeper(root: Path) -> None:
    """Wait until a process of the payload sleeps."""
    async with asyncio.timeout(30):
        while not list_sleepers(root):  # noqa: ASYNC110 -- jobs set no event
            await asyncio.sleep(0.02)


@pytest.mark.asyncio
async def test_a_payload_in_its_own_group_is_killed_before_it_is_final(root: Path) -> None:
    """A payload in its own process group is KILLED after its processes have ended, and before the next copy starts."""
    async with BatchBackend(LocalTransport(), DirectScheduler(1), root=str(root)) as backend:
        first, second = (await backend.submit(TIMEOUT, 2)).handles.values()
        await wait_for_sleeper(root)
        assert (await backend.kill([first]))[first].ok
        status = await wait_for_end(backend, first)
        assert (status.state, status.reason) == (JobState.KILLED, "killed_by_user")
        assert len(list_sleepers(root)) <= 1
        assert not [pid for pid in list_sleepers(root) if "/copies/0/" in str(Path(f"/proc/{pid}/cwd").readlink())]
        assert (await backend.kill([second]))[second].ok
        assert (await wait_for_end(backend, second)).state is JobState.KILLED
        assert list_sleepers(root) == []


@pytest.mark.asyncio
async def test_a_payload_in_its_own_group_has_its_wall_time(root: Path) -> None:
    """A payload in its own process group is FAILED(timeout) after its wall time, and no process is left."""
    spec = TIMEOUT.model_copy(update={"resources": Resources(wall_time_s=1)})
    async with BatchBackend(LocalTransport(), DirectScheduler(1), root=str(root)) as backend:
        handle = (await backend.submit(spec)).handles[0]
        await wait_for_sleeper(root)
        status = await wait_for_end(backend, handle)
        assert (status.state, status.reason) == (JobState.FAILED, "timeout")
        assert list_sleepers(root) == []
