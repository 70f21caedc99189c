"""What Slurm's words mean: states and reasons of jobs, exit codes, and why it refused.

States and reasons are those of Slurm 22.05 to 26.05 (``job_state_string`` and ``job_state_reason_string`` in
``slurm_protocol_defs.c``, ``slurm_errno.c``), and what 22.05.8 and 24.11.5 were seen to answer.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from intercede.contract.errors import LimitError, ResourceError, SchedulerError
from intercede.contract.job import JobState, JobStatus

__all__ = ["is_ambiguous", "is_outage", "refusal", "status_of"]

_LAUNCH_ERROR = 53
"""What is left of an error number of Slurm's own (``ESLURMD_IO_ERROR``, 4021) that is read as a wait status."""

_SIGNALLED = 128
"""What a shell adds to a signal's number."""

_STATES: Mapping[str, JobStatus] = {
    short_or_long: JobStatus(state=state)
    for state, words in {
        JobState.QUEUED: "PENDING PD CONFIGURING CF REQUEUED RQ REQUEUE_FED RF",
        JobState.HELD: "REQUEUE_HOLD RH RESV_DEL_HOLD RD SPECIAL_EXIT SE",
        JobState.RUNNING: "RUNNING R COMPLETING CG RESIZING RS SIGNALING SI STAGE_OUT SO SUSPENDED S STOPPED ST"
        " EXPEDITING EX POWER_UP_NODE",
        JobState.DONE: "COMPLETED CD",
        JobState.KILLED: "CANCELLED CA",
    }.items()
    for short_or_long in words.split()
} | {
    short_or_long: JobStatus.model_validate({"state": JobState.FAILED, "reason": reason})
    for reason, words in {
        "exit_code": "FAILED F",
        "timeout": "TIMEOUT TO DEADLINE DL",
        "out_of_memory": "OUT_OF_MEMORY OOM",
        "node_failure": "NODE_FAIL NF",
        "preempted": "PREEMPTED PR",
        "launch_failure": "BOOT_FAIL BF LAUNCH_FAILED RECONFIG_FAIL",
    }.items()
    for short_or_long in words.split()
}
_HELD = re.compile(r"JobHeld(User|Admin)|DependencyNeverSatisfied|BadConstraints|.*\bheld\b", re.IGNORECASE)
"""Reasons of a PENDING job that waits for somebody, not for something."""


@lru_cache(maxsize=4096)
def status_of(word: str, *, code: int | None = None, signal: int | None = None, reason: str = "") -> JobStatus:
    """Tell what a job's state means; one that is not known is UNKNOWN, with the word.

    Args:
        word: The state, short or long, as ``CANCELLED by 1000`` and ``CANCELLED+`` too.
        code: What the batch script ended with, where that is known.
        signal: The signal that ended the batch script.
        reason: Slurm's reason, for a job that waits or failed.
    """
    said = _STATES.get(re.split(r"[ +]", word, maxsplit=1)[0])
    if said is None:
        return JobStatus(state=JobState.UNKNOWN, native=word)
    if said.state is JobState.DONE:
        said = JobStatus(state=JobState.DONE, exit_code=0) if not code and not signal else _STATES["FAILED"]
    if said.reason == "exit_code":
        said = _failed(code, signal)
    elif said.state is JobState.QUEUED and _HELD.match(reason):
        said = _STATES["REQUEUE_HOLD"]
    evidence = f"the scheduler's word: {reason}" if reason not in {"", "None"} else None
    return said.model_copy(update={"native": word, "evidence": evidence})


def _failed(code: int | None, signal: int | None) -> JobStatus:
    if signal == _LAUNCH_ERROR or (signal and code):  # no process ends in both ways: it is an error of Slurm's own
        return JobStatus(state=JobState.FAILED, reason="launch_failure")
    if code and code in _KILLED:  # a shell tells so that a signal ended the payload, and its record says it too
        signal = code - _SIGNALLED
    if signal:
        return JobStatus(state=JobState.FAILED, reason="signal", signal=signal)
    return JobStatus(state=JobState.FAILED, reason="exit_code", exit_code=code or None)


_AMBIGUOUS = re.compile(
    r"Socket timed out|Zero Bytes were transmitted|Message (send|receive) failure|\((send|receive|shutdown) failure\)"
    r"|Communication shutdown failure|Unexpected message received|Unexpected missing socket|Insane message length"
    r"|Header lengths are longer|Incompatible versions of client|Protocol authentication error"
    r"|Connection timed out|Connection reset|Broken pipe|socket error after successful|Process is shutting down"
    r"|would block|Interrupted system call|Input/output error"
)
"""What is said where a request may have reached the controller, and its answer did not come back."""
_UNSPECIFIED = re.compile(r"Unspecified error")
"""What is said of an error of no number: it may be an answer that could not be read, or a refusal of the site's."""
_BY_SITE = re.compile(
    r"^sbatch: error: (?!(?!job_submit)\w*_\w+\b|.*(munge|authenti|unpack|malformed|socket|\btls\b))(?=.*\S).*\n"
    r"sbatch: error: Batch job submission failed: Unspecified error",
    re.IGNORECASE | re.MULTILINE,
)
"""A refusal of a site's job_submit plugin, for certain: its message comes with the controller's answer, and is printed as that
is read, right before the words for an error of no number (``_unpack_return_code2_msg`` in ``slurm_protocol_pack.c``). What
the client complains of itself names its functions or its means."""
_OUTAGE = re.compile(
    r"\(connect failure\)|Communication connection failure|Connection refused|standby mode|Rate limit exceeded"
    r"|Can't find an address|slurm_persist_conn_open|Unable to establish controller|No route to host"
    r"|Address already in use|System submissions disabled"
)
"""What is said where no request was taken, and one may be later."""
_REFUSED = re.compile(
    r"Batch job submission failed: |Try \"sbatch --help\"|sbatch: fatal: "
    r"|sbatch: error: (Invalid|Unable to open|No cluster|Batch script|Script arguments|cli_filter plugin terminated)"
    r"|sbatch: (command )?not found"
)
"""What is said of a submission that was not taken, for certain, unless it is ambiguous: by the controller, or before it was asked."""
_LIMIT = re.compile(
    r"(QOS|Assoc)\w*Submit\w*|MaxJobCount limit reached|job queue full"
    r"|Resource temporarily unavailable|temporarily unable to accept job|Job creation temporarily disabled"
)
_POLICY = re.compile(r"Job violates accounting/QOS policy")
_OF_THE_JOB = re.compile(r"\b(QOS|Assoc)(Max|Min|Grp)\w+")
"""Limits that no waiting changes: they are about the job itself. sbatch prints their name before it says _POLICY."""
_KILLED = range(_SIGNALLED + 1, _SIGNALLED + 65)
"""What a shell tells of a command that a signal ended. Words that it does not know sbatch answers with 255."""


def is_ambiguous(returncode: int, text: str) -> bool:
    """Whether Slurm may have taken a job though sbatch failed: it was ended, or got no answer."""
    return returncode in _KILLED or _is_unsure(text)


def _is_unsure(text: str) -> bool:
    unspecified = _UNSPECIFIED.search(text) is not None and _BY_SITE.search(text) is None
    return unspecified or _AMBIGUOUS.search(text) is not None


def is_outage(text: str) -> bool:
    """Whether Slurm was not there, so that the same question may be answered later."""
    return _OUTAGE.search(text) is not None or _is_unsure(text)


def refusal(message: str, returncode: int, text: str) -> ResourceError:
    """Return the error that a refusal is: a limit, an outage, or one that will be the same tomorrow.

    Where the words are not known it is not certain that there was one.
    """
    if _LIMIT.search(text) or (_POLICY.search(text) and not _OF_THE_JOB.search(text)):
        return LimitError(message)
    refused = (_REFUSED.search(text) or _OUTAGE.search(text)) is not None
    return SchedulerError(message, retryable=is_outage(text), refused=refused, returncode=returncode, stderr=text)
