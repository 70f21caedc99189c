"""What a copy started ends with it, with the wrapper that every copy has: KILLED or timeout is told when nothing is left."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from intercede.batch import BatchBackend
from intercede.contract.job import JobHandle, JobState, JobStatus, Resources, SubmissionSpec
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport

# hermes-agent #94187: coreutils' timeout leads a process group, and so was never reached.
TIMEOUT = SubmissionSpec(executable="timeout", arguments=("300", "sleep", "297"))


def sleepers(root: Path) -> list[int]:
    """Return the processes that sleep so long below that place."""
    found: list[int] = []
    for at in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            sleeps = (at / "cmdline").read_bytes() == b"sleep\x00297\x00"
            if sleeps and str((at / "cwd").readlink()).startswith(str(root)):
                found.append(int(at.name))
    return found


async def ended(backend: BatchBackend, handle: JobHandle) -> JobStatus:
    """Wait for its end."""
    async with asyncio.timeout(30):
        while not (status := (await backend.status([handle]))[handle]).state.final:  # noqa: ASYNC110 -- no event tells it
            await asyncio.sleep(0.02)
    return status


async def sleeping(root: Path) -> None:
    """Wait until one sleeps there."""
    async with asyncio.timeout(30):
        while not sleepers(root):  # noqa: ASYNC110 -- no event tells it
            await asyncio.sleep(0.02)


@pytest.mark.asyncio
async def test_a_payload_in_a_group_of_its_own_is_killed_before_that_is_told(root: Path) -> None:
    """Two copies and one slot: the second runs when nothing of the first is left."""
    async with BatchBackend(LocalTransport(), DirectScheduler(1), root=str(root)) as backend:
        first, second = (await backend.submit(TIMEOUT, 2)).handles.values()
        await sleeping(root)
        assert (await backend.kill([first]))[first].ok
        status = await ended(backend, first)
        assert (status.state, status.reason) == (JobState.KILLED, "killed_by_user")
        assert len(sleepers(root)) <= 1
        assert not [pid for pid in sleepers(root) if "/copies/0/" in str(Path(f"/proc/{pid}/cwd").readlink())]
        assert (await backend.kill([second]))[second].ok
        assert (await ended(backend, second)).state is JobState.KILLED
        assert sleepers(root) == []


@pytest.mark.asyncio
async def test_a_payload_in_a_group_of_its_own_has_its_wall_time(root: Path) -> None:
    """And no more: FAILED, timeout, with nothing left."""
    spec = TIMEOUT.model_copy(update={"resources": Resources(wall_time_s=1)})
    async with BatchBackend(LocalTransport(), DirectScheduler(1), root=str(root)) as backend:
        handle = (await backend.submit(spec)).handles[0]
        await sleeping(root)
        status = await ended(backend, handle)
        assert (status.state, status.reason) == (JobState.FAILED, "timeout")
        assert sleepers(root) == []
