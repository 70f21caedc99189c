"""A stranger's code is awaited for a bounded time, whatever it does."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import thread as pools
from pathlib import Path

import pytest

from intercede.testing.isolation import timeouts
from intercede.testing.isolation.process import ProcessEnded
from intercede.testing.isolation.timeouts import TimeLimitExceeded

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

    ending = timeouts.run_in_thread(function, 0.2, stall=0.5)

    assert isinstance(ending.raised, TimeLimitExceeded)
    assert ending.raised.how == how
    assert f"in {function.__name__}" in ending.raised.where
    assert time.monotonic() - began < 0.5 + 2 * timeouts.GRACE


@pytest.mark.parametrize("error", [ValueError("v"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_whatever_it_raises_is_in_the_ending(error: BaseException) -> None:
    """Also what would end the process or the loop."""

    async def raises() -> None:
        raise error

    assert timeouts.run_in_thread(raises, 5).raised is error


def test_a_task_of_its_own_that_exits_is_in_the_ending() -> None:
    """Asyncio lets SystemExit of any task tear the loop down."""

    async def exits() -> None:
        raise SystemExit(4)

    async def starts_one() -> None:
        task = asyncio.create_task(exits())
        await asyncio.Event().wait()
        await task

    ending = timeouts.run_in_thread(starts_one, 5)

    assert isinstance(ending.raised, SystemExit)


def test_its_value_comes_back_and_its_tasks_are_ended() -> None:
    """What it leaves running is cancelled with its loop."""
    left: list[asyncio.Task[None]] = []

    async def leaves_one() -> int:
        left.append(asyncio.create_task(_waits()))
        await asyncio.sleep(0)
        return 7

    assert timeouts.run_in_thread(leaves_one, 5).get() == 7
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
        task = asyncio.create_task(timeouts.limit_time(30, notes()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert timeouts.run_in_thread(cancels, 10).raised is None
    assert seen == ["cancelled"]


@pytest.mark.asyncio
async def test_the_loop_of_this_thread_is_left_alone() -> None:
    """What a user runs around it goes on on the same loop."""
    before = asyncio.get_running_loop()
    assert timeouts.run_in_thread(lambda: asyncio.sleep(0), 5).raised is None
    assert asyncio.get_running_loop() is before


@pytest.mark.parametrize(("name", "arguments"), [("_exit", (0,)), ("abort", ()), ("execv", ("/bin/true", ["true"]))])
def test_what_would_end_this_process_raises(name: str, arguments: tuple[object, ...]) -> None:
    """The process goes on, and what it is called by is as it was."""
    before = os._exit, os.abort, os.execv

    async def ends() -> None:
        getattr(os, name)(*arguments)

    assert isinstance(timeouts.run_in_thread(ends, 5).raised, ProcessEnded)
    assert (os._exit, os.abort, os.execv) == before


# From Python 3.12 on a fork beside a thread warns, and xdist has a thread in each worker. The child only ends.
forks_beside_threads = pytest.mark.filterwarnings("ignore:.*use of fork\\(\\) may lead to deadlocks:DeprecationWarning")


def _waited(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@forks_beside_threads
def test_a_fork_of_its_own_may_end() -> None:
    """Only this very process is kept from it."""

    async def forks() -> int:
        child = os.fork()
        if not child:
            os._exit(7)
        return await asyncio.to_thread(_waited, child)

    assert timeouts.run_in_thread(forks, 10).get() == 7


@forks_beside_threads
def test_a_fork_that_goes_on_ends_at_the_first_turn_of_its_loop(tmp_path: Path) -> None:
    """Else everything that follows would be done twice."""

    async def forks() -> int:
        child = os.fork()
        await asyncio.sleep(0.01)
        tmp_path.joinpath(str(os.getpid())).touch()
        return await asyncio.to_thread(_waited, child)

    assert timeouts.run_in_thread(forks, 10).get() == 1
    assert [each.name for each in tmp_path.iterdir()] == [str(os.getpid())]


def test_the_process_is_put_back_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its working directory, umask, environment, streams, and what others measure time by."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def state() -> list[object]:
        mask = os.umask(0o022)
        os.umask(mask)
        stdin = os.fstat(0).st_ino, os.fstat(0).st_dev
        return [Path.cwd(), mask, dict(os.environ), stdin, sys.stdout, time.monotonic, asyncio.sleep]

    async def rearranges() -> None:
        here.rmdir()
        os.umask(0)
        os.environ["INTERCEDE_NEW"] = "1"
        del os.environ["PATH"]
        os.close(0)
        sys.stdout = None
        time.monotonic = lambda: 0.0
        asyncio.sleep = None  # type: ignore[assignment]  # the same

    before = state()

    assert timeouts.run_in_thread(rearranges, 10).raised is None
    assert state() == before


def test_a_clock_that_stands_stops_no_bound() -> None:
    """What a subject replaces is not what bounds it."""

    async def stops_the_clock() -> None:
        time.monotonic = lambda: 0.0
        await asyncio.Event().wait()

    assert isinstance(timeouts.run_in_thread(stops_the_clock, 0.2).raised, TimeLimitExceeded)


def test_no_interpreter_waits_for_threads_that_it_started() -> None:
    """Neither for those of its own, nor for those of a pool."""
    threads: list[threading.Thread] = []
    began = threading.Event()

    def work() -> None:
        threads.append(threading.current_thread())
        began.set()
        RELEASED.wait()

    async def starts_some() -> None:
        threads.append(threading.Thread(target=RELEASED.wait, daemon=False))
        threads[0].start()
        pools.ThreadPoolExecutor(1).submit(work)
        await asyncio.to_thread(began.wait)

    assert timeouts.run_in_thread(starts_some, 10).raised is None
    assert [each.daemon for each in threads] == [True, True]
    assert threads[1] not in pools._threads_queues


async def _innermost() -> None:
    await asyncio.Event().wait()


async def _between() -> None:
    await asyncio.create_task(_innermost())


async def _gathers() -> None:
    await asyncio.gather(_innermost(), asyncio.sleep(0))


async def _nests() -> None:
    await asyncio.gather(_between(), _between(), _between())


async def _groups() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_innermost())


async def _waits_for_a_set() -> None:
    await asyncio.wait({asyncio.create_task(_innermost())})


async def _waits_for_one() -> None:
    await asyncio.wait_for(_innermost(), 60)


async def _shields() -> None:
    await asyncio.shield(_innermost())


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "function",
    [_between, _gathers, _nests, _groups, _waits_for_a_set, _waits_for_one, _shields],
    ids=lambda of: of.__name__,
)
async def test_it_is_told_where_the_tasks_stand_that_it_waits_for(function: Callable[[], Awaitable[None]]) -> None:
    """The last line of the subject's that is at fault may stand in a task that it started, not in the one that hangs."""
    with pytest.raises(TimeLimitExceeded) as late:
        await timeouts.limit_time(0.05, function())

    assert f"in {function.__name__}: " in late.value.where.partition("\n")[0] or function is _waits_for_one
    assert "in _innermost: await asyncio.Event().wait()" in late.value.where
    if function is _nests:
        assert "which waits for 3 tasks at" in late.value.where


@pytest.mark.asyncio
async def test_tasks_that_wait_for_one_another_are_told_once() -> None:
    """Two that wait for each other are no endless chain."""
    tasks: list[asyncio.Task[None]] = []

    async def waits(other: int) -> None:
        await asyncio.sleep(0)
        await asyncio.wait({tasks[other]})

    async def both() -> None:
        tasks.extend([asyncio.create_task(waits(1)), asyncio.create_task(waits(0))])
        await asyncio.gather(*tasks)

    with pytest.raises(TimeLimitExceeded) as late:
        await timeouts.limit_time(0.05, both())

    assert late.value.where.count("which waits for") == 1
    assert "which waits for 2 tasks at" in late.value.where


@pytest.mark.filterwarnings("error")
def test_what_had_no_turn_yet_learns_that_its_loop_ends() -> None:
    """A check's clean-up that was begun in the loop's last turn runs, and is cancelled as anything else."""
    told: list[str] = []

    async def cleans() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("ended")

    loop = timeouts.CheckLoop()
    task = loop.create_task(timeouts.capture_outcome(cleans()))
    timeouts.close_loop(loop)

    assert task.done()
    assert told == ["ended"]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="asyncio asks no policy for it any more")
def test_children_are_waited_for_whatever_the_policy_of_the_process_is() -> None:
    """The policy of uvloop cannot say how; it is the process's own again afterwards."""

    class Policy(asyncio.DefaultEventLoopPolicy):
        def get_child_watcher(self) -> asyncio.AbstractChildWatcher:
            raise NotImplementedError

    async def child() -> int:
        return await (await asyncio.create_subprocess_exec("true")).wait()

    before, policy = asyncio.get_event_loop_policy(), Policy()  # pyright: ignore[reportDeprecated] -- in a later Python
    asyncio.set_event_loop_policy(policy)  # pyright: ignore[reportDeprecated] -- as above
    try:
        assert timeouts.run_in_thread(child, 20).get() == 0
        assert asyncio.get_event_loop_policy() is policy  # pyright: ignore[reportDeprecated] -- as above
    finally:
        asyncio.set_event_loop_policy(before)  # pyright: ignore[reportDeprecated] -- as above


@pytest.mark.parametrize(("load", "times"), [(0.5, 1), (2, 1), (10, 5), (1000, 10)])
def test_a_crowded_machine_gives_more_time(monkeypatch: pytest.MonkeyPatch, load: float, times: float) -> None:
    """Where more than two programs want each processor, and within reason."""
    monkeypatch.undo()  # the quiet machine of the other tests
    monkeypatch.setattr(timeouts, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(timeouts, "cpu_count", lambda: 1)

    assert timeouts.get_load_factor() == times


@pytest.mark.asyncio
async def test_time_is_up_when_no_more_is_given() -> None:
    """What is awaited may earn more while it is awaited."""
    more = iter((0.05, 0.1))

    async def takes() -> str:
        await asyncio.sleep(0.09)
        return "done"

    assert await timeouts.limit_time(0.02, takes(), lambda: next(more, 0.1)) == "done"
    with pytest.raises(timeouts.TimeLimitExceeded):
        await timeouts.limit_time(0.02, takes(), lambda: 0.02)


@pytest.mark.asyncio
@pytest.mark.parametrize(("times", "ends"), [(1.0, False), (100.0, True)])
async def test_patience_grows_with_the_crowd(monkeypatch: pytest.MonkeyPatch, times: float, ends: bool) -> None:
    """What has not ended when its time is up has more of it on a crowded machine."""
    monkeypatch.setattr(timeouts, "get_load_factor", lambda: times)
    task = asyncio.ensure_future(asyncio.sleep(0.1))

    assert (task in await timeouts.Deadline(0.01).wait_for_tasks({task})) is ends
    await task


@pytest.mark.asyncio
async def test_patience_settles_for_the_first() -> None:
    """If that is enough, the others are not waited for."""
    soon, late = asyncio.ensure_future(asyncio.sleep(0)), asyncio.ensure_future(asyncio.sleep(600))

    assert await timeouts.Deadline(20).wait_for_tasks({soon, late}, asyncio.FIRST_COMPLETED) == {soon}
    late.cancel()
