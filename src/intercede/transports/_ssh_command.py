"""One command over one ssh channel: how argv gets there, what comes back, and how it is ended.

An ssh server hands one string to the user's login shell, whichever that is, after its rc files have said whatever they
say. So that string is the same for every command, and made of characters that no shell takes for anything else. It
starts a sh, which prints a mark; only then is the command sent, as the first line of stdin, where no login shell sees
it. When the command has ended another mark follows on both streams, behind all that it wrote, with its exit code.
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
from intercede.transports._streams import STDERR_KEPT, Kept, close, encoded

__all__ = ["Command", "command_line", "exit_code"]

_NOISE_KEPT, _WORDS_KEPT = 4096, 200
_MOST_CODE = 255
_FIRST_OF_MARK = "\x02\x03\x04\x05\x06\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19"
"""Bytes that hardly anything ends with: what looks like the beginning of a mark is held back until the next byte."""
_WINDOW = 2**22
"""So many bytes may be on their way unread: at 100 ms of round trip 40 MB a second. All of them are taken at once:
asyncssh opens the window anew whenever reading goes on, so that for each small piece taken another window would come."""
_TINY, _PROD_SECONDS = "tinyssh", 0.02
_FINISH_SECONDS = 10.0
_SIGNAL_SECONDS = 2.0
_CLOSE_SECONDS = 5.0

_START = 'exec /bin/sh -c \'echo {0}""{1} $$; echo {0}""{1} $$ >&2; read -r IC_LINE && eval "$IC_LINE"\''
"""The mark comes in two halves: a login shell that traces what it does would print it whole. ``read`` takes not a byte
more than its line (POSIX), so the rest of stdin is the command's; it fails where the connection is lost within it."""

_LINE = (
    b"unset IC_LINE; trap : HUP INT TERM; exec 3>&2 2>/dev/null; set -- '%(mark)b'; "
    b"(exec 2>&3 3>&-; %(newline)b%(command)b%(stdin)b); "
    b'IC_CODE=$?; echo "$1 $IC_CODE"; echo "$1 $IC_CODE" >&3\n'
)
"""What this sh says itself ("Killed") goes nowhere. It outlives a TERM to its group until the command has ended."""
_NEWLINE = b'set -- "$(printf "\\nx")"; set -- "${1%x}"; '

_FINISH = Path(__file__).with_name("_ssh_finish.sh").read_text("utf-8")
"""Ends a command with what it started, also where its sh leads no process group (dropbear)."""


def command_line(argv: Sequence[str], *, piped: bool, mark: str) -> bytes:
    """Write the line of sh that runs a command, and then tells its exit code behind the mark.

    Raises:
        InvalidSpecError: argv is empty, or holds what no argument can (a NUL, a lone surrogate).
    """
    words = encoded(argv)
    return _LINE % {
        b"mark": mark.encode(),
        b"newline": _NEWLINE if any(b"\n" in word for word in words) else b"",
        b"command": (b"" if words[0].startswith(b"-") else b"exec ") + b" ".join(map(_quoted, words)),  # it has options
        b"stdin": b"" if piped else b" </dev/null",
    }


def _quoted(word: bytes) -> bytes:
    """Quote for sh, on one line: a newline stands in $1."""
    return b"'" + word.replace(b"'", b"'\"'\"'").replace(b"\n", b"'\"$1\"'") + b"'"


def exit_code(told: bytes) -> int:
    """Read the code that a sh told: 128 + n for death by signal n; in ksh93 that is 256 + n, in yash 384 + n."""
    code = int(told)
    return code if code <= _MOST_CODE else 128 + code % 128


Another = Callable[[], contextlib.AbstractAsyncContextManager[asyncssh.SSHClientConnection]]
"""Makes a connection beside the one that a command has."""


class Command:
    """A command on a session of its own.

    ``begin``, ``run``, ``end`` where that did not return, and ``close`` in any case.
    """

    def __init__(self, connection: asyncssh.SSHClientConnection, another: Another) -> None:
        half, other = secrets.token_hex(8), secrets.token_hex(8)
        self._connection, self._another = connection, another
        self._prodding: asyncio.Task[None] | None = None
        self._begin, self._mark = half + other, secrets.choice(_FIRST_OF_MARK) + secrets.token_hex(16)
        self._half, self._start = half, _START.format(half, other)
        self._opening: asyncio.Task[asyncssh.SSHClientProcess[bytes]] | None = None
        self._pid: int | None = None

    async def begin(self) -> None:
        """Open the session, and wait until its sh runs. Nothing of the command has been sent by then.

        Raises:
            asyncssh.ChannelOpenError: The server allows no more sessions, or is gone.
            TransportError: The connection is lost, or the login shell ended instead.
        """
        if _TINY in str(self._connection.get_extra_info("server_version")):
            self._prodding = asyncio.create_task(self._prod())
        self._opening = asyncio.create_task(self._session(self._start))
        process = await asyncio.shield(self._opening)  # a request that nobody waits for would leave a session open
        self._stdout = _Stream(process.stdout, self._begin, self._mark)
        self._stderr = _Stream(process.stderr, self._begin, self._mark)
        self._process = process
        try:
            self._pid = await self._stdout.begun()
        except TransportError as error:
            raise TransportError(f"{error}{await self._stderr.last_words()}") from error

    async def _prod(self) -> None:
        """Have the server read on: tinysshd stops behind each message to ignore, of which asyncssh sends many."""
        while not self.is_lost:
            self._connection.send_debug("")
            await asyncio.sleep(_PROD_SECONDS)

    async def _session(self, command: str) -> asyncssh.SSHClientProcess[bytes]:
        """Open one, whatever an ssh_config says of terminals and forwarding."""
        return await self._connection.create_process(
            command, encoding=None, request_pty=False, x11_forwarding=False, window=_WINDOW
        )

    @property
    def is_refused(self) -> bool:
        """Whether the server, which is there, did not allow the session."""
        opening = self._opening
        error = opening.exception() if opening is not None and opening.done() and not opening.cancelled() else None
        return isinstance(error, asyncssh.ChannelOpenError) and not self.is_lost

    @property
    def has_session(self) -> bool:
        """Whether the server gave it one."""
        opening = self._opening
        return opening is not None and opening.done() and not opening.cancelled() and opening.exception() is None

    @property
    def is_lost(self) -> bool:
        """Whether its connection is gone."""
        return self._connection.is_closed()

    async def run(
        self, argv: Sequence[str], stdin: AsyncIterable[bytes] | None, stdout: ByteSink | None
    ) -> CommandResult:
        """Send the command, and wait for its end.

        Raises:
            TransportError: The connection is lost, or the command's end cannot be told.
            Exception: Whatever the sink or the iterator raised. The command goes on then: ``end`` it.
        """
        taken, said = Kept(), Kept(STDERR_KEPT)
        line = command_line(argv, piped=stdin is not None, mark=self._mark)
        feeder = asyncio.create_task(self._feed(line, stdin))
        readers = [
            asyncio.create_task(self._stdout.copied(stdout or taken)),
            asyncio.create_task(self._stderr.copied(said)),
        ]
        try:
            await _all_of(readers, feeder)
        finally:
            for task in (feeder, *readers):
                task.cancel()
            await asyncio.gather(feeder, *readers, return_exceptions=True)
        return CommandResult(returncode=readers[0].result(), stdout=bytes(taken.data), stderr=bytes(said.data))

    async def _feed(self, line: bytes, source: AsyncIterable[bytes] | None) -> None:
        if not await self._written(line) or source is None:
            return
        iterator = aiter(source)
        try:
            async for data in iterator:
                if not await self._written(data):
                    return
            self._process.stdin.write_eof()  # not when the iterator failed: what was sent would be taken for all
        finally:
            await close(iterator)

    async def _written(self, data: bytes) -> bool:
        """Send it; False: nobody reads any more."""
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except (OSError, asyncssh.Error):
            return False  # how it ended, or that the connection is lost, is read from the streams
        await asyncio.sleep(0)  # an iterator that never waits would hog the loop
        return True

    async def end(self) -> None:
        """End the command with what it started, in bounded time; where the connection is lost nobody can."""
        if self._pid is None:
            return  # its sh has nothing to run, and sees the end of stdin
        with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
            async with asyncio.timeout(_FINISH_SECONDS):
                await self._finish(self._pid)

    async def _finish(self, pid: int) -> None:
        """Have a sh end it; the server's own signals are not heard everywhere, and say nothing of how it went."""
        with contextlib.suppress(asyncssh.ChannelOpenError, TransportError, AuthenticationError):
            if await self._finished(pid):
                return
        self._process.terminate()
        await asyncio.wait({asyncio.ensure_future(self._process.wait_closed())}, timeout=_SIGNAL_SECONDS)
        self._process.kill()

    async def _finished(self, pid: int) -> bool:
        try:
            return await _finished(pid, self._half, Command(self._connection, self._another))
        except asyncssh.ChannelOpenError:
            if self.is_lost:
                raise
        async with self._another() as connection:  # this one gives no other session now
            return await _finished(pid, self._half, Command(connection, self._another))

    async def close(self) -> None:
        """Close the session, and wait until the server lets go of it, for a bounded time."""
        if self._opening is None:
            return
        self._opening.add_done_callback(_close_late)
        with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                process = await asyncio.shield(self._opening)
                process.close()
                await process.wait_closed()
        if self._prodding is not None:
            self._prodding.cancel()


async def _finished(pid: int, word: str, command: Command) -> bool:
    try:
        await command.begin()
        return (await command.run(["sh", "-c", _FINISH, "sh", str(pid), word], None, None)).returncode == 0
    finally:
        await command.close()


def _close_late(opening: "asyncio.Task[asyncssh.SSHClientProcess[bytes]]") -> None:
    """Close what a server opened when nobody waited any more: it counts as one of those that it allows."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


async def _all_of(readers: Sequence[asyncio.Task[int]], feeder: asyncio.Task[None]) -> None:
    """Wait for the readers; what any of them, the sink or the iterator raises passes at once."""
    waiting: set[asyncio.Task[int] | asyncio.Task[None]] = {feeder, *readers}
    while not waiting.isdisjoint(readers):
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()


class _Stream:
    """One stream of a command: what lies between the mark that begins it and the one that ends it."""

    def __init__(self, reader: asyncssh.SSHReader[bytes], begin: str, end: str) -> None:
        self._reader = reader
        self._begin = re.compile(rb"%b ([0-9]{1,10})\r?\n" % begin.encode())
        self._end = re.compile(rb"%b ([0-9]{1,3})\n" % end.encode())
        self._mark = end.encode()
        self._buffer = b""
        self._has_begun = False

    async def begun(self) -> int:
        """Read up to the first mark, and return the process id behind it. What comes before is some shell's noise."""
        while not (found := self._begin.search(self._buffer)):
            self._buffer = self._buffer[-_NOISE_KEPT:] + await self._more()
        self._buffer = self._buffer[found.end() :]
        self._has_begun = True
        return int(found[1])

    async def copied(self, sink: ByteSink) -> int:
        """Hand what the command writes to the sink; return the exit code behind the last mark.

        What the command left running may write behind that mark; nobody waits for it.
        """
        if not self._has_begun:
            await self.begun()
        while not (found := self._end.search(self._buffer)):
            if ready := self._ready():
                await sink.write(ready)
            self._buffer += await self._more()
        if found.start():
            await sink.write(self._buffer[: found.start()])
        return exit_code(found[1])

    def _ready(self) -> bytes:
        """Take from the buffer what is no part of the last mark for sure. Its first byte is nowhere else in it."""
        at = self._buffer.rfind(self._mark[:1])
        held = at >= 0 and self._mark.startswith(self._buffer[at : at + len(self._mark)])
        end = at if held else len(self._buffer)
        ready, self._buffer = self._buffer[:end], self._buffer[end:]
        return ready

    async def _more(self) -> bytes:
        try:
            data = await self._reader.read(_WINDOW)
        except (asyncssh.Error, OSError) as error:
            raise TransportError(f"the connection was lost while a command ran: {error}") from error
        if not data:
            raise TransportError(f"the session ended before its command did{self._said}")
        return data

    async def last_words(self) -> str:
        """Read to the end, which is there: a channel's streams end together. Return what to add to an error."""
        with contextlib.suppress(TransportError):
            while True:
                self._buffer = (self._buffer + await self._more())[-_NOISE_KEPT:]
        return self._said

    @property
    def _said(self) -> str:
        said = self._buffer.decode("utf-8", "replace").strip()[-_WORDS_KEPT:]
        return f"; the last that it said: {said!r}" if said else ""
