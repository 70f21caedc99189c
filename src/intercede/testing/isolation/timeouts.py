"""Await a stranger's code for a bounded time: it may hang, swallow its cancellation, or block the event loop.

``asyncio.timeout`` bounds none of these: it cancels and then waits for as long as the cancelled code likes.
"""

import asyncio
import sys
import threading

# By name, as below: a subject may replace what the modules hold.
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
from intercede.testing.isolation.guard import protect_process, really_exit, threads_start

__all__ = [
    "GRACE",
    "STALL",
    "Deadline",
    "Loop",
    "Outcome",
    "TimeLimitExceeded",
    "capture",
    "close",
    "finish_despite_cancel",
    "get_load_factor",
    "limit",
    "run",
]

GRACE = 2.0
"""Seconds that cancelled code has to end."""
STALL = 20.0
"""Seconds without a turn of the event loop after which it counts as blocked."""
_BEAT = 0.05
_ORDINARY, _MOST = 2.0, 10.0
_DEEPEST = 1000
"""So many coroutines that await one another are looked through."""
_MOST_TASKS = 100
"""So many tasks that wait for one another are looked through."""

_T = TypeVar("_T")
_P = ParamSpec("_P")

_HERE = Path(__file__)
_ASYNCIO = str(Path(asyncio.__file__).parent)
_BETWEEN = (str(_HERE), str(_HERE.parents[1] / "run" / "context.py"), _ASYNCIO, threading.__file__)
"""Files between a check and its subject; their frames are left out of a finding."""
_abandoned: list[object] = []
"""Tasks that do not end. Collecting them as garbage would run them once more."""


class TimeLimitExceeded(Exception):  # noqa: N818 -- a finding about a subject, not an error of ours
    """An awaitable did not end in time and was abandoned.

    Args:
        seconds: How long it was given.
        how: ``did not end in``, ``swallowed its cancellation after`` or ``blocked the event loop for``.
        where: The frames where it stood, a line each, innermost first, and those of the tasks that it waited for.
    """

    def __init__(self, seconds: float, how: str, where: str) -> None:
        self.seconds, self.how, self.where = seconds, how, where
        super().__init__(f"{self.short}: it was at {where}")

    @property
    def short(self) -> str:
        """Without the frames."""
        return f"{self.how} {self.seconds:g} s"

    def __reduce__(self) -> tuple[type["TimeLimitExceeded"], tuple[float, str, str]]:
        """Pickle with all three."""
        return type(self), (self.seconds, self.how, self.where)


@dataclass
class Outcome(Generic[_T]):
    """How something ended: a value or an exception of any kind."""

    value: _T | None = None
    raised: BaseException | None = None

    def get(self) -> _T:
        """Return the value, or raise the exception."""
        if self.raised is not None:
            raise self.raised
        return self.value  # type: ignore[return-value]  # one of both is set, and None is a value where T is None


def get_load_factor() -> float:
    """Tell how many times as long as elsewhere anything may take here now, because others want the processors, too.

    At least 1, which it is as long as each processor has no more than two to serve, and at most 10.
    """
    try:
        waiting = getloadavg()[0] / (cpu_count() or 1)
    except OSError:  # it is not known
        return 1.0
    return min(max(1.0, waiting / _ORDINARY), _MOST)


class Deadline:
    """So many seconds from when it is made, and more for as long as this machine is crowded.

    Args:
        seconds: So many.
        extra: Tells how many seconds more there are: it is asked again each time.
    """

    def __init__(self, seconds: float, extra: Callable[[], float] = lambda: 0.0) -> None:
        self._seconds, self._extra, self._began = seconds, extra, monotonic()

    @property
    def left(self) -> float:
        """The seconds that are left of it, none where it is over."""
        return max(0.0, self._began + self._seconds * get_load_factor() + self._extra() - monotonic())

    async def settle(
        self, tasks: Collection[asyncio.Future[_T]], until: str = ALL_COMPLETED
    ) -> set[asyncio.Future[_T]]:
        """Wait until tasks have ended, as ``asyncio.wait`` does, or until the deadline. Return those that have ended."""
        done, rest = await wait(tasks, timeout=self.left, return_when=until)
        while rest and (until == ALL_COMPLETED or not done) and (left := self.left):
            done, rest = await wait(tasks, timeout=left, return_when=until)
        return done


async def limit(seconds: float, awaitable: Awaitable[_T], extra: Callable[[], float] = lambda: 0.0) -> _T:
    """Await for at most so many seconds, and GRACE more for it to end when cancelled.

    Args:
        seconds: So many; more where this machine is crowded.
        awaitable: The awaitable.
        extra: Tells how many seconds more it has: it is asked when the time is up.

    Raises:
        TimeLimitExceeded: It did not end by itself.
        BaseException: Whatever it raised.
    """
    task, where = ensure_future(capture(awaitable)), None
    try:
        await Deadline(seconds, extra).settle({task})
    finally:
        if not task.done():
            where = _where(task)
            task.cancel()
            await Deadline(GRACE).settle({task})
    if where is not None:
        raise TimeLimitExceeded(seconds, "did not end in" if task.done() else "swallowed its cancellation after", where)
    return task.result().get()


async def capture(awaitable: Awaitable[_T]) -> Outcome[_T]:
    """Await and tell how it ended. A task that SystemExit or KeyboardInterrupt leaves tears its loop down."""
    try:
        return Outcome(value=await awaitable)
    except BaseException as error:  # noqa: BLE001 -- handed on to whoever asked
        return Outcome(raised=error)


async def finish_despite_cancel(awaitable: Awaitable[_T]) -> _T:
    """Await all of it, however often this is cancelled meanwhile; then the cancellation goes on."""
    task, cancelled = ensure_future(awaitable), None
    while not task.done():
        try:
            await wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()


def run(function: Callable[[], Awaitable[_T]], seconds: float, stall: float = STALL) -> Outcome[_T]:
    """Run what a function returns on an event loop and a thread of its own, in bounded time.

    The thread is a daemon: where the loop is blocked it is left behind, because nothing can end it.

    Returns:
        How it ended: with TimeLimitExceeded where it hung, swallowed its cancellation or blocked the loop.

    Raises:
        KeyboardInterrupt: The user's own; what the code raises is in the ending.
    """
    runner = _Runner(function, seconds)
    began, late = monotonic(), False
    with protect_process():
        threads_start()
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
    if runner.ending is not None:
        return runner.ending
    if late:  # its loop turns, and yet what bounds it does not come to an end
        return Outcome(raised=TimeLimitExceeded(seconds, "swallowed its cancellation after", _stack(runner)))
    return Outcome(raised=TimeLimitExceeded(stall, "blocked the event loop for", _stack(runner)))


class Loop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own, whose threads no interpreter waits for, and that turns in one process only.

    A policy that the user set is not ours to follow.

    A subject may fork, and both processes go on: that one of them is ended at the first turn, before it forks again.
    """

    def __init__(self) -> None:
        self._home = getpid()
        self._skipped = 0.0
        super().__init__()
        self.set_default_executor(_Daemons())

    def skip(self, seconds: float) -> None:
        """Leave these seconds out of the loop's clock: it was paused, and no timeout may expire in a pause."""
        self._skipped += seconds

    def time(self) -> float:
        """Tell the time, which every turn asks for first."""
        if getpid() != self._home:
            really_exit(1)
        return monotonic() - self._skipped


def close(loop: asyncio.AbstractEventLoop) -> None:
    """End what is left on a loop, as far as it ends in time, and close it.

    A task that began in the last turn gets one more. A task that is cancelled before its first step runs nothing, no
    clean-up either.
    """
    left = {task for task in all_tasks(loop) if not task.cancelling()}
    new = {task for task in left if _is_new(task)}
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
    loop.set_exception_handler(lambda _loop, _context: None)  # the finding tells of them already
    loop.close()


def _is_new(task: "asyncio.Task[object]") -> bool:
    coroutine = task.get_coro()
    return isinstance(coroutine, CoroutineType) and getcoroutinestate(coroutine) == CORO_CREATED


def _run_on_loop(loop: asyncio.AbstractEventLoop, work: Coroutine[object, object, object]) -> None:
    """Run it to its end in bounded time. A stop of the loop is ignored: it was meant for earlier work."""
    task, end = loop.create_task(work), monotonic() + 2 * GRACE
    while not task.done() and monotonic() < end:
        with suppress(RuntimeError):
            loop.run_until_complete(task)


class _Runner(threading.Thread, Generic[_T]):
    """A thread with an event loop that tells, by its beat, that it turns."""

    def __init__(self, function: Callable[[], Awaitable[_T]], seconds: float) -> None:
        super().__init__(name="intercede-check", daemon=True)
        self._function, self._seconds = function, seconds
        self._loop, self._home = Loop(), getpid()
        self._task: asyncio.Task[_T] | None = None
        self.beat = monotonic()
        self.ending: Outcome[_T] | None = None
        self.over = threading.Lock()
        """Free when the thread has finished. Unlike a thread's, its methods cannot be replaced."""
        self.over.acquire()

    def run(self) -> None:
        try:
            self._run()
        finally:
            self.over.release()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._task = self._loop.create_task(limit(self._seconds, self._function()))
            self._pulse()
            ending = self._loop.run_until_complete(capture(self._task))
        except BaseException as error:  # noqa: BLE001 -- a task of the subject's own may raise SystemExit
            ending = Outcome[_T](raised=error)
        if getpid() != self._home:
            really_exit(1)
        self.ending = ending
        close(self._loop)

    def _pulse(self) -> None:
        self.beat = monotonic()
        self._loop.call_later(_BEAT, self._pulse)

    def cancel(self) -> None:
        if self._task is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)


class _Daemons(ThreadPoolExecutor):
    """A daemon thread for each call: the interpreter waits for those of a pool when it exits, for ever if need be."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        future: Future[_T] = Future()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 -- handed on to whoever asked
                    future.set_exception(error)

        threading.Thread(target=call, daemon=True).start()
        return future


def _where(task: "asyncio.Task[Outcome[_T]]") -> str:
    """Describe where a suspended task stands, through all that it awaits, and where the awaited tasks stand."""
    outer, *inner = [_frames(each) for each in islice(_chain(task), _MOST_TASKS)]
    told = Counter(_format_frames(each) for each in inner if _telling(each))
    waits = [f"{'a task' if often == 1 else f'{often} tasks'} at {where}" for where, often in told.items()]
    return "\n  which waits for ".join([_format_frames(outer), *waits])


def _frames(task: "asyncio.Task[object]") -> list[FrameType]:
    return list(islice(_walk_awaited(task.get_coro()), _DEEPEST))


def _walk_awaited(awaited: object) -> Iterator[FrameType]:
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if isinstance(frame, FrameType):
            yield frame
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)


def _chain(task: "asyncio.Task[object]") -> Iterator[asyncio.Task[object]]:
    """Yield a task, and every unfinished one that it waits for, each once."""
    line = [task]
    for each in line:  # it grows
        yield each
        for inner in _waits_for(each):
            if not inner.done() and all(inner is not known for known in line):
                line.append(inner)


def _waits_for(task: "asyncio.Task[object]") -> Iterator[asyncio.Task[object]]:
    """Yield the tasks that a task waits for: the awaited one, or those that asyncio holds on its behalf."""
    yield from _tasks_in(getattr(task, "_fut_waiter", None))
    for frame in _frames(task):
        if frame.f_code.co_filename.startswith(_ASYNCIO):
            for value in frame.f_locals.values():
                yield from _tasks_in(value)


def _tasks_in(value: object) -> Iterator[asyncio.Task[object]]:
    """Yield a task, the children of `gather`, of a task group and of `shield`, and the members of a collection."""
    kind = type(value)  # a stranger's object may say that it is of any class
    if issubclass(kind, asyncio.Task):
        yield cast("asyncio.Task[object]", value)
    elif issubclass(kind, asyncio.TaskGroup):
        yield from _tasks_in(getattr(value, "_tasks", None))
    elif issubclass(kind, asyncio.Future):
        yield from _tasks_in(getattr(value, "_children", None))
        for callback, *_ in getattr(value, "_callbacks", None) or ():
            for cell in getattr(callback, "__closure__", None) or ():
                yield from _tasks_in([cell.cell_contents])
    elif kind in {set, list, tuple}:
        members = islice(cast("Iterable[object]", value), _MOST_TASKS)
        yield from (cast("asyncio.Task[object]", each) for each in members if issubclass(type(each), asyncio.Task))


def _stack(thread: threading.Thread) -> str:
    """Tell where a running thread stands."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 -- documented, for this very purpose
    return _format_frames(reversed(list(_outwards(frame)))) if frame else "(the thread has ended)"


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _format_frames(frames: Iterable[FrameType]) -> str:
    """Write where frames stand, innermost first."""
    all_of_them = list(frames)
    return "\n  from ".join(map(_format_frame, reversed((_telling(all_of_them) or all_of_them)[-6:])))


def _telling(frames: Iterable[FrameType]) -> list[FrameType]:
    return [each for each in frames if not each.f_code.co_filename.startswith(_BETWEEN)]


def _format_frame(frame: FrameType) -> str:
    file, number = frame.f_code.co_filename, frame.f_lineno
    return f"{file}:{number} in {frame.f_code.co_name}: {_source(file, number)}"


def _source(file: str, number: int) -> str:
    """Return a line of a file, as far as that is one: linecache would wait for a pipe that nobody writes to."""
    try:
        return read_regular(file).decode(errors="replace").splitlines()[number - 1].strip()
    except (OSError, ValueError, IndexError):
        return "(no source)"
