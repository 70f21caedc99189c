"""Await a subject's code with a time limit, even if it hangs, swallows its cancellation or blocks the event loop.

``asyncio.timeout`` limits none of these: it cancels the code, and then waits until the code ends.
"""

import asyncio
import sys
import threading

# Functions are imported by name, here and below, because a subject may replace attributes of the modules.
from asyncio import ALL_COMPLETED, all_tasks, ensure_future, sleep, wait
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from inspect import CORO_CREATED, getcoroutinestate
from itertools import islice
from os import cpu_count, getloadavg, getpid
from pathlib import Path
from time import monotonic
from types import CoroutineType, FrameType
from typing import Generic, ParamSpec, TypeVar, cast

from intercede.testing.isolation.files import read_regular
from intercede.testing.isolation.process import exit_process, protect_process, restore_thread_start

__all__ = [
    "GRACE",
    "STALL",
    "CheckLoop",
    "Deadline",
    "Outcome",
    "TimeLimitExceeded",
    "capture_outcome",
    "close_loop",
    "finish_despite_cancel",
    "get_load_factor",
    "limit_time",
    "run_in_thread",
]

GRACE = 2.0
"""Seconds within which cancelled code must end."""
STALL = 20.0
"""Seconds without a turn of the event loop after which the loop counts as blocked."""
_BEAT = 0.05
_ORDINARY, _MOST = 2.0, 10.0
_DEEPEST = 1000
"""The longest chain of coroutines, each awaiting the next, that is followed to describe a task."""
_MOST_TASKS = 100
"""The largest number of awaited tasks that are followed to describe a task."""

_T = TypeVar("_T")
_P = ParamSpec("_P")

_HERE = Path(__file__)
_ASYNCIO = str(Path(asyncio.__file__).parent)
_BETWEEN = (str(_HERE), str(_HERE.parents[1] / "run" / "context.py"), _ASYNCIO, threading.__file__)
"""Files whose code lies between a check and its subject. Their frames are left out of error texts."""
_abandoned: list[object] = []
"""Tasks that did not end. They are kept, because garbage collection would run their code once more."""


class TimeLimitExceeded(Exception):  # noqa: N818 -- it describes a subject, not an error of the kit
    """A subject's code did not end within its time limit and was abandoned.

    Args:
        seconds: The time limit.
        how: ``did not end in``, ``swallowed its cancellation after`` or ``blocked the event loop for``.
        where: The stack of the code when the time was up, one frame a line, innermost first, and the stacks of the
            tasks that it waited for.
    """

    def __init__(self, seconds: float, how: str, where: str) -> None:
        self.seconds, self.how, self.where = seconds, how, where
        super().__init__(f"{self.summary}: it was at {where}")

    @property
    def summary(self) -> str:
        """The message without the stack: ``did not end in 5 s``."""
        return f"{self.how} {self.seconds:g} s"

    def __reduce__(self) -> tuple[type["TimeLimitExceeded"], tuple[float, str, str]]:
        """Pickle this error with all three arguments, not with the message only."""
        return type(self), (self.seconds, self.how, self.where)


@dataclass
class Outcome(Generic[_T]):
    """The outcome of an awaitable: a value, or an exception of any class."""

    value: _T | None = None
    raised: BaseException | None = None

    def get(self) -> _T:
        """Return the value, or raise the exception."""
        if self.raised is not None:
            raise self.raised
        return self.value  # type: ignore[return-value]  # without an exception there is a value, and it may be None


def get_load_factor() -> float:
    """Return the factor by which time limits are multiplied because this machine is busy.

    It is 1 if the load average is at most 2 for each processor, and grows with the load, to 10 at most.
    """
    try:
        waiting = getloadavg()[0] / (cpu_count() or 1)
    except OSError:  # the system does not report its load
        return 1.0
    return min(max(1.0, waiting / _ORDINARY), _MOST)


class Deadline:
    """A time limit that begins when the object is made, and is extended while this machine is busy.

    Args:
        seconds: The limit on a machine that is not busy.
        extra: Returns the seconds to add to the limit. It is called at each query.
    """

    def __init__(self, seconds: float, extra: Callable[[], float] = lambda: 0.0) -> None:
        self._seconds, self._extra, self._began = seconds, extra, monotonic()

    @property
    def seconds_left(self) -> float:
        """The seconds until the deadline, 0 if it has passed."""
        return max(0.0, self._began + self._seconds * get_load_factor() + self._extra() - monotonic())

    async def wait_for_tasks(
        self, tasks: Collection[asyncio.Future[_T]], until: str = ALL_COMPLETED
    ) -> set[asyncio.Future[_T]]:
        """Wait for tasks as ``asyncio.wait`` does, but until the deadline at most. Return the tasks that have ended."""
        done, rest = await wait(tasks, timeout=self.seconds_left, return_when=until)
        while rest and (until == ALL_COMPLETED or not done) and (left := self.seconds_left):
            done, rest = await wait(tasks, timeout=left, return_when=until)
        return done


async def limit_time(seconds: float, awaitable: Awaitable[_T], extra: Callable[[], float] = lambda: 0.0) -> _T:
    """Await something with a time limit; when the time is up, cancel it and wait at most GRACE seconds more.

    Args:
        seconds: The limit; it is extended while this machine is busy.
        awaitable: The awaitable.
        extra: Returns the seconds to add to the limit. It is called when the time is up.

    Raises:
        TimeLimitExceeded: The awaitable did not end before it was cancelled.
        BaseException: The awaitable raised this.
    """
    task, where = ensure_future(capture_outcome(awaitable)), None
    try:
        await Deadline(seconds, extra).wait_for_tasks({task})
    finally:
        if not task.done():
            where = _describe_task(task)
            task.cancel()
            await Deadline(GRACE).wait_for_tasks({task})
    if where is not None:
        raise TimeLimitExceeded(seconds, "did not end in" if task.done() else "swallowed its cancellation after", where)
    return task.result().get()


async def capture_outcome(awaitable: Awaitable[_T]) -> Outcome[_T]:
    """Await something and return its outcome, a value or an exception.

    SystemExit and KeyboardInterrupt are returned, too, because a task that raises one of them ends the event loop.
    """
    try:
        return Outcome(value=await awaitable)
    except BaseException as error:  # noqa: BLE001 -- the caller gets it
        return Outcome(raised=error)


async def finish_despite_cancel(awaitable: Awaitable[_T]) -> _T:
    """Await something to its end, even if the caller is cancelled meanwhile. Then raise the cancellation."""
    task, cancelled = ensure_future(awaitable), None
    while not task.done():
        try:
            await wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()


def run_in_thread(function: Callable[[], Awaitable[_T]], seconds: float, stall: float = STALL) -> Outcome[_T]:
    """Run an async function in a new thread with an event loop of its own, within a time limit.

    The thread is a daemon. If the loop is blocked, the thread is abandoned, because nothing can end it.

    Args:
        function: Called in the thread; what it returns is awaited there.
        seconds: The time limit.
        stall: Seconds without a turn of the event loop after which the loop counts as blocked.

    Returns:
        The outcome. It is TimeLimitExceeded if the code hung, swallowed its cancellation or blocked the loop.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C. An exception that the code raises is in the outcome instead.
    """
    runner = _LoopThread(function, seconds)
    began, late = monotonic(), False
    with protect_process():
        restore_thread_start()
        try:
            runner.start()
            while not runner.over.acquire(timeout=min(_BEAT, stall)):
                now, crowded = monotonic(), get_load_factor()
                late = now - began >= seconds * crowded + 5 * GRACE
                if late or now - runner.beat >= stall * crowded:
                    break
        except KeyboardInterrupt:
            runner.cancel()
            runner.over.acquire(timeout=2 * GRACE)
            raise
    if runner.outcome is not None:
        return runner.outcome
    if late:  # the loop turns, but the code does not end
        return Outcome(raised=TimeLimitExceeded(seconds, "swallowed its cancellation after", _describe_thread(runner)))
    return Outcome(raised=TimeLimitExceeded(stall, "blocked the event loop for", _describe_thread(runner)))


class CheckLoop(asyncio.SelectorEventLoop):
    """The event loop on which the kit runs a subject's code, whatever event loop policy the user set.

    Its clock can be paused. Its threads are daemons, so the interpreter does not wait for them at exit. If a subject
    forks, the loop ends the forked process at its first turn, before that process can fork again.
    """

    def __init__(self) -> None:
        self._home = getpid()
        self._skipped = 0.0
        super().__init__()
        self.set_default_executor(_DaemonExecutor())

    def skip(self, seconds: float) -> None:
        """Set the loop's clock back by the seconds of a pause, so that no timeout expires because of the pause."""
        self._skipped += seconds

    def time(self) -> float:
        """Return the loop's time, or end this process if it is a fork of the process that made the loop.

        Every turn of the loop calls this method first.
        """
        if getpid() != self._home:
            exit_process(1)
        return monotonic() - self._skipped


def close_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel all tasks of a loop, wait for them within a time limit, and close the loop.

    A task that has not started yet first gets one turn: a task that is cancelled before it starts runs none of its
    code, not even its clean-up.
    """
    left = {task for task in all_tasks(loop) if not task.cancelling()}
    new = {task for task in left if _is_unstarted(task)}
    for task in left - new:
        task.cancel()
    if new:
        _run_on_loop(loop, sleep(0))
    for task in new:
        task.cancel()
    if left:
        _run_on_loop(loop, wait(left, timeout=GRACE))
    stuck = all_tasks(loop)
    if not stuck:
        closing = loop.create_task(loop.shutdown_asyncgens())
        _run_on_loop(loop, wait({closing}, timeout=GRACE))
    _abandoned.extend(stuck)
    loop.set_exception_handler(lambda _loop, _context: None)  # do not log the tasks: the report names them
    loop.close()


def _is_unstarted(task: "asyncio.Task[object]") -> bool:
    coroutine = task.get_coro()
    return isinstance(coroutine, CoroutineType) and getcoroutinestate(coroutine) == CORO_CREATED


def _run_on_loop(loop: asyncio.AbstractEventLoop, work: Coroutine[object, object, object]) -> None:
    """Run a coroutine on a loop within a time limit. Ignore an earlier call of ``loop.stop``: it is a leftover."""
    task, end = loop.create_task(work), monotonic() + 2 * GRACE
    while not task.done() and monotonic() < end:
        with suppress(RuntimeError):
            loop.run_until_complete(task)


class _LoopThread(threading.Thread, Generic[_T]):
    """A thread with an event loop. The loop sets ``beat`` to the time at regular intervals, to show that it turns."""

    def __init__(self, function: Callable[[], Awaitable[_T]], seconds: float) -> None:
        super().__init__(name="intercede-check", daemon=True)
        self._function, self._seconds = function, seconds
        self._loop, self._home = CheckLoop(), getpid()
        self._task: asyncio.Task[_T] | None = None
        self.beat = monotonic()
        self.outcome: Outcome[_T] | None = None
        self.over = threading.Lock()
        """A lock that is released when the thread has finished. A subject cannot replace the methods of a lock."""
        self.over.acquire()

    def run(self) -> None:
        try:
            self._run()
        finally:
            self.over.release()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._task = self._loop.create_task(limit_time(self._seconds, self._function()))
            self._beat_once()
            outcome = self._loop.run_until_complete(capture_outcome(self._task))
        except BaseException as error:  # noqa: BLE001 -- a task of the subject may raise SystemExit
            outcome = Outcome[_T](raised=error)
        if getpid() != self._home:
            exit_process(1)
        self.outcome = outcome
        close_loop(self._loop)

    def _beat_once(self) -> None:
        self.beat = monotonic()
        self._loop.call_later(_BEAT, self._beat_once)

    def cancel(self) -> None:
        if self._task is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)


class _DaemonExecutor(ThreadPoolExecutor):
    """An executor that runs each call in a daemon thread, for which the interpreter does not wait at exit."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        future: Future[_T] = Future()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 -- the caller gets it
                    future.set_exception(error)

        threading.Thread(target=call, daemon=True).start()
        return future


def _describe_task(task: "asyncio.Task[Outcome[_T]]") -> str:
    """Describe the stack of a suspended task, with everything that it awaits, and the stacks of the awaited tasks."""
    outer, *inner = [_list_frames(each) for each in islice(_walk_tasks(task), _MOST_TASKS)]
    counts = Counter(_format_frames(each) for each in inner if _skip_internal(each))
    waits = [f"{'a task' if often == 1 else f'{often} tasks'} at {where}" for where, often in counts.items()]
    return "\n  which waits for ".join([_format_frames(outer), *waits])


def _list_frames(task: "asyncio.Task[object]") -> list[FrameType]:
    return list(islice(_walk_awaited(task.get_coro()), _DEEPEST))


def _walk_awaited(awaited: object) -> Iterator[FrameType]:
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if isinstance(frame, FrameType):
            yield frame
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)


def _walk_tasks(task: "asyncio.Task[object]") -> Iterator[asyncio.Task[object]]:
    """Yield a task and each unfinished task that it waits for, directly or not, once each."""
    line = [task]
    for each in line:  # the list grows during the iteration
        yield each
        for inner in _list_awaited_tasks(each):
            if not inner.done() and all(inner is not known for known in line):
                line.append(inner)


def _list_awaited_tasks(task: "asyncio.Task[object]") -> Iterator[asyncio.Task[object]]:
    """Yield the tasks that a task waits for: the one that it awaits, or those that asyncio waits for on its behalf."""
    yield from _find_tasks(getattr(task, "_fut_waiter", None))
    for frame in _list_frames(task):
        if frame.f_code.co_filename.startswith(_ASYNCIO):
            for value in frame.f_locals.values():
                yield from _find_tasks(value)


def _find_tasks(value: object) -> Iterator[asyncio.Task[object]]:
    """Yield the tasks in a value: a task, a group, a result of `gather` or `shield`, or a collection of tasks."""
    kind = type(value)  # isinstance() would believe an object that fakes its __class__
    if issubclass(kind, asyncio.Task):
        yield cast("asyncio.Task[object]", value)
    elif issubclass(kind, asyncio.TaskGroup):
        yield from _find_tasks(getattr(value, "_tasks", None))
    elif issubclass(kind, asyncio.Future):
        yield from _find_tasks(getattr(value, "_children", None))
        for callback, *_ in getattr(value, "_callbacks", None) or ():
            for cell in getattr(callback, "__closure__", None) or ():
                yield from _find_tasks([cell.cell_contents])
    elif kind in {set, list, tuple}:
        members = islice(cast("Iterable[object]", value), _MOST_TASKS)
        yield from (cast("asyncio.Task[object]", each) for each in members if issubclass(type(each), asyncio.Task))


def _describe_thread(thread: threading.Thread) -> str:
    """Describe the stack of a running thread."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 -- it is documented, and there is no other way
    return _format_frames(reversed(list(_walk_outwards(frame)))) if frame else "(the thread has ended)"


def _walk_outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _format_frames(frames: Iterable[FrameType]) -> str:
    """Format the current source lines of the innermost frames, with the innermost frame first."""
    all_of_them = list(frames)
    return "\n  from ".join(map(_format_frame, reversed((_skip_internal(all_of_them) or all_of_them)[-6:])))


def _skip_internal(frames: Iterable[FrameType]) -> list[FrameType]:
    return [each for each in frames if not each.f_code.co_filename.startswith(_BETWEEN)]


def _format_frame(frame: FrameType) -> str:
    file, number = frame.f_code.co_filename, frame.f_lineno
    return f"{file}:{number} in {frame.f_code.co_name}: {_read_source_line(file, number)}"


def _read_source_line(file: str, number: int) -> str:
    """Return a line of a regular file. linecache would wait for ever if the file were a pipe without a writer."""
    try:
        return read_regular(file).decode(errors="replace").splitlines()[number - 1].strip()
    except (OSError, ValueError, IndexError):
        return "(no source)"
