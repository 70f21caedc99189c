"""Run many checks at once on one event loop. The loop is paused while no caller waits for the result of a check.

In pytest, the loop is paused between two test items, so no code of the subject runs. Other tests cannot disturb the
checks, and pytest attributes the output and the warnings of the subject to the item that waits.
"""

import asyncio
import queue
import threading
from asyncio import wait  # functions are imported by name, because a subject may replace attributes of modules
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Generic, TypeVar

from intercede.testing.isolation import timeouts
from intercede.testing.isolation.process import protect_process, restore_thread_start

__all__ = ["ConcurrentChecks", "JobBudget"]

_T = TypeVar("_T")

_BEAT = 0.05
_unfinished: list[object] = []
"""Event loops that could not be ended, and exceptions that ended a loop. They are kept, because garbage collection
would run code of the unfinished tasks once more."""


class JobBudget:
    """A limit on the number of jobs that checks have at once. Checks get their jobs in the order in which they ask."""

    def __init__(self, count: int) -> None:
        self._free, self._queue = asyncio.Semaphore(count), asyncio.Lock()

    async def acquire(self, count: int) -> None:
        """Wait until ``count`` more jobs are allowed, and count them as used."""
        async with self._queue:
            for _ in range(count):
                await self._free.acquire()

    def release(self, count: int) -> None:
        """Count ``count`` jobs as no longer used."""
        for _ in range(count):
            self._free.release()


class ConcurrentChecks(Generic[_T]):
    """Runs checks concurrently on an event loop in a thread of its own. The loop is paused while no caller waits.

    Args:
        checks: The checks by name. Each is a function that is called on the loop.
        stall: Seconds without a turn of the loop after which the loop counts as blocked and is abandoned.
        patience: Seconds after which the loop is abandoned if no check has ended. Each check has a time limit too.
        cleaning: Seconds within which cancelled checks must clean up.
    """

    def __init__(
        self, checks: Mapping[str, Callable[[], Awaitable[_T]]], stall: float, patience: float, cleaning: float
    ) -> None:
        self._checks, self._stall, self._patience = checks, stall, patience
        self._cleaning = cleaning + 2 * timeouts.GRACE
        # A subject cannot replace the methods of SimpleQueue, because SimpleQueue is a built-in type.
        self._wanted: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._results: dict[str, _T] = {}
        self._loop = timeouts.CheckLoop()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._thread = threading.Thread(target=self._run_thread, name="intercede-checks", daemon=True)
        self._running = threading.Lock()
        """The lock that is held while the thread of the event loop runs."""
        self._beat = self._progress = 0.0
        self._next_beat: asyncio.TimerHandle | None = None
        self._abandoned = False

    def __contains__(self, name: str) -> bool:
        """Return whether a check with this name is one of the concurrent checks."""
        return name in self._checks

    def get_result(self, name: str) -> _T | None:
        """Wait for the result of a check and return it, or None if the loop was abandoned before the check ended.

        Raises:
            KeyboardInterrupt: The user pressed Ctrl-C.
        """
        if name not in self._results and not self._abandoned:
            self._beat = self._progress = monotonic()
            self._wanted.put(name)
            with protect_process():
                if self._thread.ident is None:
                    self._running.acquire()
                    restore_thread_start()
                    self._thread.start()
                self._wait(name)
        return self._results.get(name)

    def finish(self) -> None:
        """Wait for the results of all checks."""
        for name in self._checks:
            self.get_result(name)

    def close(self) -> None:
        """Cancel unfinished checks, let them clean up, and end the loop, all within a time limit.

        Raises:
            KeyboardInterrupt: The user pressed Ctrl-C. The loop still ends, and this may be called again.
        """
        self._wanted.put(None)
        if self._thread.ident is None:
            self._loop.close()
        elif not self._abandoned:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._cancel)
            with protect_process():
                if self._running.acquire(timeout=self._cleaning * timeouts.get_load_factor() + 2 * timeouts.GRACE):
                    self._running.release()
        if not self._loop.is_closed():
            _unfinished.append(self._loop)

    def abandon(self) -> None:
        """Give up the event loop without waiting for its checks. Later calls of ``get_result`` return at once."""
        self._abandoned = True

    def _wait(self, name: str) -> None:
        while True:
            try:
                # If Ctrl-C interrupted an earlier call, the name of the call's check may still be in ``_finished``.
                if self._finished.get(timeout=_BEAT) == name:
                    return
            except queue.Empty:
                if not self._running.locked() or self._is_late():
                    self._abandoned = True
                    return

    def _is_late(self) -> bool:
        now, crowded = monotonic(), timeouts.get_load_factor()
        return now - self._beat > self._stall * crowded or now - self._progress > self._patience * crowded

    def _run_thread(self) -> None:
        try:
            self._run_all()
        finally:
            self._running.release()

    def _run_all(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._run_loop()
        except BaseException as error:  # noqa: BLE001 -- a task of the subject may raise SystemExit
            self._abandoned = True
            _unfinished.append(error)
        if self._next_beat is not None:
            # The next ``_beat_once`` is cancelled, because it would stop an abandoned loop before ``close_loop`` ends.
            self._next_beat.cancel()
        timeouts.close_loop(self._loop)

    def _run_loop(self) -> None:
        self._tasks = tasks = {name: self._loop.create_task(self._run(name)) for name in self._checks}
        self._beat_once()
        paused = monotonic()
        while (name := self._wanted.get()) is not None:
            self._loop.skip(monotonic() - paused)
            self._loop.run_until_complete(wait({tasks[name]}))
            # The caller no longer waits for this result if the loop was blocked for too long.
            if self._abandoned:
                return
            paused = monotonic()
            self._finished.put(name)
        self._cancel()
        unfinished = [task for task in tasks.values() if not task.done()]
        if unfinished:
            self._loop.run_until_complete(wait(unfinished, timeout=self._cleaning * timeouts.get_load_factor()))

    def _cancel(self) -> None:
        for task in self._tasks.values():
            if not task.cancelling():
                task.cancel()

    async def _run(self, name: str) -> None:
        self._results[name] = await self._checks[name]()
        self._progress = monotonic()

    def _beat_once(self) -> None:
        if self._abandoned:
            self._loop.stop()
            return
        self._beat = monotonic()
        self._next_beat = self._loop.call_later(_BEAT, self._beat_once)
