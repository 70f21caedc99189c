"""Checks wait for their jobs behind other jobs of the run, and that is never a finding."""

from functools import partial

import pytest
from tests.testing.queues import OneSlot, make_clauses

from intercede.contract import (
    JobHandle,
    JobState,
    JobStatus,
)
from intercede.testing.frontends.check import run_checks
from intercede.testing.gallery.fake import FakeBackend
from intercede.testing.model.verdict import State
from intercede.testing.run.context import Check, Context
from intercede.testing.run.driver import open_backend
from intercede.testing.run.waiting import QueueActivity, Wait


class Stands(OneSlot):
    """A queue in which nothing ever begins."""

    def _state(self, handle: JobHandle) -> JobState:
        return JobState.QUEUED


@pytest.fixture(autouse=True)
def _an_empty_queue() -> None:
    OneSlot.queue.clear()
    OneSlot.began = 0.0


async def _waits(context: Context) -> None:
    async with open_backend(context) as backend:
        await backend.run_jobs(context.sh("exit 0"), copies=2)


async def _waits_otherwise(context: Context) -> None:
    async with open_backend(context) as backend:
        submission = await backend.submit(context.sh("exit 0"), copies=2)
        await backend.wait_until_final(list(submission.handles.values()))


def test_waiting_behind_other_jobs_of_the_run_is_never_red() -> None:
    """Twenty jobs one after the other take twice as long as a check may."""
    report = run_checks(OneSlot, clauses=make_clauses(*[_waits, _waits_otherwise] * 5), scale=0.03)

    assert [each.detail for each in report.results.values() if each.state is not State.PASSED] == []


@pytest.mark.parametrize("check", [_waits, _waits_otherwise])
def test_a_queue_that_stands_is_red_and_the_options_are_named(check: Check) -> None:
    """Within the bound, for nothing goes on that a job could wait behind."""
    (result,) = run_checks(Stands, clauses=make_clauses(check), scale=0.01).results.values()

    assert "QUEUED" in result.observed
    assert result.observed.endswith("it waits in the queue")
    assert "options: a larger scale gives a check more time" in result.detail


def test_time_in_the_queue_is_no_time_of_a_payload() -> None:
    """A payload that waited in the queue for longer than it takes is seen unfinished all the same."""
    (result,) = [
        each
        for each in run_checks(partial(FakeBackend, queue_seconds=1.0), ["IC-PURGE-02"], scale=0.02).results.values()
        if each.clause == "IC-PURGE-02"
    ]

    assert (result.state, result.detail) == (State.PASSED, "")


def test_what_is_no_waiting_in_a_queue_that_goes_on_counts() -> None:
    """A job that runs, and one behind others that have not gone on for long."""
    handle = JobHandle(resource="r", job="j")
    queued, running, done = (
        {handle: JobStatus(state=state)} for state in (JobState.QUEUED, JobState.RUNNING, JobState.DONE)
    )
    goes_on, stands = QueueActivity(), QueueActivity()
    goes_on.watch(done)

    assert not Wait(goes_on, 0, scale=1).is_over(queued)
    assert Wait(goes_on, 0, scale=1).is_over(running)
    assert Wait(stands, 0, scale=1).is_over(queued)
