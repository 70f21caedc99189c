"""Several clients of one root at a time, and far sides that fail: nobody loses a job, and nobody is lied to."""

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from pydantic import SecretBytes
from tests.prefixed import Prefixed

from intercede.batch import BatchBackend
from intercede.batch.remote.api import text_of
from intercede.contract.errors import LimitError, NotOpenError, SchedulerError, TransportError
from intercede.contract.job import CopyFailure, CopyVars, JobHandle, JobState, JobStatus, SubmissionSpec
from intercede.contract.scheduler import Batch, Queued, Scheduler
from intercede.contract.transport import ByteSink, CommandResult, Transport
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport

T = TypeVar("T")
SECONDS = 30


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


def written_down(root: Path) -> list[Path]:
    """Return the files of native ids."""
    return list(root.glob("*/natives"))


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


@pytest.mark.asyncio
async def test_who_looks_while_another_submits_loses_no_job(root: Path) -> None:
    """A count in the middle writes nothing down, and a find waits for the end: all copies are known to both."""
    async with client(root, Batchlike(4, 1)) as backend, client(root, Batchlike(4, 1)) as other:
        submitting = asyncio.create_task(backend.submit(sh("sleep 60", "t"), 4))
        await there(root / "waiting")
        await other.counts()
        assert written_down(root) == []
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
async def test_a_list_that_lacks_jobs_is_not_the_last_word(root: Path) -> None:
    """Where the answer was lost, what the scheduler does not list yet is known as soon as it does."""
    scheduler = Batchlike(4, 1)
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


MANY = [CopyVars(environment={"A": "x"})] * 60  # more than tar reads at once


class Stalls(LocalTransport):
    """Keeps the end of an archive back until ``go`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run it; send the last piece of what is to be unpacked later."""
        stalled = self._stalled(stdin) if "tar" in argv[2] and stdin is not None else stdin
        return await super().run(argv, stdin=stalled, stdout=stdout)

    async def _stalled(self, source: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        data = b"".join([piece async for piece in source])
        yield data[: len(data) // 2]
        await self.go.wait()
        yield data[len(data) // 2 :]


@pytest.mark.asyncio
async def test_a_find_waits_for_what_is_still_being_sent(root: Path) -> None:
    """An archive that another process sends may start jobs later; only where its tag is another one nobody waits."""
    transport = Stalls()
    async with client(root, transport=transport) as backend, client(root) as other:
        submitting = asyncio.create_task(backend.submit(sh("true", "t"), MANY))
        await until(lambda: asyncio.to_thread(lambda: list(root.glob("*/wrapper"))), bool)
        finding = asyncio.create_task(other.find("t"))
        assert await other.find("another") == []
        await asyncio.wait({finding}, timeout=0.2)
        assert not finding.done()
        transport.go.set()
        handles = list((await submitting).handles.values())
        assert set(await finding) == set(handles)
        await finish(backend, handles)


@pytest.mark.asyncio
async def test_a_find_waits_for_nobody_who_is_gone(root: Path) -> None:
    """What was cut while it was sent starts nothing, and is not waited for."""
    transport = Stalls()
    async with client(root, transport=transport) as backend, client(root) as other:
        submitting = asyncio.create_task(backend.submit(sh("true", "t"), MANY))
        await until(lambda: asyncio.to_thread(lambda: list(root.glob("*/wrapper"))), bool)
        submitting.cancel()
        async with asyncio.timeout(SECONDS):
            assert await other.find("t") == []


@pytest.mark.asyncio
@pytest.mark.parametrize("start", ["1", "-"])
async def test_a_process_with_the_number_of_the_one_that_submitted_is_not_it(
    root: Path, backend: BatchBackend, start: str
) -> None:
    """Find waits for whoever queues, and for nobody who got that number later."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    handle = (await backend.submit(sh("true", "t"))).handles[0]
    await finish(backend, [handle])
    (submission(root, handle) / "submitted").unlink()
    queuer = submission(root, handle) / "queuer"
    queuer.write_text(f"{queuer.read_text().split()[0]} {os.getpid()} {boot} {start}\n")
    async with asyncio.timeout(SECONDS):
        assert await backend.find("t") == [handle]


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


@pytest.mark.asyncio
async def test_a_submit_that_is_cancelled_during_a_find_is_settled_by_the_next(root: Path) -> None:
    """The older find knew nothing of it; after the newer one nothing of it ever starts."""
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


class Throttled(LocalTransport):
    """Does what it is told, and says of an upload that it was one too many."""

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run it."""
        result = await super().run(argv, stdin=stdin, stdout=stdout)
        if "tar" in argv[2]:
            raise LimitError("too many connections")
        return result


@pytest.mark.asyncio
async def test_a_limit_of_the_transport_removes_nothing_that_may_run(root: Path) -> None:
    """Only the scheduler's own refusal means that nothing was queued: the job is found, and comes to its end."""
    async with client(root, transport=Throttled()) as backend:
        with pytest.raises(LimitError, match="too many connections"):
            await backend.submit(sh("sleep 0.2", "t"))
        (handle,) = await backend.find("t")
        assert (await finish(backend, [handle]))[handle].state is JobState.DONE


class Full(DirectScheduler):
    """Takes nothing."""

    def submit_script(self, batch: Batch) -> str:
        """Say so."""
        return f"echo {batch.submission_id} is one too many"

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """All of it was refused."""
        raise LimitError(result.stdout.decode().replace(batch.submission_id, "this"))


@pytest.mark.asyncio
async def test_what_the_schedulers_limit_refused_leaves_nothing(root: Path) -> None:
    """Its reason is told, and nothing lies there."""
    async with client(root, Full()) as backend:
        with pytest.raises(LimitError, match="this is one too many"):
            await backend.submit(sh("true", "t"), 2)
        assert await backend.find("t") == []
    assert {path.name for path in root.iterdir()} == {"resource-id", ".trash"}


async def made(root: Path, backend: BatchBackend, copies: int, **files: str) -> list[JobHandle]:
    """Submit one copy, and make it look as if there were so many, each with these files."""
    handle = (await backend.submit(sh("true"))).handles[0]
    await finish(backend, [handle])
    place = submission(root, handle) / "copies"
    (place / "0" / "exit").unlink()
    for index in range(copies):
        (place / str(index)).mkdir(exist_ok=True)
        for name, text in files.items():
            (place / str(index) / name).write_text(text)
    submission_id = place.parent.name
    (place.parent / "natives").write_text("".join(f"{index} {submission_id}.{index}\n" for index in range(copies)))
    return [JobHandle(resource=handle.resource, job=f"{submission_id}.{index}") for index in range(copies)]


class Refuses(DirectScheduler):
    """Takes nothing, for certain."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Say so."""
        raise SchedulerError("there is no such queue", refused=True)


@pytest.mark.asyncio
async def test_what_was_refused_for_certain_leaves_nothing(root: Path) -> None:
    """Nobody gets a handle to purge it with: its files and secrets go at once, and no find ever tells of it."""
    async with client(root, Refuses(4)) as backend:
        copies = [CopyVars(secrets={"key": SecretBytes(b"hush")})]
        with pytest.raises(SchedulerError, match="no such queue"):
            await backend.submit(sh("sleep 1", "t"), copies)
        assert await backend.find("t") == []
    assert [each.name for each in root.iterdir() if not each.name.startswith(".")] == ["resource-id"]


def sent_from_elsewhere(root: Path) -> None:
    """Have it look as if what is unpacked there is unpacked by a process of another host."""
    (unpacking,) = root.glob("*/unpacking")
    unpacking.write_text("\n".join(["another-host", *unpacking.read_text().splitlines()[1:], ""]))


@pytest.mark.asyncio
@pytest.mark.slow
async def test_a_find_gives_up_what_stands_still(root: Path) -> None:
    """Half a minute after the last piece came from somebody on another host, nothing of it ever starts."""
    transport = Stalls()
    async with client(root, transport=transport) as backend, client(root) as other:
        submitting = asyncio.create_task(backend.submit(sh("true", "t"), MANY))
        await until(lambda: asyncio.to_thread(lambda: list(root.glob("*/wrapper"))), bool)
        await asyncio.to_thread(sent_from_elsewhere, root)
        async with asyncio.timeout(90):
            assert await other.find("t") == []
        transport.go.set()
        with pytest.raises((SchedulerError, TransportError)):
            await submitting
        assert await other.find("t") == []


@pytest.mark.asyncio
async def test_two_purges_at_once_are_both_told_that_all_is_gone(root: Path) -> None:
    """Whoever moved it: what is there no more was purged."""
    async with client(root) as backend, client(root) as other:
        handles = await made(root, backend, 900, exit="code 0 1 host 1 1\n")
        for told in await asyncio.gather(backend.purge(handles), other.purge(handles)):
            assert [outcome for outcome in told.values() if not outcome.ok] == []
    assert {path.name for path in root.iterdir()} == {"resource-id", ".trash"}


@pytest.mark.asyncio
async def test_a_purge_that_could_not_remove_says_so(
    root: Path, backend: BatchBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the far side said; nothing of it is gone, and later it is purged."""
    mv = tmp_path / "bin" / "mv"
    mv.parent.mkdir()
    mv.write_text("#!/bin/sh\necho mv: not today >&2\nexit 1\n")
    mv.chmod(0o755)
    (handle,) = await made(root, backend, 1, exit="code 0 1 host 1 1\n")
    with monkeypatch.context() as broken:
        broken.setenv("PATH", str(mv.parent), prepend=":")
        outcome = (await backend.purge([handle]))[handle]
    assert (outcome.ok, outcome.reason) == (False, "other")
    assert "not today" in (outcome.detail or "")
    assert (await backend.status([handle]))[handle].state is JobState.DONE
    assert (await backend.purge([handle]))[handle].ok


@pytest.mark.asyncio
async def test_a_purge_needs_no_room(root: Path, backend: BatchBackend) -> None:
    """Where nothing can be made any more, as on a full disk, what is purged is removed in its place."""
    (handle,) = await made(root, backend, 1, exit="code 0 1 host 1 1\n")
    (root / ".trash").rmdir()
    (root / ".trash").touch()
    assert (await backend.purge([handle]))[handle].ok
    assert (await backend.status([handle]))[handle].reason == "purged"
    assert not submission(root, handle).joinpath("copies", "0").exists()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("attempt", "noted", "reason"),
    [
        (1, "0\n", "killed_by_user"),
        (1, "1\n", "signal"),
        (2, "1\n", "killed_by_user"),
        (2, "1\n2\n", "killed_by_user"),
        (1, "", "signal"),
    ],
)
async def test_a_kill_counts_for_ends_that_came_after_it(
    root: Path, backend: BatchBackend, attempt: int, noted: str, reason: str
) -> None:
    """The first note tells how many attempts had ended; a note that is being written is none yet."""
    (handle,) = await made(root, backend, 1, exit=f"signal 9 1 host 1 {attempt}\n", killed=noted)
    status = (await backend.status([handle]))[handle]
    assert (status.reason, status.signal) == (reason, 9)


@pytest.mark.asyncio
async def test_a_kill_does_not_change_how_a_job_had_ended(root: Path, backend: BatchBackend) -> None:
    """Though nobody had looked at it since: it died of its own signal."""
    handle = (await backend.submit(sh("kill -11 $$"))).handles[0]
    record = submission(root, handle) / "copies" / "0" / "exit"
    await until(lambda: asyncio.to_thread(lambda: record.exists() and "\n" in record.read_text()), bool)
    assert (await backend.kill([handle]))[handle].ok
    status = (await backend.status([handle]))[handle]
    assert (status.state, status.signal, status.reason) == (JobState.FAILED, 11, "signal")


@pytest.mark.asyncio
@pytest.mark.parametrize("damaged", ["", "{", '{"state":"KILLED"}'])
async def test_a_verdict_that_is_not_whole_is_written_anew(root: Path, backend: BatchBackend, damaged: str) -> None:
    """Once it is told it stays, whatever else changes."""
    handles = await made(root, backend, 2, exit="signal 9 1 host 1 1\n")
    place = submission(root, handles[0])
    (place / "finals").mkdir()
    (place / "finals" / "1").write_text(damaged)
    before = await backend.status(handles)
    assert {(status.state, status.signal) for status in before.values()} == {(JobState.FAILED, 9)}
    (place / "copies" / "1" / "killed").write_text("0\n")
    (place / "copies" / "1" / "exit").unlink()
    assert dict(await backend.status(handles)) == dict(before)


@pytest.mark.asyncio
async def test_a_verdict_that_cannot_be_written_is_told_all_the_same(root: Path, backend: BatchBackend) -> None:
    """With all that the scheduler said, and that nothing keeps it; and tried again by the next who looks."""
    (handle,) = await made(root, backend, 1, exit="signal 9 1 host 1 1\n", killed="0\n")
    (submission(root, handle) / "finals").touch()
    told = [(await backend.status([handle]))[handle] for _ in range(2)]
    assert {status.reason for status in told} == {"killed_by_user"}
    (submission(root, handle) / "finals").unlink()
    assert all("could not be written down" in (status.evidence or "") for status in told)
    written = (await backend.status([handle]))[handle]
    assert written == told[0].model_copy(update={"evidence": written.evidence})
    assert (submission(root, handle) / "finals" / "0").exists()


@pytest.mark.asyncio
async def test_verdicts_of_many_are_written_by_few_processes(root: Path) -> None:
    """All of some hundreds stand after one look, the same for two who look at once."""
    async with client(root) as backend, client(root) as other:
        handles = await made(root, backend, 500, killed="0\n")
        first, second = await asyncio.gather(backend.status(handles), other.status(handles))
        assert dict(first) == dict(second)
        assert {status.reason for status in first.values()} == {"killed_by_user"}
        left = {path.name for path in submission(root, handles[0]).glob("finals*/*")}
        assert left == {str(index) for index in range(500)}


class Slow(LocalTransport):
    """Its commands do not end after the first, nor at once when they are cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.commands = 0
        self.ending, self.go = asyncio.Event(), asyncio.Event()
        self.left = False

    async def __aexit__(self, *exc: object) -> None:
        """Leave."""
        await super().__aexit__(*exc)
        self.left = True

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run the first."""
        self.commands += 1
        if self.commands == 1:
            return await super().run(argv, stdin=stdin, stdout=stdout)
        try:
            await asyncio.Event().wait()
        finally:
            self.ending.set()
            await self.go.wait()
        raise AssertionError(argv)


@pytest.mark.asyncio
async def test_who_asks_while_the_backend_is_left_is_told_so_and_the_transport_is_left_anyway(root: Path) -> None:
    """Also where leaving is cancelled while it waits for the command's end."""
    transport = Slow()
    backend: BatchBackend = await client(root, transport=transport).__aenter__()
    (handle,) = [JobHandle(resource=(root / "resource-id").read_text().strip(), job="a" * 13 + ".0")]
    asking = asyncio.create_task(backend.status([handle]))
    await until(lambda: asyncio.sleep(0, transport.commands), lambda commands: commands == 2)
    leaving = asyncio.create_task(backend.__aexit__(None, None, None))
    await transport.ending.wait()
    leaving.cancel()
    await asyncio.wait({leaving})
    assert leaving.cancelled()
    assert transport.left
    transport.go.set()
    with pytest.raises(NotOpenError, match="left"):
        await asking


QUEUER = (
    "_ic_find_machine; _ic_identify_process self; printf '%s\\n' \"$machine $process\" >queuer; echo ready; read -r _"
)


@pytest.mark.needs("unshare")
@pytest.mark.asyncio
async def test_a_find_waits_for_who_queues_in_another_pid_namespace(root: Path, backend: BatchBackend) -> None:
    """Gbrain #2840: containers share a home, a host name and a boot id, and a process has other numbers in each."""
    handle = (await backend.submit(sh("true", "t"))).handles[0]
    await finish(backend, [handle])
    place = submission(root, handle)
    (place / "submitted").rename(place / "aside")
    pipe = asyncio.subprocess.PIPE
    container = (
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        "sh",
        "-c",
        f"{text_of('remote/prelude')}{QUEUER}",
    )
    queuer = await asyncio.create_subprocess_exec(*container, cwd=place, stdin=pipe, stdout=pipe)
    assert queuer.stdout is not None
    assert await queuer.stdout.readline() == b"ready\n"
    finding = asyncio.create_task(backend.find("t"))
    await asyncio.wait({finding}, timeout=0.3)
    assert not finding.done()
    (place / "aside").rename(place / "submitted")
    assert await finding == [handle]
    await queuer.communicate(b"")


@pytest.mark.needs("unshare")
@pytest.mark.asyncio
@pytest.mark.parametrize("verb", ["status", "kill", "purge", "counts", "fetch_output"])
async def test_from_another_pid_namespace_a_job_is_elsewhere(root: Path, backend: BatchBackend, verb: str) -> None:
    """No verb takes a job that runs for lost, kills it in words only, or removes it; it is told where to ask."""
    tmp = root.parent
    handle = (await backend.submit(sh(f"until [ -e '{tmp}/go' ]; do sleep 0.02; done"))).handles[0]
    await until(lambda: backend.status([handle]), lambda told: told[handle].state is JobState.RUNNING)
    async with client(root, transport=Prefixed("unshare", "--pid", "--fork", "--mount-proc")) as other:
        if verb == "status":
            told = (await other.status([handle]))[handle]
            assert (told.state, told.reason) == (JobState.UNKNOWN, None)
            assert "another pid namespace" in (told.evidence or "")
        elif verb == "counts":
            assert (await other.counts()).running == 0
        elif verb == "fetch_output":
            assert not (await other.fetch_output([handle], tmp / "dest"))[handle].ok
        else:
            outcome = (await (other.kill if verb == "kill" else other.purge)([handle]))[handle]
            assert not outcome.ok
            assert "another pid namespace" in (outcome.detail or "")
    assert (await backend.status([handle]))[handle].state is JobState.RUNNING
    (tmp / "go").touch()
    state = (await finish(backend, [handle]))[handle].state
    assert state is JobState.DONE
