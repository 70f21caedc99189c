"""Backends whose queue runs one job at a time, and clauses to check them."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Self

from intercede.contract import (
    CopyVars,
    JobHandle,
    JobState,
    JobStatus,
    Submission,
    SubmissionSpec,
)
from intercede.testing.model.clause import MUST, Clause
from intercede.testing.run.context import Check

_SECONDS = 0.1
"""Seconds that one job of the queue takes."""


class OneSlot:
    """A right backend whose queue runs one job at a time, in the order of submission."""

    queue: list[JobHandle] = []  # noqa: RUF012 -- the resource's, not an instance's
    began = 0.0

    async def __aenter__(self) -> Self:
        """Return the backend; nothing is opened."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave the backend; nothing is open."""

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Put copies at the end of the queue."""
        count = copies if isinstance(copies, int) else len(copies)
        handles = {index: JobHandle(resource="queue", job=f"{spec.tag}.{index}") for index in range(count)}
        self.queue.extend(handles.values())
        return Submission(handles=handles)

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Return the states, by the time since the first submission."""
        return {each: JobStatus(state=self._state(each)) for each in handles}

    def _state(self, handle: JobHandle) -> JobState:
        now = asyncio.get_running_loop().time()
        type(self).began = self.began or now
        done = (now - self.began) / _SECONDS - self.queue.index(handle)
        return JobState.DONE if done >= 1 else JobState.RUNNING if done >= 0 else JobState.QUEUED


def make_clauses(*checks: Check) -> dict[str, Clause]:
    """Return a clause for each check."""
    ids = [f"IC-SUBMIT-{number:02}" for number in range(1, len(checks) + 1)]
    return {
        each: Clause(id=each, title="It is.", level=MUST, check=check) for each, check in zip(ids, checks, strict=True)
    }
