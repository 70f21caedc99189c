"""The names of jobs, and the layout of the remote directory.

::

    <root>/resource-id                  the name of the resource, if none is configured
    <root>/.trash/                      directories that a purge is removing
    <root>/<submission_id>/             one submission
        submit.sh payload wrapper       the scripts that run
        bin/ inputs/                    the staged executable, and the files that every copy gets
        tag                             the tag, which `find` compares
        batch                           the facts that the scheduler gets
        plan find spared                the files to fetch; an expression for find(1); the inputs that are not fetched
        unpacking                       the process that unpacks the archive
        queuer submitting               the process that runs the scheduler's commands; the link is made when they begin
        ids ids.err submitted           the scheduler's answer, and the exit code once its commands have ended
        natives                         lines "INDEX NATIVE_ID"; the id is ! if the scheduler refused the copy
        copies/<i>/work/                the working directory
        copies/<i>/vars                 the variables of this copy alone
        copies/<i>/secrets              a script that removes the secrets of this copy
        copies/<i>/{stdout,stderr,log}  the output
        copies/<i>/exit                 the record of the payload's end
        copies/<i>/killed               the number of the attempt that had ended when a kill was requested; 0 if none
        finals/<i>                      a final status that was derived without an exit code
"""

import re
import secrets
import string
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from intercede.contract.job import JobHandle

__all__ = [
    "PRIVATE_FILES",
    "Job",
    "group_by_submission",
    "make_handle",
    "make_submission_id",
    "parse_handle",
]

_JOB = re.compile(r"([a-z][a-z0-9]{12})\.(0|[1-9][0-9]{0,6})", re.ASCII)
MOST_COPIES = 10**7
PRIVATE_FILES = (
    "copies",
    "finals",
    "natives",
    "payload",
    "queuer",
    "secrets",
    "spared",
    "submitted",
    "submitting",
)
"""The names of a submission's private files, which no scheduler may touch.

A private file whose name is also the name of a command, such as ``find``, is not listed: a fragment may run it.
"""


class Job(NamedTuple):
    """The name of one job on this resource: one copy of one submission."""

    submission_id: str
    copy: int
    """The index of the copy."""


def make_submission_id() -> str:
    """Make a random submission id."""
    letters = string.ascii_lowercase
    return secrets.choice(letters) + "".join(secrets.choice(letters + string.digits) for _ in range(12))


def make_handle(resource: str, job: Job) -> JobHandle:
    """Return the handle that names a job for callers."""
    return JobHandle(resource=resource, job=f"{job.submission_id}.{job.copy}")


def parse_handle(resource: str, handle: JobHandle) -> Job | None:
    """Return the job that a handle names, or None if the handle is not of this resource."""
    match = _JOB.fullmatch(handle.job) if handle.resource == resource else None
    return Job(match[1], int(match[2])) if match else None


def group_by_submission(jobs: Iterable[Job]) -> Mapping[str, list[int]]:
    """Group jobs by submission, and return a dict: submission id -> the sorted indices of the copies, each once."""
    grouped: dict[str, set[int]] = {}
    for job in jobs:
        grouped.setdefault(job.submission_id, set()).add(job.copy)
    return {submission_id: sorted(indices) for submission_id, indices in grouped.items()}
