"""One command in one ssh session: how its arguments are sent, how its output comes back, and how it is ended.

An ssh server passes a single string to the user's login shell. That may be any shell, and its rc files may print
anything first. So this string is the same for every command, and consists of characters that no shell interprets. It
starts a sh that prints a mark. Only then is the command sent, as the first line of stdin, which the login shell never
sees. After the command has ended, a second mark with its exit code follows all output on both streams.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncIterable, Callable, Sequence
from pathlib import Path

import asyncssh

from intercede.contract.errors import AuthenticationError, TransportError
from intercede.contract.transport import ByteSink, CommandResult
from intercede.plugin_tools.transport import TailBuffer, encode_argv
from intercede.transports._streams import STDERR_LIMIT, close_source

__all__ = ["Command", "build_command_line", "parse_exit_code"]

_NOISE_LIMIT, _TAIL_LIMIT = 4096, 200
_MAX_EXIT_CODE = 255
_MARK_FIRST_BYTES = "\x02\x03\x04\x05\x06\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19"
"""The bytes with which an end mark may begin. Output rarely ends with such a byte, so output is rarely held back.

If output does end like the start of the mark, this end is held back until the next byte arrives.
"""
_WINDOW = 2**22
"""The number of bytes that may be in transit. It allows 40 MB per second at a round trip of 100 ms.

Each read asks for all of these bytes. asyncssh enlarges the window whenever reading resumes, so each small read would
enlarge it by another window.
"""
_TINYSSH, _KEEP_READING_SECONDS = "tinyssh", 0.02
_FINISH_SECONDS = 10.0
_SIGNAL_SECONDS = 2.0
_CLOSE_SECONDS = 5.0

_START = 'exec /bin/sh -c \'echo {0}""{1} $$; echo {0}""{1} $$ >&2; read -r IC_LINE && eval "$IC_LINE"\''
"""The command line of every session. Its sh prints a start mark, and then runs the first line of stdin.

The mark is written in two halves, because a login shell that traces its commands would print a whole mark too early.
``read`` takes no byte beyond its line (POSIX), so the rest of stdin belongs to the command. ``read`` fails if the
connection is lost within the line.
"""

_LINE = (
    b"unset IC_LINE; trap : HUP INT TERM; exec 3>&2 2>/dev/null; set -- '%(mark)b'; "
    b"(exec 2>&3 3>&-; %(newline)b%(command)b%(stdin)b); "
    b'IC_CODE=$?; echo "$1 $IC_CODE"; echo "$1 $IC_CODE" >&3\n'
)
"""The line that the sh of a session runs. It runs the command in a subshell.

The messages of that sh, such as "Killed", are discarded. The sh survives a TERM to its process group until the command
has ended.
"""
_NEWLINE = b'set -- "$(printf "\\nx")"; set -- "${1%x}"; '

_FINISH = Path(__file__).with_name("_ssh_finish.sh").read_text("utf-8")
"""The script that ends a command and all that the command started, even if its sh leads no process group (dropbear)."""


def build_command_line(argv: Sequence[str], *, piped: bool, mark: str) -> bytes:
    """Return a line for sh that runs the command, and then prints the mark and the exit code.

    Raises:
        InvalidSpecError: ``encode_argv`` refuses argv.
    """
    words = encode_argv(argv)
    # A name that starts with "-" cannot follow exec, which would take it for an option.
    prefix = b"" if words[0].startswith(b"-") else b"exec "
    return _LINE % {
        b"mark": mark.encode(),
        b"newline": _NEWLINE if any(b"\n" in word for word in words) else b"",
        b"command": prefix + b" ".join(map(_quote, words)),
        b"stdin": b"" if piped else b" </dev/null",
    }


def _quote(word: bytes) -> bytes:
    """Quote a word for sh, on one line: each newline of the word is written as $1, which holds a newline."""
    return b"'" + word.replace(b"'", b"'\"'\"'").replace(b"\n", b"'\"$1\"'") + b"'"


def parse_exit_code(digits: bytes) -> int:
    """Parse a code that a sh printed. Death by signal n is 128 + n; ksh93 prints 256 + n for it, yash 384 + n."""
    code = int(digits)
    return code if code <= _MAX_EXIT_CODE else 128 + code % 128


OpenConnection = Callable[[], contextlib.AbstractAsyncContextManager[asyncssh.SSHClientConnection]]
"""Opens a second connection to the server on which a command runs."""


class Command:
    """One command, in an ssh session of its own.

    Call ``begin``, then ``run``; if ``run`` raises, call ``end``. Always call ``close``.
    """

    def __init__(self, connection: asyncssh.SSHClientConnection, open_connection: OpenConnection) -> None:
        half, other = secrets.token_hex(8), secrets.token_hex(8)
        self._connection, self._open_connection = connection, open_connection
        self._keeping_reading: asyncio.Task[None] | None = None
        self._begin, self._mark = half + other, secrets.choice(_MARK_FIRST_BYTES) + secrets.token_hex(16)
        self._mark_half, self._start = half, _START.format(half, other)
        self._opening: asyncio.Task[asyncssh.SSHClientProcess[bytes]] | None = None
        self._pid: int | None = None

    async def begin(self) -> None:
        """Open the session and wait until its sh runs. Up to that point, no part of the command is sent.

        Raises:
            asyncssh.ChannelOpenError: The server allows no more sessions, or is gone.
            TransportError: The connection is lost, or the login shell ended early.
        """
        if _TINYSSH in str(self._connection.get_extra_info("server_version")):
            self._keeping_reading = asyncio.create_task(self._keep_server_reading())
        self._opening = asyncio.create_task(self._open_session(self._start))
        # The shield keeps the request from being cancelled: a cancelled request would leave a session open.
        process = await asyncio.shield(self._opening)
        self._stdout = _Stream(process.stdout, self._begin, self._mark)
        self._stderr = _Stream(process.stderr, self._begin, self._mark)
        self._process = process
        try:
            self._pid = await self._stdout.read_start_mark()
        except TransportError as error:
            raise TransportError(f"{error}{await self._stderr.read_to_end()}") from error

    async def _keep_server_reading(self) -> None:
        """Keep the server reading: tinysshd stops after each SSH_MSG_IGNORE, and asyncssh sends many of them."""
        while not self.is_lost:
            self._connection.send_debug("")
            await asyncio.sleep(_KEEP_READING_SECONDS)

    async def _open_session(self, command: str) -> asyncssh.SSHClientProcess[bytes]:
        """Open a session without terminal or forwarding, whatever an ssh_config says."""
        return await self._connection.create_process(
            command, encoding=None, request_pty=False, x11_forwarding=False, window=_WINDOW
        )

    @property
    def is_refused(self) -> bool:
        """Return whether the server refused the session although the connection is up."""
        opening = self._opening
        error = opening.exception() if opening is not None and opening.done() and not opening.cancelled() else None
        return isinstance(error, asyncssh.ChannelOpenError) and not self.is_lost

    @property
    def has_session(self) -> bool:
        """Return whether the server has opened the session."""
        opening = self._opening
        return opening is not None and opening.done() and not opening.cancelled() and opening.exception() is None

    @property
    def is_lost(self) -> bool:
        """Return whether the connection is gone."""
        return self._connection.is_closed()

    async def run(
        self, argv: Sequence[str], stdin: AsyncIterable[bytes] | None, stdout: ByteSink | None
    ) -> CommandResult:
        """Send the command and wait for its end.

        Raises:
            TransportError: The connection is lost, or the exit code cannot be read.
            Exception: Any exception of the sink or the iterator. The command still runs then: call ``end``.
        """
        stdout_buffer, stderr_buffer = TailBuffer(), TailBuffer(STDERR_LIMIT)
        line = build_command_line(argv, piped=stdin is not None, mark=self._mark)
        feeder = asyncio.create_task(self._feed(line, stdin))
        readers = [
            asyncio.create_task(self._stdout.copy_to(stdout or stdout_buffer)),
            asyncio.create_task(self._stderr.copy_to(stderr_buffer)),
        ]
        try:
            await _wait_for_readers(readers, feeder)
        finally:
            for task in (feeder, *readers):
                task.cancel()
            await asyncio.gather(feeder, *readers, return_exceptions=True)
        return CommandResult(
            returncode=readers[0].result(), stdout=bytes(stdout_buffer.data), stderr=bytes(stderr_buffer.data)
        )

    async def _feed(self, line: bytes, source: AsyncIterable[bytes] | None) -> None:
        if not await self._write(line) or source is None:
            return
        iterator = aiter(source)
        try:
            async for data in iterator:
                if not await self._write(data):
                    return
            self._process.stdin.write_eof()  # stdin stays open after an error: partial input would look complete
        finally:
            await close_source(iterator)

    async def _write(self, data: bytes) -> bool:
        """Send the data, and return False if the command does not read any more."""
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except (OSError, asyncssh.Error):
            # This is not raised: reading the streams shows whether the command has ended or the connection is lost.
            return False
        await asyncio.sleep(0)  # let other tasks run: an iterator that never waits would starve them
        return True

    async def end(self) -> None:
        """End the command and what it started, within a time limit. Do nothing if the connection is lost."""
        if self._pid is None:
            return  # no command was sent: the sh reads the end of stdin, and exits
        with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
            async with asyncio.timeout(_FINISH_SECONDS):
                await self._end_remotely(self._pid)

    async def _end_remotely(self, pid: int) -> None:
        """End the command with a script, or else with ssh's signals.

        The script comes first, because not every server honours ssh's signals, and no server reports their effect.
        """
        with contextlib.suppress(asyncssh.ChannelOpenError, TransportError, AuthenticationError):
            if await self._run_finish_script(pid):
                return
        self._process.terminate()
        await asyncio.wait({asyncio.ensure_future(self._process.wait_closed())}, timeout=_SIGNAL_SECONDS)
        self._process.kill()

    async def _run_finish_script(self, pid: int) -> bool:
        try:
            return await _finish_through(pid, self._mark_half, Command(self._connection, self._open_connection))
        except asyncssh.ChannelOpenError:
            if self.is_lost:
                raise
        # A second connection is needed, because the command's own connection allows no more sessions now.
        async with self._open_connection() as connection:
            return await _finish_through(pid, self._mark_half, Command(connection, self._open_connection))

    async def close(self) -> None:
        """Close the session, and wait until the server has released it, or a time limit is reached."""
        if self._opening is None:
            return
        self._opening.add_done_callback(_close_unused_session)
        with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                process = await asyncio.shield(self._opening)
                process.close()
                await process.wait_closed()
        if self._keeping_reading is not None:
            self._keeping_reading.cancel()


async def _finish_through(pid: int, half: str, command: Command) -> bool:
    try:
        await command.begin()
        return (await command.run(["sh", "-c", _FINISH, "sh", str(pid), half], None, None)).returncode == 0
    finally:
        await command.close()


def _close_unused_session(opening: "asyncio.Task[asyncssh.SSHClientProcess[bytes]]") -> None:
    """Close a session that the server opened too late to be used: it counts towards the server's limit."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


async def _wait_for_readers(readers: Sequence[asyncio.Task[int]], feeder: asyncio.Task[None]) -> None:
    """Wait for the readers. An exception of a reader, of the sink or of the iterator is raised at once."""
    waiting: set[asyncio.Task[int] | asyncio.Task[None]] = {feeder, *readers}
    while not waiting.isdisjoint(readers):
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()


class _Stream:
    """One output stream of a command: the bytes between the start mark and the end mark."""

    def __init__(self, reader: asyncssh.SSHReader[bytes], begin: str, end: str) -> None:
        self._reader = reader
        self._begin = re.compile(rb"%b ([0-9]{1,10})\r?\n" % begin.encode())
        self._end = re.compile(rb"%b ([0-9]{1,3})\n" % end.encode())
        self._mark = end.encode()
        self._buffer = b""
        self._has_begun = False

    async def read_start_mark(self) -> int:
        """Read up to the start mark, and return the pid that follows. Earlier bytes come from the login shell."""
        while not (found := self._begin.search(self._buffer)):
            self._buffer = self._buffer[-_NOISE_LIMIT:] + await self._read_more()
        self._buffer = self._buffer[found.end() :]
        self._has_begun = True
        return int(found[1])

    async def copy_to(self, sink: ByteSink) -> int:
        """Write the command's output to the sink, and return the exit code that follows the end mark.

        Processes that the command left running may write after the end mark; their output is ignored.
        """
        if not self._has_begun:
            await self.read_start_mark()
        while not (found := self._end.search(self._buffer)):
            if ready := self._take_ready():
                await sink.write(ready)
            self._buffer += await self._read_more()
        if found.start():
            await sink.write(self._buffer[: found.start()])
        return parse_exit_code(found[1])

    def _take_ready(self) -> bytes:
        """Remove and return the buffered bytes that cannot be the beginning of the end mark."""
        at = self._buffer.rfind(self._mark[:1])
        held = at >= 0 and self._mark.startswith(self._buffer[at : at + len(self._mark)])
        end = at if held else len(self._buffer)
        ready, self._buffer = self._buffer[:end], self._buffer[end:]
        return ready

    async def _read_more(self) -> bytes:
        try:
            data = await self._reader.read(_WINDOW)
        except (asyncssh.Error, OSError) as error:
            raise TransportError(f"the connection was lost while a command ran: {error}") from error
        if not data:
            raise TransportError(f"the session ended before its command{self._quote_tail()}")
        return data

    async def read_to_end(self) -> str:
        """Read to the end (both streams of a session end together), and return the tail for an error message."""
        with contextlib.suppress(TransportError):
            while True:
                self._buffer = (self._buffer + await self._read_more())[-_NOISE_LIMIT:]
        return self._quote_tail()

    def _quote_tail(self) -> str:
        tail = self._buffer.decode("utf-8", "replace").strip()[-_TAIL_LIMIT:]
        return f"; its last output: {tail!r}" if tail else ""
