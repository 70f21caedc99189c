"""Checks that share the waiting: all on one loop, which turns only while one of them is waited for."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import pytest

from intercede.testing.run.concurrent import ConcurrentChecks, JobBudget

Checks = Mapping[str, Callable[[], Awaitable[str]]]


def together(checks: Checks, stall: float = 20, patience: float = 60, cleaning: float = 15) -> "ConcurrentChecks[str]":
    """Return them, not begun."""
    return ConcurrentChecks(checks, stall, patience, cleaning)


@pytest.mark.asyncio
async def test_they_wait_at_the_same_time() -> None:
    """A check that waits for another one's event would never end alone."""
    gate = asyncio.Event()

    async def waits() -> str:
        await gate.wait()
        return "waited"

    async def opens() -> str:
        gate.set()
        return "opened"

    shared = together({"first": waits, "second": opens})
    try:
        assert [await asyncio.to_thread(shared.result, each) for each in ("first", "second")] == ["waited", "opened"]
    finally:
        shared.close()


def test_nothing_goes_on_while_nobody_waits() -> None:
    """Between two results the loop stands still."""
    ticks: list[float] = []

    async def ticking() -> str:
        while True:
            ticks.append(time.monotonic())
            await asyncio.sleep(0.001)

    async def short() -> str:
        await asyncio.sleep(0.02)
        return "short"

    shared = together({"ticking": ticking, "short": short})
    assert shared.result("short") == "short"
    seen = len(ticks)
    time.sleep(0.1)  # nothing is waited for: it is shown that nothing comes

    assert seen > 1
    assert len(ticks) <= seen + 1
    shared.close()


def test_a_blocked_loop_is_given_up() -> None:
    """Whoever waits gets None within the bound, for every check that was not done."""

    async def blocks() -> str:
        time.sleep(2)  # noqa: ASYNC251 -- the point
        return "too late"

    async def done() -> str:
        return "done"

    shared = together({"done": done, "blocks": blocks}, stall=0.3)
    began = time.monotonic()

    assert [shared.result(each) for each in ("blocks", "done")] == [None, "done"]
    assert time.monotonic() - began < 1.9
    shared.close()


def test_a_loop_that_turns_and_brings_nothing_to_an_end_is_given_up() -> None:
    """Each check is bounded by itself; where that does not hold any more, the run goes on all the same."""

    async def hangs() -> str:
        await asyncio.Event().wait()
        return "never"

    async def done() -> str:
        return "done"

    shared = together({"done": done, "hangs": hangs}, patience=1)

    assert [shared.result(each) for each in ("done", "hangs")] == ["done", None]
    shared.close()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_leaves_a_task_of_the_subjects_own_ends_the_sharing_only(error: BaseException) -> None:
    """SystemExit in a stranger's task tears a loop down: what was not done is told as not done."""

    async def leave() -> None:
        raise error

    async def leaves() -> str:
        task = asyncio.create_task(leave())
        await asyncio.wait({task}, timeout=20)
        return "went on"

    shared = together({"leaves": leaves})

    assert shared.result("leaves") is None
    shared.close()


def test_closing_lets_a_check_clean_up() -> None:
    """What is cancelled ends in its own way, before close returns."""
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

    shared = together({"hangs": hangs, "done": done})
    assert shared.result("done") == "done"
    shared.close()

    assert cleaned == ["cleaned"]


def test_what_was_never_asked_for_is_closed_too() -> None:
    """No check ran, and no thread was started."""
    together({}).close()


@pytest.mark.asyncio
async def test_slots_are_never_exceeded_and_nobody_starves() -> None:
    """Who wants many gets them in turn, although few are asked for all the time."""
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


def test_no_bound_runs_out_while_the_loop_stands_still() -> None:
    """What is bounded to a fifth of a second outlives a pause of twice that."""
    release = asyncio.Event()

    async def bounded() -> str:
        async with asyncio.timeout(0.2):
            await release.wait()
        return "in time"

    async def short() -> str:
        return "short"

    shared = together({"bounded": bounded, "short": short})
    try:
        assert shared.result("short") == "short"
        time.sleep(0.4)  # a test of the user's own
        release.set()
        assert shared.result("bounded") == "in time"
    finally:
        shared.close()
