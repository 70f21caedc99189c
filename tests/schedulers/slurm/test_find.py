"""Submissions to Slurm whose answer was lost are found by their names, or fenced."""

import shlex
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.schedulers.slurm.places import (
    API,
    SUBMISSION_ID,
    Job,
    Place,
    find_jobs,
    index_ids,
    make_batch,
    make_result,
    submit,
    submit_unanswered,
)

from intercede.batch.remote.api import write_program
from intercede.contract.errors import SchedulerError
from intercede.schedulers.slurm import SlurmScheduler


def note_start(place: Place, first: int, text: str) -> None:
    """Write the note of a chunk's start, as the batch script does."""
    (place.root / SUBMISSION_ID / "slurm" / f"owner-{first}").write_text(f"{text}\n")


def test_a_lost_answer_is_found_by_name(place: Place) -> None:
    """An array is found as a whole: by its name in squeue, the oldest of one name, or by the note of its start."""
    scheduler = SlurmScheduler(max_array_size=2)
    submit_unanswered(place, scheduler, 7)
    note_start(place, 4, "22 east")
    rows = [
        f"31|ic-{SUBMISSION_ID}-0",
        f"20|ic-{SUBMISSION_ID}-0",
        f"20|ic-{SUBMISSION_ID}-0",
        f"9|ic-{SUBMISSION_ID}-00",
        "8|other",
        "Welcome",
    ]
    place.answer("squeue", f"printf '%s\\n' {shlex.join(rows)}")

    assert find_jobs(place, scheduler) == index_ids("20_0", "20_1") | index_ids("22_0", "22_1", first=4)
    (words,) = place.calls("squeue")
    assert f"--name=ic-{SUBMISSION_ID}-0,ic-{SUBMISSION_ID}-2,ic-{SUBMISSION_ID}-4,ic-{SUBMISSION_ID}-6" in words


def test_each_cluster_is_searched(place: Place) -> None:
    """A find searches each cluster of the options, and the note of a start names the cluster of its job."""
    scheduler = SlurmScheduler(clusters=["east", "west"], max_array_size=2)
    submit_unanswered(place, scheduler, 3)
    note_start(place, 2, "22 east")
    place.answer("squeue", "true", f"echo '20|ic-{SUBMISSION_ID}-0'")

    assert find_jobs(place, scheduler) == index_ids("20_0;west", "20_1;west") | index_ids("22;east", first=2)


def test_the_found_job_owns_the_chunk(place: Place) -> None:
    """The job that a find returned runs the copies, even if another job of the same name begins first."""
    scheduler = SlurmScheduler(max_array_size=10)
    job = Job(place, "echo begun")
    place.answer("squeue", f"printf '%s\\n' '18|ic-{SUBMISSION_ID}-0' '17|ic-{SUBMISSION_ID}-0'")
    assert find_jobs(place, scheduler)[3] == f"17_3@{SUBMISSION_ID}-0"

    assert job.run(first=0, array="18") == (-53, "")
    assert job.run(first=0, array="17") == (0, "begun\n")
    place.answer("squeue", f"echo '18|ic-{SUBMISSION_ID}-0'")
    assert find_jobs(place, scheduler)[3] == f"17_3@{SUBMISSION_ID}-0"


def test_a_find_stops_a_slow_submission(place: Place) -> None:
    """A submission that a find saw queues no further array."""
    scheduler = SlurmScheduler(max_array_size=2)
    listing = place.stubs / "list"
    fragment = f"IC_FENCE=yes\n{scheduler.list_script(SUBMISSION_ID)}"
    listing.write_text(f"cd {place.root}\n{write_program('list', API, fragment)}")
    place.answer("sbatch", f"echo 17; {shlex.join(place.shell)} {listing} >{place.stubs}/told")
    place.answer("squeue", f"echo '17|ic-{SUBMISSION_ID}-0'")

    with pytest.raises(SchedulerError, match="a client searched for this submission"):
        submit(place, scheduler, make_batch(6))

    assert len(place.calls("sbatch")) == 1
    assert scheduler.parse_list(make_result((place.stubs / "told").read_text())) == index_ids("17_0", "17_1")
    assert find_jobs(place, scheduler) == index_ids("17_0", "17_1")


def test_finds_at_the_same_time_agree(place: Place) -> None:
    """Four finds at the same time return the same jobs."""
    scheduler = SlurmScheduler(max_array_size=2)
    for _ in range(2):
        submit_unanswered(place, scheduler, 9)
        place.answer("squeue", f"echo '20|ic-{SUBMISSION_ID}-2'; sleep 0.05")
        with ThreadPoolExecutor(4) as several:
            told = [each.result() for each in [several.submit(find_jobs, place, scheduler) for _ in range(4)]]
        assert told == [index_ids("20_0", "20_1", first=2)] * 4
        shutil.rmtree(place.root / SUBMISSION_ID)
        (place.root / SUBMISSION_ID).mkdir()


@pytest.mark.parametrize(("name", "text"), [("owner-0", ""), ("chunk-0", ""), ("chunk-0", "0\n"), ("chunk-0", "x\n")])
def test_files_of_a_crash_are_an_error(place: Place, name: str, text: str) -> None:
    """A damaged note of a chunk is an error that says which directory to remove."""
    submit_unanswered(place, SlurmScheduler())
    (place.root / SUBMISSION_ID / "slurm" / name).write_text(text)

    with pytest.raises(SchedulerError, match=f"remove the directory {SUBMISSION_ID}"):
        find_jobs(place, SlurmScheduler())


def test_a_chunk_that_was_not_found_never_runs(place: Place) -> None:
    """A chunk that a find did not see never runs its copies, even if squeue lists it later."""
    scheduler = SlurmScheduler(max_array_size=10)
    job = Job(place, "echo begun")

    assert find_jobs(place, scheduler) == {}
    place.answer("squeue", f"echo '17|ic-{SUBMISSION_ID}-0'")
    assert find_jobs(place, scheduler) == {}
    assert job.run(first=0, task=3) == (-53, "")


def test_a_find_without_a_fence_stops_nothing(place: Place) -> None:
    """A find without a fence leaves the submission as it is."""
    scheduler = SlurmScheduler(max_array_size=10)
    job = Job(place, "echo begun")

    assert find_jobs(place, scheduler, fence=False) == {}
    assert job.run(first=0, task=3) == (0, "begun\n")
    assert find_jobs(place, scheduler, fence=False)[3] == f"17_3@{SUBMISSION_ID}-0"


def test_a_failed_fence_is_an_error(place: Place) -> None:
    """A find whose fence cannot be written, as on a full disk, is an error, since the chunk could still begin."""
    submit_unanswered(place, SlurmScheduler())
    full = 'case $* in *owner*) echo "No space left" >&2; exit 1 ;; esac; exec /bin/mkdir "$@"'
    place.put("mkdir", f"#!/bin/sh\n{full}\n")

    with pytest.raises(SchedulerError, match="No space left"):
        find_jobs(place, SlurmScheduler())


def test_a_job_that_begins_during_a_find_is_found(place: Place) -> None:
    """A job that begins after squeue was called is found by its note."""
    submit_unanswered(place, SlurmScheduler())
    place.answer("squeue", f"echo '22 east' >./{SUBMISSION_ID}/slurm/owner-0")

    assert find_jobs(place, SlurmScheduler()) == index_ids(*(f"22_{index}" for index in range(5)))


def test_a_listed_job_without_a_valid_id_is_an_error(place: Place) -> None:
    """A row with the name of the chunk and an invalid id is an error."""
    submit_unanswered(place, SlurmScheduler())
    place.answer("squeue", f"echo 'twenty|ic-{SUBMISSION_ID}-0'")
    with pytest.raises(SchedulerError, match="cannot be read"):
        find_jobs(place, SlurmScheduler())


@pytest.mark.parametrize("word", ["owned", "owned 22x east", "owned 22 my cluster", "begun 22 ", ""])
def test_an_unknown_answer_about_a_chunk_is_an_error(word: str) -> None:
    """An answer about a chunk that cannot be read is an error, since its job may have begun."""
    with pytest.raises(SchedulerError, match="cannot be read"):
        SlurmScheduler().parse_list(make_result(f"intercede: chunk {SUBMISSION_ID} 0 5 {word}\nintercede: end\n"))
