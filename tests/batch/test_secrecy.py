"""Secrets are removed with their copies, and an incomplete upload leaves nothing."""

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
    """A transport that calls a function after each piece of an archive."""

    def __init__(self, then: Callable[[], Awaitable[object]]) -> None:
        super().__init__()
        self._then = then

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run a command with such an archive."""

        async def halting(whole: AsyncIterable[bytes]) -> AsyncIterable[bytes]:
            async for data in whole:
                yield data
                await self._then()

        if stdin is not None and any("tar" in word for word in argv):
            stdin = halting(stdin)
        return await super().run(argv, stdin=stdin, stdout=stdout)


def make_backend(
    root: Path, transport: LocalTransport | None = None, *, slots: int = 1, grace_s: int = 0
) -> BatchBackend:
    """Return a backend that is not entered."""
    return BatchBackend(transport or LocalTransport(), DirectScheduler(slots, grace_s), root=str(root / "root"))


def make_script_spec(script: str, **fields: object) -> SubmissionSpec:
    """Return a specification that runs a script."""
    return SubmissionSpec.model_validate({"executable": "sh", "arguments": ("-c", script), **fields})


def wait_until(look: Callable[[], bool]) -> None:
    """Wait until a condition holds, for a limited time."""
    deadline = time.monotonic() + SECONDS
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def get_work(root: Path, handle: JobHandle) -> Path:
    """Return the working directory of a copy."""
    submission_id, _, index = handle.job.partition(".")
    return root / "root" / submission_id / "copies" / index / "work"


def make_copy() -> CopyVars:
    """Return a copy with a secret that is longer than one piece of an archive."""
    return CopyVars(secrets={"token": SecretBytes(b"hush" * 50000)})


@pytest.mark.asyncio
async def test_a_killed_job_keeps_no_secret(tmp_path: Path, backend: BatchBackend) -> None:
    """A kill removes the secrets of running and queued copies, without a later command."""
    handles = (await backend.submit(make_script_spec(STUBBORN), [make_copy(), make_copy()])).handles
    wait_until((get_work(tmp_path, handles[0]) / "ready").exists)
    assert all(outcome.ok for outcome in (await backend.kill(list(handles.values()))).values())
    tokens = [get_work(tmp_path, handle) / "token" for handle in handles.values()]
    wait_until(lambda: not any(token.exists() for token in tokens))


@pytest.mark.asyncio
async def test_a_job_killed_at_its_start_keeps_no_secret(tmp_path: Path) -> None:
    """A copy that is killed as it begins removes its own secrets."""
    async with make_backend(tmp_path) as backend:
        running, waiting = (
            await backend.submit(make_script_spec(STUBBORN), [make_copy(), make_copy()])
        ).handles.values()
        wait_until((get_work(tmp_path, running) / "ready").exists)
        (get_work(tmp_path, waiting).parents[2] / "direct" / "1.kill").touch()
        assert (await backend.kill([running]))[running].ok
        wait_until(lambda: not (get_work(tmp_path, waiting) / "token").exists())


@pytest.mark.asyncio
async def test_a_job_ended_by_others_keeps_no_secret(tmp_path: Path) -> None:
    """The status that writes down the final state removes the secrets of a copy that a batch system ended."""
    async with make_backend(tmp_path, grace_s=3) as backend:
        handle = (await backend.submit(make_script_spec(STUBBORN), [make_copy()])).handles[0]
        wait_until((get_work(tmp_path, handle) / "ready").exists)
        assert (await backend.kill([handle]))[handle].ok
        group = (get_work(tmp_path, handle).parents[2] / "direct" / "0").read_text().split()[0]
        os.killpg(int(group), signal.SIGKILL)
        async with asyncio.timeout(SECONDS):
            while not (await backend.status([handle]))[handle].state.final:  # noqa: ASYNC110 -- jobs set no event
                await asyncio.sleep(0.02)
        assert not (get_work(tmp_path, handle) / "token").exists()


@pytest.mark.asyncio
async def test_a_job_beyond_its_wall_time_keeps_no_secret(tmp_path: Path, backend: BatchBackend) -> None:
    """The runner removes the secrets of a copy that it ends for its wall time."""
    handle = (
        await backend.submit(make_script_spec(STUBBORN, resources=Resources(wall_time_s=1)), [make_copy()])
    ).handles[0]
    wait_until((get_work(tmp_path, handle) / "ready").exists)
    wait_until(lambda: not (get_work(tmp_path, handle) / "token").exists())


@pytest.mark.asyncio
async def test_a_cancelled_upload_leaves_nothing(tmp_path: Path) -> None:
    """An upload that is cancelled leaves no file in the root."""
    async with make_backend(tmp_path, Halting(asyncio.Event().wait)) as backend:
        submit = asyncio.create_task(backend.submit(make_script_spec("true"), [make_copy()]))
        async with asyncio.timeout(SECONDS):
            while len(list((tmp_path / "root").iterdir())) < 3:  # noqa: ASYNC110 -- tar sets no event
                await asyncio.sleep(0.02)
        submit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submit
        wait_until(lambda: {path.name for path in (tmp_path / "root").iterdir()} == {"resource-id", ".trash"})


@pytest.mark.asyncio
async def test_an_input_that_vanishes_during_submit_is_an_error(tmp_path: Path) -> None:
    """An input that vanishes during the upload is an InvalidSpecError, and no file is left in the root."""
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

    async with make_backend(tmp_path, Halting(vanish)) as backend:
        with pytest.raises(InvalidSpecError):
            await backend.submit(spec)
        assert await backend.find("t") == []
        assert {path.name for path in (tmp_path / "root").iterdir()} == {"resource-id", ".trash"}
