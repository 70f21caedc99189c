"""Submissions that a transport or a scheduler refuses."""

from collections.abc import AsyncIterable, Sequence
from pathlib import Path

import pytest
from pydantic import SecretBytes
from tests.batch.clients import make_client
from tests.batch.sites import finish, sh

from intercede.contract.errors import LimitError, SchedulerError
from intercede.contract.job import CopyVars, JobState
from intercede.contract.scheduler import Batch, Queued
from intercede.contract.transport import ByteSink, CommandResult
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport


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
    async with make_client(root, transport=Throttled()) as backend:
        with pytest.raises(LimitError, match="too many connections"):
            await backend.submit(sh("sleep 0.2", tag="t"))
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
    async with make_client(root, Full()) as backend:
        with pytest.raises(LimitError, match="this is one too many"):
            await backend.submit(sh("true", tag="t"), 2)
        assert await backend.find("t") == []
    assert {path.name for path in root.iterdir()} == {"resource-id", ".trash"}


class Refuses(DirectScheduler):
    """Takes nothing, for certain."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Say so."""
        raise SchedulerError("there is no such queue", refused=True)


@pytest.mark.asyncio
async def test_what_was_refused_for_certain_leaves_nothing(root: Path) -> None:
    """Nobody gets a handle to purge it with: its files and secrets go at once, and no find ever tells of it."""
    async with make_client(root, Refuses(4)) as backend:
        copies = [CopyVars(secrets={"key": SecretBytes(b"hush")})]
        with pytest.raises(SchedulerError, match="no such queue"):
            await backend.submit(sh("sleep 1", tag="t"), copies)
        assert await backend.find("t") == []
    assert [each.name for each in root.iterdir() if not each.name.startswith(".")] == ["resource-id"]
