"""Backends whose verbs have a wrong shape. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import asyncio
from collections.abc import Collection, Mapping
from typing import Self

from intercede.contract import JobHandle, JobState, JobStatus, OpOutcome
from intercede.testing.gallery.fake import FakeBackend


class KillIsAFlag(FakeBackend):
    """Claims the capability kill by an attribute that is True, and has no such method."""

    caught_by = "IC-SHAPE-01"
    also_red = "IC-LIFE-09", "IC-LIFE-10"
    message_contains = "kill is True"
    kill = True  # type: ignore[assignment]  # this is the intended mistake


class StatusAnswersAtOnce(FakeBackend):
    """Has a status that is not async."""

    caught_by = "IC-SHAPE-02"
    message_contains = "expected status to be awaitable"

    def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:  # type: ignore[override]  # this is the intended mistake
        return {handle: JobStatus(state=JobState.UNKNOWN) for handle in handles}


class KillTakesJobs(FakeBackend):
    """Has a kill whose parameter has another name than in the contract."""

    caught_by = "IC-SHAPE-03"
    message_contains = "kill(handles), by keyword"

    async def kill(self, jobs: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:  # pyright: ignore[reportIncompatibleMethodOverride]  # this is the intended mistake
        return await super().kill(jobs)


class CountsForOneUser(FakeBackend):
    """Has a counts with a required parameter that is not in the contract."""

    caught_by = "IC-SHAPE-03"
    also_red = ("IC-LIFE-04", "IC-LIFE-05", "IC-LIFE-09", "IC-LIFE-10", "IC-LIFE-11", "IC-LIFE-12", "IC-LOAD-01")
    message_contains = "counts(), by position"

    async def counts(self, user: str) -> object:  # type: ignore[override]  # this is the intended mistake
        return user


class ForgetsFindWhenEntered(FakeBackend):
    """Claims the capability find at first, but no longer after it is entered."""

    caught_by = "IC-SHAPE-04"
    also_red = "IC-LIFE-09", "IC-LIFE-10"
    message_contains = "after entering: not claimed"

    async def __aenter__(self) -> Self:
        self.find = None  # type: ignore[assignment,method-assign]  # this is the intended mistake
        return await super().__aenter__()


class HidesDiagnosticsBehindGetattr(FakeBackend):
    """Has a diagnostics that can be called, but does not claim the capability."""

    caught_by = "IC-SHAPE-04"
    message_contains = "not claimed, diagnostics can be called"

    def __getattribute__(self, name: str) -> object:
        return super().__getattribute__("kill" if name == "diagnostics" else name)

    diagnostics = None  # type: ignore[assignment]  # this is the intended mistake


class PurgeIsAStub(FakeBackend):
    """Raises NotImplementedError in purge."""

    caught_by = "IC-SHAPE-05"
    also_red = "IC-LIFE-09", "IC-LIFE-11", "IC-LIFE-12"
    message_contains = "expected purge to be implemented"

    async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        if handles:
            raise NotImplementedError
        return await super().purge(handles)


class StatusNeverEnds(FakeBackend):
    """Waits for ever in status."""

    caught_by = "IC-SHAPE-02"
    message_contains = "expected status to answer within"
    scale = 0.05

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        await super().status(handles)
        await asyncio.Event().wait()
        return {}
