"""Slurm: submissions that sbatch refuses, and those of which nobody can say."""

import shlex
from pathlib import Path

import pytest
from tests.schedulers.slurm.places import SUBMISSION_ID, Place, index_ids, make_batch, make_result, submit

from intercede.contract.errors import LimitError, SchedulerError
from intercede.contract.scheduler import Queued
from intercede.schedulers.slurm import SlurmScheduler


def submit_arrays(place: Place, *answers: str, copies: int = 4) -> Queued:
    """Submit arrays of two where sbatch answers like this."""
    place.answer("sbatch", *answers, "exit 0")
    return submit(place, SlurmScheduler(max_array_size=2), make_batch(copies))


def write_failure(text: str, code: int = 1) -> str:
    """Write a script of an sbatch that fails."""
    return f"echo {shlex.quote(f'sbatch: error: {text}')} >&2; exit {code}"


LIMITS = [
    "QOSMaxSubmitJobPerUserLimit\nBatch job submission failed: Job violates accounting/QOS policy (job submit limit)",
    "AssocMaxSubmitJobLimit\nBatch job submission failed: Job violates accounting/QOS policy (job submit limit)",
    "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
    "Batch job submission failed: Resource temporarily unavailable",
    "Batch job submission failed: MaxJobCount limit reached",
]
REFUSALS = {
    "unrecognized option '--nonsense'\nTry \"sbatch --help\" for more information": False,
    "Batch job submission failed: Invalid partition name specified": False,
    "Invalid --time specification": False,
    "Batch job submission failed: Invalid account or account/partition combination specified": False,
    "Batch job submission failed: Invalid job array specification": False,
    "QOSMaxCpuPerJobLimit\nBatch job submission failed: Job violates accounting/QOS policy (job submit limit)": False,
    "Batch job submission failed: Unable to contact slurm controller (connect failure)": True,
    "Batch job submission failed: Slurm backup controller in standby mode": True,
    # job_submit/lua with slurm.log_user and slurm.ERROR, as sbatch 22.05.8 prints it; without a message it is among DOUBTS
    "give --account, please: see https://hpc.example.org\nsbatch: error: Batch job submission failed: Unspecified error": False,
    "job_submit: not authorized\nsbatch: error: Batch job submission failed: Unspecified error": False,
    "cli_filter plugin terminated with error": False,
}
DOUBTS = [
    write_failure("Batch job submission failed: Socket timed out on send/recv operation"),
    write_failure("Batch job submission failed: Zero Bytes were transmitted or received"),
    write_failure("Batch job submission failed: Unable to contact slurm controller (receive failure)"),
    write_failure("Batch job submission failed: Unspecified error"),
    *(
        write_failure(f"{said}\nsbatch: error: Batch job submission failed: Unspecified error")
        for said in ("slurm_unpack_received_msg: x", "If munged is up, restart", "Malformed RPC of type 4", " ")
    ),
    write_failure("", 137),
    "kill -s KILL $$",
    "echo 18; exit 1",
    "echo taken",
]


@pytest.mark.parametrize("text", LIMITS)
def test_a_limit_is_one_and_orphans_nothing(tmp_path: Path, text: str) -> None:
    """LimitError where nothing was taken; else what was taken stands, and the rest may be tried later."""
    with pytest.raises(LimitError, match="sbatch accepted none of 4 copies"):
        submit_arrays(Place(tmp_path / "first"), write_failure(text), "exit 9")
    place = Place(tmp_path / "second")

    queued = submit_arrays(place, "echo 17", write_failure(text), copies=8)

    assert queued.ids == index_ids("17_0", "17_1")
    assert {failure.retryable for failure in queued.refused.values()} == {True}
    assert len(place.calls("sbatch")) == 2


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_says_whether_later_is_better(tmp_path: Path, text: str) -> None:
    """An outage passes, a partition that is not there does not appear."""
    with pytest.raises(SchedulerError) as caught:
        submit_arrays(Place(tmp_path / "first"), write_failure(text), "exit 9")
    queued = submit_arrays(Place(tmp_path / "second"), "echo 17", write_failure(text))

    assert caught.value.retryable == REFUSALS[text]
    assert caught.value.refused
    assert {failure.retryable for failure in queued.refused.values()} == {REFUSALS[text]}
    assert text.split("\n", maxsplit=1)[0] in queued.refused[2].reason


def test_an_id_that_may_be_cut_is_none() -> None:
    """17 may be the beginning of 175: without the end of its answer nothing is known."""
    with pytest.raises(SchedulerError, match="find them by their tag"):
        SlurmScheduler().parse_submit(make_batch(2), make_result(f"\n{SUBMISSION_ID} chunk 0 2\n17"))


@pytest.mark.parametrize("doubt", DOUBTS)
@pytest.mark.parametrize("before", [(), ("echo 17",)], ids=["first", "second"])
def test_what_may_have_been_taken_is_never_called_refused(tmp_path: Path, before: tuple[str, ...], doubt: str) -> None:
    """Whoever tried again would run it twice: the error says so, and that the tag finds it."""
    with pytest.raises(SchedulerError, match="find them by their tag") as caught:
        submit_arrays(Place(tmp_path), *before, doubt, "echo 19")

    assert not caught.value.retryable
    assert not caught.value.refused
    assert not isinstance(caught.value, LimitError)


@pytest.mark.parametrize("text", ["", "Traceback (most recent call last):", "No space left on device"])
def test_a_failure_that_nobody_knows_is_no_refusal_for_certain(tmp_path: Path, text: str) -> None:
    """A site's own sbatch may fail behind Slurm's."""
    with pytest.raises(SchedulerError) as caught:
        submit_arrays(Place(tmp_path), f"echo {shlex.quote(text)} >&2; exit 1")

    assert not caught.value.refused
