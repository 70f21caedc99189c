"""Wrong in entering and leaving. Every class in this file is wrong, on purpose: its docstring says how."""

# ruff: noqa: D102 -- the class says what its methods do otherwise

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
    """Lets a mistake override leaving without repeating its parameters."""

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> bool | None:
        return await self.leave()

    async def leave(self) -> bool | None:
        self.is_open = False
        return None


class ConnectsWhenConstructed(Plain):
    """The constructor runs a command."""

    caught_by = "IC-TRANSPORT-11"
    message_contains = "subprocess.Popen"

    def __init__(self) -> None:
        super().__init__()
        subprocess.run(["true"], check=True)


class CannotConnect(Plain):
    """Entering raises."""

    caught_by = "IC-TRANSPORT-12"
    message_contains = "no route to host"

    async def __aenter__(self) -> Self:
        raise TransportError("no route to host")


class EntersAsNothing(Plain):
    """Entering returns None."""

    caught_by = "IC-TRANSPORT-12"
    message_contains = "observed None"

    async def __aenter__(self) -> None:  # type: ignore[override]  # the mistake
        await super().__aenter__()


class HangsUpTwice(_LeavesOtherwise):
    """Leaving a second time raises."""

    caught_by = "IC-TRANSPORT-13"
    message_contains = "no connection"

    async def leave(self) -> None:
        if not self.is_open:
            raise TransportError("there is no connection to close")
        self.is_open = False


class RunsUnopened(Plain):
    """Runs before it was entered."""

    caught_by = "IC-TRANSPORT-14"
    message_contains = "before entering to raise NotOpenError; observed it answered"

    def __init__(self) -> None:
        super().__init__()
        self.is_open = True


class FailsUnopened(Plain):
    """Before entering, run raises AttributeError."""

    caught_by = "IC-TRANSPORT-14"
    message_contains = "AttributeError"

    def __init__(self) -> None:
        pass


class RunsAfterLeaving(_LeavesOtherwise):
    """Runs after it was left."""

    caught_by = "IC-TRANSPORT-15"
    message_contains = "after leaving to raise NotOpenError; observed it answered"

    async def leave(self) -> None:
        return


class SwallowsWhatTheBodyRaises(_LeavesOtherwise):
    """Leaving swallows the body's exception."""

    caught_by = "IC-TRANSPORT-16"
    message_contains = "observed None"

    async def leave(self) -> bool:
        self.is_open = False
        return True


class StaysOpenAfterAnException(Plain):
    """Closes only if there was no exception."""

    caught_by = "IC-TRANSPORT-16"
    message_contains = "after an exception in the body to raise NotOpenError"

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.is_open = exc is not None


class LeavesAPipe(Plain):
    """Each entering opens a pipe that is never closed."""

    caught_by = "IC-TRANSPORT-17"
    message_contains = "more open descriptors"
    scale = 0.1

    async def __aenter__(self) -> Self:
        os.pipe()
        return await super().__aenter__()


class LeavesAWatcher(Plain):
    """Each entering starts a task that is never ended."""

    caught_by = "IC-TRANSPORT-17"
    message_contains = "more tasks"
    scale = 0.1
    watchers: ClassVar[list[object]] = []

    async def __aenter__(self) -> Self:
        self.watchers.append(asyncio.ensure_future(asyncio.sleep(3600)))
        return await super().__aenter__()


class LeavesAPump(Plain):
    """Each entering starts a thread that is never ended."""

    caught_by = "IC-TRANSPORT-17"
    message_contains = "more threads"
    scale = 0.1

    async def __aenter__(self) -> Self:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        return await super().__aenter__()


class LeavesAClient(Plain):
    """Each entering starts a process that is never waited for."""

    caught_by = "IC-TRANSPORT-17"
    message_contains = "more child processes"
    scale = 0.1

    async def __aenter__(self) -> Self:
        os.posix_spawnp("true", ["true"], os.environ)  # noqa: ASYNC221 -- the mistake
        return await super().__aenter__()


class HangsUpForTheOthers(_LeavesOtherwise):
    """Leaving closes what other instances opened, too."""

    caught_by = "IC-TRANSPORT-18"
    message_contains = "run raised NotOpenError"
    opened: ContextVar[list[Plain]] = ContextVar("opened")  # of each check its own: they share a process

    async def __aenter__(self) -> Self:
        self.opened.set([*self.opened.get([]), self])
        return await super().__aenter__()

    async def leave(self) -> None:
        for each in self.opened.get():
            each.is_open = False


class ConnectsWithoutTurning(Plain):
    """Connects in a call that blocks the loop."""

    caught_by = "IC-TRANSPORT-19"
    message_contains = "blocked the loop for"

    async def __aenter__(self) -> Self:
        time.sleep(0.15)  # noqa: ASYNC251 -- the mistake
        return await super().__aenter__()
