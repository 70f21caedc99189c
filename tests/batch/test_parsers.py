"""A parser of a scheduler that raises is named in the error, and its job is found."""

from collections.abc import Mapping, Sequence

import pytest
from tests.batch.sites import Counting, Site, finish

from intercede.batch import BatchBackend
from intercede.contract.errors import (
    SchedulerError,
)
from intercede.contract.job import (
    JobState,
    JobStatus,
    SubmissionSpec,
)
from intercede.contract.scheduler import Batch, Queued
from intercede.contract.transport import CommandResult
from intercede.schedulers.direct import DirectScheduler


class Colons(DirectScheduler):
    """A scheduler whose ids hold a colon, which is invalid."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Return ids of host and number."""
        return Queued(
            ids={index: f"host:{native}" for index, native in super().parse_submit(batch, result).ids.items()}
        )


class Unchecked(Colons):
    """A scheduler with such ids that skips pydantic's check."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Return such ids unchecked."""
        ids = DirectScheduler.parse_submit(self, batch, result).ids
        return Queued.model_construct(ids={index: f"host:{native}" for index, native in ids.items()}, refused={})


class Stumbling(DirectScheduler):
    """A scheduler that expects one more word in each answer."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Read a word that does not exist."""
        return Queued(ids={0: result.stdout.decode().split()[99]})


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        (Colons, ["raised ValidationError: ", " ids.0 ", "an id is 1 to 200 letters", "for the answer '"]),
        (Unchecked, ["returned the id 'host:", "an id is 1 to 200 letters"]),
        (Stumbling, ["raised IndexError: list index out of range, for the answer '"]),
    ],
)
async def test_a_failed_submit_parser_is_the_plugins_fault(
    site: Site, scheduler: type[DirectScheduler], said: list[str]
) -> None:
    """A parse_submit that fails is a SchedulerError that names the plugin, and a fixed plugin finds the job."""
    spec = SubmissionSpec(executable="true", tag="broken")
    broken = BatchBackend(Counting(), scheduler(4, 1), root=str(site.root))
    async with broken:
        with pytest.raises(SchedulerError, match="is at fault, not the request") as told:
            await broken.submit(spec)

    submission_ids = [each.parent.name for each in site.root.glob("*/copies")]
    assert [each in str(told.value) for each in [*said, *submission_ids]] == [True] * (len(said) + 1), str(told.value)
    assert not told.value.retryable
    async with site.backend() as mended:
        (handle,) = await mended.find("broken")
        assert (await finish(mended, [handle]))[handle].state is JobState.DONE


class Mute(DirectScheduler):
    """A scheduler whose parse_status returns nothing."""

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        """Return nothing."""
        return None  # type: ignore[return-value]  # the mistake


@pytest.mark.asyncio
async def test_a_failed_status_parser_is_the_plugins_fault(site: Site) -> None:
    """A parse_status that fails is a SchedulerError that names it."""
    async with BatchBackend(Counting(), Mute(4, 1), root=str(site.root)) as backend:
        submission = await backend.submit(SubmissionSpec(executable="sleep", arguments=("1",)))
        with pytest.raises(SchedulerError, match="its parse_status raised TypeError"):
            await backend.status(submission.handles.values())
