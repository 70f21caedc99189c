"""A command that is the way to a server (ProxyCommand): what is written to it arrives there."""

import asyncio
import contextlib
import os
import signal
import socket
from typing import Self

from intercede.transports._streams import STDERR_KEPT

__all__ = ["Proxy"]

_WORDS_KEPT = 500
_END_SECONDS = 1.0


class Proxy:
    """Runs while the connection lasts. ``socket`` is our end of it."""

    def __init__(self, process: asyncio.subprocess.Process, ours: socket.socket) -> None:
        self.socket = ours
        self._process = process
        self._listening = asyncio.create_task(self._listen())
        self._said = b""

    @classmethod
    async def start(cls, command: str) -> Self:
        """Run it as ``ssh`` does, by ``$SHELL`` and in its stead.

        Raises:
            OSError: There is no such shell.
        """
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as stack:
            stack.callback(ours.close)
            process = await asyncio.create_subprocess_exec(
                os.environ.get("SHELL") or "/bin/sh",
                "-c",
                f"exec {command}",
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            stack.pop_all()
        return cls(process, ours)

    async def _listen(self) -> None:
        """Take what it says on stderr, lest it waits for somebody to."""
        if self._process.stderr is not None:
            while data := await self._process.stderr.read(STDERR_KEPT):
                self._said = (self._said + data)[-_WORDS_KEPT:]

    async def last_words(self) -> str:
        """Return what it said on stderr by its end, for which this waits a moment."""
        await asyncio.wait({self._listening}, timeout=_END_SECONDS)
        return self._said.decode("utf-8", "replace").strip()

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself. Its number may be another's by then."""
        return self._process.returncode is not None

    async def end(self) -> None:
        """End it with all that it started, in bounded time; what it left in the background when it ended lives on."""
        self.socket.close()
        for number in () if self.has_ended else (signal.SIGHUP, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await self._process.wait()
        self._listening.cancel()
