"""A status of Slurm runs few commands."""

import os
from pathlib import Path

import pytest
from tests.schedulers.slurm.places import OURS, Place, format_ids, key_by_job, write_squeue

from intercede.contract.errors import SchedulerError
from intercede.contract.job import JobState
from intercede.schedulers.slurm import SlurmScheduler


def test_all_jobs_are_queried_at_once(place: Place) -> None:
    """One squeue queries any number of copies, with at least two ids. Sacct is not called if squeue lists all."""
    place.answer("squeue", write_squeue(*(f"17_{task}" for task in range(9))) + write_squeue("18", word="PENDING"))
    ids = format_ids(*(f"17_{task}" for task in range(9)), "18")

    result = place.run(SlurmScheduler().status_script(), ids)

    assert sorted(SlurmScheduler().parse_status(ids, result)) == sorted(ids)
    (words,) = place.calls("squeue")
    assert "--jobs=17,18,17" in words
    assert f"--user={os.getuid()}" in words
    assert place.calls("sacct") == []


def test_each_cluster_is_queried_once(place: Place) -> None:
    """Squeue is called once for each cluster, and sacct for the unlisted jobs.

    An id that is not intercede's is not queried.
    """
    place.answer("squeue", f"case $* in *east*)\n{write_squeue('3')};; *)\n{write_squeue('17_0')};; esac")
    place.answer("sacct", f"echo '19|FAILED|1:0|{OURS}'")
    ids = [*format_ids("17_0", "17_1", "3;east", "x;east", "-x", "17_", "19"), "17_2", "17_2@", "17_2@-0", "17_2@x"]

    states = key_by_job(SlurmScheduler().parse_status(ids, place.run(SlurmScheduler().status_script(), ids)))

    assert {name: status.state for name, status in states.items()} == {
        "17_0": JobState.RUNNING,
        "3;east": JobState.RUNNING,
        "19": JobState.FAILED,
    }
    asked = [word for words in place.calls("squeue") for word in words if word.startswith(("--jobs", "--clusters"))]
    again = ["--jobs=17,19,17"]
    assert sorted(asked) == sorted(["--clusters=east", "--jobs=17,19,17", "--jobs=3,3", *again])
    (words,) = place.calls("sacct")
    assert {"--jobs=17,19,17", f"--name={OURS},{OURS}", f"--user={os.getuid()}"} <= set(words)


def test_a_task_that_squeue_omits_is_queried_again(place: Place) -> None:
    """A task that squeue omits is queried again.

    In 22.05 and 24.11 squeue shows the pending tasks 1-999:2 as 1 to 997.
    """
    waiting = write_squeue("17_[1-999:2]", word="PENDING", reason="JobHeldUser")
    place.answer("squeue", write_squeue("17_997", word="PENDING", reason="Priority"), waiting)
    ids = format_ids("17_997", "17_998", "17_999")

    states = key_by_job(SlurmScheduler().parse_status(ids, place.run(SlurmScheduler().status_script(), ids)))

    assert {name: status.state for name, status in states.items()} == {
        "17_997": JobState.QUEUED,
        "17_999": JobState.HELD,
    }


def test_many_arrays_are_queried_in_few_calls(tmp_path: Path) -> None:
    """A call of squeue has at most two thousand ids, since the length of arguments is limited."""
    place = Place(tmp_path)
    place.run(SlurmScheduler().kill_script(), format_ids(*(f"{number}_0" for number in range(4500))))

    assert len(place.calls("squeue")) == 6


def test_a_failed_squeue_is_an_error(place: Place) -> None:
    """A squeue that fails in one cluster is a SchedulerError, which is retryable if the controller is away."""
    away = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    place.answer("squeue", f"case $* in *east*) echo '{away}' >&2; exit 1 ;; esac")
    ids = format_ids("1", "2;east")
    with pytest.raises(SchedulerError, match="Unable to contact") as caught:
        SlurmScheduler().parse_status(ids, place.run(SlurmScheduler().status_script(), ids))
    assert caught.value.retryable

    place.forget()
    place.answer("squeue", "echo 'squeue: unrecognized option' >&2; exit 1")
    with pytest.raises(SchedulerError, match="unrecognized") as caught:
        SlurmScheduler().parse_kill(ids, place.run(SlurmScheduler().kill_script(), ids))
    assert not caught.value.retryable


def test_a_hanging_sacct_is_given_up(place: Place) -> None:
    """A sacct that does not answer within ten seconds leaves the jobs UNKNOWN."""
    place.put("timeout", '#!/bin/sh\n[ "$1" = 10 ] && shift && "$@" && exit 124\n')
    scheduler = SlurmScheduler()

    states = key_by_job(
        scheduler.parse_status(format_ids("17"), place.run(scheduler.status_script(), format_ids("17")))
    )

    assert states["17"].state is JobState.UNKNOWN
    assert len(place.calls("sacct")) == 1
