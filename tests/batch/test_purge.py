"""Purges that meet each other, or a remote machine that fails."""

import asyncio
from pathlib import Path

import pytest
from tests.batch.clients import get_submission, make_client, make_jobs

from intercede.batch import BatchBackend
from intercede.contract.job import JobState


@pytest.mark.asyncio
async def test_two_purges_at_once_are_both_told_that_all_is_gone(root: Path) -> None:
    """Whoever moved it: what is there no more was purged."""
    async with make_client(root) as backend, make_client(root) as other:
        handles = await make_jobs(root, backend, 900, exit="code 0 1 host 1 1\n")
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
    (handle,) = await make_jobs(root, backend, 1, exit="code 0 1 host 1 1\n")
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
    (handle,) = await make_jobs(root, backend, 1, exit="code 0 1 host 1 1\n")
    (root / ".trash").rmdir()
    (root / ".trash").touch()
    assert (await backend.purge([handle]))[handle].ok
    assert (await backend.status([handle]))[handle].reason == "purged"
    assert not get_submission(root, handle).joinpath("copies", "0").exists()
