"""A refused submission leaves nothing, and one that may have started is found."""

from collections.abc import AsyncIterable, Sequence
from pathlib import Path

import pytest
from pydantic import SecretBytes
from tests.batch.clients import make_client
from tests.batch.sites import finish, make_script_spec

from intercede.contract.errors import LimitError, SchedulerError
from intercede.contract.job import CopyVars, JobState
from intercede.contract.scheduler import Batch, Queued
from intercede.contract.transport import ByteSink, CommandResult
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport


class Throttled(LocalTransport):
    """A transport that runs each command, and then raises a LimitError for an upload."""

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run a command, and raise if it was an upload."""
        result = await super().run(argv, stdin=stdin, stdout=stdout)
        if "tar" in argv[2]:
            raise LimitError("too many connections")
        return result


@pytest.mark.asyncio
async def test_a_limit_of_the_transport_leaves_the_job(root: Path) -> None:
    """A LimitError of the transport does not mean that nothing was queued, so the job is found and ends."""
    async with make_client(root, transport=Throttled()) as backend:
        with pytest.raises(LimitError, match="too many connections"):
            await backend.submit(make_script_spec("sleep 0.2", tag="t"))
        (handle,) = await backend.find("t")
        assert (await finish(backend, [handle]))[handle].state is JobState.DONE


class Full(DirectScheduler):
    """A scheduler that refuses each submission for a limit."""

    def submit_script(self, batch: Batch) -> str:
        """Return a fragment that queues nothing."""
        return f"echo {batch.submission_id} is one too many"

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Raise that the limit is reached."""
        raise LimitError(result.stdout.decode().replace(batch.submission_id, "this"))


@pytest.mark.asyncio
async def test_a_limit_of_the_scheduler_leaves_nothing(root: Path) -> None:
    """A LimitError of the scheduler holds its reason, and no file of the submission is left."""
    async with make_client(root, Full()) as backend:
        with pytest.raises(LimitError, match="this is one too many"):
            await backend.submit(make_script_spec("true", tag="t"), 2)
        assert await backend.find("t") == []
    assert {path.name for path in root.iterdir()} == {"resource-id", ".trash"}


class Refuses(DirectScheduler):
    """A scheduler that refuses each submission for certain."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Raise that there is no such queue."""
        raise SchedulerError("there is no such queue", refused=True)


@pytest.mark.asyncio
async def test_a_certain_refusal_leaves_nothing(root: Path) -> None:
    """A submission that is refused for certain leaves no file, no secret and no tag."""
    async with make_client(root, Refuses(4)) as backend:
        copies = [CopyVars(secrets={"key": SecretBytes(b"hush")})]
        with pytest.raises(SchedulerError, match="no such queue"):
            await backend.submit(make_script_spec("sleep 1", tag="t"), copies)
        assert await backend.find("t") == []
    assert [each.name for each in root.iterdir() if not each.name.startswith(".")] == ["resource-id"]
