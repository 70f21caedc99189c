"""Jobs are killed and purged over local and direct."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tests.batch.sites import SECONDS, Site, finish, read_file, sh, until, wait_for_state

from intercede.batch import BatchBackend
from intercede.contract.job import (
    JobState,
)


@pytest.mark.asyncio
async def test_a_kill_ends_one_job_with_its_children(
    site: Site, backend: BatchBackend, working_in: Callable[[Path], list[str]]
) -> None:
    """A kill ends a job that ignores SIGTERM, with its children, and leaves other copies. A second kill is ok."""
    script = 'trap "" TERM; echo $$ >pid; sh -c "echo \\$\\$ >child; sleep 60; sleep 60" & wait; wait; sleep 60'
    handles = (await backend.submit(sh(script), 2)).handles
    for handle in handles.values():
        await wait_for_state(backend, handle, JobState.RUNNING)
        await until(partial(read_file, site.directory(handle) / "work" / "child"), bool)
    for _ in range(2):
        assert (await backend.kill([handles[0]]))[handles[0]].ok
    status = (await finish(backend, [handles[0]]))[handles[0]]
    assert (status.state, status.reason) == (JobState.KILLED, "killed_by_user")
    child = (await read_file(site.directory(handles[0]) / "work" / "child")).strip()
    assert child not in working_in(site.root)
    assert (await backend.status([handles[1]]))[handles[1]].state is JobState.RUNNING
    await backend.kill([handles[1]])
    await finish(backend, [handles[1]])


@pytest.mark.asyncio
async def test_a_job_killed_right_after_submit_never_reaches_its_end(
    site: Site, working_in: Callable[[Path], list[str]]
) -> None:
    """A job that is killed right after submit is KILLED and never reaches its last line, queued or running."""
    marks, go = site.root.parent / "marks", site.root.parent / "go"
    marks.mkdir()
    spec = sh(f"until [ -e '{go}' ]; do sleep 0.05; done; touch '{marks}'/$$")
    async with site.backend(slots=2) as backend:
        for _ in range(3):
            handles = list((await backend.submit(spec, 6)).handles.values())
            assert all(outcome.ok for outcome in (await backend.kill(handles)).values())
            told = await finish(backend, handles)
            assert {status.state for status in told.values()} == {JobState.KILLED}
    go.touch()
    async with asyncio.timeout(SECONDS):
        while working_in(site.root):  # noqa: ASYNC110 -- processes tell no event
            await asyncio.sleep(0.02)
    assert list(marks.iterdir()) == []


@pytest.mark.asyncio
async def test_purging_removes_a_job_and_the_last_its_submission(site: Site, backend: BatchBackend) -> None:
    """A purged job is unknown, not found and not fetched, and the last one removes the submission."""
    spec = sh("mkdir -p a/b; touch a/b/c; chmod 500 a/b a", tag="t")
    handles = (await backend.submit(spec, 3)).handles
    await finish(backend, handles.values())
    assert (await backend.purge([handles[1]]))[handles[1]].ok
    assert set(await backend.find("t")) == {handles[0], handles[2]}
    told = await backend.status(list(handles.values()))
    assert [told[handles[index]].state for index in range(3)] == ["DONE", "UNKNOWN", "DONE"]
    assert not (await backend.fetch_output([handles[1]], site.dest))[handles[1]].ok
    for _ in range(2):
        assert all(outcome.ok for outcome in (await backend.purge(list(handles.values()))).values())
    assert await backend.find("t") == []
    assert {path.name for path in site.root.iterdir()} == {"resource-id", ".trash"}
    assert list((site.root / ".trash").iterdir()) == []
