"""The batch script of Slurm runs one copy and ends as its payload did."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.schedulers.slurm.places import SUBMISSION_ID, Job, Place, find_jobs, format_squeue, parse_states

from intercede.contract.job import JobState
from intercede.schedulers.slurm import SlurmScheduler


@pytest.mark.parametrize(
    ("record", "code"),
    [("code 0", 0), ("code 3", 3), ("code 255", 255), ("signal 9", 137), ("caught 0", 0), ("caught 3", 3)],
)
def test_a_job_ends_as_its_payload_did(place: Place, record: str, code: int) -> None:
    """The batch script exits with the code of the payload, so that Slurm's state is right."""
    job = Job(place, f'echo "{record} 0 host $IC_NATIVE 1" >"copies/$1/exit"')

    assert job.run() == (code, "")
    assert (job.here / "copies" / "13" / "exit").read_text() == f"{record} 0 host 17_3 1\n"


def test_a_job_without_a_record_ends_as_its_wrapper_did(place: Place) -> None:
    """The batch script exits with the wrapper's code if there is no record, which could not be written then."""
    assert Job(place, "exit 7").run() == (7, "")
    shutil.rmtree(place.root / SUBMISSION_ID)
    (place.root / SUBMISSION_ID).mkdir()
    assert Job(place, ': >"copies/$1/exit"; exit 126').run() == (126, "")


NOT_STARTED: Mapping[str, Callable[[Path], object]] = {
    "its directory is not there": lambda here: here.rename(here.with_name("away")),
    "nor its wrapper": lambda here: (here / "wrapper").unlink(),
    "nor the copy's": lambda here: (here / "copies" / "13").rmdir(),
    "its record cannot be written": lambda here: (here / "wrapper").write_text("exit 126"),
}


@pytest.mark.parametrize("what", NOT_STARTED)
def test_a_copy_that_was_not_started_has_no_exit_code(place: Place, what: str) -> None:
    """The batch script kills itself with signal 53 if the copy was not started, as Slurm shows a launch failure."""
    job = Job(place, "exit 0")
    NOT_STARTED[what](job.here)

    code, _ = job.run()

    assert code == -53
    for ended in ("53", "0:53"):
        status = parse_states(format_squeue(("17_3", "FAILED", ended, "None")), "17_3")["17_3"]
        assert (status.state, status.reason, status.exit_code) == (JobState.FAILED, "launch_failure", None)


def test_the_tasks_of_one_array_begin(place: Place) -> None:
    """All tasks of the array that begins first run, and those of another array with the same name do not."""
    job = Job(place, 'echo "$1"')
    for task in range(8):
        (job.here / "copies" / f"{10 + task}").mkdir(exist_ok=True)
    started = [job.start(count=8, task=task) for task in range(8)]

    assert sorted(each.communicate()[0] for each in started) == [f"{10 + task}\n" for task in range(8)]
    assert job.run(array="18") == (-53, "")
    assert (job.here / "slurm" / "owner-10").read_text() == "17 -\n"
    assert not [*(job.here / "slurm").glob("owner-10.*")]


def test_a_job_begins_or_is_fenced(place: Place) -> None:
    """A job that begins during a find either runs and is found, or does not run and is not found."""
    for task in range(6):
        job = Job(place, "echo begun")
        place.answer("squeue", f"sleep 0.0{task}")
        started = job.start(first=0, task=3)
        there = find_jobs(place, SlurmScheduler(max_array_size=10))
        begun = "begun" in started.communicate()[0]
        assert begun == (3 in there)
        shutil.rmtree(job.here)
        job.here.mkdir()


def test_a_requeued_copy_runs_only_after_a_signal(place: Place) -> None:
    """A copy that Slurm queues again exits with 0 if it had ended. It runs again if a signal had ended it."""
    job = Job(place, 'echo again; echo "code 0 0 host x 2" >"copies/$1/exit"')
    job.record("code 3")
    assert job.run() == (0, "")
    for after_a_signal in ("signal 9", "caught 0", "caught 3"):
        job.record(after_a_signal)
        assert job.run() == (0, "again\n")


def test_a_single_copy_has_its_own_number(place: Place) -> None:
    """A single copy uses its own job id, even if variables of an outer array are set."""
    job = Job(place, 'echo "$1 $IC_NATIVE"')
    alone = job.start(first=13, count=1)

    assert alone.communicate()[0] == "13 21\n"


def test_the_batch_script_outlives_its_wrapper(place: Place) -> None:
    """The batch script survives the SIGTERM that Slurm sends to all processes of a job, and the wrapper ends first."""
    record = "sleep 0.2; echo code 7 >copies/$1/exit.tmp; mv copies/$1/exit.tmp copies/$1/exit; exit"
    slow = f'trap "{record}" TERM; : >up; while :; do sleep 0.05; done'
    job = Job(place, slow)
    started = job.start()
    end = time.monotonic() + 30
    while not (job.here / "up").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    for process in (started.pid, *map(int, children)):
        os.kill(process, signal.SIGTERM)

    started.communicate(timeout=30)
    assert started.returncode == 7


def test_the_payload_sees_no_variable_of_the_script(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The payload gets its variables unchanged, and none of the batch script."""
    for name in ("index", "what", "number", "native"):
        monkeypatch.setenv(name, "theirs")
    job = Job(place, "env")
    environment = job.run()[1].splitlines()

    assert {f"{name}=theirs" for name in ("index", "what", "number", "native")} <= set(environment)
    assert [each for each in environment if each.startswith("ic_")] == []
