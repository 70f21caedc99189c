"""Transports with a mistake in entering or leaving. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import asyncio
import os
import subprocess
import threading
import time
from contextvars import ContextVar
from types import TracebackType
from typing import ClassVar, Self

from intercede.contract import TransportError
from intercede.testing.gallery.transports.right import Plain


class _LeavesOtherwise(Plain):
    """Calls a method without parameters when it is left. A subclass overrides that method."""

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None:
        return await self.leave()

    async def leave(self) -> bool | None:
        self.is_open = False
        return None


class ConnectsWhenConstructed(Plain):
    """Starts a process in the constructor."""

    caught_by = "IC-TRANSPORT-11"
    message_contains = "subprocess.Popen"

    def __init__(self) -> None:
        super().__init__()
        subprocess.run(["true"], check=True)


class CannotConnect(Plain):
    """Raises when it is entered."""

    caught_by = "IC-TRANSPORT-12"
    message_contains = "no route to host"

    async def __aenter__(self) -> Self:
        raise TransportError("no route to host")


class EntersAsNothing(Plain):
    """Returns None when it is entered."""

    caught_by = "IC-TRANSPORT-12"
    message_contains = "observed None"

    async def __aenter__(self) -> None:  # type: ignore[override]  # this is the intended mistake
        await super().__aenter__()


class HangsUpTwice(_LeavesOtherwise):
    """Raises when it is left a second time."""

    caught_by = "IC-TRANSPORT-13"
    message_contains = "no connection"

    async def leave(self) -> None:
        if not self.is_open:
            raise TransportError("there is no connection to close")
        self.is_open = False


class RunsUnopened(Plain):
    """Runs commands before it is entered."""

    caught_by = "IC-TRANSPORT-14"
    message_contains = "before entering to raise NotOpenError; observed it answered"

    def __init__(self) -> None:
        super().__init__()
        self.is_open = True


class FailsUnopened(Plain):
    """Raises AttributeError in run before it is entered, not NotOpenError."""

    caught_by = "IC-TRANSPORT-14"
    message_contains = "AttributeError"

    def __init__(self) -> None:
        pass


class RunsAfterLeaving(_LeavesOtherwise):
    """Runs commands after it was left."""

    caught_by = "IC-TRANSPORT-15"
    message_contains = "after leaving to raise NotOpenError; observed it answered"

    async def leave(self) -> None:
        return


class SwallowsWhatTheBodyRaises(_LeavesOtherwise):
    """Swallows the exception of the body of `async with` when it is left."""

    caught_by = "IC-TRANSPORT-16"
    message_contains = "observed None"

    async def leave(self) -> bool:
        self.is_open = False
        return True


class StaysOpenAfterAnException(Plain):
    """Stays open if the body of `async with` raises."""

    caught_by = "IC-TRANSPORT-16"
    message_contains = "after an exception in the body to raise NotOpenError"

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.is_open = exc is not None


class LeavesAPipe(Plain):
    """Opens a pipe when it is entered, and never closes it."""

    caught_by = "IC-TRANSPORT-17"
    message_contains = "more open descriptors"
    scale = 0.1

    async def __aenter__(self) -> Self:
        os.pipe()
        return await super().__aenter__()


class LeavesAWatcher(Plain):
    """Starts a task when it is entered, and never ends the task."""

    caught_by = "IC-TRANSPORT-17"
    message_contains = "more tasks"
    scale = 0.1
    watchers: ClassVar[list[object]] = []

    async def __aenter__(self) -> Self:
        self.watchers.append(asyncio.ensure_future(asyncio.sleep(3600)))
        return await super().__aenter__()


class LeavesAPump(Plain):
    """Starts a thread when it is entered, and never ends the thread."""

    caught_by = "IC-TRANSPORT-17"
    message_contains = "more threads"
    scale = 0.1

    async def __aenter__(self) -> Self:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        return await super().__aenter__()


class LeavesAClient(Plain):
    """Starts a process when it is entered, and never waits for it."""

    caught_by = "IC-TRANSPORT-17"
    message_contains = "more child processes"
    scale = 0.1

    async def __aenter__(self) -> Self:
        os.posix_spawnp("true", ["true"], os.environ)  # noqa: ASYNC221 -- this is the intended mistake
        return await super().__aenter__()


class HangsUpForTheOthers(_LeavesOtherwise):
    """Closes all open objects of the class when one object is left."""

    caught_by = "IC-TRANSPORT-18"
    message_contains = "run raised NotOpenError"
    opened: ContextVar[list[Plain]] = ContextVar("opened")  # one list for each check, because checks share a process

    async def __aenter__(self) -> Self:
        self.opened.set([*self.opened.get([]), self])
        return await super().__aenter__()

    async def leave(self) -> None:
        for each in self.opened.get():
            each.is_open = False


class ConnectsWithoutTurning(Plain):
    """Blocks the event loop when it is entered, by time.sleep."""

    caught_by = "IC-TRANSPORT-19"
    message_contains = "blocked the loop for"

    async def __aenter__(self) -> Self:
        time.sleep(0.15)  # noqa: ASYNC251 -- this is the intended mistake
        return await super().__aenter__()
