"""Leaving a backend ends the verbs that wait."""

import asyncio
from collections.abc import AsyncIterable, Sequence
from pathlib import Path

import pytest
from tests.batch.clients import make_client
from tests.batch.sites import wait_until

from intercede.batch import BatchBackend
from intercede.contract.errors import NotOpenError
from intercede.contract.job import JobHandle
from intercede.contract.transport import ByteSink, CommandResult
from intercede.transports.local import LocalTransport


class Hanging(LocalTransport):
    """A transport whose commands hang after the first, even for a while when they are cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.commands = 0
        self.ending, self.go = asyncio.Event(), asyncio.Event()
        self.left = False

    async def __aexit__(self, *exc: object) -> None:
        """Leave, and note it."""
        await super().__aexit__(*exc)
        self.left = True

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run the first command, and hang in others."""
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
async def test_leaving_ends_a_waiting_status(root: Path) -> None:
    """A status that waits raises NotOpenError when the backend is left.

    The transport is left even if leaving is cancelled.
    """
    transport = Hanging()
    backend: BatchBackend = await make_client(root, transport=transport).__aenter__()
    (handle,) = [JobHandle(resource=(root / "resource-id").read_text().strip(), job="a" * 13 + ".0")]
    asking = asyncio.create_task(backend.status([handle]))
    await wait_until(lambda: asyncio.sleep(0, transport.commands), lambda commands: commands == 2)
    leaving = asyncio.create_task(backend.__aexit__(None, None, None))
    await transport.ending.wait()
    leaving.cancel()
    await asyncio.wait({leaving})
    assert leaving.cancelled()
    assert transport.left
    transport.go.set()
    with pytest.raises(NotOpenError, match="left"):
        await asking
