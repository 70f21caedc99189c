"""Backends with a mistake in handles. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import os
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from intercede.contract import CopyVars, JobHandle, JobState, JobStatus, Submission, SubmissionSpec
from intercede.testing.gallery.fake import FakeBackend
from intercede.testing.gallery.fake.job import Job


class _NativeHandle(JobHandle):
    """A handle with a third field, which the contract does not have."""

    native: str = "17_2"


class HandlesKnowMore(FakeBackend):
    """Returns handles of a subclass with one more field, which is lost in JSON."""

    caught_by = "IC-HANDLE-01"
    message_contains = "expected the handle to equal what JSON gives back"

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        answer = await super().submit(spec, copies)
        handles = {index: _NativeHandle(**handle.model_dump()) for index, handle in answer.handles.items()}
        return Submission.model_construct(handles=handles, failures={})


class _Remembers(FakeBackend):
    """Knows only jobs whose handles it keeps in memory."""

    mine: set[JobHandle]

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        answer = await super().submit(spec, copies)
        self.mine.update(answer.handles.values())
        return answer

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        lost = JobStatus(state=JobState.UNKNOWN, reason="lost")
        answer = await super().status(handles)
        known = {handle for handle, status in answer.items() if handle in self.mine or status.state is JobState.UNKNOWN}
        return {handle: status if handle in known else lost for handle, status in answer.items()}


class RemembersOnTheInstance(_Remembers):
    """Keeps the results of submit in the object, so that another object does not know the jobs."""

    caught_by = "IC-HANDLE-02"
    also_red = ("IC-FIND-05",)
    message_contains = "expected another instance to report FAILED with exit code 3; observed UNKNOWN (reason=lost)"
    scale = 0.1

    def __init__(self) -> None:
        super().__init__()
        self.mine = set()


class RemembersInTheProcess(_Remembers):
    """Keeps the results of submit in the class, so that another process does not know the jobs."""

    caught_by = "IC-HANDLE-03"
    also_red = ("IC-FIND-05",)
    message_contains = "expected another process to get FAILED and 3; observed UNKNOWN and None"
    mine: ClassVar[set[JobHandle]] = set()  # type: ignore[misc]  # this is the intended mistake


class PacksMuchIntoHandles(FakeBackend):
    """Puts the whole specification into each handle, which is then too long."""

    caught_by = "IC-HANDLE-04"
    message_contains = "expected at most 512 characters"

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        answer = await super().submit(spec, copies)
        packed = {
            index: JobHandle.model_construct(resource=handle.resource, job=handle.job + spec.model_dump_json())
            for index, handle in answer.handles.items()
        }
        return Submission.model_construct(handles=packed, failures={})

    def _is_ours(self, handle: JobHandle) -> bool:
        return super()._is_ours(JobHandle(resource=handle.resource, job=handle.job.partition("{")[0]))

    def _get_job(self, handle: JobHandle) -> Job:
        return Job(self._state / handle.job.partition("{")[0])


class RenamesTheResource(FakeBackend):
    """Gives the resource another name in each object, but accepts handles with the other names."""

    caught_by = "IC-HANDLE-05"
    message_contains = "expected one name of the resource, in two instances and another process"
    also_red = ("IC-FIND-02", "IC-FIND-04")

    def __init__(self) -> None:
        super().__init__()
        self.common = ""

    def _prepare_state(self) -> None:
        super()._prepare_state()
        self.common = self._resource
        self._resource = f"{self.common}-{id(self):x}-{os.getpid()}"

    def _is_ours(self, handle: JobHandle) -> bool:
        mine = handle.model_copy(update={"resource": self._resource})
        return handle.resource.startswith(self.common) and super()._is_ours(mine)
