"""Backends that attack the process that checks them. The kit must still give a verdict in time and explain red clauses.

The tests check each of them in a process of its own.
"""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import asyncio
import atexit
import inspect
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, ParamSpec, TypeVar

from intercede.contract import JobHandle, JobState, JobStatus
from intercede.testing.gallery.fake import FakeBackend

_P = ParamSpec("_P")
_R = TypeVar("_R")


class _Attacks(FakeBackend):
    """Runs an attack before the work of every verb. A subclass defines the attack."""

    def attack(self) -> None:
        raise NotImplementedError

    async def _do(self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        self.attack()
        return await super()._do(work, *args, **kwargs)


class Exits(_Attacks):
    """Raises SystemExit in every verb."""

    def attack(self) -> None:
        raise SystemExit(0)


class Interrupts(_Attacks):
    """Raises KeyboardInterrupt in every verb."""

    def attack(self) -> None:
        raise KeyboardInterrupt


class EndsGenerators(_Attacks):
    """Raises GeneratorExit in every verb."""

    def attack(self) -> None:
        raise GeneratorExit


class IsCancelled(_Attacks):
    """Raises CancelledError in every verb, although no caller cancelled it."""

    def attack(self) -> None:
        raise asyncio.CancelledError


class CancelsEverything(_Attacks):
    """Cancels all tasks of the event loop in every verb."""

    def attack(self) -> None:
        for task in asyncio.all_tasks():
            task.cancel()


class StopsTheLoop(_Attacks):
    """Stops the event loop in every verb."""

    def attack(self) -> None:
        asyncio.get_running_loop().stop()


class TakesTheLoopsErrors(_Attacks):
    """Sets an exception handler of the event loop that itself raises, in every verb."""

    def attack(self) -> None:
        def handle(_loop: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
            raise RuntimeError(context)

        asyncio.get_running_loop().set_exception_handler(handle)
        asyncio.get_running_loop().call_soon(self.status, ())
        raise RuntimeError("and fails")


class BlocksForEver(_Attacks):
    """Blocks the event loop for ever in every verb."""

    areas = ("purge",)

    def attack(self) -> None:
        threading.Event().wait()


class EndsTheProcess(_Attacks):
    """Ends the process with exit code 0 in every verb."""

    def attack(self) -> None:
        os._exit(0)


class Forks(_Attacks):
    """Forks the process once, in a verb, and both processes continue."""

    forked: ClassVar[list[int]] = []

    def attack(self) -> None:
        if not self.forked:
            self.forked.append(0)  # so that neither process forks again
            os.fork()
        raise RuntimeError("and fails")


class RemovesTheWorkingDirectory(_Attacks):
    """Removes the working directory of the process in every verb."""

    def attack(self) -> None:
        os.makedirs("here", exist_ok=True)  # noqa: PTH103 -- any working directory will do
        os.chdir("here")
        os.rmdir(os.getcwd())  # noqa: PTH106, PTH109 -- any working directory will do
        raise RuntimeError("and fails")


class ClosesStdout(_Attacks):
    """Closes file descriptor 1 in every verb."""

    def attack(self) -> None:
        os.close(1)


class ReplacesStdout(_Attacks):
    """Sets sys.stdout to None in every verb."""

    def attack(self) -> None:
        sys.stdout = None  # this is the intended attack
        raise RuntimeError("and fails")


class StopsTheClock(_Attacks):
    """Replaces time.monotonic in every verb, by a clock that always shows the same time."""

    def attack(self) -> None:
        time.monotonic = lambda: 0.0  # this is the intended attack

    async def status(self, handles: Collection[JobHandle]) -> dict[JobHandle, JobStatus]:
        return dict.fromkeys(handles, JobStatus(state=JobState.QUEUED))


class NeverSleeps(_Attacks):
    """Replaces asyncio.sleep in every verb, by a function that never ends."""

    def attack(self) -> None:
        async def sleep(_: float) -> None:
            await asyncio.Event().wait()

        asyncio.sleep = sleep  # type: ignore[assignment]  # this is the intended attack
        raise RuntimeError("and fails")


class NeverWaits(_Attacks):
    """Replaces asyncio.wait in every verb, by a function that never ends."""

    def attack(self) -> None:
        async def wait(*_: object, **__: object) -> None:
            await asyncio.Event().wait()

        asyncio.wait = wait  # type: ignore[assignment]  # this is the intended attack
        raise RuntimeError("and fails")


class NeverJoins(_Attacks):
    """Replaces methods of Thread in every verb, so that waiting for a thread never ends."""

    def attack(self) -> None:
        threading.Thread.join = lambda *_: threading.Event().wait()  # type: ignore[assignment,method-assign]  # this is the intended attack
        threading.Thread.is_alive = lambda self: True  # type: ignore[method-assign]  # noqa: ARG005 -- this is the intended attack
        raise RuntimeError("and fails")


class HasAnotherProcessId(_Attacks):
    """Replaces os.getpid in every verb, so that it returns 1."""

    def attack(self) -> None:
        os.getpid = lambda: 1  # this is the intended attack
        raise RuntimeError("and fails")


class TakesTheTemporaryDirectory(_Attacks):
    """Sets the directory of temporary files in every verb, to one where no file can be made."""

    def attack(self) -> None:
        tempfile.tempdir = "/dev/null/nowhere"
        raise RuntimeError("and fails")


class LeavesNoDescriptors(_Attacks):
    """Lowers the limit of open file descriptors to 3 in every verb."""

    def attack(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        raise RuntimeError("and fails")


class NestsDirectories(_Attacks):
    """Makes directories in directories, so deep that Python cannot remove them."""

    areas = ("handle",)

    def attack(self) -> None:
        here = os.open(tempfile.gettempdir(), os.O_RDONLY)
        for place in Path(tempfile.gettempdir()).glob("intercede-*/check"):
            os.close(here)
            here = os.open(place, os.O_RDONLY)
        for _ in range(1500):
            with suppress(FileExistsError):
                os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
        raise RuntimeError("and fails")


class ClosesItsStreams(_Attacks):
    """Closes sys.stdout and sys.stderr in every verb."""

    def attack(self) -> None:
        sys.stdout.close()
        sys.stderr.close()
        raise RuntimeError("and fails")


class StartsNoThreads(_Attacks):
    """Replaces the functions that start threads in every verb, so that no thread starts."""

    areas = ("purge",)

    def attack(self) -> None:
        for name in {"_start_new_thread", "_start_joinable_thread"} & vars(threading).keys():
            setattr(threading, name, _do_nothing)
        raise RuntimeError("and fails")


def _do_nothing(*_: object, **__: object) -> None:
    """Do nothing."""


class RecursesNoMore(_Attacks):
    """Lowers the recursion limit in every verb, so that few more calls are possible."""

    def attack(self) -> None:
        sys.setrecursionlimit(len(inspect.stack(0)) + 20)
        raise RuntimeError("and fails")


class PrintsAtExit(FakeBackend):
    """Prints on stdout when the process exits."""

    areas = "handle", "life", "find"

    def __init__(self) -> None:
        super().__init__()
        if not _printing:
            _printing.append(atexit.register(print, "goodbye"))

    async def status(self, handles: object) -> None:  # type: ignore[override]  # so that a clause is red
        return None


_printing: list[object] = []


class StartsAHelper(FakeBackend):
    """Starts a process that inherits stdout and stderr and does not end, in the constructor."""

    areas = ("life",)

    def __init__(self) -> None:
        super().__init__()
        subprocess.Popen(["sleep", "1000"])


class PrintsMuch(_Attacks):
    """Prints ten million characters in every verb."""

    areas = ("handle",)

    def attack(self) -> None:
        print("x" * 10_000_000)  # noqa: T201 -- this is the intended attack
        raise RuntimeError("and fails")


class MakesWarningsErrors(_Attacks):
    """Turns warnings into errors in every verb, and then warns."""

    def attack(self) -> None:
        warnings.simplefilter("error")
        warnings.warn("as an error", stacklevel=2)


class LeavesAThreadForEver(_Attacks):
    """Starts a thread that never ends, and for which Python waits at exit, in every verb."""

    def attack(self) -> None:
        threading.Thread(target=threading.Event().wait, daemon=False).start()
        raise RuntimeError("and fails")


class LeavesAPoolForEver(_Attacks):
    """Leaves an executor with work that never ends, in every verb."""

    pools: ClassVar[list[ThreadPoolExecutor]] = []

    def attack(self) -> None:
        self.pools.append(ThreadPoolExecutor(1))
        self.pools[-1].submit(threading.Event().wait)
        raise RuntimeError("and fails")


class ExitsInAThread(_Attacks):
    """Starts a thread that calls sys.exit, in every verb."""

    def attack(self) -> None:
        threading.Thread(target=sys.exit).start()
        raise RuntimeError("and fails")


class FailsAtExit(_Attacks):
    """Registers a function that fails when the process exits, in every verb."""

    def attack(self) -> None:
        atexit.register(os.stat, "/no/such/file")
        raise RuntimeError("and fails")


class _FailingText(Exception):  # noqa: N818 -- this is the intended attack
    def __str__(self) -> str:
        raise ValueError("it has no text")


class _EndlessText(_FailingText):
    def __str__(self) -> str:
        threading.Event().wait()
        return ""


class RaisesWithFailingText(_Attacks):
    """Raises an exception whose __str__ raises another exception, in every verb."""

    def attack(self) -> None:
        raise _FailingText


class RaisesWithEndlessText(_Attacks):
    """Raises an exception whose __str__ never ends, in every verb."""

    areas = ("purge",)

    def attack(self) -> None:
        raise _EndlessText


class _Nowhere(Exception):  # noqa: N818 -- this is the intended attack
    @property
    def __traceback__(self) -> None:  # type: ignore[override]  # this is the intended attack
        threading.Event().wait()


class RaisesNowhere(_Attacks):
    """Raises an exception whose __traceback__ is a property that never ends, in every verb."""

    areas = ("purge",)

    def attack(self) -> None:
        raise _Nowhere


class _WithinAPipe(_Attacks):
    """Runs code whose source file is a named pipe without a writer."""

    areas = ("purge",)
    source = ""

    def attack(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            pipe = Path(directory, "pipe")
            os.mkfifo(pipe)
            exec(compile(self.source, str(pipe), "exec"), {})  # noqa: S102 -- this is the intended attack


class RaisesWithinAPipe(_WithinAPipe):
    """Raises an exception in every verb, from code whose source file is a pipe without a writer."""

    source = "raise RuntimeError()"


class BlocksWithinAPipe(_WithinAPipe):
    """Blocks the event loop in every verb, in code whose source file is a pipe without a writer."""

    source = "import threading; threading.Event().wait()"


class RaisesWithOddNotes(FakeBackend):
    """Raises an exception whose __notes__ is not a list in status, and another exception when it is left."""

    async def status(self, handles: Collection[JobHandle]) -> dict[JobHandle, JobStatus]:
        error = RuntimeError("noted")
        error.__notes__ = 5  # type: ignore[assignment]  # this is the intended attack
        raise error

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        await super().__aexit__(exc_type, exc, traceback)
        raise RuntimeError("and leaving")


class RaisesMuch(_Attacks):
    """Raises an exception whose message has ten million characters, in every verb."""

    def attack(self) -> None:
        raise RuntimeError("x" * 10_000_000)


class SpoilsChildResults(FakeBackend):
    """Replaces json.dump and json.dumps in the constructor, so that a child process reports a wrong result."""

    areas = "life", "handle"

    def __init__(self) -> None:
        super().__init__()
        json.dump = json.dumps = lambda *_, **__: "[" * 100_000  # type: ignore[assignment]  # this is the intended attack
