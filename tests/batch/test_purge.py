"""A purge removes jobs despite other purges and a failing remote machine."""

import asyncio
from pathlib import Path

import pytest
from tests.batch.clients import get_submission, make_client, make_jobs

from intercede.batch import BatchBackend
from intercede.contract.job import JobState


@pytest.mark.asyncio
async def test_two_purges_at_once_both_succeed(root: Path) -> None:
    """Two purges of the same jobs at once both report each job as purged."""
    async with make_client(root) as backend, make_client(root) as other:
        handles = await make_jobs(root, backend, 900, exit="code 0 1 host 1 1\n")
        for told in await asyncio.gather(backend.purge(handles), other.purge(handles)):
            assert [outcome for outcome in told.values() if not outcome.ok] == []
    assert {path.name for path in root.iterdir()} == {"resource-id", ".trash"}


@pytest.mark.asyncio
async def test_a_failed_purge_says_why(
    root: Path, backend: BatchBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A purge that cannot move a job reports the remote error, and the job can be purged later."""
    mv = tmp_path / "bin" / "mv"
    mv.parent.mkdir()
    mv.write_text("#!/bin/sh\necho mv: not today >&2\nexit 1\n")
    mv.chmod(0o755)
    (handle,) = await make_jobs(root, backend, 1, exit="code 0 1 host 1 1\n")
    with monkeypatch.context() as broken:
        broken.setenv("PATH", str(mv.parent), prepend=":")
        outcome = (await backend.purge([handle]))[handle]
    assert (outcome.ok, outcome.reason) == (False, "other")
    assert "not today" in (outcome.detail or "")
    assert (await backend.status([handle]))[handle].state is JobState.DONE
    assert (await backend.purge([handle]))[handle].ok


@pytest.mark.asyncio
async def test_a_purge_works_on_a_full_disk(root: Path, backend: BatchBackend) -> None:
    """A job is removed in its place if the directory for purged jobs cannot be used, as on a full disk."""
    (handle,) = await make_jobs(root, backend, 1, exit="code 0 1 host 1 1\n")
    (root / ".trash").rmdir()
    (root / ".trash").touch()
    assert (await backend.purge([handle]))[handle].ok
    assert (await backend.status([handle]))[handle].reason == "purged"
    assert not get_submission(root, handle).joinpath("copies", "0").exists()
