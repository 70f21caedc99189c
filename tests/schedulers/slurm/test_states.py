"""The words of squeue and sacct become states."""

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
def test_each_native_state_has_a_state(state: JobState, word: str) -> None:
    """A native state, long or short, becomes a state, and an unknown word is UNKNOWN."""
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
def test_a_final_state_has_its_reason(word: str, reason: str | None) -> None:
    """A final state of Slurm has the contract's reason.

    A cancelled job has none, since Slurm does not say who cancelled it.
    """
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
def test_a_job_that_waits_for_a_person_is_held(reason: str) -> None:
    """A pending job is HELD if a person must release it, and QUEUED if it waits for resources."""
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
def test_an_end_has_its_exit_code_or_signal(
    word: str, ended: str, state: str, code: int | None, number: int | None
) -> None:
    """The exit code or signal is read from a wait status (22.05) or a pair of numbers (24.11).

    A shell's code for a signal is that signal.
    """
    status = parse_states(format_squeue(("17_0", word, ended, "None")), "17_0")["17_0"]

    assert (status.state, status.exit_code, status.signal) == (state, code, number)


@pytest.mark.parametrize("ended", ["4021", "0:53"])
def test_a_job_that_slurm_could_not_launch_says_so(ended: str) -> None:
    """A job that Slurm could not launch is FAILED(launch_failure)."""
    status = parse_states(format_squeue(("17", "FAILED", ended, "JobLaunchFailure")), "17")["17"]

    assert (status.state, status.reason) == (JobState.FAILED, "launch_failure")


def test_accounting_reports_only_final_states() -> None:
    """A job that sacct calls running is UNKNOWN, and an exit code above 127 is not reported."""
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


def test_squeue_is_preferred_to_accounting() -> None:
    """A job that squeue lists has that state, even if sacct has an older end of it."""
    answer = format_squeue(("17_0", "RUNNING", "0", "None")) + format_sacct("17_0|NODE_FAIL|0:0")

    assert parse_states(answer, "17_0")["17_0"].state is JobState.RUNNING


def test_no_job_is_absent_while_accounting_is_down() -> None:
    """An unlisted job is UNKNOWN if sacct fails, and absent if the site has no accounting.

    An absence would make a killed job final.
    """
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
    """A row for a whole array holds for each task without a row of its own."""
    states = parse_states(
        format_squeue((row, "CANCELLED", "0", "None"), ("17_1", "COMPLETED", "0", "None")), "17_0", "17_1", "170_0"
    )

    assert (states["17_0"].state, states["17_1"].state) == (JobState.KILLED, JobState.DONE)
    assert "170_0" not in states


def test_a_pending_array_says_nothing_of_a_cancelled_task() -> None:
    """A row of a pending array in sacct says nothing about a task that was cancelled before it began."""
    assert parse_states(format_squeue() + format_sacct("17|PENDING|0:0"), "17_0") == {}


def test_the_same_number_in_two_clusters_is_two_jobs() -> None:
    """A job's number in two clusters is two jobs, and a job of a cluster that was not queried has no state."""
    answer = format_squeue(("17_0", "RUNNING", "0", "None")) + format_squeue(
        ("17_0", "FAILED", "256", "None"), cluster="east"
    )

    states = parse_states(answer, "17_0", "17_0;east", "17_0;west")

    assert {name: status.state for name, status in states.items()} == {
        "17_0": JobState.RUNNING,
        "17_0;east": JobState.FAILED,
    }


def test_an_unfinished_answer_is_an_error() -> None:
    """An answer without its last line is a SchedulerError, whatever it holds."""
    answer = make_result(format_squeue(("17", "FAILED", "256", "None")))
    for parse in (SlurmScheduler().parse_status, SlurmScheduler().parse_kill):
        with pytest.raises(SchedulerError):
            parse(["17"], answer)
    with pytest.raises(SchedulerError):
        SlurmScheduler().parse_list(answer)


def test_a_row_of_pending_tasks_holds_for_its_name_only() -> None:
    """A row of pending tasks holds for the submission with its name.

    A row that cannot be read holds for all with its number.
    """
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
def test_a_listed_job_is_never_absent(row: str) -> None:
    """A listed job whose row cannot be read is UNKNOWN. A reason may hold any text."""
    answer = f"intercede: squeue -\n{row.format(OURS)}\n"

    status = parse_states(answer, "17_0")["17_0"]

    assert status.state is (JobState.RUNNING if "Reserved" in row else JobState.UNKNOWN)
    assert SlurmScheduler().parse_kill(format_ids("17_0"), make_result(f"{answer}intercede: end\n")) == {}


def test_ten_thousand_jobs_are_parsed_quickly() -> None:
    """Ten thousand jobs are parsed in less than half a second of processor time, with pending ranges and accounting."""
    ids = [f"17_{task}" for task in range(10_000)]
    every_second = ",".join(str(task) for task in range(0, 10_000, 2))
    answer = format_squeue(*((each, "RUNNING", "0", "None") for each in ids[1::2]))
    answer += "".join(f"intercede: unlisted {each}@{SUBMISSION_ID}-0\n" for each in ids[::2])
    answer += format_squeue(
        (f"17_[{every_second}]", "PENDING", "0", "Priority"), ("18_[0-4000000000]", "PENDING", "0", "None")
    )
    began = time.process_time()

    states = parse_states(answer + ACCOUNTED.format("", 124), *ids, "18_5")

    assert time.process_time() - began < 0.5  # some 0.03 on a quiet machine
    assert [states[each].state for each in ids] == [JobState.QUEUED, JobState.RUNNING] * 5000
    assert states["18_5"].state is JobState.QUEUED
