"""Statuses: the records, the queue's listing, and the final verdicts that rest on no exit code."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from intercede.batch.offload import offload_if_large
from intercede.batch.records import read_record
from intercede.batch.remote.api import call, text_of
from intercede.batch.remote.framing import Answer
from intercede.batch.remote.layout import Job, group_by_submission
from intercede.batch.remote_jobs import RemoteJobs
from intercede.batch.snapshot import Snapshot
from intercede.contract.job import JobStatus

__all__ = ["get_statuses", "write_settling"]

_AT_ONCE = 400


async def get_statuses(remote: RemoteJobs, jobs: Collection[Job]) -> tuple[Mapping[Job, JobStatus], bool]:
    """Return the statuses, and whether the scheduler was asked for them."""
    snapshot = await remote.take_snapshot(jobs)
    return await _settle(remote, snapshot), snapshot.listed


async def _settle(remote: RemoteJobs, snapshot: Snapshot) -> Mapping[Job, JobStatus]:
    """Return every job's status, after final verdicts without an exit code were written down.

    A verdict that is written already counts, so that every client gets the same one for ever.
    """
    finals = await offload_if_large(len(snapshot.records), lambda: snapshot.to_settle)
    if not finals:
        return snapshot.verdicts
    settled = _read_settled(await remote.ask(finals, write_settling(finals)))
    written = {job: settled.verdict(job) for job, record in settled.records.items() if record.over}
    unwritten = {job: _mark_unwritten(status) for job, status in finals.items() if job not in written}
    return {**snapshot.verdicts, **unwritten, **written}


def write_settling(finals: Mapping[Job, JobStatus]) -> str:
    """Write the part of a script that writes verdicts down, and reports which of them count."""
    calls = [
        call(
            "_ic_settle",
            submission_id,
            *(word for index in some for word in (str(index), _to_json(finals[Job(submission_id, index)]))),
        )
        for submission_id, indices in group_by_submission(finals).items()
        for some in _split(indices)
    ]
    return "\n".join([text_of("settle"), "_ic_settle_all() {", *calls, "}", "_ic_frame settled _ic_settle_all"])


def _read_settled(answer: Answer) -> Snapshot:
    return Snapshot({record.job: record for record in map(read_record, answer.lines("settled"))})


def _mark_unwritten(status: JobStatus) -> JobStatus:
    """Say that a verdict is not kept: once the scheduler has forgotten the job, a later status may know less."""
    return status.model_copy(
        update={"evidence": f"{status.evidence}; it could not be written down, so it may not last"}
    )


def _to_json(status: JobStatus) -> str:
    return status.model_dump_json(exclude_none=True)


def _split(indices: Sequence[int]) -> Iterator[Sequence[int]]:
    return (indices[start : start + _AT_ONCE] for start in range(0, len(indices), _AT_ONCE))
