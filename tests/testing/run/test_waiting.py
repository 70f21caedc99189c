"""A check that waits behind other jobs of the run is not red."""

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


class Stuck(OneSlot):
    """A backend whose queue starts no job."""

    def _state(self, handle: JobHandle) -> JobState:
        return JobState.QUEUED


@pytest.fixture(autouse=True)
def _clear_queue() -> None:
    OneSlot.queue.clear()
    OneSlot.began = 0.0


async def _check_by_driver(context: Context) -> None:
    async with open_backend(context) as backend:
        await backend.run_jobs(context.sh("exit 0"), copies=2)


async def _check_by_context(context: Context) -> None:
    async with open_backend(context) as backend:
        submission = await backend.submit(context.sh("exit 0"), copies=2)
        await backend.wait_until_final(list(submission.handles.values()))


def test_waiting_behind_other_jobs_of_the_run_is_never_red() -> None:
    """Checks whose jobs wait for each other are green, even if the waiting takes twice as long as a check may."""
    report = run_checks(OneSlot, clauses=make_clauses(*[_check_by_driver, _check_by_context] * 5), scale=0.03)

    assert [each.detail for each in report.results.values() if each.state is not State.PASSED] == []


@pytest.mark.parametrize("check", [_check_by_driver, _check_by_context])
def test_a_stuck_queue_is_red_and_names_the_options(check: Check) -> None:
    """A queue that starts no job is red within the time limit, and the finding names the options that help."""
    (result,) = run_checks(Stuck, clauses=make_clauses(check), scale=0.01).results.values()

    assert "QUEUED" in result.observed
    assert result.observed.endswith("it waits in the queue")
    assert "options: a larger scale gives a check more time" in result.detail


def test_waiting_in_the_queue_is_not_running() -> None:
    """A payload that waits in the queue for longer than it runs is still seen before its end."""
    (result,) = [
        each
        for each in run_checks(partial(FakeBackend, queue_seconds=1.0), ["IC-PURGE-02"], scale=0.02).results.values()
        if each.clause == "IC-PURGE-02"
    ]

    assert (result.state, result.detail) == (State.PASSED, "")


def test_only_waiting_behind_jobs_that_end_is_excused() -> None:
    """Waiting is excused for a queued job if other jobs end meanwhile, and not for a running job or a stuck queue."""
    handle = JobHandle(resource="r", job="j")
    queued, running, done = (
        {handle: JobStatus(state=state)} for state in (JobState.QUEUED, JobState.RUNNING, JobState.DONE)
    )
    goes_on, stands = QueueActivity(), QueueActivity()
    goes_on.watch(done)

    assert not Wait(goes_on, 0, scale=1).is_over(queued)
    assert Wait(goes_on, 0, scale=1).is_over(running)
    assert Wait(stands, 0, scale=1).is_over(queued)
