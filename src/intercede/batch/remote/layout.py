"""The names of jobs, and the remote directory layout.

::

    <root>/resource-id                      the name of the resource, if none is configured
    <root>/.trash/                          what a purge has moved out of sight
    <root>/<stamp>/                         one submission
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

import re
import secrets
import string
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from intercede.contract.job import JobHandle

__all__ = ["Job", "by_stamp", "handle_of", "job_of", "new_stamp"]

_JOB = re.compile(r"([a-z][a-z0-9]{12})\.(0|[1-9][0-9]{0,6})", re.ASCII)
MOST_COPIES = 10**7


class Job(NamedTuple):
    """One copy of one submission."""

    stamp: str
    copy: int
    """Its index."""


def new_stamp() -> str:
    """Make a submission's id."""
    letters = string.ascii_lowercase
    return secrets.choice(letters) + "".join(secrets.choice(letters + string.digits) for _ in range(12))


def handle_of(resource: str, job: Job) -> JobHandle:
    """Name a job for callers."""
    return JobHandle(resource=resource, job=f"{job.stamp}.{job.copy}")


def job_of(resource: str, handle: JobHandle) -> Job | None:
    """Return the job that a handle names; None: it is not this resource's."""
    match = _JOB.fullmatch(handle.job) if handle.resource == resource else None
    return Job(match[1], int(match[2])) if match else None


def by_stamp(jobs: Iterable[Job]) -> Mapping[str, list[int]]:
    """Return each submission's indices, in order, each once."""
    grouped: dict[str, set[int]] = {}
    for job in jobs:
        grouped.setdefault(job.stamp, set()).add(job.copy)
    return {stamp: sorted(indices) for stamp, indices in grouped.items()}
