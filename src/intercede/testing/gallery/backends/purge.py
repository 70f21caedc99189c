"""Backends with a mistake in purge. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

from collections.abc import Collection, Mapping
from pathlib import Path

from intercede.contract import JobHandle, JobOutput, JobStatus, OpOutcome
from intercede.testing.gallery.fake import FakeBackend

Outcomes = Mapping[JobHandle, OpOutcome]


class OnlySaysItPurges(FakeBackend):
    """Answers that the purge is ok, but removes no file."""

    caught_by = "IC-PURGE-01"
    also_red = "IC-KILL-04"
    message_contains = "expected a purged job to be UNKNOWN; observed DONE"

    async def purge(self, handles: Collection[JobHandle]) -> Outcomes:
        ended = {each for each, status in (await self.status(handles)).items() if status.state.final}
        others = await super().purge([each for each in handles if each not in ended])
        return {**dict.fromkeys(ended, OpOutcome(ok=True)), **others}


class RemembersThePurged(FakeBackend):
    """Keeps statuses in the object, and reports them even after the job was purged."""

    caught_by = "IC-PURGE-01"
    message_contains = "expected a purged job to be UNKNOWN; observed DONE"

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[JobHandle, JobStatus] = {}

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        answer = await super().status(handles)
        self.answers |= {handle: status for handle, status in answer.items() if status.state.final}
        return {handle: self.answers.get(handle, status) for handle, status in answer.items()}


class FetchesThePurged(FakeBackend):
    """Answers that fetching from a purged job is ok, and returns no files."""

    caught_by = "IC-PURGE-01"
    message_contains = "expected a purged job's output not to be ok"

    def __init__(self) -> None:
        super().__init__()
        self.purged: set[JobHandle] = set()

    async def purge(self, handles: Collection[JobHandle]) -> Outcomes:
        outcomes = await super().purge(handles)
        self.purged |= {handle for handle, each in outcomes.items() if each.ok}
        return outcomes

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Mapping[JobHandle, JobOutput]:
        fetched = await super().fetch_output(handles, dest)
        return {handle: JobOutput(ok=True) if handle in self.purged else each for handle, each in fetched.items()}


class PurgesTheLiving(FakeBackend):
    """Answers that the purge of a running job is ok."""

    caught_by = "IC-PURGE-02"
    message_contains = "expected purging an unfinished job not to be ok"

    async def purge(self, handles: Collection[JobHandle]) -> Outcomes:
        outcomes = await super().purge(handles)
        return {handle: OpOutcome(ok=True) if each.reason == "running" else each for handle, each in outcomes.items()}


class KillsToPurge(FakeBackend):
    """Refuses to purge a running job, but kills the job."""

    caught_by = "IC-PURGE-02"
    message_contains = "expected the job to go on and end with 3; observed KILLED"

    async def purge(self, handles: Collection[JobHandle]) -> Outcomes:
        outcomes = await super().purge(handles)
        await self.kill([handle for handle, each in outcomes.items() if each.reason == "running"])
        return outcomes


class ComplainsOfASecondPurge(FakeBackend):
    """Answers that a second purge of the same job is not ok."""

    caught_by = "IC-PURGE-03"
    message_contains = "expected purge number 2 of the same job to be ok"

    async def purge(self, handles: Collection[JobHandle]) -> Outcomes:
        gone = OpOutcome(ok=False, reason="unknown")
        unknown = {handle for handle, each in (await self.status(handles)).items() if each.state == "UNKNOWN"}
        return {handle: gone if handle in unknown else each for handle, each in (await super().purge(handles)).items()}


class PurgesByPrefix(FakeBackend):
    """Purges every job whose id begins with the id, so that copy 10 goes with copy 1."""

    caught_by = "IC-PURGE-04"
    message_contains = ".10 to be DONE still; observed UNKNOWN"

    async def purge(self, handles: Collection[JobHandle]) -> Outcomes:
        await super().purge(
            [each for each in self._list_handles() if each.job.startswith(tuple(job.job for job in handles))]
        )
        return await super().purge(handles)


class PurgesTheForeign(FakeBackend):
    """Answers that the purge of a job of another resource is ok."""

    caught_by = "IC-PURGE-05"
    message_contains = "expected purging a job of another resource not to be ok"

    async def purge(self, handles: Collection[JobHandle]) -> Outcomes:
        outcomes = await super().purge(handles)
        return {handle: OpOutcome(ok=True) if each.reason == "foreign" else each for handle, each in outcomes.items()}


class PurgeAnswersForAllJobs(FakeBackend):
    """Answers purge for all jobs if it is given no handles."""

    caught_by = "IC-PURGE-05"
    message_contains = "expected an empty mapping for no handles"

    async def purge(self, handles: Collection[JobHandle]) -> Outcomes:
        return await super().purge(handles) or dict.fromkeys(
            self._list_handles(), OpOutcome(ok=False, reason="running")
        )
