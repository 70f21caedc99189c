"""Attacks on the process that checks: the verdict comes in bounded time, and red clauses have a message.

Each needs a process of its own.
"""

# ruff: noqa: D102 -- the class says what its methods do otherwise

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
    """Runs an attack before every verb."""

    def attack(self) -> None:
        raise NotImplementedError

    async def _do(self, work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
        self.attack()
        return await super()._do(work, *args, **kwargs)


class Exits(_Attacks):
    """Every verb raises SystemExit."""

    def attack(self) -> None:
        raise SystemExit(0)


class Interrupts(_Attacks):
    """Every verb raises KeyboardInterrupt."""

    def attack(self) -> None:
        raise KeyboardInterrupt


class EndsGenerators(_Attacks):
    """Every verb raises GeneratorExit."""

    def attack(self) -> None:
        raise GeneratorExit


class IsCancelled(_Attacks):
    """Every verb raises CancelledError, although it was not cancelled."""

    def attack(self) -> None:
        raise asyncio.CancelledError


class CancelsEverything(_Attacks):
    """Every verb cancels all tasks of the loop."""

    def attack(self) -> None:
        for task in asyncio.all_tasks():
            task.cancel()


class StopsTheLoop(_Attacks):
    """Every verb stops the event loop."""

    def attack(self) -> None:
        asyncio.get_running_loop().stop()


class TakesTheLoopsErrors(_Attacks):
    """Every verb sets a handler for the loop's errors, which raises one."""

    def attack(self) -> None:
        def handle(_loop: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
            raise RuntimeError(context)

        asyncio.get_running_loop().set_exception_handler(handle)
        asyncio.get_running_loop().call_soon(self.status, ())
        raise RuntimeError("and fails")


class BlocksForEver(_Attacks):
    """Every verb waits without await, and without end."""

    areas = ("purge",)

    def attack(self) -> None:
        threading.Event().wait()


class EndsTheProcess(_Attacks):
    """Every verb ends the process, as if all were well."""

    def attack(self) -> None:
        os._exit(0)


class Forks(_Attacks):
    """A verb forks the process once, and both processes go on."""

    forked: ClassVar[list[int]] = []

    def attack(self) -> None:
        if not self.forked:
            self.forked.append(0)  # so that neither of them does it again
            os.fork()
        raise RuntimeError("and fails")


class RemovesTheWorkingDirectory(_Attacks):
    """Every verb removes the directory that the process works in."""

    def attack(self) -> None:
        os.makedirs("here", exist_ok=True)  # noqa: PTH103 -- as it stands, wherever that is
        os.chdir("here")
        os.rmdir(os.getcwd())  # noqa: PTH106, PTH109 -- as above
        raise RuntimeError("and fails")


class ClosesStdout(_Attacks):
    """Every verb closes descriptor 1."""

    def attack(self) -> None:
        os.close(1)


class ReplacesStdout(_Attacks):
    """Every verb takes stdout away."""

    def attack(self) -> None:
        sys.stdout = None  # the attack
        raise RuntimeError("and fails")


class StopsTheClock(_Attacks):
    """Every verb replaces the clock by one that has stopped."""

    def attack(self) -> None:
        time.monotonic = lambda: 0.0  # the attack

    async def status(self, handles: Collection[JobHandle]) -> dict[JobHandle, JobStatus]:
        return dict.fromkeys(handles, JobStatus(state=JobState.QUEUED))


class NeverSleeps(_Attacks):
    """Every verb replaces asyncio.sleep by a function that does not end."""

    def attack(self) -> None:
        async def sleep(_: float) -> None:
            await asyncio.Event().wait()

        asyncio.sleep = sleep  # type: ignore[assignment]  # the attack
        raise RuntimeError("and fails")


class NeverWaits(_Attacks):
    """Every verb replaces asyncio.wait by a function that does not end."""

    def attack(self) -> None:
        async def wait(*_: object, **__: object) -> None:
            await asyncio.Event().wait()

        asyncio.wait = wait  # type: ignore[assignment]  # the attack
        raise RuntimeError("and fails")


class NeverJoins(_Attacks):
    """Every verb makes threads look unfinished to code that waits for one."""

    def attack(self) -> None:
        threading.Thread.join = lambda *_: threading.Event().wait()  # type: ignore[assignment,method-assign]  # the attack
        threading.Thread.is_alive = lambda self: True  # type: ignore[method-assign]  # noqa: ARG005 -- the attack
        raise RuntimeError("and fails")


class IsSomebodyElse(_Attacks):
    """Every verb gives the process another number."""

    def attack(self) -> None:
        os.getpid = lambda: 1  # the attack
        raise RuntimeError("and fails")


class TakesTheTemporaryDirectory(_Attacks):
    """Every verb sets the directory of temporary files to one that cannot hold any."""

    def attack(self) -> None:
        tempfile.tempdir = "/dev/null/nowhere"
        raise RuntimeError("and fails")


class LeavesNoDescriptors(_Attacks):
    """Every verb lowers the limit on open descriptors."""

    def attack(self) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        raise RuntimeError("and fails")


class BuriesDirectories(_Attacks):
    """A verb makes directories within directories, deeper than Python removes them."""

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
    """Every verb closes sys.stdout and sys.stderr."""

    def attack(self) -> None:
        sys.stdout.close()
        sys.stderr.close()
        raise RuntimeError("and fails")


class StartsNoThreads(_Attacks):
    """Every verb keeps threads from starting."""

    areas = ("purge",)

    def attack(self) -> None:
        for name in {"_start_new_thread", "_start_joinable_thread"} & vars(threading).keys():
            setattr(threading, name, _ignored)
        raise RuntimeError("and fails")


def _ignored(*_: object, **__: object) -> None:
    """Do nothing of what was asked."""


class RecursesNoMore(_Attacks):
    """Every verb lowers the recursion limit to a few more calls."""

    def attack(self) -> None:
        sys.setrecursionlimit(len(inspect.stack(0)) + 20)
        raise RuntimeError("and fails")


class PrintsAtExit(FakeBackend):
    """Its process prints on stdout at the very end."""

    areas = "handle", "life", "find"

    def __init__(self) -> None:
        super().__init__()
        if not _printing:
            _printing.append(atexit.register(print, "goodbye"))

    async def status(self, handles: object) -> None:  # type: ignore[override]  # so that something is red
        return None


_printing: list[object] = []


class StartsAHelper(FakeBackend):
    """Constructing starts a process that inherits the streams, and does not end."""

    areas = ("life",)

    def __init__(self) -> None:
        super().__init__()
        subprocess.Popen(["sleep", "1000"])


class PrintsMuch(_Attacks):
    """Every verb prints ten million characters."""

    areas = ("handle",)

    def attack(self) -> None:
        print("x" * 10_000_000)  # noqa: T201 -- the attack
        raise RuntimeError("and fails")


class MakesWarningsErrors(_Attacks):
    """Every verb sets a filter that turns warnings into errors, and warns."""

    def attack(self) -> None:
        warnings.simplefilter("error")
        warnings.warn("as an error", stacklevel=2)


class LeavesAThreadForEver(_Attacks):
    """Every verb starts a thread that does not end, and that an interpreter waits for."""

    def attack(self) -> None:
        threading.Thread(target=threading.Event().wait, daemon=False).start()
        raise RuntimeError("and fails")


class LeavesAPoolForEver(_Attacks):
    """Every verb leaves a pool of threads with work that does not end."""

    pools: ClassVar[list[ThreadPoolExecutor]] = []

    def attack(self) -> None:
        self.pools.append(ThreadPoolExecutor(1))
        self.pools[-1].submit(threading.Event().wait)
        raise RuntimeError("and fails")


class ExitsInAThread(_Attacks):
    """Every verb starts a thread that exits."""

    def attack(self) -> None:
        threading.Thread(target=sys.exit).start()
        raise RuntimeError("and fails")


class FailsAtExit(_Attacks):
    """Every verb leaves something to do when the interpreter exits, which fails."""

    def attack(self) -> None:
        atexit.register(os.stat, "/no/such/file")
        raise RuntimeError("and fails")


class _Untold(Exception):  # noqa: N818 -- the attack
    def __str__(self) -> str:
        raise ValueError("it cannot be told")


class _NeverTold(_Untold):
    def __str__(self) -> str:
        threading.Event().wait()
        return ""


class RaisesWhatCannotBeTold(_Attacks):
    """Every verb raises an exception whose text raises another."""

    def attack(self) -> None:
        raise _Untold


class RaisesWhatIsNeverTold(_Attacks):
    """Every verb raises an exception whose text does not end."""

    areas = ("purge",)

    def attack(self) -> None:
        raise _NeverTold


class _Nowhere(Exception):  # noqa: N818 -- the attack
    @property
    def __traceback__(self) -> None:  # type: ignore[override]  # the attack
        threading.Event().wait()


class RaisesNowhere(_Attacks):
    """Every verb raises an exception whose traceback takes for ever to get."""

    areas = ("purge",)

    def attack(self) -> None:
        raise _Nowhere


class _WithinAPipe(_Attacks):
    """Runs code whose file is a fifo without a writer."""

    areas = ("purge",)
    source = ""

    def attack(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            pipe = Path(directory, "pipe")
            os.mkfifo(pipe)
            exec(compile(self.source, str(pipe), "exec"), {})  # noqa: S102 -- the attack


class RaisesWithinAPipe(_WithinAPipe):
    """Every verb raises an exception in a file that is a fifo without a writer."""

    source = "raise RuntimeError()"


class BlocksWithinAPipe(_WithinAPipe):
    """Every verb waits without await, in a file that is a fifo without a writer."""

    source = "import threading; threading.Event().wait()"


class RaisesWithOddNotes(FakeBackend):
    """A verb raises an exception whose notes are no list, and leaving raises as well."""

    async def status(self, handles: Collection[JobHandle]) -> dict[JobHandle, JobStatus]:
        error = RuntimeError("noted")
        error.__notes__ = 5  # type: ignore[assignment]  # the attack
        raise error

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        await super().__aexit__(exc_type, exc, traceback)
        raise RuntimeError("and leaving")


class RaisesMuch(_Attacks):
    """Every verb raises an exception of ten million characters."""

    def attack(self) -> None:
        raise RuntimeError("x" * 10_000_000)


class SpoilsWhatAChildTells(FakeBackend):
    """In a child process, it changes the result that is reported."""

    areas = "life", "handle"

    def __init__(self) -> None:
        super().__init__()
        json.dump = json.dumps = lambda *_, **__: "[" * 100_000  # type: ignore[assignment]  # the attack
