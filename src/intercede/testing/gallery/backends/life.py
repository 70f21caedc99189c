"""Wrong in entering and leaving. Every class in this file is wrong, on purpose: its docstring says how."""

# ruff: noqa: D102 -- the class says what its methods do otherwise

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
    """Lets a mistake override leaving without repeating its parameters."""

    async def __aexit__(  # type: ignore[override]  # as wide as Python's own, so that an exception can be swallowed
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None:
        return await self.leave()

    async def leave(self) -> bool | None:
        await super().__aexit__(None, None, None)
        return None


class ProbesWhenConstructed(FakeBackend):
    """The constructor starts a process."""

    caught_by = "IC-LIFE-01"
    message_contains = "subprocess.Popen"

    def __init__(self) -> None:
        super().__init__()
        subprocess.run(["true"], check=True)


class StartsAThreadWhenConstructed(FakeBackend):
    """The constructor starts a thread."""

    caught_by = "IC-LIFE-01"
    message_contains = "start of the thread"

    def __init__(self) -> None:
        super().__init__()
        threading.Thread(target=int).start()


class MakesItsDirectoryWhenConstructed(FakeBackend):
    """The constructor makes a directory."""

    caught_by = "IC-LIFE-01"
    message_contains = "os.mkdir"

    def __init__(self) -> None:
        super().__init__()
        self._state.with_name("made-too-early").mkdir(parents=True, exist_ok=True)


class EntersSomethingElse(FakeBackend):
    """Entering returns a session in place of the object."""

    caught_by = "IC-LIFE-02"
    message_contains = "expected the object itself"

    async def __aenter__(self) -> object:  # type: ignore[override]  # the mistake
        await super().__aenter__()
        return object()


class CannotBeEntered(FakeBackend):
    """Entering raises."""

    caught_by = "IC-LIFE-02"
    message_contains = "raised intercede.contract.errors.ResourceError: the far side does not answer"

    async def __aenter__(self) -> Self:
        raise ResourceError("the far side does not answer")


class LeavesOnlyOnce(_LeavesOtherwise):
    """Leaving a second time fails."""

    caught_by = "IC-LIFE-03"
    message_contains = "expected leaving a second time to do nothing"

    async def leave(self) -> None:
        if self._thread is None:
            raise ResourceError("already closed")
        await super().leave()


class AnswersEmptyListsAlways(FakeBackend):
    """An early return for no handles comes before the check that it is open."""

    caught_by = "IC-LIFE-04", "IC-LIFE-05"
    message_contains = "status"

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        return await super().status(handles) if handles else {}


class OpensByItself(FakeBackend):
    """A verb opens what it needs, and no caller closes it."""

    caught_by = "IC-LIFE-04", "IC-LIFE-05"
    message_contains = "before entering to raise NotOpenError", "after leaving to raise NotOpenError"

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        if self._thread is None:
            async with type(self)() as opened:
                return await FakeBackend.status(opened, handles)
        return await super().status(handles)


class SwallowsTheBodysException(_LeavesOtherwise):
    """Leaving returns a true value."""

    caught_by = "IC-LIFE-06"
    message_contains = "expected the body's own exception to pass through; observed None"

    async def leave(self) -> bool:
        await super().leave()
        return True


class LeavesATask(FakeBackend):
    """Entering starts a task that is never ended."""

    caught_by = "IC-LIFE-07"
    message_contains = "more tasks"
    scale = 0.05
    tasks: ClassVar[list[object]] = []

    async def __aenter__(self) -> Self:
        self.tasks.append(asyncio.create_task(asyncio.sleep(60)))
        return await super().__aenter__()


class LeavesADescriptor(FakeBackend):
    """Entering opens a descriptor that is never closed."""

    caught_by = "IC-LIFE-07"
    message_contains = "more open descriptors"
    scale = 0.05

    async def __aenter__(self) -> Self:
        os.open(os.devnull, os.O_RDONLY)
        return await super().__aenter__()


class LeavesAThread(FakeBackend):
    """Entering starts a thread that does not end."""

    caught_by = "IC-LIFE-07"
    message_contains = "more threads"
    scale = 0.05

    async def __aenter__(self) -> Self:
        timer = threading.Timer(20, int)
        timer.daemon = True
        timer.start()
        return await super().__aenter__()


class ClosesTheOthersToo(_LeavesOtherwise):
    """State of the instance is on the class: the first to leave closes all."""

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
    """A cancelled verb tries again, and again."""

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
    """A cancelled verb leaves its lock locked for the next."""

    caught_by = "IC-LIFE-09"
    message_contains = "the instance to be usable after a cancelled"
    scale = 0.05
    busy = False

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        while self.busy:  # noqa: ASYNC110 -- a lock made by hand: the mistake
            await asyncio.sleep(0.01)
        self.busy = True
        await asyncio.sleep(0.01)
        answer = await super().status(handles)
        self.busy = False
        return answer


class RefusesASecondCall(FakeBackend):
    """One call at a time: a second one is refused."""

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
    """A verb waits without await."""

    caught_by = "IC-LIFE-11"
    message_contains = "it blocked the loop for"

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        time.sleep(0.15)  # noqa: ASYNC251 -- the mistake
        return await super().status(handles)


class ChangesTheWorkingDirectory(FakeBackend):
    """Entering changes the working directory of the whole process."""

    caught_by = "IC-LIFE-12"
    message_contains = "changed: the working directory"

    async def __aenter__(self) -> Self:
        os.chdir("/")
        return await super().__aenter__()


class HandlesASignal(FakeBackend):
    """Entering takes a signal for itself, where Python lets it."""

    caught_by = "IC-LIFE-12"
    message_contains = "changed: the handler of SIGUSR2"

    async def __aenter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        return await super().__aenter__()


class SetsAVariable(FakeBackend):
    """A verb hands something to its children through the environment of the whole process."""

    caught_by = "IC-LIFE-12"
    message_contains = "changed: the environment variable INTERCEDE_GALLERY"

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        os.environ["INTERCEDE_GALLERY"] = str(len(handles))
        return await super().status(handles)


class LeavesAChild(FakeBackend):
    """Entering starts a process that is never ended."""

    caught_by = "IC-LIFE-07"
    message_contains = "more child processes"
    scale = 0.05
    children: ClassVar[list[object]] = []

    async def __aenter__(self) -> Self:
        self.children.append(subprocess.Popen(["sleep", "20"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))  # noqa: ASYNC220 -- as short as the mistake
        return await super().__aenter__()


class ChangesTheUmask(FakeBackend):
    """Entering narrows the umask, so that no file of its own can be read by others."""

    caught_by = "IC-LIFE-12"
    message_contains = "changed: the umask"

    async def __aenter__(self) -> Self:
        os.umask(0o077)
        return await super().__aenter__()
