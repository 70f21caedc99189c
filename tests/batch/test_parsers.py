"""Parsers of schedulers that break: the error says whose fault it is, and the job is found."""

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
    """Its ids hold a colon, which no id may."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Name each job by host and number."""
        return Queued(
            ids={index: f"host:{native}" for index, native in super().parse_submit(batch, result).ids.items()}
        )


class Unchecked(Colons):
    """The same, and says that it was looked at."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Skip what pydantic would have said."""
        ids = DirectScheduler.parse_submit(self, batch, result).ids
        return Queued.model_construct(ids={index: f"host:{native}" for index, native in ids.items()}, refused={})


class Stumbling(DirectScheduler):
    """Takes every answer for one with a word more."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Read a third word, which is not there."""
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
async def test_a_parser_that_breaks_is_told_as_the_plugin_s_fault_and_its_job_is_found(
    site: Site, scheduler: type[DirectScheduler], said: list[str]
) -> None:
    """The job runs: the error is typed, names the plugin and the submission, and once it is mended the job has a handle."""
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
    """Its parser of listings returns nothing."""

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        """Forget the return."""
        return None  # type: ignore[return-value]  # the mistake


@pytest.mark.asyncio
async def test_a_listing_that_cannot_be_read_is_told_as_the_plugin_s_fault(site: Site) -> None:
    """The caller of `status` sees which parser it was, and no TypeError."""
    async with BatchBackend(Counting(), Mute(4, 1), root=str(site.root)) as backend:
        submission = await backend.submit(SubmissionSpec(executable="sleep", arguments=("1",)))
        with pytest.raises(SchedulerError, match="its parse_status raised TypeError"):
            await backend.status(submission.handles.values())
