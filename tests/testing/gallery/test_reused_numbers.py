"""A real queue that starts counting again: whose job the gallery's schedulers believe has the number."""

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from intercede import registry
from intercede.batch import BatchBackend
from intercede.contract import JobState, Scheduler, SubmissionSpec
from intercede.testing import gallery, run_checks
from intercede.testing.gallery.schedulers import right
from intercede.testing.model.verdict import State

Ask = Callable[..., str]
SLEEP = SubmissionSpec(executable="sleep", arguments=("60",))
LISTED = "17.0 stranger running\n"


@pytest.fixture
def plainq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Install the gallery's queue; return a function that asks it."""
    command = tmp_path / "bin" / "plainq"
    command.parent.mkdir()
    shutil.copy(Path(right.__file__).with_name("plainq.sh"), command)
    monkeypatch.setenv("PATH", str(command.parent), prepend=":")
    monkeypatch.setenv("PLAINQ", str(tmp_path / "queue"))
    return lambda *words: subprocess.run(["plainq", *words], capture_output=True, check=True, text=True).stdout


def over(scheduler: type, tmp_path: Path) -> BatchBackend:
    """Make a backend of a scheduler of the gallery."""
    made: Scheduler = scheduler()
    return BatchBackend(registry.transport("intercede:local"), made, root=str(tmp_path / "root"), min_poll_interval=0)


async def seen_after_a_restart(backend: BatchBackend, plainq: Ask) -> tuple[JobState, str]:
    """Give a job's number to a stranger; return the job's status, and the queue's listing after the kill."""
    submission = await backend.submit(SLEEP)
    plainq("restart")
    plainq("submit", "--name=stranger", "sleep", "60")
    try:
        for _ in range(400):
            if plainq("list") == LISTED:
                break
            await asyncio.sleep(0.05)
        job = submission.handles[0]
        (status,) = (await backend.status([job])).values()
        await backend.kill([job])
        return status.state, plainq("list")
    finally:
        plainq("restart")


@pytest.mark.asyncio
async def test_a_stranger_s_job_is_neither_told_nor_killed(plainq: Ask, tmp_path: Path) -> None:
    """The name is not the submission's, whatever the number."""
    async with over(gallery.right()["PlainQueue"], tmp_path) as backend:
        assert await seen_after_a_restart(backend, plainq) == (JobState.UNKNOWN, LISTED)


@pytest.mark.parametrize("name", ["KnowsJobsByNumber", "KillsByNumber", "KillsWhatIsThere"])
@pytest.mark.asyncio
async def test_what_kills_by_number_kills_a_stranger_s_job(name: str, plainq: Ask, tmp_path: Path) -> None:
    """So the clause that catches it is about something real."""
    async with over(gallery.wrong()[name], tmp_path) as backend:
        _, listed = await seen_after_a_restart(backend, plainq)
        assert listed != LISTED


@pytest.mark.parametrize("name", ["KnowsJobsByNumber", "MatchesByNumber"])
@pytest.mark.asyncio
async def test_what_matches_by_number_tells_of_a_stranger_s_job(name: str, plainq: Ask, tmp_path: Path) -> None:
    """A job that is lost is reported as running."""
    async with over(gallery.wrong()[name], tmp_path) as backend:
        state, _ = await seen_after_a_restart(backend, plainq)
        assert state is JobState.RUNNING


@pytest.mark.slow
@pytest.mark.usefixtures("plainq")
@pytest.mark.parametrize("area", ["status", "kill"])
def test_what_compares_names_keeps_the_contract_on_the_real_queue(area: str, tmp_path: Path) -> None:
    """It ends only a session's group, which a SHOULD clause reports."""
    report = run_checks(partial(over, gallery.right()["PlainQueue"], tmp_path), {area})

    assert [report.results[each].detail for each in report.red if each != "IC-KILL-10"] == []
    assert any(result.state is State.PASSED for result in report.results.values())
