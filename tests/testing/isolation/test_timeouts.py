"""Code of a subject runs within a time limit, whatever it does."""

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
"""An event that is set at the end, so that no thread outlives the tests."""


@pytest.fixture(autouse=True, scope="module")
def release() -> object:
    """Release the threads that were abandoned. The tests of a module may run in several parts, between others."""
    RELEASED.clear()
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
    RELEASED.wait()  # blocks the event loop


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
def test_a_function_that_does_not_end_times_out(function: Callable[[], Awaitable[None]], how: str) -> None:
    """A function that does not end times out, and the error names it and says how it hangs."""
    began = time.monotonic()

    ending = timeouts.run_in_thread(function, 0.2, stall=0.5)

    assert isinstance(ending.raised, TimeLimitExceeded)
    assert ending.raised.how == how
    assert f"in {function.__name__}" in ending.raised.where
    assert time.monotonic() - began < 0.5 + 2 * timeouts.GRACE


@pytest.mark.parametrize("error", [ValueError("v"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_an_exception_is_part_of_the_outcome(error: BaseException) -> None:
    """An exception of any kind is part of the outcome, also SystemExit and KeyboardInterrupt."""

    async def raises() -> None:
        raise error

    assert timeouts.run_in_thread(raises, 5).raised is error


def test_an_exit_in_a_task_is_part_of_the_outcome() -> None:
    """A SystemExit in a task that the function started is part of the outcome."""

    async def exits() -> None:
        raise SystemExit(4)

    async def starts_one() -> None:
        task = asyncio.create_task(exits())
        await asyncio.Event().wait()
        await task

    ending = timeouts.run_in_thread(starts_one, 5)

    assert isinstance(ending.raised, SystemExit)


def test_a_value_is_returned_and_tasks_are_cancelled() -> None:
    """The value of the function is returned, and tasks that it leaves are cancelled."""
    left: list[asyncio.Task[None]] = []

    async def leaves_one() -> int:
        left.append(asyncio.create_task(_waits()))
        await asyncio.sleep(0)
        return 7

    assert timeouts.run_in_thread(leaves_one, 5).get() == 7
    assert left[0].cancelled()


def test_a_cancellation_reaches_the_awaited_coroutine() -> None:
    """A task that is cancelled within its time limit cancels the coroutine that it awaits."""
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
async def test_the_callers_event_loop_is_not_changed() -> None:
    """The event loop of the calling thread runs on."""
    before = asyncio.get_running_loop()
    assert timeouts.run_in_thread(lambda: asyncio.sleep(0), 5).raised is None
    assert asyncio.get_running_loop() is before


@pytest.mark.parametrize(("name", "arguments"), [("_exit", (0,)), ("abort", ()), ("execv", ("/bin/true", ["true"]))])
def test_calls_that_end_the_process_raise(name: str, arguments: tuple[object, ...]) -> None:
    """A call of os._exit, os.abort or os.execv raises ProcessEnded, and the functions are put back afterwards."""
    before = os._exit, os.abort, os.execv

    async def ends() -> None:
        getattr(os, name)(*arguments)

    assert isinstance(timeouts.run_in_thread(ends, 5).raised, ProcessEnded)
    assert (os._exit, os.abort, os.execv) == before


# A fork beside a thread warns from Python 3.12 on, and xdist has a thread in each worker. The child only exits.
forks_beside_threads = pytest.mark.filterwarnings("ignore:.*use of fork\\(\\) may lead to deadlocks:DeprecationWarning")


def _wait_for_child(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@forks_beside_threads
def test_a_forked_child_may_exit() -> None:
    """A child that the function forked can call os._exit."""

    async def forks() -> int:
        child = os.fork()
        if not child:
            os._exit(7)
        return await asyncio.to_thread(_wait_for_child, child)

    assert timeouts.run_in_thread(forks, 10).get() == 7


@forks_beside_threads
def test_a_forked_child_does_not_run_on(tmp_path: Path) -> None:
    """A forked child ends when it awaits something, so that nothing runs twice."""

    async def forks() -> int:
        child = os.fork()
        await asyncio.sleep(0.01)
        tmp_path.joinpath(str(os.getpid())).touch()
        return await asyncio.to_thread(_wait_for_child, child)

    assert timeouts.run_in_thread(forks, 10).get() == 1
    assert [each.name for each in tmp_path.iterdir()] == [str(os.getpid())]


def test_the_state_of_the_process_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory, umask, environment, streams and clock functions are restored after the function."""
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


def test_a_stopped_clock_stops_no_time_limit() -> None:
    """A function that replaces time.monotonic times out."""

    async def stops_the_clock() -> None:
        time.monotonic = lambda: 0.0
        await asyncio.Event().wait()

    assert isinstance(timeouts.run_in_thread(stops_the_clock, 0.2).raised, TimeLimitExceeded)


def test_the_interpreter_does_not_wait_for_its_threads() -> None:
    """Threads that the function started, also in a pool, do not keep the interpreter from exiting."""
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
async def test_the_error_names_the_innermost_task(function: Callable[[], Awaitable[None]]) -> None:
    """The error shows where the innermost awaited task waits, as well as the function that waits for it."""
    with pytest.raises(TimeLimitExceeded) as late:
        await timeouts.limit_time(0.05, function())

    assert f"in {function.__name__}: " in late.value.where.partition("\n")[0] or function is _waits_for_one
    assert "in _innermost: await asyncio.Event().wait()" in late.value.where
    if function is _nests:
        assert "which waits for 3 tasks at" in late.value.where


@pytest.mark.asyncio
async def test_tasks_that_wait_for_each_other_are_shown_once() -> None:
    """Two tasks that wait for each other are shown once."""
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
def test_a_new_task_is_cancelled_with_its_loop() -> None:
    """A task that was created just before its event loop is closed runs, and is cancelled."""
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
def test_child_processes_work_under_any_policy() -> None:
    """A child process is awaited even if the event loop policy has no child watcher.

    The policy stays the process's own.
    """

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
    """A time limit grows if more than two programs want each processor, by at most the factor 10."""
    monkeypatch.undo()  # other tests pretend a quiet machine
    monkeypatch.setattr(timeouts, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(timeouts, "cpu_count", lambda: 1)

    assert timeouts.get_load_factor() == times


@pytest.mark.asyncio
async def test_a_time_limit_can_be_extended() -> None:
    """A time limit is extended while its function returns more time."""
    more = iter((0.05, 0.1))

    async def takes() -> str:
        await asyncio.sleep(0.09)
        return "done"

    assert await timeouts.limit_time(0.02, takes(), lambda: next(more, 0.1)) == "done"
    with pytest.raises(timeouts.TimeLimitExceeded):
        await timeouts.limit_time(0.02, takes(), lambda: 0.02)


@pytest.mark.asyncio
@pytest.mark.parametrize(("times", "ends"), [(1.0, False), (100.0, True)])
async def test_waiting_for_tasks_is_longer_on_a_crowded_machine(
    monkeypatch: pytest.MonkeyPatch, times: float, ends: bool
) -> None:
    """A task that is late is awaited for longer on a crowded machine."""
    monkeypatch.setattr(timeouts, "get_load_factor", lambda: times)
    task = asyncio.ensure_future(asyncio.sleep(0.1))

    assert (task in await timeouts.Deadline(0.01).wait_for_tasks({task})) is ends
    await task


@pytest.mark.asyncio
async def test_waiting_ends_with_the_first_task() -> None:
    """Waiting for the first of several tasks does not wait for the others."""
    soon, late = asyncio.ensure_future(asyncio.sleep(0)), asyncio.ensure_future(asyncio.sleep(600))

    assert await timeouts.Deadline(20).wait_for_tasks({soon, late}, asyncio.FIRST_COMPLETED) == {soon}
    late.cancel()
