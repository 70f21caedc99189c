"""A real queue counts from the start again, and gives a job's number to a foreign job."""

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
    """Install the gallery's queue, and return a function that runs its command."""
    command = tmp_path / "bin" / "plainq"
    command.parent.mkdir()
    shutil.copy(Path(right.__file__).with_name("plainq.sh"), command)
    monkeypatch.setenv("PATH", str(command.parent), prepend=":")
    monkeypatch.setenv("PLAINQ", str(tmp_path / "queue"))
    return lambda *words: subprocess.run(["plainq", *words], capture_output=True, check=True, text=True).stdout


def make_backend(scheduler: type, tmp_path: Path) -> BatchBackend:
    """Return a backend of a scheduler."""
    made: Scheduler = scheduler()
    return BatchBackend(registry.transport("intercede:local"), made, root=str(tmp_path / "root"), min_poll_interval=0)


async def reuse_number(backend: BatchBackend, plainq: Ask) -> tuple[JobState, str]:
    """Give a job's number to a foreign job. Return the job's state, and the queue's listing after a kill of the job."""
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
async def test_a_foreign_job_is_neither_reported_nor_killed(plainq: Ask, tmp_path: Path) -> None:
    """A scheduler that compares names reports the job as UNKNOWN, and does not kill the foreign job with its number."""
    async with make_backend(gallery.load_right()["PlainQueue"], tmp_path) as backend:
        assert await reuse_number(backend, plainq) == (JobState.UNKNOWN, LISTED)


@pytest.mark.parametrize("name", ["KnowsJobsByNumber", "KillsByNumber", "KillsAfterCheckingTheNumber"])
@pytest.mark.asyncio
async def test_killing_by_number_kills_a_foreign_job(name: str, plainq: Ask, tmp_path: Path) -> None:
    """A wrong scheduler that kills by number kills the foreign job."""
    async with make_backend(gallery.load_wrong()[name], tmp_path) as backend:
        _, listed = await reuse_number(backend, plainq)
        assert listed != LISTED


@pytest.mark.parametrize("name", ["KnowsJobsByNumber", "MatchesByNumber"])
@pytest.mark.asyncio
async def test_matching_by_number_reports_a_foreign_job(name: str, plainq: Ask, tmp_path: Path) -> None:
    """A wrong scheduler that matches by number reports a lost job as RUNNING."""
    async with make_backend(gallery.load_wrong()[name], tmp_path) as backend:
        state, _ = await reuse_number(backend, plainq)
        assert state is JobState.RUNNING


@pytest.mark.slow
@pytest.mark.usefixtures("plainq")
@pytest.mark.parametrize("area", ["status", "kill"])
def test_comparing_names_keeps_the_contract_on_a_real_queue(area: str, tmp_path: Path) -> None:
    """A scheduler that compares names is green on the real queue, but for a SHOULD about process groups."""
    report = run_checks(partial(make_backend, gallery.load_right()["PlainQueue"], tmp_path), {area})

    assert [report.results[each].detail for each in report.red if each != "IC-KILL-10"] == []
    assert any(result.state is State.PASSED for result in report.results.values())
