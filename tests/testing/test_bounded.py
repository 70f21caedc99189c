"""A stranger's code is awaited for a bounded time, whatever it does."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from intercede.testing import bounded
from intercede.testing.bounded import TookTooLong

RELEASED = threading.Event()
"""Set at the end, so that no thread outlives the tests."""


@pytest.fixture(autouse=True, scope="module")
def release() -> object:
    """Let the threads that were given up end."""
    yield
    RELEASED.set()


async def _waits() -> None:
    await asyncio.Event().wait()


async def _swallows() -> None:
    while not RELEASED.is_set():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def _blocks() -> None:
    RELEASED.wait()  # it is the event loop that waits


async def _waits_in_a_thread() -> None:
    await asyncio.to_thread(RELEASED.wait)


@pytest.mark.parametrize(
    ("function", "how"),
    [
        (_waits, "did not end in"),
        (_swallows, "swallowed its cancellation after"),
        (_blocks, "blocked the event loop for"),
        (_waits_in_a_thread, "did not end in"),
    ],
)
def test_it_is_given_up_and_told_where_it_stood(function: Callable[[], Awaitable[None]], how: str) -> None:
    """The finding names the function that does not end, within the bound and the grace."""
    began = time.monotonic()

    ending = bounded.run(function, 0.2, stall=0.5)

    assert isinstance(ending.raised, TookTooLong)
    assert ending.raised.how == how
    assert f"in {function.__name__}" in ending.raised.where
    assert time.monotonic() - began < 0.5 + 2 * bounded.GRACE


@pytest.mark.parametrize("error", [ValueError("v"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_whatever_it_raises_is_in_the_ending(error: BaseException) -> None:
    """Also what would end the process or the loop."""

    async def raises() -> None:
        raise error

    assert bounded.run(raises, 5).raised is error


def test_a_task_of_its_own_that_exits_is_in_the_ending() -> None:
    """Asyncio lets SystemExit of any task tear the loop down."""

    async def exits() -> None:
        raise SystemExit(4)

    async def starts_one() -> None:
        task = asyncio.create_task(exits())
        await asyncio.Event().wait()
        await task

    ending = bounded.run(starts_one, 5)

    assert isinstance(ending.raised, SystemExit)


def test_its_value_comes_back_and_its_tasks_are_ended() -> None:
    """What it leaves running is cancelled with its loop."""
    left: list[asyncio.Task[None]] = []

    async def leaves_one() -> int:
        left.append(asyncio.create_task(_waits()))
        await asyncio.sleep(0)
        return 7

    assert bounded.run(leaves_one, 5).get() == 7
    assert left[0].cancelled()


def test_cancelling_reaches_what_is_awaited() -> None:
    """A check that cancels a verb cancels the subject's own coroutine."""
    seen: list[str] = []

    async def notes() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def cancels() -> None:
        task = asyncio.create_task(bounded.within(30, notes()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert bounded.run(cancels, 10).raised is None
    assert seen == ["cancelled"]


def test_the_loop_of_this_thread_is_left_alone() -> None:
    """What a user runs around it goes on on the same loop."""

    async def around() -> bool:
        before = asyncio.get_running_loop()
        ending = bounded.run(lambda: asyncio.sleep(0), 5)
        return ending.raised is None and asyncio.get_running_loop() is before

    assert asyncio.run(around())
