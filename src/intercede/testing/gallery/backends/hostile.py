"""Backends that answer with wrong types or without an end. Each must turn a check red and not break the kit."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import asyncio
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from types import TracebackType
from typing import Self

from intercede.contract import CopyVars, JobHandle, JobOutput, JobState, JobStatus, Submission, SubmissionSpec
from intercede.testing.gallery.fake import FakeBackend


class AnswersNothing(FakeBackend):
    """Returns None from submit and from status."""

    async def submit(self, spec: object, copies: object = 1) -> None:  # type: ignore[override]  # this is the intended mistake
        return None

    async def status(self, handles: object) -> None:  # type: ignore[override]  # this is the intended mistake
        return None


class StatusIsNone(FakeBackend):
    """Returns None from status."""

    areas = "life", "handle", "status"

    async def status(self, handles: object) -> None:  # type: ignore[override]  # this is the intended mistake
        return None


class StatusIsText(FakeBackend):
    """Returns strings instead of statuses."""

    areas = "handle", "status"

    async def status(self, handles: Collection[JobHandle]) -> dict[JobHandle, str]:  # type: ignore[override]  # this is the intended mistake
        return dict.fromkeys(handles, "DONE")


class StatusesAreAList(FakeBackend):
    """Returns a list from status instead of a mapping."""

    areas = "submit", "status"

    async def status(self, handles: Collection[JobHandle]) -> list[JobStatus]:  # type: ignore[override]  # this is the intended mistake
        return [JobStatus(state=JobState.DONE, exit_code=0) for _ in handles]


class SubmissionIsADictionary(FakeBackend):
    """Returns a dictionary from submit instead of a Submission."""

    async def submit(self, spec: object, copies: object = 1) -> dict[int, str]:  # type: ignore[override]  # this is the intended mistake
        return {0: "17"}


class HandlesAreText(FakeBackend):
    """Returns a submission whose handles are strings."""

    async def submit(self, spec: object, copies: object = 1) -> Submission:
        return Submission.model_construct(handles={0: "17", 1: None}, failures=None)


class EveryOutcomeIsNone(FakeBackend):
    """Returns None for each job from kill, purge and fetch_output."""

    areas = "output", "kill", "purge"

    async def kill(self, handles: Collection[JobHandle]) -> dict[JobHandle, None]:  # type: ignore[override]  # this is the intended mistake
        return dict.fromkeys(handles)

    async def purge(self, handles: Collection[JobHandle]) -> dict[JobHandle, None]:  # type: ignore[override]  # this is the intended mistake
        return dict.fromkeys(handles)

    async def fetch_output(self, handles: Collection[JobHandle], dest: object) -> dict[JobHandle, None]:  # type: ignore[override]  # this is the intended mistake
        return dict.fromkeys(handles)


class EveryMappingIsEmpty(FakeBackend):
    """Returns an empty mapping or None from kill, purge and fetch_output."""

    areas = "output", "kill", "purge"

    async def kill(self, handles: object) -> dict[str, str]:  # type: ignore[override]  # this is the intended mistake
        return {}

    async def purge(self, handles: object) -> None:  # type: ignore[override]  # this is the intended mistake
        return None

    async def fetch_output(self, handles: object, dest: object) -> dict[str, str]:  # type: ignore[override]  # this is the intended mistake
        return {}


class NeverEnters(FakeBackend):
    """Waits for ever when it is entered."""

    async def __aenter__(self) -> Self:
        await asyncio.Event().wait()
        return self


class NeverLeaves(FakeBackend):
    """Waits for ever when it is left."""

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        await super().__aexit__(exc_type, exc, traceback)
        await asyncio.Event().wait()


class _Handles(FakeBackend):
    """Replaces the handles of a submission by hostile objects."""

    kind: type[JobHandle]

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        answer = await super().submit(spec, copies)
        handles = {index: self.change(each) for index, each in answer.handles.items()}
        return Submission.model_construct(handles=handles, failures={})

    def change(self, handle: JobHandle) -> JobHandle:
        return self.kind.model_construct(resource=handle.resource, job=handle.job)


class _Unhashable(JobHandle):
    def __hash__(self) -> int:
        raise ValueError("it cannot be hashed")

    def __eq__(self, other: object) -> bool:
        raise ValueError("it cannot be compared")


class HandlesCannotBeHashed(_Handles):
    """Returns handles that raise if they are hashed or compared."""

    kind = _Unhashable


class _Unshown(JobHandle):
    def __repr__(self) -> str:
        return repr(self)

    __str__ = __repr__


class HandlesCannotBeShown(_Handles):
    """Returns handles whose repr() calls itself without an end."""

    areas = "handle", "kill", "purge"
    kind = _Unshown


class HandlesAreNoText(_Handles):
    """Returns handles that contain lone surrogates and terminal control characters."""

    def change(self, handle: JobHandle) -> JobHandle:
        return JobHandle.model_construct(resource=handle.resource, job="\ud800\x1b[2J\n" + handle.job)


class _Outputs(FakeBackend):
    """Replaces the outputs of jobs by hostile objects."""

    areas = ("output",)

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Mapping[JobHandle, JobOutput]:
        answer = await super().fetch_output(handles, dest)
        return {handle: self.change(output, dest) for handle, output in answer.items()}

    def change(self, output: JobOutput, dest: Path) -> JobOutput:
        raise NotImplementedError


class OutputsAreEndless(_Outputs):
    """Returns a path of stdout that is an endless device."""

    def change(self, output: JobOutput, dest: Path) -> JobOutput:
        return output.model_copy(update={"stdout": Path("/dev/zero"), "files": {"x": Path("/dev/zero")}})


class OutputsAreAPipe(_Outputs):
    """Returns a path of stdout that is a named pipe without a writer."""

    def change(self, output: JobOutput, dest: Path) -> JobOutput:
        pipe = dest / "pipe"
        if not pipe.exists():
            os.mkfifo(pipe)
        return output.model_copy(update={"stdout": pipe, "stderr": pipe})


class OutputsHaveNoPath(_Outputs):
    """Returns a path of stdout with a NUL in it, which no file can have."""

    def change(self, output: JobOutput, dest: Path) -> JobOutput:
        return JobOutput(ok=True, stdout=Path("a\0b"), stderr=Path("a\0b"), files={"x": Path("a\0b")})


class OutputsAreHuge(_Outputs):
    """Returns a path of stdout that is a sparse file of one TiB."""

    def change(self, output: JobOutput, dest: Path) -> JobOutput:
        with (dest / "huge").open("wb") as file:
            file.truncate(1 << 40)
        return output.model_copy(update={"stdout": dest / "huge"})


class OutputsAreUnchecked(_Outputs):
    """Returns outputs that were made without validation, with fields of wrong types."""

    def change(self, output: JobOutput, dest: Path) -> JobOutput:
        return JobOutput.model_construct(ok=True, stdout=b"text", files=None)


class StatusesAreUnchecked(FakeBackend):
    """Returns statuses that were made without validation, without a state."""

    areas = "handle", "status", "submit"

    async def status(self, handles: Collection[JobHandle]) -> dict[JobHandle, JobStatus]:
        return dict.fromkeys(handles, JobStatus.model_construct(exit_code="0"))


class _Million(Mapping[JobHandle, JobStatus]):
    """A mapping that claims to have a million jobs."""

    def __getitem__(self, key: JobHandle) -> JobStatus:
        return JobStatus(state=JobState.DONE, exit_code=0)

    def __len__(self) -> int:
        return 10**6

    def __iter__(self) -> Iterator[JobHandle]:
        return repeat(JobHandle(resource="million", job="job"), len(self))


class AnswersForAMillionJobs(FakeBackend):
    """Returns a mapping from status that claims to have a million jobs."""

    areas = ("handle",)

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        return _Million()


class _Turncoat(JobStatus):
    """A status whose __class__ changes each time that it is read."""

    @property  # type: ignore[misc]  # this is the intended attack
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]  # this is the intended attack
        return (JobStatus, str, int)[time.monotonic_ns() % 3]


class _Endless(Mapping[int, JobHandle]):
    """A mapping whose iteration never ends."""

    def __getitem__(self, key: int) -> JobHandle:
        return JobHandle(resource="endless", job="job")

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[int]:
        return repeat(0)


class SubmissionsHaveNoEnd(FakeBackend):
    """Returns a submission whose mapping of handles never ends."""

    async def submit(self, spec: object, copies: object = 1) -> Submission:
        return Submission.model_construct(handles=_Endless(), failures={})


class FindsWithoutEnd(FakeBackend):
    """Raises in submit, and then returns an endless iterator from find."""

    areas = "handle", "find"

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        answer = await super().submit(spec, copies)
        raise RuntimeError("the answer was lost", answer)

    async def find(self, tag: str) -> Sequence[JobHandle]:
        found = await super().find(tag)
        return repeat(found[0]) if found else found  # type: ignore[return-value]  # this is the intended attack


class _Holds(dict[JobHandle, JobStatus]):
    def __contains__(self, key: object) -> bool:
        return True


class ClaimsEveryKey(FakeBackend):
    """Returns an empty mapping from status that claims to contain every key."""

    async def status(self, handles: Collection[JobHandle]) -> dict[JobHandle, JobStatus]:
        return _Holds()


class EndsWithManyDigits(FakeBackend):
    """Returns an exit code that is too large for Python to convert to text."""

    areas = "handle", "status"

    async def status(self, handles: Collection[JobHandle]) -> dict[JobHandle, JobStatus]:
        return dict.fromkeys(handles, JobStatus(state=JobState.FAILED, exit_code=10**5000))


class _Silent(JobHandle):
    def model_dump_json(self, **_: object) -> None:  # type: ignore[override]  # this is the intended attack
        return None


class HandlesAreNotWritten(_Handles):
    """Returns handles whose model_dump_json returns None."""

    kind = _Silent


class IndicesAreOfEveryKind(FakeBackend):
    """Returns a submission whose indices are numbers and strings."""

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        answer = await super().submit(spec, copies)
        return Submission.model_construct(handles={0: answer.handles[0], "a": answer.handles[0]}, failures={})


class _Unsound(type(Path())):  # type: ignore[misc]  # this is the intended attack
    def stat(self, **_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # this is the intended attack
        return None


class OutputsLieNowhere(_Outputs):
    """Returns a path of stdout whose stat() returns None."""

    def change(self, output: JobOutput, dest: Path) -> JobOutput:
        return JobOutput.model_construct(ok=True, stdout=_Unsound("/dev/zero"), stderr=_Unsound("/nowhere"), files={})


class StatusesChangeClass(FakeBackend):
    """Returns statuses whose __class__ changes each time that it is read."""

    areas = "handle", "status"

    async def status(self, handles: Collection[JobHandle]) -> dict[JobHandle, JobStatus]:
        return dict.fromkeys(handles, _Turncoat(state=JobState.DONE))
