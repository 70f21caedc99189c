"""Backends with a mistake in counts. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import time
from collections.abc import Sequence

from intercede.contract import CopyVars, JobCounts, JobHandle, JobState, JobStatus, Submission, SubmissionSpec
from intercede.testing.gallery.fake import FakeBackend


class CountsItsOwnOnly(FakeBackend):
    """Counts only the jobs that this object submitted."""

    caught_by = "IC-LOAD-01"
    message_contains = "0 queued and 0 running by another instance"
    scale = 0.08

    def __init__(self) -> None:
        super().__init__()
        self.mine: list[JobHandle] = []

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        answer = await super().submit(spec, copies)
        self.mine += answer.handles.values()
        return answer

    async def counts(self) -> JobCounts:
        return JobCounts(
            queued=0, running=sum(not each.state.final for each in (await self.status(self.mine)).values())
        )


class CountsSubmissions(FakeBackend):
    """Counts all copies of a submission as one job."""

    caught_by = "IC-LOAD-01"
    message_contains = "the counts were 0 queued and 1 running; 0 queued and 1 running by another instance"
    scale = 0.08
    also_red = ("IC-LOAD-02",)

    async def counts(self) -> JobCounts:
        answer = await self.status(self._list_handles())
        live = {handle.job.split(".")[0] for handle, status in answer.items() if not status.state.final}
        return JobCounts(queued=0, running=len(live))


class SwapsTheCounts(FakeBackend):
    """Counts queued jobs as running, and running jobs as queued."""

    caught_by = "IC-LOAD-02"
    message_contains = "running, counts "
    scale = 0.08

    async def counts(self) -> JobCounts:
        counts = await super().counts()
        return JobCounts(queued=counts.running, running=counts.queued)


class CountsTheWaitingAsRunning(FakeBackend):
    """Counts queued jobs as running."""

    caught_by = "IC-LOAD-02"
    message_contains = "queued and 0 running, counts 0 queued and "
    scale = 0.08

    def _get_status(self, handle: JobHandle) -> JobStatus:
        status = super()._get_status(handle)
        if status.state is JobState.UNKNOWN:
            return status
        age = time.time() - (self._state / handle.job / "spec.json").stat().st_mtime
        return status if age > 0.3 else JobStatus(state=JobState.QUEUED)

    async def counts(self) -> JobCounts:
        counts = await super().counts()
        return JobCounts(queued=0, running=counts.queued + counts.running)


class CountsTheEnded(FakeBackend):
    """Counts jobs that have ended as running, so that the count never falls."""

    caught_by = "IC-LOAD-03"
    message_contains = "it only rose, from "
    scale = 0.08

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    async def counts(self) -> JobCounts:
        counts = await super().counts()
        self.most = max(self.most, len(self._list_handles()), counts.queued)
        return JobCounts(queued=counts.queued, running=self.most - counts.queued)


class ReportsTheCapacity(FakeBackend):
    """Returns the capacity of the resource from counts, whatever jobs it has."""

    caught_by = "IC-LOAD-03"
    message_contains = "it only rose, from 2000 to 2000"
    scale = 0.08

    async def counts(self) -> JobCounts:
        await super().counts()
        return JobCounts(queued=1000, running=1000)
