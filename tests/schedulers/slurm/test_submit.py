"""Slurm submits copies with sbatch."""

import re
import shutil
from pathlib import Path

import pytest
from tests.schedulers.slurm.places import (
    SUBMISSION_ID,
    TOOLS,
    Place,
    find_jobs,
    format_ids,
    index_ids,
    make_batch,
    submit,
)

from intercede.contract.errors import SchedulerError
from intercede.schedulers.slurm import SlurmScheduler


def test_resources_are_arguments_of_sbatch(place: Place) -> None:
    """Each resource is an argument of sbatch.

    The site's arguments follow, and those that intercede relies on are last.
    """
    scheduler = SlurmScheduler(["--requeue", "--comment=it's $HOME"])
    place.answer("sbatch", "echo 17")
    resources = {"cpus": 3, "memory_mb": 500, "wall_time_s": 61, "gpus": 2, "queue": "-x; long"}

    submit(place, scheduler, make_batch(1, **resources))

    (words,) = place.calls("sbatch")
    assert {"--cpus-per-task=3", "--mem=500M", "--time=2", "--gres=gpu:2", "--partition=-x; long"} < set(words)
    assert words.index("--no-requeue") < words.index("--requeue") < words.index("--comment=it's $HOME")
    assert words[-5:] == ["--parsable", f"--job-name=ic-{SUBMISSION_ID}-0", "./slurm/job", "0", "1"]


def test_resources_without_a_value_are_left_to_the_site(place: Place) -> None:
    """A copy without resources sets no memory, time, partition or account."""
    place.answer("sbatch", "echo 17")

    submit(place, SlurmScheduler(), make_batch(1))

    (words,) = place.calls("sbatch")
    assert not [word for word in words if re.match("--(mem|time|partition|gres|account|export|array)", word)]


SIZES = {
    "MaxArraySize = 4\n": [4, 4, 2],
    "MaxArraySize            = 1001\nSchedulerParameters     = defer,max_array_tasks=3,x=1\n": [3, 3, 3, 1],
    "MaxArraySize            = 4\nSchedulerParameters     = max_array_tasks=9\n": [4, 4, 2],
    "MaxArraySize            = 0\n": [1] * 10,
    "slurm_load_ctl_conf error: access denied\n": [10],
}


@pytest.mark.parametrize("config", SIZES, ids=range(len(SIZES)))
def test_a_submission_is_split_into_allowed_arrays(tmp_path: Path, config: str) -> None:
    """Copies are submitted in as few arrays as the site's limits allow.

    Each array counts from 0, and one copy is no array.
    """
    place = Place(tmp_path)
    place.answer("scontrol", f"cat <<'E'\n{config}E\n")
    place.answer("sbatch", *(f"echo {number}" for number in range(100, 110)))

    queued = submit(place, SlurmScheduler(), make_batch(10))

    calls, first = place.calls("sbatch"), 0
    for words, count in zip(calls, SIZES[config], strict=True):
        assert words[-3:] == ["./slurm/job", str(first), str(count)]
        assert [word for word in words if word.startswith("--array")] == [f"--array=0-{count - 1}"] * (count > 1)
        first += count
    assert sorted(queued.ids) == list(range(10))
    assert len(set(queued.ids.values())) == 10


def test_scontrol_is_not_called_if_the_limit_is_known(place: Place) -> None:
    """The limit of an array is not queried for one copy, or if an option says it."""
    place.answer("sbatch", "echo 17")
    assert submit(place, SlurmScheduler(), make_batch(1)).ids == index_ids("17")
    shutil.rmtree(place.root / SUBMISSION_ID / "slurm")
    assert submit(place, SlurmScheduler(max_array_size=4), make_batch(3)).ids == index_ids("17_0", "17_1", "17_2")
    assert place.calls("scontrol") == []


CHATTER = """\
printf 'Welcome to the cluster, user 4711\\n42 jobs are yours\\n'
echo 'sbatch: your project has 99 hours left' >&2
echo 'Submitted batch job 5 on cluster west'
echo '17;east'
printf 'Good luck'
"""


def test_text_around_an_id_is_ignored(place: Place) -> None:
    """Text that a site prints before or after the id of a job is ignored, on both streams."""
    place.answer("sbatch", CHATTER)

    queued = submit(place, SlurmScheduler(max_array_size=4), make_batch(2))

    assert queued.ids == index_ids("17_0;east", "17_1;east")


def test_variables_of_a_site_do_not_reach_slurms_commands(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """SBATCH_* variables of the site are unset, and the locale of the payload is passed on to the job."""
    monkeypatch.setenv("SBATCH_ARRAY_INX", "0-9999")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    place.answer("sbatch", 'env >"$STUBS/env"; echo 17')

    submit(place, SlurmScheduler(), make_batch(1))

    environment = (place.stubs / "env").read_text().splitlines()
    assert not [each for each in environment if each.startswith(("SBATCH_", "ic_"))]
    assert {"LC_ALL=C", "IC_LOCALE=de_DE.UTF-8"} <= set(environment)


WHO_PAYS = ("SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION", "SBATCH_WCKEY")
OTHER_SHAPES = ("SBATCH_MEM_PER_CPU", "SBATCH_EXPORT", "SBATCH_CLUSTERS", "SLURM_CLUSTERS", "SLURM_HINT", "SQUEUE_SORT")
#: Variables that srun and a step set, by Slurm's env.c, gres_common.c and mpi_pmi2.c. See snakemake #2230.
OUTER_JOB = (
    "SLURM_JOB_ID", "SLURM_MEM_PER_CPU", "SLURM_CPU_BIND", "SLURM_NTASKS", "SLURM_ARRAY_TASK_ID", "SLURM_EXPORT_ENV",
    "SLURMD_NODENAME", "SRUN_DEBUG", "PMI_RANK", "PMIX_NAMESPACE", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES",
)  # fmt: skip
WAY = ("SLURM_CONF", "SLURM_JWT")


def read_variables(place: Place, tool: str) -> set[str]:
    """Return the names of Slurm's variables that a stub wrote down."""
    lines = (place.stubs / f"{tool}.env").read_text().splitlines()
    return {line.partition("=")[0] for line in lines} & {*WHO_PAYS, *OTHER_SHAPES, *OUTER_JOB, *WAY}


@pytest.mark.parametrize("inside", [True, False], ids=["inside a job", "outside"])
def test_a_copy_inherits_the_account_and_no_outer_job(
    place: Place, monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    """Slurm's commands get the site's account, and no variable that describes an outer job or changes a job's shape.

    See snakemake #2912.
    """
    outer = OUTER_JOB if inside else [name for name in OUTER_JOB if name != "SLURM_JOB_ID"]
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    for name in (*WHO_PAYS, *OTHER_SHAPES, *outer, *WAY):
        monkeypatch.setenv(name, "1\nSLURM_JWT=2")
    for tool in TOOLS:
        place.answer(tool, f'env >"$STUBS/{tool}.env"; [ {tool} != sbatch ] || echo 17')
    scheduler = SlurmScheduler()

    submit(place, scheduler, make_batch(2))
    place.run(scheduler.status_script(), format_ids("17_0"))

    rest = {*WHO_PAYS, *WAY} if inside else {*WHO_PAYS, *WAY, *outer}
    assert {tool: read_variables(place, tool) for tool in ("sbatch", "scontrol", "squeue", "sacct")} == dict.fromkeys(
        ("sbatch", "scontrol", "squeue", "sacct"), rest
    )


def test_a_fenced_submission_queues_nothing(place: Place) -> None:
    """A submission that a find did not see queues nothing afterwards."""
    scheduler = SlurmScheduler()

    assert find_jobs(place, scheduler) == {}
    assert place.calls("squeue") == []
    with pytest.raises(SchedulerError, match="did not answer for each"):
        submit(place, scheduler, make_batch(3))
    assert place.calls("sbatch") == []


def test_a_chunk_that_cannot_be_recorded_is_not_queued(place: Place) -> None:
    """Sbatch is not called if the note of a chunk cannot be written, since the chunk could not be found again."""
    place.put("mv", "#!/bin/sh\nexit 1\n")

    with pytest.raises(SchedulerError, match="chunk-0 cannot be written"):
        submit(place, SlurmScheduler(), make_batch(3))
    assert place.calls("sbatch") == []
