"""The names of jobs, and the remote directory layout.

::

    <root>/resource-id                      the name of the resource, if none is configured
    <root>/.trash/                          what a purge has moved out of sight
    <root>/<submission_id>/                         one submission
        submit.sh payload wrapper           what runs
        bin/ inputs/                        the staged executable, the files that every copy finds
        tag batch plan find spared          for `find`, for the scheduler, for fetching
        unpacking                           who unpacks the archive
        queuer submitting                   who makes the native calls; linked when they begin
        ids ids.err submitted               what the scheduler answered, and that the calls have ended
        natives                             copy index and native id, a line each; ! where it was refused
        copies/<i>/work/                    the working directory
        copies/<i>/{vars,secrets}           what this copy has that the others do not; how its secrets are removed
        copies/<i>/{stdout,stderr,log}      what it wrote
        copies/<i>/{exit,killed}            how it ended, and how many ends it had when we asked for one
        finals/<i>                          a verdict that rests on no exit code
"""

import json
import re
import secrets
import string
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from intercede.contract.job import JobHandle
from intercede.contract.scheduler import Batch

__all__ = ["Job", "group_by_submission", "handle_of", "job_of", "new_submission_id", "read_batch", "write_batch"]

_JOB = re.compile(r"([a-z][a-z0-9]{12})\.(0|[1-9][0-9]{0,6})", re.ASCII)
MOST_COPIES = 10**7


class Job(NamedTuple):
    """One copy of one submission."""

    submission_id: str
    copy: int
    """Its index."""


def new_submission_id() -> str:
    """Make a submission's id."""
    letters = string.ascii_lowercase
    return secrets.choice(letters) + "".join(secrets.choice(letters + string.digits) for _ in range(12))


def write_batch(batch: Batch) -> str:
    """Return the line of a submission's file ``batch``. The file calls the submission id ``stamp``."""
    values = batch.model_dump(mode="json")
    return json.dumps({"stamp": values.pop("submission_id"), **values}, separators=(",", ":"))


def read_batch(line: str) -> Batch:
    """Return the Batch that a submission's file ``batch`` holds."""
    values: dict[str, object] = json.loads(line)
    return Batch.model_validate({"submission_id": values.pop("stamp", None), **values})


def handle_of(resource: str, job: Job) -> JobHandle:
    """Name a job for callers."""
    return JobHandle(resource=resource, job=f"{job.submission_id}.{job.copy}")


def job_of(resource: str, handle: JobHandle) -> Job | None:
    """Return the job that a handle names; None: it is not this resource's."""
    match = _JOB.fullmatch(handle.job) if handle.resource == resource else None
    return Job(match[1], int(match[2])) if match else None


def group_by_submission(jobs: Iterable[Job]) -> Mapping[str, list[int]]:
    """Return each submission's indices, in order, each once."""
    grouped: dict[str, set[int]] = {}
    for job in jobs:
        grouped.setdefault(job.submission_id, set()).add(job.copy)
    return {submission_id: sorted(indices) for submission_id, indices in grouped.items()}
