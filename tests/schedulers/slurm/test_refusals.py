"""A refusal of Slurm is distinguished from a failure after which jobs may be queued."""

import shlex
from pathlib import Path

import pytest
from tests.schedulers.slurm.places import SUBMISSION_ID, Place, index_ids, make_batch, make_result, submit

from intercede.contract.errors import LimitError, SchedulerError
from intercede.contract.scheduler import Queued
from intercede.schedulers.slurm import SlurmScheduler


def submit_arrays(place: Place, *answers: str, copies: int = 4) -> Queued:
    """Submit arrays of two copies, with these answers of sbatch."""
    place.answer("sbatch", *answers, "exit 0")
    return submit(place, SlurmScheduler(max_array_size=2), make_batch(copies))


def write_failure(text: str, code: int = 1) -> str:
    """Return a script of an sbatch that fails."""
    return f"echo {shlex.quote(f'sbatch: error: {text}')} >&2; exit {code}"


LIMITS = [
    "QOSMaxSubmitJobPerUserLimit\nBatch job submission failed: Job violates accounting/QOS policy (job submit limit)",
    "AssocMaxSubmitJobLimit\nBatch job submission failed: Job violates accounting/QOS policy (job submit limit)",
    (
        "Batch job submission failed: Job violates accounting/QOS policy "
        "(job submit limit, user's size and/or time limits)"
    ),
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
    # job_submit/lua with slurm.log_user and slurm.ERROR, as sbatch 22.05.8 prints it; DOUBTS has one without a message
    "give --account, please: see https://hpc.example.org\n"
    "sbatch: error: Batch job submission failed: Unspecified error": False,
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
def test_a_limit_keeps_the_jobs_that_were_taken(tmp_path: Path, text: str) -> None:
    """A limit is a LimitError if nothing was queued.

    Otherwise queued arrays keep their ids, and the rest may be retried.
    """
    with pytest.raises(LimitError, match="sbatch accepted none of 4 copies"):
        submit_arrays(Place(tmp_path / "first"), write_failure(text), "exit 9")
    place = Place(tmp_path / "second")

    queued = submit_arrays(place, "echo 17", write_failure(text), copies=8)

    assert queued.ids == index_ids("17_0", "17_1")
    assert {failure.retryable for failure in queued.refused.values()} == {True}
    assert len(place.calls("sbatch")) == 2


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_says_whether_it_is_retryable(tmp_path: Path, text: str) -> None:
    """A refusal is retryable if the controller is away, and not if the request is invalid."""
    with pytest.raises(SchedulerError) as caught:
        submit_arrays(Place(tmp_path / "first"), write_failure(text), "exit 9")
    queued = submit_arrays(Place(tmp_path / "second"), "echo 17", write_failure(text))

    assert caught.value.retryable == REFUSALS[text]
    assert caught.value.refused
    assert {failure.retryable for failure in queued.refused.values()} == {REFUSALS[text]}
    assert text.split("\n", maxsplit=1)[0] in queued.refused[2].reason


def test_an_id_that_may_be_cut_is_an_error() -> None:
    """An id at the end of an unfinished answer is an error, since 17 may be the beginning of 175."""
    with pytest.raises(SchedulerError, match="find them by their tag"):
        SlurmScheduler().parse_submit(make_batch(2), make_result(f"\n{SUBMISSION_ID} chunk 0 2\n17"))


@pytest.mark.parametrize("doubt", DOUBTS)
@pytest.mark.parametrize("before", [(), ("echo 17",)], ids=["first", "second"])
def test_a_doubtful_failure_is_not_a_refusal(tmp_path: Path, before: tuple[str, ...], doubt: str) -> None:
    """A failure after which jobs may be queued is neither refused nor retryable, and suggests to find them by tag."""
    with pytest.raises(SchedulerError, match="find them by their tag") as caught:
        submit_arrays(Place(tmp_path), *before, doubt, "echo 19")

    assert not caught.value.retryable
    assert not caught.value.refused
    assert not isinstance(caught.value, LimitError)


@pytest.mark.parametrize("text", ["", "Traceback (most recent call last):", "No space left on device"])
def test_an_unknown_failure_is_not_a_refusal(tmp_path: Path, text: str) -> None:
    """An sbatch that fails with an unknown message may have queued the jobs."""
    with pytest.raises(SchedulerError) as caught:
        submit_arrays(Place(tmp_path), f"echo {shlex.quote(text)} >&2; exit 1")

    assert not caught.value.refused
