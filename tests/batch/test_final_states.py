"""The final state of a job is written down once and never changes."""

import asyncio
from pathlib import Path

import pytest
from tests.batch.clients import get_submission, make_client, make_jobs
from tests.batch.sites import make_script_spec, wait_until

from intercede.batch import BatchBackend
from intercede.contract.job import JobState


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("attempt", "noted", "reason"),
    [
        (1, "0\n", "killed_by_user"),
        (1, "1\n", "signal"),
        (2, "1\n", "killed_by_user"),
        (2, "1\n2\n", "killed_by_user"),
        (1, "", "signal"),
    ],
)
async def test_a_kill_counts_only_for_later_ends(
    root: Path, backend: BatchBackend, attempt: int, noted: str, reason: str
) -> None:
    """A death by signal counts as killed by the user only if the note of the kill is older.

    An unfinished note does not count.
    """
    (handle,) = await make_jobs(root, backend, 1, exit=f"signal 9 1 host 1 {attempt}\n", killed=noted)
    status = (await backend.status([handle]))[handle]
    assert (status.reason, status.signal) == (reason, 9)


@pytest.mark.asyncio
async def test_a_kill_does_not_change_an_earlier_end(root: Path, backend: BatchBackend) -> None:
    """A kill of a job that has died of its own signal leaves the reason as it is, even without a status before."""
    handle = (await backend.submit(make_script_spec("kill -11 $$"))).handles[0]
    record = get_submission(root, handle) / "copies" / "0" / "exit"
    await wait_until(lambda: asyncio.to_thread(lambda: record.exists() and "\n" in record.read_text()), bool)
    assert (await backend.kill([handle]))[handle].ok
    status = (await backend.status([handle]))[handle]
    assert (status.state, status.signal, status.reason) == (JobState.FAILED, 11, "signal")


@pytest.mark.asyncio
@pytest.mark.parametrize("damaged", ["", "{", '{"state":"KILLED"}'])
async def test_a_damaged_final_state_is_written_again(root: Path, backend: BatchBackend, damaged: str) -> None:
    """A damaged final state is written again, and does not change afterwards."""
    handles = await make_jobs(root, backend, 2, exit="signal 9 1 host 1 1\n")
    place = get_submission(root, handles[0])
    (place / "finals").mkdir()
    (place / "finals" / "1").write_text(damaged)
    before = await backend.status(handles)
    assert {(status.state, status.signal) for status in before.values()} == {(JobState.FAILED, 9)}
    (place / "copies" / "1" / "killed").write_text("0\n")
    (place / "copies" / "1" / "exit").unlink()
    assert dict(await backend.status(handles)) == dict(before)


@pytest.mark.asyncio
async def test_a_final_state_that_cannot_be_written_is_reported(root: Path, backend: BatchBackend) -> None:
    """A final state that cannot be written is reported, its evidence says so, and the next status tries again."""
    (handle,) = await make_jobs(root, backend, 1, exit="signal 9 1 host 1 1\n", killed="0\n")
    (get_submission(root, handle) / "finals").touch()
    told = [(await backend.status([handle]))[handle] for _ in range(2)]
    assert {status.reason for status in told} == {"killed_by_user"}
    (get_submission(root, handle) / "finals").unlink()
    assert all("could not be recorded" in (status.evidence or "") for status in told)
    written = (await backend.status([handle]))[handle]
    assert written == told[0].model_copy(update={"evidence": written.evidence})
    assert (get_submission(root, handle) / "finals" / "0").exists()


@pytest.mark.asyncio
async def test_two_clients_write_the_same_final_states(root: Path) -> None:
    """Two statuses of 500 jobs at once write one final state for each job and report the same."""
    async with make_client(root) as backend, make_client(root) as other:
        handles = await make_jobs(root, backend, 500, killed="0\n")
        first, second = await asyncio.gather(backend.status(handles), other.status(handles))
        assert dict(first) == dict(second)
        assert {status.reason for status in first.values()} == {"killed_by_user"}
        left = {path.name for path in get_submission(root, handles[0]).glob("finals*/*")}
        assert left == {str(index) for index in range(500)}
