"""Classes that are no plugins, and requests that are none; each line says what is wrong."""

from collections.abc import Collection, Mapping, Sequence
from typing import Self

from intercede import CopyVars, JobBackend, JobHandle, JobStatus, OpOutcome, Resources, Submission, SubmissionSpec


class NoStatus:
    """Lacks an essential verb."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Start nothing."""
        return Submission()


class SyncStatus(NoStatus):
    """Answers without awaiting."""

    def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Know nothing."""
        return {}


first: JobBackend = NoStatus()  # refused: status is missing
second: JobBackend = SyncStatus()  # refused: status is not async
SubmissionSpec(executable="a", arguments=[1])  # refused: arguments are text
Resources(cpu=2)  # refused: there is no such field
OpOutcome(ok=False, reason="gone")  # refused: not one of the contract's words
