"""Secrets are gone with their copies, however these end; an upload that does not come whole leaves nothing."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from pydantic import SecretBytes

from intercede.batch import BatchBackend
from intercede.contract.errors import InvalidSpecError
from intercede.contract.job import CopyVars, FileRef, JobHandle, Resources, SubmissionSpec
from intercede.contract.transport import ByteSink, CommandResult
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport

SECONDS = 30
STUBBORN = "trap '' TERM; : >ready; while :; do sleep 0.1; done"


class Halting(LocalTransport):
    """Does something after each piece of an archive."""

    def __init__(self, then: Callable[[], Awaitable[object]]) -> None:
        super().__init__()
        self._then = then

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run it."""

        async def halting(whole: AsyncIterable[bytes]) -> AsyncIterable[bytes]:
            async for data in whole:
                yield data
                await self._then()

        if stdin is not None and any("tar" in word for word in argv):
            stdin = halting(stdin)
        return await super().run(argv, stdin=stdin, stdout=stdout)


def opened(root: Path, transport: LocalTransport | None = None, *, slots: int = 1, grace_s: int = 0) -> BatchBackend:
    """Return a backend, not entered."""
    return BatchBackend(transport or LocalTransport(), DirectScheduler(slots, grace_s), root=str(root / "root"))


def sh(script: str, **fields: object) -> SubmissionSpec:
    """Return a specification that runs a script."""
    return SubmissionSpec.model_validate({"executable": "sh", "arguments": ("-c", script), **fields})


def until(look: Callable[[], bool]) -> None:
    """Wait for it, for a bounded time."""
    deadline = time.monotonic() + SECONDS
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def work(root: Path, handle: JobHandle) -> Path:
    """Return a copy's working directory."""
    submission_id, _, index = handle.job.partition(".")
    return root / "root" / submission_id / "copies" / index / "work"


def copy() -> CopyVars:
    """Return a copy with a secret, longer than one piece of an archive."""
    return CopyVars(secrets={"token": SecretBytes(b"hush" * 50000)})


@pytest.mark.asyncio
async def test_what_is_killed_by_force_keeps_no_secret(tmp_path: Path, backend: BatchBackend) -> None:
    """Running or waiting: the killer removes them, without anybody looking again."""
    handles = (await backend.submit(sh(STUBBORN), [copy(), copy()])).handles
    until((work(tmp_path, handles[0]) / "ready").exists)
    assert all(outcome.ok for outcome in (await backend.kill(list(handles.values()))).values())
    tokens = [work(tmp_path, handle) / "token" for handle in handles.values()]
    until(lambda: not any(token.exists() for token in tokens))


@pytest.mark.asyncio
async def test_what_is_killed_as_it_begins_keeps_no_secret(tmp_path: Path) -> None:
    """Whoever kills it finds that it is about to start, and leaves the rest to it."""
    async with opened(tmp_path) as backend:
        running, waiting = (await backend.submit(sh(STUBBORN), [copy(), copy()])).handles.values()
        until((work(tmp_path, running) / "ready").exists)
        (work(tmp_path, waiting).parents[2] / "direct" / "1.kill").touch()
        assert (await backend.kill([running]))[running].ok
        until(lambda: not (work(tmp_path, waiting) / "token").exists())


@pytest.mark.asyncio
async def test_what_somebody_else_ended_keeps_no_secret_once_its_verdict_stands(tmp_path: Path) -> None:
    """Whatever ended it, for instance a batch system: the look that writes the verdict down removes them."""
    async with opened(tmp_path, grace_s=3) as backend:
        handle = (await backend.submit(sh(STUBBORN), [copy()])).handles[0]
        until((work(tmp_path, handle) / "ready").exists)
        assert (await backend.kill([handle]))[handle].ok
        group = (work(tmp_path, handle).parents[2] / "direct" / "0").read_text().split()[0]
        os.killpg(int(group), signal.SIGKILL)
        async with asyncio.timeout(SECONDS):
            while not (await backend.status([handle]))[handle].state.final:  # noqa: ASYNC110 -- no event tells it
                await asyncio.sleep(0.02)
        assert not (work(tmp_path, handle) / "token").exists()


@pytest.mark.asyncio
async def test_what_had_its_wall_time_keeps_no_secret(tmp_path: Path, backend: BatchBackend) -> None:
    """The runner that ends it removes them."""
    handle = (await backend.submit(sh(STUBBORN, resources=Resources(wall_time_s=1)), [copy()])).handles[0]
    until((work(tmp_path, handle) / "ready").exists)
    until(lambda: not (work(tmp_path, handle) / "token").exists())


@pytest.mark.asyncio
async def test_a_cancelled_upload_leaves_nothing(tmp_path: Path) -> None:
    """Nobody will have a handle to purge it, nor a tag to find it."""
    async with opened(tmp_path, Halting(asyncio.Event().wait)) as backend:
        submit = asyncio.create_task(backend.submit(sh("true"), [copy()]))
        async with asyncio.timeout(SECONDS):
            while len(list((tmp_path / "root").iterdir())) < 3:  # noqa: ASYNC110 -- tar tells no event
                await asyncio.sleep(0.02)
        submit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submit
        until(lambda: {path.name for path in (tmp_path / "root").iterdir()} == {"resource-id", ".trash"})


@pytest.mark.asyncio
async def test_a_file_that_vanishes_meanwhile_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    """It was there when the specification was checked; by the time that it is read it is not."""
    (tmp_path / "big").write_bytes(bytes(300000))
    for name in ("gone", "program"):
        (tmp_path / name).touch()
    spec = SubmissionSpec(
        executable=tmp_path / "program",
        inputs=tuple(FileRef(name=name, source=tmp_path / name) for name in ("big", "gone")),
        tag="t",
    )

    async def vanish() -> None:
        (tmp_path / "gone").unlink(missing_ok=True)

    async with opened(tmp_path, Halting(vanish)) as backend:
        with pytest.raises(InvalidSpecError):
            await backend.submit(spec)
        assert await backend.find("t") == []
        assert {path.name for path in (tmp_path / "root").iterdir()} == {"resource-id", ".trash"}
