"""Unusual backends that keep the contract, to find checks that are too strict."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import asyncio
import os
import random
import time
from collections import UserDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import Self, TypeVar

from intercede import registry
from intercede.contract import (
    CopyVars,
    JobBackend,
    JobHandle,
    JobOutput,
    JobState,
    JobStatus,
    OpOutcome,
    Submission,
    SubmissionSpec,
)
from intercede.testing.gallery.busy_server import BusyServer
from intercede.testing.gallery.fake import FakeBackend

_T = TypeVar("_T")


class _Backwards(UserDict[JobHandle, _T]):
    """A mapping that is not a dict and iterates in reverse order."""

    def __iter__(self) -> Iterator[JobHandle]:
        return reversed(list(self.data))


async def _sleep_randomly() -> None:
    """Sleep for a random short time, in a thread."""
    await asyncio.to_thread(time.sleep, random.choice((0, 0, 0.002, 0.01)))  # noqa: S311 -- no cryptography


class _Status(JobStatus):
    """A status with a field and a property that are not in the contract."""

    site: str = "here"

    @cached_property
    def label(self) -> str:
        return f"{self.state} {self.site}"


class ReportsMore(FakeBackend):
    """Returns statuses of a subclass, with a field and a property that are not in the contract."""

    areas = "status", "kill", "handle"

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        answer = {each: _Status(**vars(status)) for each, status in (await super().status(handles)).items()}
        for each in answer.values():
            assert each.label
        return answer


class AnswersSlowly(FakeBackend):
    """Takes as long for a status call as a short job runs."""

    areas = "status", "load"

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        await asyncio.sleep(0.3)
        return await super().status(handles)


class AnswersDifferently(FakeBackend):
    """Answers with random delays and with other mappings, uses threads and lazy imports, and has more parameters."""

    areas = "shape", "life", "submit", "handle", "output", "kill", "purge"

    def __init__(self, state: Path | None = None, queue: str = "short") -> None:
        import colorsys  # noqa: PLC0415 -- a check must allow a lazy import

        super().__init__(state)
        self.queue, self.colour = queue, colorsys

    async def submit(
        self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1, *, dry: bool = False
    ) -> Submission:
        await _sleep_randomly()
        return await super().submit(spec, copies)

    async def status(self, handles: Collection[JobHandle], cached: bool = False) -> Mapping[JobHandle, JobStatus]:  # noqa: FBT001, FBT002 -- a check must allow this
        await _sleep_randomly()
        return _Backwards(await super().status(handles))

    async def fetch_output(
        self,
        handles: Collection[JobHandle],
        dest: Path,
        timeout: float | None = None,  # noqa: ASYNC109 -- a check must allow this
    ) -> Mapping[JobHandle, JobOutput]:
        await _sleep_randomly()
        return _Backwards(await super().fetch_output(handles, dest))

    async def kill(self, handles: Collection[JobHandle], **options: object) -> Mapping[JobHandle, OpOutcome]:
        await _sleep_randomly()
        return _Backwards(await super().kill(handles))

    async def purge(self, handles: Collection[JobHandle], *more: object) -> Mapping[JobHandle, OpOutcome]:
        await _sleep_randomly()
        return _Backwards(await super().purge(handles))


class SetsJobVariables(FakeBackend):
    """Sets variables with a job's number and memory, which jobs submitted from inside do not inherit."""

    areas = "submit", "handle"

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        memory = spec.resources.memory_mb
        variables = {"GALLERY_JOB": token_hex(6), "GALLERY_MEMORY_MB": str(memory) if memory else ""}
        return await super().submit(spec.model_copy(update={"environment": {**variables, **spec.environment}}), copies)


class LocalDirect:
    """Makes the backend of the built-in transport ``local`` and the built-in scheduler ``direct``."""

    areas = "shape", "life", "kill"  # other areas would take long, and its own tests cover them

    def __new__(cls) -> JobBackend:  # type: ignore[misc]  # a class, as everything in the gallery is
        root = Path(os.environ["XDG_STATE_HOME"], "local-direct")
        return registry.backend({"transport": "local", "scheduler": "direct", "batch": {"root": str(root)}})


class LogsInToABusyServer(FakeBackend):
    """Logs in to a server that sometimes drops a login when it is entered, and raises a retryable error."""

    areas = "shape", "life", "handle", "find"
    server = BusyServer()

    async def __aenter__(self) -> Self:
        await self.server.login()
        return await super().__aenter__()


class OnlyTheCore(FakeBackend):
    """Claims no capability, and reports each job as QUEUED for a while."""

    areas = "shape", "submit", "handle", "status"

    fetch_output = kill = purge = counts = find = diagnostics = None  # type: ignore[assignment]  # these capabilities are not claimed

    def _get_status(self, handle: JobHandle) -> JobStatus:
        status = super()._get_status(handle)
        if status.state is JobState.UNKNOWN:
            return status
        age = time.time() - (self._state / handle.job / "spec.json").stat().st_mtime
        return status if age > 0.1 else JobStatus(state=JobState.QUEUED, native="PD", reason=None)
