"""Translates Slurm's words: states and reasons of jobs, exit codes, and the messages of refusals and outages.

States and reasons are those of Slurm 22.05 to 26.05 (``job_state_string`` and ``job_state_reason_string`` in
``slurm_protocol_defs.c``, ``slurm_errno.c``), and those in recorded answers of 22.05.8 and 24.11.5.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from intercede.contract.errors import LimitError, ResourceError, SchedulerError
from intercede.contract.job import JobState, JobStatus

__all__ = ["is_ambiguous", "is_outage", "make_refusal", "make_status"]

_LAUNCH_ERROR = 53
"""The signal that appears if one of Slurm's own error numbers (``ESLURMD_IO_ERROR``, 4021) is read as a wait status."""

_SIGNALLED = 128
"""A shell adds this number to a signal's number to report that the signal ended a command."""

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
"""The reasons of a PENDING job that waits for a person and not for resources."""


@lru_cache(maxsize=4096)
def make_status(word: str, *, code: int | None = None, signal: int | None = None, reason: str = "") -> JobStatus:
    """Return the status for one of Slurm's job states. An unknown state becomes UNKNOWN, with the word as ``native``.

    Args:
        word: The state, short or long; ``CANCELLED by 1000`` and ``CANCELLED+`` are also valid.
        code: The exit code of the batch script, or None if it is unknown.
        signal: The signal that ended the batch script, or 0 or None if no signal did.
        reason: Slurm's reason for a job that waits or failed.
    """
    status = _STATES.get(re.split(r"[ +]", word, maxsplit=1)[0])
    if status is None:
        return JobStatus(state=JobState.UNKNOWN, native=word)
    if status.state is JobState.DONE:
        status = JobStatus(state=JobState.DONE, exit_code=0) if not code and not signal else _STATES["FAILED"]
    if status.reason == "exit_code":
        status = _make_failed_status(code, signal)
    elif status.state is JobState.QUEUED and _HELD.match(reason):
        status = _STATES["REQUEUE_HOLD"]
    evidence = f"the scheduler's reason: {reason}" if reason not in {"", "None"} else None
    return status.model_copy(update={"native": word, "evidence": evidence})


def _make_failed_status(code: int | None, signal: int | None) -> JobStatus:
    if signal == _LAUNCH_ERROR or (
        signal and code
    ):  # no process both exits and dies of a signal: this is one of Slurm's own error numbers
        return JobStatus(state=JobState.FAILED, reason="launch_failure")
    # A shell reports such a code for a payload that a signal ended. The record holds the signal, too.
    if code and code in _KILLED:
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
"""Messages after which the request may have reached the controller, although its answer did not arrive."""
_UNSPECIFIED = re.compile(r"Unspecified error")
"""The message for an error without a number: either an unreadable answer, or a refusal by a plugin of the site."""
_BY_SITE = re.compile(
    r"^sbatch: error: (?!(?!job_submit)\w*_\w+\b|.*(munge|authenti|unpack|malformed|socket|\btls\b))(?=.*\S).*\n"
    r"sbatch: error: Batch job submission failed: Unspecified error",
    re.IGNORECASE | re.MULTILINE,
)
"""The messages after which it is certain that a site's job_submit plugin refused the job.

The plugin's message arrives with the controller's answer. The client prints it while it reads the answer, right before
the message for an error without a number (``_unpack_return_code2_msg`` in ``slurm_protocol_pack.c``). The client's own
complaints name its functions, or its authentication and sockets.
"""
_OUTAGE = re.compile(
    r"\(connect failure\)|Communication connection failure|Connection refused|standby mode|Rate limit exceeded"
    r"|Can't find an address|slurm_persist_conn_open|Unable to establish controller|No route to host"
    r"|Address already in use|System submissions disabled"
)
"""Messages for a request that was certainly not accepted, and may be accepted later."""
_REFUSED = re.compile(
    r"Batch job submission failed: |Try \"sbatch --help\"|sbatch: fatal: "
    r"|sbatch: error: (Invalid|Unable to open|No cluster|Batch script|Script arguments|cli_filter plugin terminated)"
    r"|sbatch: (command )?not found"
)
"""Messages that show that the controller or sbatch refused a submission. ``_AMBIGUOUS`` takes precedence over them."""
_LIMIT = re.compile(
    r"(QOS|Assoc)\w*Submit\w*|MaxJobCount limit reached|job queue full"
    r"|Resource temporarily unavailable|temporarily unable to accept job|Job creation temporarily disabled"
)
_POLICY = re.compile(r"Job violates accounting/QOS policy")
_OF_THE_JOB = re.compile(r"\b(QOS|Assoc)(Max|Min|Grp)\w+")
"""The names of limits that a job itself exceeds. Waiting does not help such a job.

sbatch prints the name of the limit before the message that ``_POLICY`` matches.
"""
_KILLED = range(_SIGNALLED + 1, _SIGNALLED + 65)
"""The exit codes by which a shell reports that a signal ended a command.

255 is not one of them: sbatch exits with 255 for unknown arguments.
"""


def is_ambiguous(returncode: int, text: str) -> bool:
    """Return whether Slurm may have accepted a job although sbatch failed: sbatch was killed, or got no answer."""
    return returncode in _KILLED or _is_unsure(text)


def _is_unsure(text: str) -> bool:
    unspecified = _UNSPECIFIED.search(text) is not None and _BY_SITE.search(text) is None
    return unspecified or _AMBIGUOUS.search(text) is not None


def is_outage(text: str) -> bool:
    """Return whether Slurm could not be reached, so that the same request may succeed later."""
    return _OUTAGE.search(text) is not None or _is_unsure(text)


def make_refusal(message: str, returncode: int, text: str) -> ResourceError:
    """Return the error for a failed submission: a limit, an outage, or a permanent refusal.

    If the text is not known, ``refused`` is False: it is not certain that Slurm refused the submission.
    """
    if _LIMIT.search(text) or (_POLICY.search(text) and not _OF_THE_JOB.search(text)):
        return LimitError(message)
    refused = (_REFUSED.search(text) or _OUTAGE.search(text)) is not None
    return SchedulerError(message, retryable=is_outage(text), refused=refused, returncode=returncode, stderr=text)
