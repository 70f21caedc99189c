"""The scheduler ``slurm``: jobs go through Slurm's own commands: sbatch, squeue, sacct, scancel and scontrol.

A submission is a job array, or several where it has more copies than an array may have. Each is known to Slurm by the
name ``ic-SUBMISSION_ID-FIRST``, so that one whose answer was lost is found again. A job ends with its payload's exit code: what
Slurm says of it is true by itself.
"""

import re
import shlex
from collections.abc import Mapping, Sequence

from intercede.contract.job import JobStatus, OpOutcome, Resources
from intercede.contract.scheduler import Batch, Queued, ToolEnvironment
from intercede.contract.transport import CommandResult
from intercede.plugin_tools.options import check_number, option_error
from intercede.plugin_tools.scheduler import read_script
from intercede.schedulers._slurm_answers import denied, found, job_of, jobs, queued
from intercede.schedulers._slurm_arguments import objection

__all__ = ["SlurmScheduler"]

_MINUTE = 60
_TOOLS = ToolEnvironment(
    unset=(
        "SBATCH_*", "SQUEUE_*", "SACCT_*", "SCANCEL_*", "SCONTROL_*",
        "SLURM_CLUSTERS", "SLURM_EXIT_ERROR", "SLURM_HINT",
    ),
    keep=(
        "SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION", "SBATCH_WCKEY",
        "SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_SACK_*",
    ),
    job_variable="SLURM_JOB_ID",
    unset_in_job=(
        "SLURM_*", "SLURMD_*", "SRUN_*", "PMI_*", "PMI2_*", "PMIX_*",
        "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK",
    ),
)  # fmt: skip
"""Kept: who pays, where a job runs, and how the controller is reached."""
_ENDING = frozenset({"COMPLETING", "CG"})


class SlurmScheduler:
    """Queues copies with sbatch. Every request of ``resources`` is kept, or refused by Slurm.

    Args:
        submit_arguments: Words for sbatch behind those of ours: what a site needs, like ``--account=physics``. Not those
            that would make anything else of a copy than one run that we know, like ``--array`` or ``--wait``.
        clusters: Of several clusters, those that may be submitted to; Slurm chooses. Empty: the one that is there.
        max_array_size: How many copies an array may have. None: what Slurm's configuration says.

    Raises:
        ConfigError: An option has no sense.
    """

    def __init__(
        self,
        submit_arguments: Sequence[str] = (),
        clusters: Sequence[str] = (),
        max_array_size: int | None = None,
    ) -> None:
        self._arguments = _words("submit_arguments", submit_arguments, r"(?s)(?!--\Z)[^\0]+", "words for sbatch")
        if why := objection(self._arguments):
            raise option_error("submit_arguments", list(self._arguments), f"words that sbatch can be given; {why}")
        self._clusters = _words("clusters", clusters, r"[A-Za-z0-9][A-Za-z0-9._-]*", "names of clusters")
        self._size = None if max_array_size is None else check_number("max_array_size", max_array_size, int, least=1)

    def stages_own_files(self) -> bool:
        """Slurm's nodes share a file system."""
        return False

    def tool_environment(self) -> ToolEnvironment:
        """What only chooses who pays and where a job runs is the site's word, and stays."""
        return _TOOLS

    def submit_script(self, batch: Batch) -> str:
        """Write the fragment that calls sbatch, once for each array."""
        clusters = [f"--clusters={','.join(self._clusters)}"] if self._clusters else []
        sbatch = ["sbatch", *_request(batch.resources), *clusters, *self._arguments, "--parsable"]
        return f'slurm_sbatch() {{ ic_tool {shlex.join(sbatch)} "$@"; }}\n' + _read(
            "submit",
            slurm_submission_id=batch.submission_id,
            slurm_copies=batch.copies,
            slurm_size=self._size,
            slurm_clusters=",".join(self._clusters),
            slurm_job=_read("job"),
        )

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Tell from sbatch's answers which copy got which id: ``17_3``, or ``17_3;cluster``.

        Raises:
            LimitError: A limit of Slurm's refused the first array.
            SchedulerError: It was refused for another reason; or sbatch gave no answer, and Slurm may have taken it.
        """
        return queued(batch, result)

    def status_script(self) -> str:
        """Write the fragment that calls squeue, and sacct where squeue does not list all."""
        return _read("queue") + _read("status")

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        """Tell what Slurm says of each; where its accounting may know more and is not there, it is UNKNOWN.

        Raises:
            SchedulerError: squeue failed.
        """
        told = jobs(ids, result)
        return {native: status for native in ids if (status := told.get(native)) is not None}

    def kill_script(self) -> str:
        """Write the fragment that calls squeue, scancel for what bears a name of ours, then squeue again."""
        return _read("queue") + _read("kill")

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        """Tell what became of each: what squeue calls over or COMPLETING afterwards will end.

        Raises:
            SchedulerError: squeue failed.
        """
        told, refused = jobs(ids, result), denied(result)
        outcomes = {native: _outcome(told.get(native), refused.get(job_of(native))) for native in ids}
        return {native: outcome for native, outcome in outcomes.items() if outcome is not None}

    def list_script(self, submission_id: str) -> str:
        """Write the fragment that asks squeue for the submission's jobs by their names, and fences what is not there, if asked."""
        return _read("list", submission_id=submission_id, clusters=" ".join(self._clusters))

    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        """Tell every copy of every array that waits or began.

        Raises:
            SchedulerError: squeue failed; or an array could not be fenced.
        """
        return found(result)


def _words(field: str, given: Sequence[str], pattern: str, expected: str) -> tuple[str, ...]:
    if isinstance(given, str) or not all(re.fullmatch(pattern, each) for each in given):
        raise option_error(field, given, f"a list of {expected}")
    return tuple(given)


def _request(resources: Resources) -> list[str]:
    """Write what a copy asks for, and how it runs: its wrapper writes what it says, and runs once, unless a site says more."""
    words = ["--ntasks=1", "--nodes=1", f"--cpus-per-task={resources.cpus}", "--no-requeue"]
    words += ["--output=/dev/null", "--error=/dev/null"]
    if resources.memory_mb is not None:
        words.append(f"--mem={resources.memory_mb}M")
    if resources.wall_time_s is not None:
        words.append(f"--time={-(-resources.wall_time_s // _MINUTE)}")  # Slurm counts whole minutes
    if resources.gpus:
        words.append(f"--gres=gpu:{resources.gpus}")
    if resources.queue is not None:
        words.append(f"--partition={resources.queue}")
    return words


def _outcome(status: JobStatus | None, refusal: str | None) -> OpOutcome | None:
    """None: Slurm did not say that it will end."""
    if status is not None and (status.state.final or status.native in _ENDING):
        return OpOutcome(ok=True)
    return None if refusal is None else OpOutcome(ok=False, reason="denied", detail=refusal)


def _read(name: str, **values: str | int | None) -> str:
    return read_script(__file__, f"slurm.{name}.sh", **values)
