"""The scheduler ``slurm``: queues jobs with Slurm's own commands: sbatch, squeue, sacct, scancel and scontrol.

A submission is a job array, or several arrays if it has more copies than an array may have. The name of each array is
``ic-SUBMISSION_ID-FIRST``, so that it can be found if sbatch's answer is lost. A job ends with the exit code of its
payload, so that Slurm's report is right without the record.
"""

import re
import shlex
from collections.abc import Mapping, Sequence

from intercede.contract.job import JobStatus, OpOutcome, Resources
from intercede.contract.scheduler import Batch, Queued, ToolEnvironment
from intercede.contract.transport import CommandResult
from intercede.plugin_tools.options import check_number, option_error
from intercede.plugin_tools.scheduler import read_script
from intercede.schedulers._slurm_answers import get_job, parse_denied, parse_found, parse_jobs, parse_queued
from intercede.schedulers._slurm_arguments import find_objection

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
"""The environment variables that Slurm's tools must not see.

``keep`` lists the exceptions: variables that choose who pays, where a job runs, and how the controller is reached.
"""
_ENDING = frozenset({"COMPLETING", "CG"})


class SlurmScheduler:
    """Queues copies with sbatch. Every request of ``resources`` is passed to Slurm, which honours or refuses it.

    Args:
        submit_arguments: Further arguments for sbatch, such as ``--account=physics``. Arguments that would keep a copy
            from running once under its name, such as ``--array`` or ``--wait``, are refused.
        clusters: The clusters that may get jobs, of which Slurm chooses one. Empty means the local cluster.
        max_array_size: The maximum number of copies in an array. None means the limit in Slurm's configuration.

    Raises:
        ConfigError: An option is invalid.
    """

    def __init__(
        self,
        submit_arguments: Sequence[str] = (),
        clusters: Sequence[str] = (),
        max_array_size: int | None = None,
    ) -> None:
        self._arguments = _check_words(
            "submit_arguments", submit_arguments, r"(?s)(?!--\Z)[^\0]+", "arguments of sbatch"
        )
        if why := find_objection(self._arguments):
            raise option_error("submit_arguments", list(self._arguments), f"arguments that sbatch may get; {why}")
        self._clusters = _check_words("clusters", clusters, r"[A-Za-z0-9][A-Za-z0-9._-]*", "names of clusters")
        self._size = None if max_array_size is None else check_number("max_array_size", max_array_size, int, least=1)

    def stages_own_files(self) -> bool:
        """Return False: Slurm copies no files to the nodes and back, because the nodes share a file system."""
        return False

    def tool_environment(self) -> ToolEnvironment:
        """Return the variables to hide from Slurm's tools. Those that choose who pays or where jobs run are kept."""
        return _TOOLS

    def submit_script(self, batch: Batch) -> str:
        """Return the fragment that calls sbatch once for each array."""
        clusters = [f"--clusters={','.join(self._clusters)}"] if self._clusters else []
        sbatch = ["sbatch", *_write_request(batch.resources), *clusters, *self._arguments, "--parsable"]
        return f'slurm_sbatch() {{ ic_tool {shlex.join(sbatch)} "$@"; }}\n' + _read(
            "submit",
            slurm_submission_id=batch.submission_id,
            slurm_copies=batch.copies,
            slurm_size=self._size,
            slurm_clusters=",".join(self._clusters),
            slurm_job=_read("job"),
        )

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Return the native id of each copy from sbatch's answers.

        A native id has the form ``17_3@NAME`` or ``17_3;cluster@NAME``.

        Raises:
            LimitError: One of Slurm's limits refused the first array.
            SchedulerError: The first array was refused for another reason; or sbatch gave no answer for some copies, so
                that Slurm may have accepted them.
        """
        return parse_queued(batch, result)

    def status_script(self) -> str:
        """Return the fragment that calls squeue, and sacct if squeue does not list every job."""
        return _read("queue") + _read("status")

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        """Return the status of each job that Slurm knows. A status is UNKNOWN if sacct was needed and gave no answer.

        Raises:
            SchedulerError: squeue failed.
        """
        jobs = parse_jobs(ids, result)
        return {native: status for native in ids if (status := jobs.get(native)) is not None}

    def kill_script(self) -> str:
        """Return the fragment that calls squeue, then scancel for jobs with our names, then squeue again."""
        return _read("queue") + _read("kill")

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        """Return the outcome for each job: ok if squeue lists the job as ended or COMPLETING after scancel.

        Raises:
            SchedulerError: squeue failed.
        """
        jobs, refusals = parse_jobs(ids, result), parse_denied(result)
        outcomes = {native: _make_outcome(jobs.get(native), refusals.get(get_job(native))) for native in ids}
        return {native: outcome for native, outcome in outcomes.items() if outcome is not None}

    def list_script(self, submission_id: str) -> str:
        """Return the fragment that finds a submission's jobs by name.

        If the variable ``IC_FENCE`` is set, the fragment also keeps each array that was not found from starting later.
        """
        return _read("list", submission_id=submission_id, clusters=" ".join(self._clusters))

    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        """Return the id of every copy of each array that waits or has begun.

        Raises:
            SchedulerError: squeue failed, or an array could not be fenced off.
        """
        return parse_found(result)


def _check_words(field: str, given: Sequence[str], pattern: str, expected: str) -> tuple[str, ...]:
    if isinstance(given, str) or not all(re.fullmatch(pattern, each) for each in given):
        raise option_error(field, given, f"a list of {expected}")
    return tuple(given)


def _write_request(resources: Resources) -> list[str]:
    """Return the arguments of sbatch for one copy. The copy runs once, unless a site's own arguments allow requeueing.

    Slurm discards the output of the job, because the wrapper writes the output of the payload to files.
    """
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


def _make_outcome(status: JobStatus | None, refusal: str | None) -> OpOutcome | None:
    """Return the outcome of a kill, or None if Slurm reported neither an end nor a refusal."""
    if status is not None and (status.state.final or status.native in _ENDING):
        return OpOutcome(ok=True)
    return None if refusal is None else OpOutcome(ok=False, reason="denied", detail=refusal)


def _read(name: str, **values: str | int | None) -> str:
    return read_script(__file__, f"slurm.{name}.sh", **values)
