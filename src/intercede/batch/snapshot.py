"""The records of some jobs and the queue's listing, taken at one time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from intercede.batch.records import Record, verdict
from intercede.batch.remote.layout import Job
from intercede.contract.job import JobStatus

__all__ = ["Snapshot"]


@dataclass(frozen=True)
class Snapshot:
    """The records of some jobs, and what the scheduler said of those that had not ended."""

    records: Mapping[Job, Record] = field(default_factory=dict[Job, Record])
    said: Mapping[str, JobStatus] = field(default_factory=dict[str, JobStatus])
    listed: bool = False
    """Whether the scheduler was asked."""

    def verdict(self, job: Job) -> JobStatus:
        """Return the status of a job."""
        record = self.records[job]
        return verdict(record, None if record.native is None else self.said.get(record.native))

    @cached_property
    def verdicts(self) -> Mapping[Job, JobStatus]:
        """The status of every job."""
        return {job: self.verdict(job) for job in self.records}

    @property
    def open(self) -> list[Job]:
        """The jobs whose verdict rests on the scheduler's word."""
        return [job for job, record in self.records.items() if not record.over]

    @property
    def unnamed(self) -> set[str]:
        """The submissions whose native ids are not written down yet."""
        return {job.submission_id for job in self.open if self.records[job].native is None}

    @property
    def to_settle(self) -> dict[Job, JobStatus]:
        """The final verdicts that rest on no exit code and are not written down yet."""
        return {job: status for job in self.open if (status := self.verdicts[job]).state.final}
