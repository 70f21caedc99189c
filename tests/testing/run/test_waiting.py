"""What the checks of a run do to one another is never a finding: jobs behind others in a queue, logins all at once."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Self

import pytest

from intercede.contract import (
    CopyVars,
    JobHandle,
    JobState,
    JobStatus,
    Submission,
    SubmissionSpec,
    TransportError,
)
from intercede.testing.clauses.backend.answers import submit_jobs, wait_until_final
from intercede.testing.frontends.check import run_checks
from intercede.testing.gallery.fake import FakeBackend
from intercede.testing.model.clause import MUST, Clause
from intercede.testing.model.verdict import State
from intercede.testing.run.context import Check, Context
from intercede.testing.run.waiting import QueueActivity, Wait
from intercede.testing.subjects.entering import Door

_SECONDS = 0.1
"""How long one job of the queue below takes."""


class OneSlot:
    """A queue that runs one job at a time, in the order in which they came. It is right."""

    queue: list[JobHandle] = []  # noqa: RUF012 -- the resource's, not an instance's
    began = 0.0

    async def __aenter__(self) -> Self:
        """Nothing to open."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Put copies at the end of the queue."""
        count = copies if isinstance(copies, int) else len(copies)
        handles = {index: JobHandle(resource="queue", job=f"{spec.tag}.{index}") for index in range(count)}
        self.queue.extend(handles.values())
        return Submission(handles=handles)

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Tell by the time since the first was submitted where each is."""
        return {each: JobStatus(state=self._state(each)) for each in handles}

    def _state(self, handle: JobHandle) -> JobState:
        now = asyncio.get_running_loop().time()
        type(self).began = self.began or now
        done = (now - self.began) / _SECONDS - self.queue.index(handle)
        return JobState.DONE if done >= 1 else JobState.RUNNING if done >= 0 else JobState.QUEUED


class Stands(OneSlot):
    """A queue in which nothing ever begins."""

    def _state(self, handle: JobHandle) -> JobState:
        return JobState.QUEUED


@pytest.fixture(autouse=True)
def _an_empty_queue() -> None:
    OneSlot.queue.clear()
    OneSlot.began = 0.0
    Crowded.inside = Crowded.entered = 0


async def _waits(context: Context) -> None:
    async with context.open_backend() as backend:
        await wait_until_final(context, backend, await submit_jobs(context, backend, context.sh("exit 0"), copies=2))


async def _waits_otherwise(context: Context) -> None:
    async with context.open_backend() as backend:
        submission = await context.submit(backend, context.sh("exit 0"), copies=2)
        await context.wait_until_final(backend, list(submission.handles.values()))


async def _enters(context: Context) -> None:
    async with context.open_backend():
        pass


def clauses(*checks: Check) -> dict[str, Clause]:
    """Make a clause of each."""
    ids = [f"IC-SUBMIT-{number:02}" for number in range(1, len(checks) + 1)]
    return {
        each: Clause(id=each, title="It is.", level=MUST, check=check) for each, check in zip(ids, checks, strict=True)
    }


def test_waiting_behind_other_jobs_of_the_run_is_never_red() -> None:
    """Twenty jobs one after the other take twice as long as a check may."""
    report = run_checks(OneSlot, clauses=clauses(*[_waits, _waits_otherwise] * 5), scale=0.03)

    assert [each.detail for each in report.results.values() if each.state is not State.PASSED] == []


@pytest.mark.parametrize("check", [_waits, _waits_otherwise])
def test_a_queue_that_stands_is_red_and_the_options_are_named(check: Check) -> None:
    """Within the bound, for nothing goes on that a job could wait behind."""
    (result,) = run_checks(Stands, clauses=clauses(check), scale=0.01).results.values()

    assert "QUEUED" in result.observed
    assert "--intercede-timeout-scale=N" in result.observed
    assert "--intercede-jobs=N" in result.observed


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


class Crowded(OneSlot):
    """Drops logins when more than three come at once. It is right."""

    inside = entered = 0

    async def __aenter__(self) -> Self:
        """Log in, which takes a moment."""
        cls = type(self)
        cls.inside += 1
        cls.entered += 1
        crowded = cls.inside > 3
        await asyncio.sleep(0.01)
        cls.inside -= 1
        if crowded:
            raise TransportError("kex_exchange_identification: Connection reset by peer")
        return self


def test_logins_that_are_dropped_are_tried_again() -> None:
    """A few at a time."""
    report = run_checks(Crowded, clauses=clauses(*[_enters] * 20), scale=0.05)

    assert [each.detail for each in report.results.values() if each.state is not State.PASSED] == []
    assert Crowded.entered > 20


class Closed(Crowded):
    """Lets nobody in."""

    retryable = True

    async def __aenter__(self) -> Self:
        """Refuse."""
        type(self).entered += 1
        raise TransportError("no route", retryable=self.retryable)


class Shut(Closed):
    """Says that it makes no sense to come again."""

    retryable = False


@pytest.mark.parametrize(("subject", "times"), [(Closed, 5), (Shut, 1)])
def test_what_lets_nobody_in_is_red(subject: type[Closed], times: int) -> None:
    """After a few times, or at once where another makes no sense."""
    subject.entered = 0
    (result,) = run_checks(subject, clauses=clauses(_enters), scale=0.02).results.values()

    assert result.state is State.FAILED
    assert "no route" in result.message
    assert subject.entered == times


async def _enters_twice(context: Context) -> None:
    with contextlib.suppress(TransportError):
        await _enters(context)
    await _enters(context)


def test_who_comes_after_all_tries_failed_tries_once() -> None:
    """Nobody waits again for what has let nobody in."""
    Closed.entered = 0
    (result,) = run_checks(Closed, clauses=clauses(_enters_twice), scale=0.02).results.values()

    assert result.state is State.FAILED
    assert Closed.entered == 5 + 1


def test_a_door_that_several_loops_use_lets_all_in() -> None:
    """Checks that share the waiting have a loop, and one that runs alone has another: on each, a few at a time."""
    door, inside, most = Door(), 0, 0

    async def attempt() -> None:
        nonlocal inside, most
        if not refused:
            refused.append(True)
            raise TransportError("dropped", retryable=True)
        inside, most = inside + 1, max(most, inside + 1)
        await asyncio.sleep(0.01)
        inside -= 1

    async def enter_all() -> None:
        await asyncio.gather(*(door.enter(attempt, 0.01) for _ in range(20)))

    for _ in range(2):
        refused: list[bool] = []
        asyncio.run(enter_all())  # a loop of its own each: that is the point

    assert (inside, most < 20) == (0, True)
