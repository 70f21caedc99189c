"""A find during another client's submit loses no job, and waits only while the submit can still start jobs."""

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from pathlib import Path

import pytest
from tests.batch.clients import get_submission, make_client, wait_for_file
from tests.batch.sites import SECONDS, finish, make_script_spec, wait_until

from intercede.batch import BatchBackend
from intercede.contract.errors import SchedulerError, TransportError
from intercede.contract.job import CopyFailure, CopyVars, JobState
from intercede.contract.scheduler import Batch, Queued
from intercede.contract.transport import ByteSink, CommandResult
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport


def list_natives(root: Path) -> list[Path]:
    """Return the files of native ids."""
    return list(root.glob("*/natives"))


class Batchlike(DirectScheduler):
    """A scheduler that is slow to submit, refuses the last copy, and lists only the first jobs."""

    listed = 1

    def submit_script(self, batch: Batch) -> str:
        """Return a fragment that waits for the file `gate` after it queued all copies but the last."""
        fewer = batch.model_copy(update={"copies": batch.copies - 1})
        wait = "rm -f natives; touch ../waiting; while [ ! -e ../gate ]; do sleep 0.02; done; echo started"
        return f"{super().submit_script(fewer)}\n{wait}\n"

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Return the ids, and refuse the last copy for a limit."""
        taken = dict(super().parse_submit(batch, result).ids)
        del taken[batch.copies - 1]
        return Queued(ids=taken, refused={batch.copies - 1: CopyFailure(reason="over a limit", retryable=True)})

    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        """Return the first jobs only."""
        return {index: native for index, native in super().parse_list(result).items() if index < self.listed}


@pytest.mark.asyncio
async def test_a_find_during_a_submit_returns_all_jobs(root: Path) -> None:
    """Counts during a submit write no native ids, and a find waits for its end and returns all jobs."""
    async with make_client(root, Batchlike(4, 1)) as backend, make_client(root, Batchlike(4, 1)) as other:
        submitting = asyncio.create_task(backend.submit(make_script_spec("sleep 60", tag="t"), 4))
        await wait_for_file(root / "waiting")
        await other.counts()
        assert list_natives(root) == []
        finding = asyncio.create_task(other.find("t"))
        await asyncio.wait({finding}, timeout=0.2)
        (root / "gate").touch()
        handles = list((await submitting).handles.values())
        assert len(handles) == 3
        assert set(await finding) == set(handles)
        for each in (backend, other):
            told = await each.status(handles)
            assert {status.state for status in told.values()} <= {JobState.QUEUED, JobState.RUNNING}
        assert (await other.counts()).running + (await other.counts()).queued == 3
        assert all(outcome.ok for outcome in (await other.kill(handles)).values())
        await finish(backend, handles)


@pytest.mark.asyncio
async def test_a_job_that_is_listed_later_is_found(root: Path) -> None:
    """A job that the scheduler's list lacks is lost, and is found as soon as the list has it."""
    scheduler = Batchlike(4, 1)
    async with make_client(root, Batchlike(4, 1)) as backend, make_client(root, scheduler) as other:
        root.joinpath("gate").touch()
        handles = (await backend.submit(make_script_spec("sleep 60", tag="t"), 4)).handles
        (get_submission(root, handles[0]) / "submitted").unlink()
        assert await other.find("t") == [handles[0]]
        told = await other.status(list(handles.values()))
        assert [told[handles[index]].reason for index in range(3)] == [None, "lost", "lost"]
        assert not (await other.kill([handles[1]]))[handles[1]].ok
        scheduler.listed = 3
        assert list(await other.find("t")) == list(handles.values())
        assert all(outcome.ok for outcome in (await other.kill(list(handles.values()))).values())
        await finish(other, handles.values())


MANY = [CopyVars(environment={"A": "x"})] * 60  # more than tar reads at once


class Stalls(LocalTransport):
    """A transport that keeps the second half of an archive back until `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run a command, and keep the second half of an archive back."""
        stalled = self._stalled(stdin) if "tar" in argv[2] and stdin is not None else stdin
        return await super().run(argv, stdin=stalled, stdout=stdout)

    async def _stalled(self, source: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        data = b"".join([piece async for piece in source])
        yield data[: len(data) // 2]
        await self.go.wait()
        yield data[len(data) // 2 :]


@pytest.mark.asyncio
async def test_a_find_waits_for_an_unfinished_upload(root: Path) -> None:
    """A find waits for an upload with its tag, and not for one with another tag."""
    transport = Stalls()
    async with make_client(root, transport=transport) as backend, make_client(root) as other:
        submitting = asyncio.create_task(backend.submit(make_script_spec("true", tag="t"), MANY))
        await wait_until(lambda: asyncio.to_thread(lambda: list(root.glob("*/wrapper"))), bool)
        finding = asyncio.create_task(other.find("t"))
        assert await other.find("another") == []
        await asyncio.wait({finding}, timeout=0.2)
        assert not finding.done()
        transport.go.set()
        handles = list((await submitting).handles.values())
        assert set(await finding) == set(handles)
        await finish(backend, handles)


@pytest.mark.asyncio
async def test_a_find_does_not_wait_for_a_cancelled_upload(root: Path) -> None:
    """A find does not wait for an upload that was cancelled."""
    transport = Stalls()
    async with make_client(root, transport=transport) as backend, make_client(root) as other:
        submitting = asyncio.create_task(backend.submit(make_script_spec("true", tag="t"), MANY))
        await wait_until(lambda: asyncio.to_thread(lambda: list(root.glob("*/wrapper"))), bool)
        submitting.cancel()
        async with asyncio.timeout(SECONDS):
            assert await other.find("t") == []


@pytest.mark.asyncio
@pytest.mark.parametrize("start", ["1", "-"])
async def test_a_find_ignores_a_reused_pid(root: Path, backend: BatchBackend, start: str) -> None:
    """A find does not wait for a process that has the pid of the submitting one and another start time."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    handle = (await backend.submit(make_script_spec("true", tag="t"))).handles[0]
    await finish(backend, [handle])
    (get_submission(root, handle) / "submitted").unlink()
    queuer = get_submission(root, handle) / "queuer"
    queuer.write_text(f"{queuer.read_text().split()[0]} {os.getpid()} {boot} {start}\n")
    async with asyncio.timeout(SECONDS):
        assert await backend.find("t") == [handle]


class Late(LocalTransport):
    """A transport that starts uploads when `go` is set, even cancelled ones.

    It keeps answers back unless `free` is set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.go, self.free = asyncio.Event(), asyncio.Event()
        self.free.set()
        self.begun: list[asyncio.Task[CommandResult]] = []
        self.answered = 0

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run a command, and an upload later."""

        async def later() -> CommandResult:
            await self.go.wait()
            return await super(Late, self).run(argv, stdin=stdin, stdout=stdout)

        if "tar" in argv[2]:
            self.begun.append(asyncio.create_task(later()))
            return await asyncio.shield(self.begun[-1])
        result = await super().run(argv, stdin=stdin, stdout=stdout)
        self.answered += 1
        await self.free.wait()
        return result


@pytest.mark.asyncio
async def test_a_cancelled_submit_is_stopped_by_the_next_find(root: Path) -> None:
    """A submit that is cancelled during a find starts no job after the next find."""
    transport = Late()
    async with make_client(root, transport=transport) as backend:
        transport.free.clear()
        before = transport.answered
        finding = asyncio.create_task(backend.find("t"))
        await wait_until(lambda: asyncio.sleep(0, transport.answered), lambda answered: answered > before)
        submitting = asyncio.create_task(backend.submit(make_script_spec("echo ran >../../../../ran", tag="t")))
        await wait_until(lambda: asyncio.sleep(0, transport.begun), bool)
        submitting.cancel()
        await asyncio.wait({submitting})
        transport.free.set()
        assert await finding == []
        assert await backend.find("t") == []
        transport.go.set()
        await asyncio.wait(transport.begun)
        assert await backend.find("t") == []
        assert not (root / "ran").exists()


def pretend_another_host(root: Path) -> None:
    """Make an upload look as if a process of another host sent it."""
    (unpacking,) = root.glob("*/unpacking")
    unpacking.write_text("\n".join(["another-host", *unpacking.read_text().splitlines()[1:], ""]))


@pytest.mark.asyncio
@pytest.mark.slow
async def test_a_find_stops_a_stalled_upload(root: Path) -> None:
    """A find stops an upload from another host that has stalled for half a minute, which then starts no job."""
    transport = Stalls()
    async with make_client(root, transport=transport) as backend, make_client(root) as other:
        submitting = asyncio.create_task(backend.submit(make_script_spec("true", tag="t"), MANY))
        await wait_until(lambda: asyncio.to_thread(lambda: list(root.glob("*/wrapper"))), bool)
        await asyncio.to_thread(pretend_another_host, root)
        async with asyncio.timeout(90):
            assert await other.find("t") == []
        transport.go.set()
        with pytest.raises((SchedulerError, TransportError)):
            await submitting
        assert await other.find("t") == []
