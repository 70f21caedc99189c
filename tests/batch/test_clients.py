"""Several clients of one root at a time, and far sides that fail: nobody loses a job, and nobody is lied to."""

import asyncio
import os
import platform
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from intercede.batch import BatchBackend
from intercede.contract.job import CopyFailure, JobHandle, JobState, JobStatus, SubmissionSpec
from intercede.contract.scheduler import Batch, Queued, Scheduler
from intercede.contract.transport import ByteSink, CommandResult, Transport
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport

T = TypeVar("T")
SECONDS = 30


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A fresh root; afterwards no process may be left in it."""
    yield tmp_path / "root"
    deadline = time.monotonic() + 5
    while left := [at.name for at in Path("/proc").iterdir() if at.name.isdigit() and inside(at.name, tmp_path)]:
        assert time.monotonic() < deadline, f"processes {left} were left behind"
        time.sleep(0.02)


def inside(pid: str, place: Path) -> bool:
    """Whether a process works in that place, or did before it was removed."""
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink()).startswith(str(place))
    except OSError:
        return False


def client(root: Path, scheduler: Scheduler | None = None, transport: Transport | None = None) -> BatchBackend:
    """Return one more client of that root."""
    return BatchBackend(transport or LocalTransport(), scheduler or DirectScheduler(4, grace_s=1), root=str(root))


def sh(script: str, tag: str | None = None) -> SubmissionSpec:
    """Return a specification that runs a script."""
    return SubmissionSpec(executable="sh", arguments=("-c", script), tag=tag)


async def until(look: Callable[[], Awaitable[T]], enough: Callable[[T], bool]) -> T:
    """Ask again and again, for a bounded time."""
    async with asyncio.timeout(SECONDS):
        while not enough(answer := await look()):  # noqa: ASYNC110 -- processes tell no event
            await asyncio.sleep(0.02)
    return answer


async def there(path: Path) -> None:
    """Wait for a file."""
    await until(lambda: asyncio.to_thread(path.exists), bool)


async def finish(backend: BatchBackend, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
    """Wait until all are final."""
    return await until(lambda: backend.status(handles), lambda told: all(each.state.final for each in told.values()))


def submission(root: Path, handle: JobHandle) -> Path:
    """Return where a job's submission lies."""
    return root / handle.job.partition(".")[0]


class Batchlike(DirectScheduler):
    """Tells ids in words of its own only, takes its time, refuses the last copy, and lists no more than it had then."""

    listed = 1

    def submit_script(self, batch: Batch) -> str:
        """Go on when the file ``gate`` is there."""
        fewer = batch.model_copy(update={"copies": batch.copies - 1})
        wait = "rm -f natives; touch ../waiting; while [ ! -e ../gate ]; do sleep 0.02; done; echo started"
        return f"{super().submit_script(fewer)}\n{wait}\n"

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """The last one is over a limit."""
        taken = dict(super().parse_submit(batch, result).ids)
        del taken[batch.copies - 1]
        return Queued(ids=taken, refused={batch.copies - 1: CopyFailure(reason="over a limit", retryable=True)})

    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        """Only the first ones."""
        return {index: native for index, native in super().parse_list(result).items() if index < self.listed}


def test_who_looks_while_another_submits_loses_no_job(root: Path) -> None:
    """A count in the middle writes nothing down, and a find waits for the end: all copies are known to both."""

    async def main() -> None:
        async with client(root, Batchlike(4, 1)) as backend, client(root, Batchlike(4, 1)) as other:
            submitting = asyncio.create_task(backend.submit(sh("sleep 60", "t"), 4))
            await there(root / "waiting")
            await other.counts()
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

    asyncio.run(main())


def test_a_list_that_lacks_jobs_is_not_the_last_word(root: Path) -> None:
    """Where the answer was lost, what the scheduler does not list yet is known as soon as it does."""
    scheduler = Batchlike(4, 1)

    async def main() -> None:
        async with client(root, Batchlike(4, 1)) as backend, client(root, scheduler) as other:
            root.joinpath("gate").touch()
            handles = (await backend.submit(sh("sleep 60", "t"), 4)).handles
            (submission(root, handles[0]) / "submitted").unlink()
            assert await other.find("t") == [handles[0]]
            told = await other.status(list(handles.values()))
            assert [told[handles[index]].reason for index in range(3)] == [None, "lost", "lost"]
            assert not (await other.kill([handles[1]]))[handles[1]].ok
            scheduler.listed = 3
            assert list(await other.find("t")) == list(handles.values())
            assert all(outcome.ok for outcome in (await other.kill(list(handles.values()))).values())
            await finish(other, handles.values())

    asyncio.run(main())


@pytest.mark.parametrize("start", ["1", "-"])
def test_a_process_with_the_number_of_the_one_that_submitted_is_not_it(root: Path, start: str) -> None:
    """Find waits for whoever queues, and for nobody who got that number later."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    async def main() -> None:
        async with client(root) as backend:
            handle = (await backend.submit(sh("true", "t"))).handles[0]
            await finish(backend, [handle])
            (submission(root, handle) / "submitted").unlink()
            (submission(root, handle) / "queuer").write_text(f"{platform.node()} {os.getpid()} {boot} {start}\n")
            async with asyncio.timeout(SECONDS):
                assert await backend.find("t") == [handle]

    asyncio.run(main())


class Late(LocalTransport):
    """Keeps answers back unless ``free`` is set; commands that unpack begin when ``go`` says so, cancelled or not."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.free = asyncio.Event(), asyncio.Event()
        self.free.set()
        self.begun: list[asyncio.Task[CommandResult]] = []
        self.answered = 0

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run it, sooner or later."""

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


def test_a_submit_that_is_cancelled_during_a_find_is_settled_by_the_next(root: Path) -> None:
    """The older find knew nothing of it; after the newer one nothing of it ever starts."""

    async def main() -> None:
        transport = Late()
        async with client(root, transport=transport) as backend:
            transport.free.clear()
            before = transport.answered
            finding = asyncio.create_task(backend.find("t"))
            await until(lambda: asyncio.sleep(0, transport.answered), lambda answered: answered > before)
            submitting = asyncio.create_task(backend.submit(sh("echo ran >../../../../ran", "t")))
            await until(lambda: asyncio.sleep(0, transport.begun), bool)
            submitting.cancel()
            await asyncio.wait({submitting})
            transport.free.set()
            assert await finding == []
            assert await backend.find("t") == []
            transport.go.set()
            await asyncio.wait(transport.begun)
            assert await backend.find("t") == []
            assert not (root / "ran").exists()

    asyncio.run(main())
