"""Answers of no type that the contract knows: red in words, and never an error of the kit's own."""

# ruff: noqa: D102 -- the class says what its methods do otherwise

from collections.abc import Collection

from intercede.contract import JobHandle, JobState, JobStatus, Submission
from intercede.testing.gallery.fake import FakeBackend


class AnswersNothing(FakeBackend):
    """Every verb answers None."""

    async def submit(self, spec: object, copies: object = 1) -> None:  # type: ignore[override]  # the mistake
        return None

    async def status(self, handles: object) -> None:  # type: ignore[override]  # the mistake
        return None


class StatusIsNone(FakeBackend):
    """status answers None."""

    areas = "life", "handle", "status"

    async def status(self, handles: object) -> None:  # type: ignore[override]  # the mistake
        return None


class StatusIsText(FakeBackend):
    """Statuses are plain words."""

    areas = "handle", "status"

    async def status(self, handles: Collection[JobHandle]) -> dict[JobHandle, str]:  # type: ignore[override]  # the mistake
        return dict.fromkeys(handles, "DONE")


class StatusesAreAList(FakeBackend):
    """Statuses come as a list."""

    areas = "submit", "status"

    async def status(self, handles: Collection[JobHandle]) -> list[JobStatus]:  # type: ignore[override]  # the mistake
        return [JobStatus(state=JobState.DONE, exit_code=0) for _ in handles]


class SubmissionIsADictionary(FakeBackend):
    """submit answers a dictionary."""

    async def submit(self, spec: object, copies: object = 1) -> dict[int, str]:  # type: ignore[override]  # the mistake
        return {0: "17"}


class HandlesAreText(FakeBackend):
    """The handles of a submission are plain words."""

    async def submit(self, spec: object, copies: object = 1) -> Submission:
        return Submission.model_construct(handles={0: "17", 1: None}, failures=None)


class EveryOutcomeIsNone(FakeBackend):
    """The optional verbs answer None for each job."""

    areas = "output", "kill", "purge"

    async def kill(self, handles: Collection[JobHandle]) -> dict[JobHandle, None]:  # type: ignore[override]  # the mistake
        return dict.fromkeys(handles)

    async def purge(self, handles: Collection[JobHandle]) -> dict[JobHandle, None]:  # type: ignore[override]  # the mistake
        return dict.fromkeys(handles)

    async def fetch_output(self, handles: Collection[JobHandle], dest: object) -> dict[JobHandle, None]:  # type: ignore[override]  # the mistake
        return dict.fromkeys(handles)


class EveryMappingIsEmpty(FakeBackend):
    """The optional verbs answer for nobody."""

    areas = "output", "kill", "purge"

    async def kill(self, handles: object) -> dict[str, str]:  # type: ignore[override]  # the mistake
        return {}

    async def purge(self, handles: object) -> None:  # type: ignore[override]  # the mistake
        return None

    async def fetch_output(self, handles: object, dest: object) -> dict[str, str]:  # type: ignore[override]  # the mistake
        return {}
