"""Get the statuses of jobs from their records and the queue's listing.

Final statuses that have no exit code are recorded, so that all clients always get the same status of a job.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from intercede.batch.offload import offload_if_large
from intercede.batch.records import read_record
from intercede.batch.remote.api import load_script, write_call
from intercede.batch.remote.framing import Answer
from intercede.batch.remote.layout import Job, group_by_submission
from intercede.batch.remote_jobs import RemoteJobs
from intercede.batch.snapshot import Snapshot
from intercede.contract.job import JobStatus

__all__ = ["get_statuses", "write_settle_part"]

_AT_ONCE = 400


async def get_statuses(remote: RemoteJobs, jobs: Collection[Job]) -> tuple[Mapping[Job, JobStatus], bool]:
    """Return the statuses of jobs, and whether the scheduler was asked for statuses."""
    snapshot = await remote.take_snapshot(jobs)
    return await _settle(remote, snapshot), snapshot.is_listed


async def _settle(remote: RemoteJobs, snapshot: Snapshot) -> Mapping[Job, JobStatus]:
    """Record the final statuses that have no exit code, and return the status of every job.

    If another client recorded a status first, that status is returned, so that all clients always get the same status.
    """
    finals = await offload_if_large(len(snapshot.records), lambda: snapshot.unwritten_finals)
    if not finals:
        return snapshot.statuses
    settled = _read_settled(await remote.ask(finals, write_settle_part(finals)))
    written = {job: settled.get_status(job) for job, record in settled.records.items() if record.is_over}
    unwritten = {job: _mark_unwritten(status) for job, status in finals.items() if job not in written}
    return {**snapshot.statuses, **unwritten, **written}


def write_settle_part(finals: Mapping[Job, JobStatus]) -> str:
    """Return the part of a script that records final statuses, and then prints the recorded status of each job.

    A status that another client recorded first is not replaced.
    """
    calls = [
        write_call(
            "_ic_settle",
            submission_id,
            *(word for index in some for word in (str(index), _dump_status(finals[Job(submission_id, index)]))),
        )
        for submission_id, indices in group_by_submission(finals).items()
        for some in _split_indices(indices)
    ]
    return "\n".join([load_script("settle"), "_ic_settle_all() {", *calls, "}", "_ic_frame settled _ic_settle_all"])


def _read_settled(answer: Answer) -> Snapshot:
    return Snapshot({record.job: record for record in map(read_record, answer.get_lines("settled"))})


def _mark_unwritten(status: JobStatus) -> JobStatus:
    """Return the status with a note in its evidence: the status was not recorded, and a later status may differ."""
    return status.model_copy(
        update={"evidence": f"{status.evidence}; this status could not be recorded, so it may change"}
    )


def _dump_status(status: JobStatus) -> str:
    return status.model_dump_json(exclude_none=True)


def _split_indices(indices: Sequence[int]) -> Iterator[Sequence[int]]:
    return (indices[start : start + _AT_ONCE] for start in range(0, len(indices), _AT_ONCE))
