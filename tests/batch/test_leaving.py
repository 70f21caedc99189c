"""A backend that is left while a verb waits."""

import asyncio
from collections.abc import AsyncIterable, Sequence
from pathlib import Path

import pytest
from tests.batch.clients import make_client
from tests.batch.sites import until

from intercede.batch import BatchBackend
from intercede.contract.errors import NotOpenError
from intercede.contract.job import JobHandle
from intercede.contract.transport import ByteSink, CommandResult
from intercede.transports.local import LocalTransport


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
    backend: BatchBackend = await make_client(root, transport=transport).__aenter__()
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
