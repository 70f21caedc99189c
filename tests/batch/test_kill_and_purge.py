"""Jobs are killed and purged over local and direct."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
from tests.batch.sites import SECONDS, Site, finish, make_script_spec, read_file, wait_for_state, wait_until

from intercede.batch import BatchBackend
from intercede.contract import CommandResult, JobHandle, JobState, JobStatus, OpOutcome
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport


@pytest.mark.asyncio
async def test_a_kill_ends_one_job_with_its_children(
    site: Site, backend: BatchBackend, working_in: Callable[[Path], list[str]]
) -> None:
    """A kill ends a job that ignores SIGTERM, with its children, and leaves other copies. A second kill is ok."""
    script = 'trap "" TERM; echo $$ >pid; sh -c "echo \\$\\$ >child; sleep 60; sleep 60" & wait; wait; sleep 60'
    handles = (await backend.submit(make_script_spec(script), 2)).handles
    for handle in handles.values():
        await wait_for_state(backend, handle, JobState.RUNNING)
        await wait_until(partial(read_file, site.directory(handle) / "work" / "child"), bool)
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
    spec = make_script_spec(f"until [ -e '{go}' ]; do sleep 0.05; done; touch '{marks}'/$$")
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
    spec = make_script_spec("mkdir -p a/b; touch a/b/c; chmod 500 a/b a", tag="t")
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


class Silent(DirectScheduler):
    """A scheduler whose kill ends nothing and says nothing, while its listing has every job in the same state."""

    state = JobState.RUNNING

    def kill_script(self) -> str:
        """Do nothing."""
        return ":\n"

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        """Return no outcome."""
        return {}

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        """Return the same state for every job."""
        return {each: JobStatus(state=self.state) for each in ids}


async def _kill_silently(root: Path, state: JobState) -> OpOutcome:
    """Kill a running job with the scheduler above, and then with the right one. Return the first outcome."""
    scheduler = Silent(grace_s=1)
    scheduler.state = state
    async with BatchBackend(LocalTransport(), DirectScheduler(grace_s=1), root=str(root)) as backend:
        handle: JobHandle = (await backend.submit(make_script_spec("sleep 60"))).handles[0]
        await wait_for_state(backend, handle, JobState.RUNNING)
        async with BatchBackend(LocalTransport(), scheduler, root=str(root)) as silent:
            outcome = (await silent.kill([handle]))[handle]
        await backend.kill([handle])
        await finish(backend, [handle])
    return outcome


@pytest.mark.asyncio
@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.UNKNOWN])
async def test_a_kill_that_nothing_confirms_is_not_ok(root: Path, state: JobState) -> None:
    """If the scheduler still lists a job, in a live state or an unknown one, its kill is not confirmed."""
    outcome = await _kill_silently(root, state)

    assert not outcome.ok
    assert (outcome.reason, outcome.detail) == ("other", f"the scheduler did not confirm the kill; the job is {state}")


@pytest.mark.asyncio
async def test_a_kill_is_ok_if_the_listing_says_that_the_job_has_ended(root: Path) -> None:
    """A final state in the listing confirms a kill."""
    assert (await _kill_silently(root, JobState.KILLED)).ok
