"""Purge jobs: remove all files of jobs that have ended."""

from collections.abc import Collection

from intercede.batch.remote.api import load_script
from intercede.batch.remote.framing import Answer
from intercede.batch.remote.layout import Job
from intercede.batch.remote_jobs import RemoteJobs, read_rows
from intercede.contract.job import JobStatus, OpOutcome

__all__ = ["discard_submission", "purge_jobs"]

_PURGE = "_ic_frame purged _ic_purge\n_ic_empty_trash"
_MAX_SHOWN = 500


async def purge_jobs(remote: RemoteJobs, jobs: Collection[Job]) -> dict[Job, OpOutcome]:
    """Remove all files of jobs that have ended.

    This runs one remote command if the exit code or the final status of every job is recorded, else two.
    """
    answer = await remote.ask(jobs, remote.status_part, load_script("purge"), "force=", _PURGE)
    snapshot, purged = await remote.read_snapshot(answer), _read_purged(answer)
    if snapshot.unnamed_submissions:
        snapshot = await remote.take_snapshot([job for job in jobs if job not in purged])
    rest = [job for job in snapshot.open_jobs if job not in purged and _is_purgeable(snapshot.get_status(job))]
    if rest:
        answer = await remote.ask(rest, load_script("purge"), "force=yes", _PURGE)
        purged |= _read_purged(answer)
    why = answer.get_frame("purged").stderr.decode("utf-8", "replace").strip()[-_MAX_SHOWN:]
    return {job: OpOutcome(ok=True) if job in purged else _make_refusal(snapshot.get_status(job), why) for job in jobs}


async def discard_submission(remote: RemoteJobs, submission_id: str, copies: int) -> None:
    """Remove the files of a submission that the scheduler refused.

    The caller has no handles with which to purge the submission.
    """
    jobs = [Job(submission_id, index) for index in range(copies)]
    await remote.ask(jobs, load_script("purge"), "force=yes", _PURGE)


def _read_purged(answer: Answer) -> set[Job]:
    return {Job(submission_id, int(index)) for submission_id, index in read_rows(answer, "purged")}


def _is_purgeable(status: JobStatus) -> bool:
    return status.state.final or status.reason == "lost"


def _make_refusal(status: JobStatus, why: str) -> OpOutcome:
    if _is_purgeable(status) or status.reason == "purged":
        return OpOutcome(ok=False, reason="other", detail=f"the job is {status.state}, and could not be removed: {why}")
    return OpOutcome(ok=False, reason="running", detail=f"the job is {status.state} ({status.evidence}): kill it first")
