"""Connects to a server through the stdin and stdout of a command (ProxyCommand)."""

import asyncio
import contextlib
import os
import signal
import socket
from functools import partial
from typing import Self, cast

__all__ = ["ProxyCommand"]

_STDERR_LIMIT = 500
_END_SECONDS = 1.0


class ProxyCommand(asyncio.SubprocessProtocol):
    """A running ProxyCommand. ``socket`` is our side of the connection; ``has_ended`` is set once the command exits."""

    def __init__(self, local_end: socket.socket) -> None:
        self.socket = local_end
        self._stderr = b""
        self._stderr_closed, self.has_ended = asyncio.Event(), asyncio.Event()

    @classmethod
    async def start(cls, command: str) -> Self:
        """Start the command as ``ssh`` does: ``$SHELL`` runs it with ``exec``.

        Raises:
            OSError: The shell does not exist.
        """
        local_end, remote_end = socket.socketpair()
        with remote_end, contextlib.ExitStack() as stack:
            stack.callback(local_end.close)
            _, proxy = await asyncio.get_running_loop().subprocess_exec(
                partial(cls, local_end),
                os.environ.get("SHELL") or "/bin/sh",
                "-c",
                f"exec {command}",
                stdin=remote_end.fileno(),
                stdout=remote_end.fileno(),
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            stack.pop_all()
        return proxy

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the object by which asyncio controls the process. asyncio calls this method once the command runs."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002 -- only stderr is a pipe
        """Keep the end of stderr. Reading stderr also keeps the command from blocking."""
        self._stderr = (self._stderr + data)[-_STDERR_LIMIT:]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 -- as above
        """Record that stderr is complete."""
        self._stderr_closed.set()

    def process_exited(self) -> None:
        """Record that the command has ended. From now on its pid may belong to another process."""
        self.has_ended.set()

    async def read_stderr(self) -> str:
        """Return the end of the command's stderr. Wait at most a second for the rest of stderr."""
        await _wait_briefly(_END_SECONDS, self._stderr_closed)
        return self._stderr.decode("utf-8", "replace").strip()

    async def end(self) -> None:
        """End the command and its process group, within a time limit.

        If the command has already ended, processes that it left in the background continue.
        """
        self.socket.close()
        try:
            for number in () if self.has_ended.is_set() else (signal.SIGHUP, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._transport.get_pid(), number)
                await _wait_briefly(_END_SECONDS, self.has_ended)
        finally:
            self._transport.close()  # close stderr: a background process may hold it open


async def _wait_briefly(seconds: float, event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
