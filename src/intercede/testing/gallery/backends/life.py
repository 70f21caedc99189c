"""Backends with a mistake in entering or leaving. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import ClassVar, Self

from intercede.contract import JobHandle, JobStatus, ResourceError
from intercede.testing.gallery.fake import FakeBackend


class _LeavesOtherwise(FakeBackend):
    """Calls a method without parameters when it is left. A subclass overrides that method."""

    async def __aexit__(  # type: ignore[override]  # it may return True, which swallows an exception
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None:
        return await self.leave()

    async def leave(self) -> bool | None:
        await super().__aexit__(None, None, None)
        return None


class ProbesWhenConstructed(FakeBackend):
    """Starts a process in the constructor."""

    caught_by = "IC-LIFE-01"
    message_contains = "subprocess.Popen"

    def __init__(self) -> None:
        super().__init__()
        subprocess.run(["true"], check=True)


class StartsAThreadWhenConstructed(FakeBackend):
    """Starts a thread in the constructor."""

    caught_by = "IC-LIFE-01"
    message_contains = "start of the thread"

    def __init__(self) -> None:
        super().__init__()
        threading.Thread(target=int).start()


class MakesItsDirectoryWhenConstructed(FakeBackend):
    """Makes a directory in the constructor."""

    caught_by = "IC-LIFE-01"
    message_contains = "os.mkdir"

    def __init__(self) -> None:
        super().__init__()
        self._state.with_name("made-too-early").mkdir(parents=True, exist_ok=True)


class EntersSomethingElse(FakeBackend):
    """Returns another object than itself when it is entered."""

    caught_by = "IC-LIFE-02"
    message_contains = "expected the object itself"

    async def __aenter__(self) -> object:  # type: ignore[override]  # this is the intended mistake
        await super().__aenter__()
        return object()


class CannotBeEntered(FakeBackend):
    """Raises when it is entered."""

    caught_by = "IC-LIFE-02"
    message_contains = "raised intercede.contract.errors.ResourceError: the far side does not answer"

    async def __aenter__(self) -> Self:
        raise ResourceError("the far side does not answer")


class LeavesOnlyOnce(_LeavesOtherwise):
    """Raises when it is left a second time."""

    caught_by = "IC-LIFE-03"
    message_contains = "expected leaving a second time to do nothing"

    async def leave(self) -> None:
        if self._thread is None:
            raise ResourceError("already closed")
        await super().leave()


class AnswersEmptyListsAlways(FakeBackend):
    """Answers status for no handles even if it is not open."""

    caught_by = "IC-LIFE-04", "IC-LIFE-05"
    message_contains = "status"

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        return await super().status(handles) if handles else {}


class OpensByItself(FakeBackend):
    """Opens another object in status if it is not open, instead of raising NotOpenError."""

    caught_by = "IC-LIFE-04", "IC-LIFE-05"
    message_contains = "before entering to raise NotOpenError", "after leaving to raise NotOpenError"

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        if self._thread is None:
            async with type(self)() as opened:
                return await FakeBackend.status(opened, handles)
        return await super().status(handles)


class SwallowsTheBodysException(_LeavesOtherwise):
    """Swallows the exception of the body of `async with` when it is left."""

    caught_by = "IC-LIFE-06"
    message_contains = "expected the body's own exception to pass through; observed None"

    async def leave(self) -> bool:
        await super().leave()
        return True


class LeavesATask(FakeBackend):
    """Starts a task when it is entered, and never ends the task."""

    caught_by = "IC-LIFE-07"
    message_contains = "more tasks"
    scale = 0.05
    tasks: ClassVar[list[object]] = []

    async def __aenter__(self) -> Self:
        self.tasks.append(asyncio.create_task(asyncio.sleep(60)))
        return await super().__aenter__()


class LeavesADescriptor(FakeBackend):
    """Opens a file descriptor when it is entered, and never closes it."""

    caught_by = "IC-LIFE-07"
    message_contains = "more open descriptors"
    scale = 0.05

    async def __aenter__(self) -> Self:
        os.open(os.devnull, os.O_RDONLY)
        return await super().__aenter__()


class LeavesAThread(FakeBackend):
    """Starts a thread when it is entered, and never ends the thread."""

    caught_by = "IC-LIFE-07"
    message_contains = "more threads"
    scale = 0.05

    async def __aenter__(self) -> Self:
        timer = threading.Timer(20, int)
        timer.daemon = True
        timer.start()
        return await super().__aenter__()


class ClosesTheOthersToo(_LeavesOtherwise):
    """Keeps the open objects in the class, so that leaving one object closes all of them."""

    caught_by = "IC-LIFE-08"
    message_contains = "expected an instance to work after another was left"
    opened: ClassVar[list["ClosesTheOthersToo"]] = []

    async def __aenter__(self) -> Self:
        self.opened.append(self)
        return await super().__aenter__()

    async def leave(self) -> None:
        while self.opened:
            await _LeavesOtherwise.leave(self.opened.pop())


class SwallowsItsCancellation(FakeBackend):
    """Swallows the cancellation of status and tries again."""

    caught_by = "IC-LIFE-09"
    message_contains = "observed it has not ended"
    scale = 0.05

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        for _ in range(20):
            try:
                await asyncio.sleep(0.01)
                return await super().status(handles)
            except asyncio.CancelledError:
                await asyncio.sleep(3)
        return {}


class KeepsItsLockWhenCancelled(FakeBackend):
    """Leaves its lock locked if status is cancelled, so that the next call never ends."""

    caught_by = "IC-LIFE-09"
    message_contains = "the instance to be usable after a cancelled"
    scale = 0.05
    busy = False

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        while self.busy:  # noqa: ASYNC110 -- a lock made by hand is the intended mistake
            await asyncio.sleep(0.01)
        self.busy = True
        await asyncio.sleep(0.01)
        answer = await super().status(handles)
        self.busy = False
        return answer


class RefusesASecondCall(FakeBackend):
    """Raises in status if another status call is running."""

    caught_by = "IC-LIFE-10"
    message_contains = "other calls are under way"
    busy = False

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        if self.busy:
            raise ResourceError("busy", retryable=True)
        self.busy = True
        try:
            return await super().status(handles)
        finally:
            self.busy = False


class BlocksTheLoop(FakeBackend):
    """Blocks the event loop in status, by time.sleep."""

    caught_by = "IC-LIFE-11"
    message_contains = "it blocked the loop for"

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        time.sleep(0.15)  # noqa: ASYNC251 -- this is the intended mistake
        return await super().status(handles)


class ChangesTheWorkingDirectory(FakeBackend):
    """Changes the working directory of the process when it is entered."""

    caught_by = "IC-LIFE-12"
    message_contains = "changed: the working directory"

    async def __aenter__(self) -> Self:
        os.chdir("/")
        return await super().__aenter__()


class HandlesASignal(FakeBackend):
    """Sets a signal handler of the process when it is entered."""

    caught_by = "IC-LIFE-12"
    message_contains = "changed: the handler of SIGUSR2"

    async def __aenter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        return await super().__aenter__()


class SetsAVariable(FakeBackend):
    """Sets an environment variable of the process in status."""

    caught_by = "IC-LIFE-12"
    message_contains = "changed: the environment variable INTERCEDE_GALLERY"

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        os.environ["INTERCEDE_GALLERY"] = str(len(handles))
        return await super().status(handles)


class LeavesAChild(FakeBackend):
    """Starts a child process when it is entered, and never ends the process."""

    caught_by = "IC-LIFE-07"
    message_contains = "more child processes"
    scale = 0.05
    children: ClassVar[list[object]] = []

    async def __aenter__(self) -> Self:
        self.children.append(subprocess.Popen(["sleep", "20"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))  # noqa: ASYNC220 -- it keeps the class short
        return await super().__aenter__()


class ChangesTheUmask(FakeBackend):
    """Changes the umask of the process when it is entered."""

    caught_by = "IC-LIFE-12"
    message_contains = "changed: the umask"

    async def __aenter__(self) -> Self:
        os.umask(0o077)
        return await super().__aenter__()
