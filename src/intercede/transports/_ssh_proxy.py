"""A command that is the way to a server (ProxyCommand): what is written to it arrives there."""

import asyncio
import contextlib
import os
import signal
import socket
from functools import partial
from typing import Self, cast

__all__ = ["Proxy"]

_WORDS_KEPT = 500
_END_SECONDS = 1.0


class Proxy(asyncio.SubprocessProtocol):
    """Runs while the connection lasts. ``socket`` is our end of it; ``has_ended`` is set when it is over."""

    def __init__(self, ours: socket.socket) -> None:
        self.socket = ours
        self._said = b""
        self._has_said_all, self.has_ended = asyncio.Event(), asyncio.Event()

    @classmethod
    async def start(cls, command: str) -> Self:
        """Run it as ``ssh`` does, by ``$SHELL`` and in its stead.

        Raises:
            OSError: There is no such shell.
        """
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as stack:
            stack.callback(ours.close)
            _, proxy = await asyncio.get_running_loop().subprocess_exec(
                partial(cls, ours),
                os.environ.get("SHELL") or "/bin/sh",
                "-c",
                f"exec {command}",
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            stack.pop_all()
        return proxy

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It runs."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002 -- it has but one
        """Take what it says on stderr, lest it waits for somebody to."""
        self._said = (self._said + data)[-_WORDS_KEPT:]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 -- as above
        """It has said all."""
        self._has_said_all.set()

    def process_exited(self) -> None:
        """It has ended by itself, or was ended. Its number may be another's from now on."""
        self.has_ended.set()

    async def last_words(self) -> str:
        """Return what it said on stderr by its end, for which this waits a moment."""
        await _within(_END_SECONDS, self._has_said_all)
        return self._said.decode("utf-8", "replace").strip()

    async def end(self) -> None:
        """End it with all that it started, in bounded time; what it left in the background when it ended lives on."""
        self.socket.close()
        try:
            for number in () if self.has_ended.is_set() else (signal.SIGHUP, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._transport.get_pid(), number)
                await _within(_END_SECONDS, self.has_ended)
        finally:
            self._transport.close()  # what lives on may hold stderr open


async def _within(seconds: float, event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
