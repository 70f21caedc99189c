"""A snapshot: the records of some jobs and the queue's listing of the jobs, read by one command."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from intercede.batch.records import Record, decide_status
from intercede.batch.remote.layout import Job
from intercede.contract.job import JobStatus

__all__ = ["Snapshot"]


@dataclass(frozen=True)
class Snapshot:
    """The records of some jobs, and the scheduler's statuses of the jobs that had not ended."""

    records: Mapping[Job, Record] = field(default_factory=dict[Job, Record])
    listing: Mapping[str, JobStatus] = field(default_factory=dict[str, JobStatus])
    """Native id -> the scheduler's status. An id that the queue does not list is absent."""
    is_listed: bool = False
    """True if the scheduler was asked for its listing of the jobs."""

    def get_status(self, job: Job) -> JobStatus:
        """Return the status of a job."""
        record = self.records[job]
        return decide_status(record, None if record.native is None else self.listing.get(record.native))

    @cached_property
    def statuses(self) -> Mapping[Job, JobStatus]:
        """The status of every job."""
        return {job: self.get_status(job) for job in self.records}

    @property
    def open_jobs(self) -> list[Job]:
        """The jobs whose status may still change."""
        return [job for job, record in self.records.items() if not record.is_over]

    @property
    def unnamed_submissions(self) -> set[str]:
        """The ids of the submissions whose native ids are not recorded yet."""
        return {job.submission_id for job in self.open_jobs if self.records[job].native is None}

    @property
    def unwritten_finals(self) -> dict[Job, JobStatus]:
        """The final statuses that were derived without an exit code and are not recorded yet."""
        return {job: status for job in self.open_jobs if (status := self.statuses[job]).state.final}
