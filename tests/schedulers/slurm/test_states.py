"""Slurm: what the words of squeue and sacct mean."""

import time

import pytest
from tests.schedulers.slurm.places import (
    ACCOUNTED,
    OURS,
    SUBMISSION_ID,
    format_ids,
    format_sacct,
    format_squeue,
    make_result,
    parse_states,
)

from intercede.contract.errors import SchedulerError
from intercede.contract.job import JobState
from intercede.schedulers.slurm import SlurmScheduler

WORDS = {
    JobState.QUEUED: "PENDING PD CONFIGURING CF REQUEUED RQ REQUEUE_FED RF",
    JobState.HELD: "REQUEUE_HOLD RH RESV_DEL_HOLD RD SPECIAL_EXIT SE",
    JobState.RUNNING: "RUNNING R COMPLETING CG RESIZING RS SIGNALING SI STAGE_OUT SO SUSPENDED S STOPPED ST EXPEDITING",
    JobState.DONE: "COMPLETED CD",
    JobState.KILLED: "CANCELLED CA CANCELLED+",
    JobState.FAILED: "FAILED F TIMEOUT TO DEADLINE DL OUT_OF_MEMORY OOM NODE_FAIL NF BOOT_FAIL BF PREEMPTED PR",
    JobState.UNKNOWN: "REVOKED RV XYZZY ? COMPLETEDISH",
}


@pytest.mark.parametrize(("state", "word"), [(state, word) for state, text in WORDS.items() for word in text.split()])
def test_every_state_means_something(state: JobState, word: str) -> None:
    """Short or long, with the native word; one that nobody knows is UNKNOWN."""
    status = parse_states(format_squeue(("17_3", word, "0", "None")), "17_3")["17_3"]

    assert (status.state, status.native) == (state, word)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("TIMEOUT", "timeout"),
        ("DEADLINE", "timeout"),
        ("OUT_OF_MEMORY", "out_of_memory"),
        ("NODE_FAIL", "node_failure"),
        ("PREEMPTED", "preempted"),
        ("BOOT_FAIL", "launch_failure"),
        ("CANCELLED", None),
    ],
)
def test_an_end_has_its_reason(word: str, reason: str | None) -> None:
    """In the contract's words; who cancelled it Slurm does not say."""
    assert parse_states(format_squeue(("17", word, "0", "None")), "17")["17"].reason == reason


@pytest.mark.parametrize(
    "reason",
    [
        "JobHeldUser",
        "JobHeldAdmin",
        "job requeued in held state",
        "launch failed requeued held",
        "user env retrieval failed requeued held",
        "DependencyNeverSatisfied",
    ],
)
def test_what_waits_for_somebody_is_held(reason: str) -> None:
    """And what waits for something is queued."""
    answer = format_squeue(("17_0", "PENDING", "0", reason), ("17_1", "PENDING", "0", "Priority"))

    states = parse_states(answer, "17_0", "17_1")

    assert (states["17_0"].state, states["17_1"].state) == (JobState.HELD, JobState.QUEUED)
    assert reason in (states["17_0"].evidence or "")


@pytest.mark.parametrize(
    ("word", "ended", "state", "code", "number"),
    [
        ("COMPLETED", "0", "DONE", 0, None),
        ("COMPLETED", "0:0", "DONE", 0, None),
        ("COMPLETED", "256", "FAILED", 1, None),
        ("FAILED", "768", "FAILED", 3, None),
        ("FAILED", "3:0", "FAILED", 3, None),
        ("FAILED", "65280", "FAILED", 255, None),
        ("FAILED", "137:0", "FAILED", None, 9),
        ("FAILED", "32768", "FAILED", 128, None),
        ("FAILED", "193:0", "FAILED", 193, None),
        ("FAILED", "9", "FAILED", None, 9),
        ("FAILED", "137", "FAILED", None, 9),
        ("FAILED", "0:15", "FAILED", None, 15),
        ("FAILED", "0", "FAILED", None, None),
    ],
)
def test_an_end_has_its_code_or_signal(word: str, ended: str, state: str, code: int | None, number: int | None) -> None:
    """A wait status in 22.05, a code and a signal in 24.11; a code that a shell tells of a signal is that signal."""
    status = parse_states(format_squeue(("17_0", word, ended, "None")), "17_0")["17_0"]

    assert (status.state, status.exit_code, status.signal) == (state, code, number)


@pytest.mark.parametrize("ended", ["4021", "0:53"])
def test_what_slurm_could_not_launch_says_so(ended: str) -> None:
    """An error number of its own stands where the payload's end would."""
    status = parse_states(format_squeue(("17", "FAILED", ended, "JobLaunchFailure")), "17")["17"]

    assert (status.state, status.reason) == (JobState.FAILED, "launch_failure")


def test_accounting_tells_ends_and_no_more() -> None:
    """What it calls running is not there any more; a code above 127 it does not tell as it was."""
    ends = (
        "17_0|COMPLETED|0:0",
        "17_1|FAILED|9:0",
        "17_2|CANCELLED by 1000|0:0",
        "17_3|RUNNING|0:0",
        "17_4|FAILED|0:9",
    )

    states = parse_states(format_squeue() + format_sacct(*ends), *(f"17_{task}" for task in range(6)))

    assert [states[f"17_{task}"].state for task in range(5)] == ["DONE", "FAILED", "KILLED", "UNKNOWN", "FAILED"]
    assert (states["17_1"].exit_code, states["17_4"].signal, states["17_3"].native) == (None, 9, "RUNNING")
    assert states["17_2"].native == "CANCELLED by 1000"
    assert "17_5" not in states


def test_squeue_is_believed_before_accounting() -> None:
    """A job that was queued anew has an older end there."""
    answer = format_squeue(("17_0", "RUNNING", "0", "None")) + format_sacct("17_0|NODE_FAIL|0:0")

    assert parse_states(answer, "17_0")["17_0"].state is JobState.RUNNING


def test_where_accounting_is_away_nothing_is_absent() -> None:
    """UNKNOWN, and why: absence would end what we killed, for ever. Where there is none, squeue knows all."""
    away = parse_states(
        format_squeue()
        + f"intercede: unlisted 17_0@{SUBMISSION_ID}-0\n"
        + ACCOUNTED.format("sacct: error: Connection refused", 1),
        "17_0",
        "17_1",
    )
    none = parse_states(format_squeue() + ACCOUNTED.format("Slurm accounting storage is disabled", 1), "17_0")

    assert [*away] == ["17_0"]
    assert away["17_0"].state is JobState.UNKNOWN
    assert "Connection refused" in (away["17_0"].evidence or "")
    assert none == {}


@pytest.mark.parametrize("row", ["17", "17_[0-2,5]", "17_[0-9:1%2]"])
def test_an_array_that_never_began_is_one_row(row: str) -> None:
    """It is about each task that has none of its own."""
    states = parse_states(
        format_squeue((row, "CANCELLED", "0", "None"), ("17_1", "COMPLETED", "0", "None")), "17_0", "17_1", "170_0"
    )

    assert (states["17_0"].state, states["17_1"].state) == (JobState.KILLED, JobState.DONE)
    assert "170_0" not in states


def test_a_row_of_what_waits_is_not_about_a_task_that_is_gone() -> None:
    """A task that is cancelled before it began is forgotten, and its array still waits."""
    assert parse_states(format_squeue() + format_sacct("17|PENDING|0:0"), "17_0") == {}


def test_the_same_number_in_two_clusters_is_two_jobs() -> None:
    """And a cluster that nobody asked tells nothing."""
    answer = format_squeue(("17_0", "RUNNING", "0", "None")) + format_squeue(
        ("17_0", "FAILED", "256", "None"), cluster="east"
    )

    states = parse_states(answer, "17_0", "17_0;east", "17_0;west")

    assert {name: status.state for name, status in states.items()} == {
        "17_0": JobState.RUNNING,
        "17_0;east": JobState.FAILED,
    }


def test_an_answer_without_its_end_is_none() -> None:
    """Whatever it says: the rest may have said more."""
    answer = make_result(format_squeue(("17", "FAILED", "256", "None")))
    for parse in (SlurmScheduler().parse_status, SlurmScheduler().parse_kill):
        with pytest.raises(SchedulerError):
            parse(["17"], answer)
    with pytest.raises(SchedulerError):
        SlurmScheduler().parse_list(answer)


def test_a_row_of_waiting_tasks_is_about_those_of_its_name() -> None:
    """Also where it stands for a whole range, and where it cannot be read it is about all that have the number."""
    old, new = format_ids("17_0", submission_id="b" * 13), format_ids("17_0")
    waiting = make_result(format_squeue(("17_[0-4]", "PENDING", "0", "Priority")) + "intercede: end\n")
    unreadable = make_result("intercede: squeue -\n17_0|?\nintercede: end\n")

    assert [*SlurmScheduler().parse_status([*old, *new], waiting)] == new
    assert {each.state for each in SlurmScheduler().parse_status([*old, *new], unreadable).values()} == {"UNKNOWN"}


@pytest.mark.parametrize(
    "row",
    [
        "17_0|RUNNING|0|{}|ReqNodeNotAvail|Reserved|",
        "17_0|RUNNING|0|{}|",
        "17_0|RUNNING|many|{}|None|",
        "17_0|",
    ],
)
def test_what_squeue_lists_is_never_absent(row: str) -> None:
    """A reason may hold anything, and what cannot be read of a job that is listed is UNKNOWN."""
    answer = f"intercede: squeue -\n{row.format(OURS)}\n"

    status = parse_states(answer, "17_0")["17_0"]

    assert status.state is (JobState.RUNNING if "Reserved" in row else JobState.UNKNOWN)
    assert SlurmScheduler().parse_kill(format_ids("17_0"), make_result(f"{answer}intercede: end\n")) == {}


def test_ten_thousand_are_read_in_no_time() -> None:
    """Also where each second one waits, and where all are asked of accounting."""
    ids = [f"17_{task}" for task in range(10_000)]
    every_second = ",".join(str(task) for task in range(0, 10_000, 2))
    answer = format_squeue(*((each, "RUNNING", "0", "None") for each in ids[1::2]))
    answer += "".join(f"intercede: unlisted {each}@{SUBMISSION_ID}-0\n" for each in ids[::2])
    answer += format_squeue(
        (f"17_[{every_second}]", "PENDING", "0", "Priority"), ("18_[0-4000000000]", "PENDING", "0", "None")
    )
    began = time.process_time()

    states = parse_states(answer + ACCOUNTED.format("", 124), *ids, "18_5")

    assert time.process_time() - began < 0.5  # some 0.03 where nothing else runs
    assert [states[each].state for each in ids] == [JobState.QUEUED, JobState.RUNNING] * 5000
    assert states["18_5"].state is JobState.QUEUED
