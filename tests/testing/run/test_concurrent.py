"""Checks that run together share one event loop, which runs only while one of them is awaited."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import pytest

from intercede.testing.run.concurrent import ConcurrentChecks, JobBudget

Checks = Mapping[str, Callable[[], Awaitable[str]]]


def make_checks(
    checks: Checks, stall: float = 20, patience: float = 60, cleaning: float = 15
) -> "ConcurrentChecks[str]":
    """Return checks that have not begun."""
    return ConcurrentChecks(checks, stall, patience, cleaning)


@pytest.mark.asyncio
async def test_checks_wait_at_the_same_time() -> None:
    """A check that waits for another check's event ends."""
    gate = asyncio.Event()

    async def waits() -> str:
        await gate.wait()
        return "waited"

    async def opens() -> str:
        gate.set()
        return "opened"

    shared = make_checks({"first": waits, "second": opens})
    try:
        assert [await asyncio.to_thread(shared.get_result, each) for each in ("first", "second")] == [
            "waited",
            "opened",
        ]
    finally:
        shared.close()


def test_the_loop_stops_between_results() -> None:
    """The event loop of the checks makes no progress between two results."""
    ticks: list[float] = []

    async def ticking() -> str:
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.001)

    async def short() -> str:
        await asyncio.sleep(0.02)
        return "short"

    shared = make_checks({"ticking": ticking, "short": short})
    assert shared.get_result("short") == "short"
    seen = len(ticks)
    time.sleep(0.1)  # shows that nothing comes

    assert seen > 1
    assert len(ticks) <= seen + 1
    shared.close()


def test_a_blocked_loop_is_given_up() -> None:
    """A check that blocks the event loop ends all unfinished checks without a result, within the time limit."""

    async def blocks() -> str:
        time.sleep(2)  # noqa: ASYNC251 -- blocks the loop on purpose
        return "too late"

    async def done() -> str:
        return "done"

    shared = make_checks({"done": done, "blocks": blocks}, stall=0.3)
    began = time.monotonic()

    assert [shared.get_result(each) for each in ("blocks", "done")] == [None, "done"]
    assert time.monotonic() - began < 1.9
    shared.close()


def test_a_loop_without_progress_is_given_up() -> None:
    """Unfinished checks end without a result if the event loop runs and no check ends in time."""

    async def hangs() -> str:
        await asyncio.Event().wait()
        return "never"

    async def done() -> str:
        return "done"

    shared = make_checks({"done": done, "hangs": hangs}, patience=1)

    assert [shared.get_result(each) for each in ("done", "hangs")] == ["done", None]
    shared.close()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_an_exit_in_a_subjects_task_ends_only_the_checks(error: BaseException) -> None:
    """A SystemExit in a subject's task ends the unfinished checks, and not the run."""

    async def leave() -> None:
        raise error

    async def leaves() -> str:
        task = asyncio.create_task(leave())
        await asyncio.wait({task}, timeout=20)
        return "went on"

    shared = make_checks({"leaves": leaves})

    assert shared.get_result("leaves") is None
    shared.close()


def test_closing_lets_a_check_clean_up() -> None:
    """A check that is cancelled at the end cleans up before close returns."""
    cleaned: list[str] = []

    async def hangs() -> str:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0.05)
            cleaned.append("cleaned")
        return "never"

    async def done() -> str:
        return "done"

    shared = make_checks({"hangs": hangs, "done": done})
    assert shared.get_result("done") == "done"
    shared.close()

    assert cleaned == ["cleaned"]


def test_checks_that_never_began_can_be_closed() -> None:
    """Closing checks that never began starts no thread."""
    make_checks({}).close()


@pytest.mark.asyncio
async def test_the_job_budget_is_kept_and_fair() -> None:
    """The number of jobs stays within the budget, and a check that wants many jobs gets its turn."""
    slots, out, most, order = JobBudget(4), 0, 0, list[int]()

    async def job(count: int) -> None:
        nonlocal out, most
        await slots.acquire(count)
        out, most = out + count, max(most, out + count)
        order.append(count)
        await asyncio.sleep(0.001)
        out -= count
        slots.release(count)

    await asyncio.gather(*(job(count) for count in (1, 1, 4, 1, 1, 1)))
    assert most <= 4
    assert order == [1, 1, 4, 1, 1, 1]


def test_no_time_limit_passes_while_the_loop_is_stopped() -> None:
    """A time limit inside a check does not pass while the event loop is stopped."""
    release = asyncio.Event()

    async def bounded() -> str:
        async with asyncio.timeout(0.2):
            await release.wait()
        return "in time"

    async def short() -> str:
        return "short"

    shared = make_checks({"bounded": bounded, "short": short})
    try:
        assert shared.get_result("short") == "short"
        time.sleep(0.4)  # a test of the user's own
        release.set()
        assert shared.get_result("bounded") == "in time"
    finally:
        shared.close()
