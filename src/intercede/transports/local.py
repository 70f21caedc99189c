"""The transport ``local``: commands run on this machine, as children of this process.

Every command leads a session of its own, so that ending it ends what it started, except what has detached itself: a
session whose starter has ended (a daemon, a runner). There is no thread and no child watcher: the end of a child is seen through its
pidfd, or by looking where the system has none. Signal handlers, environment and working directory stay as they are.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterable, Callable, Sequence
from types import TracebackType
from typing import IO, Self

from intercede.contract.errors import ConfigError, NotOpenError, TransportError
from intercede.contract.transport import ByteSink, CommandResult
from intercede.transports._family import Family
from intercede.transports._streams import STDERR_KEPT, Kept, close, encoded, is_being_cancelled, uncancelled

__all__ = ["LocalTransport"]

_CHUNK = 65536
_STDIN_PIPE = 2**18
_PIPE_AT_MOST = 2**20
"""As much as can lie in a pipe, unless root made it larger."""
_TERM_SECONDS = 2.0
_KILL_SECONDS = 5.0
_LOOK_SECONDS = 0.02
_DRAIN_SECONDS = 0.5
_NOTHING_LEFT = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""What starting a process fails with for want of resources here; any other errno is about the command."""


class LocalTransport:
    """Runs commands on this machine. See ``intercede.contract.Transport`` for what that promises.

    A command is over when its own process is: what it left running in the background is not waited for, and lives on.
    Such a process may hold stdout or stderr open; what it writes is still taken for half a second after the command's
    end, then reading stops. Nothing that the command itself wrote is ever lost by that.

    Ending a command (cancelling ``run``, an exception of sink or iterator, leaving) sends TERM to its process group, its
    session and its descendants with theirs, waits at most two seconds for the command itself, sends KILL to what is left
    until nothing is, and reaps the command. Where there is no /proc that is the process group alone.
    """

    def __init__(self) -> None:
        self._open = False
        self._runs: set[asyncio.Task[CommandResult]] = set()

    async def __aenter__(self) -> Self:
        """Make ``run`` available; there is nothing to connect to.

        Raises:
            ConfigError: This Python cannot watch its children: PyPy 8.0 has no ``os.waitid``, nor CPython before 3.13 on macOS.
        """
        if not hasattr(os, "waitid"):
            python = sys.implementation.name
            raise ConfigError(
                f"the transport 'local' needs os.waitid, which this {python} does not have: use CPython, on macOS 3.13 or newer",
                field="transport",
                value=python,
                expected="a Python with os.waitid",
            )
        self._open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """End every command that still runs; each such ``run`` raises NotOpenError."""
        self._open = False
        runs, self._runs = self._runs, set()
        for run in runs:
            run.cancel()
        if runs:
            await asyncio.wait(runs)

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: AsyncIterable[bytes] | None = None,
        stdout: ByteSink | None = None,
    ) -> CommandResult:
        """Run a command here and wait for its end.

        Args:
            argv: The command, found on PATH unless it holds a slash, and its arguments.
            stdin: Streamed to its stdin; None: ``/dev/null``.
            stdout: Takes its stdout as it comes; None: all of it is in the result.

        Returns:
            How it ended. 127: there is no such command; 126: it cannot be executed; stderr then says why.

        Raises:
            NotOpenError: Before entering or after leaving; also when the transport is left while the command runs.
            InvalidSpecError: argv is empty, or holds what no argument can (a NUL, a lone surrogate).
            TransportError: No process can be started now, or somebody else in this process took the exit code.
            Exception: Whatever the sink or the iterator raised; the command is ended first.
        """
        if not self._open:
            raise NotOpenError("run was called on a local transport that is not open: use it inside 'async with'")
        run = asyncio.create_task(_run(encoded(argv), stdin, stdout))
        self._runs.add(run)
        try:
            return await run
        except asyncio.CancelledError:
            if run in self._runs or is_being_cancelled():
                raise
            raise NotOpenError(f"the local transport was left while {argv[0]!r} ran: the command was ended") from None
        finally:
            self._runs.discard(run)


async def _run(argv: list[bytes], stdin: AsyncIterable[bytes] | None, stdout: ByteSink | None) -> CommandResult:
    try:
        command = _Command(argv, piped=stdin is not None)
    except OSError as error:
        await close(stdin)
        return _not_started(argv[0], error)
    taken, said = Kept(), Kept(STDERR_KEPT)
    over = asyncio.get_running_loop().create_future()
    feeder = asyncio.create_task(_feed(command.stdin, stdin))
    readers = {
        asyncio.create_task(_read(command.stdout, stdout or taken, over)),
        asyncio.create_task(_read(command.stderr, said, over)),
    }
    try:
        await _watch(command.exited, {feeder, *readers})
        feeder.cancel()
        await _drain(feeder, readers, over)
    except BaseException:
        await _abandon(command, {feeder, *readers})
        raise
    finally:
        command.close()  # no sooner: TERM is for tidying up, and a closed pipe would end that
    return CommandResult(returncode=command.reap(), stdout=bytes(taken.data), stderr=bytes(said.data))


def _not_started(name: bytes, error: OSError) -> CommandResult:
    """Tell it as a shell would: 127 for what is not there, 126 for what cannot be executed."""
    if error.errno in _NOTHING_LEFT:
        raise TransportError(
            f"no process could be started for {name.decode(errors='replace')!r}: {error.strerror}"
        ) from error
    message = name + b": " + str(error.strerror).encode() + b"\n"
    return CommandResult(returncode=127 if error.errno == errno.ENOENT else 126, stderr=message)


async def _watch(exited: asyncio.Future[None], tasks: set[asyncio.Task[None]]) -> None:
    """Wait for the command's exit; what sink or iterator raise before passes."""
    waiting: set[asyncio.Future[None]] = {exited, *tasks}
    while exited in waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()


async def _drain(feeder: asyncio.Task[None], readers: set[asyncio.Task[None]], over: asyncio.Future[None]) -> None:
    """Wait for all of them after the exit; ``over`` tells the readers when to wait for no more."""
    timer = asyncio.get_running_loop().call_later(_DRAIN_SECONDS, over.set_result, None)
    waiting = {feeder, *readers}
    try:
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                if one is not feeder or not one.cancelled():
                    one.result()
    finally:
        timer.cancel()


async def _abandon(command: "_Command", tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    try:
        await command.end()
    finally:
        command.forget()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _feed(pipe: IO[bytes] | None, source: AsyncIterable[bytes] | None) -> None:
    if pipe is None or source is None:
        return
    iterator = aiter(source)
    try:
        async for data in iterator:
            if not await _written(pipe.fileno(), data):
                break
        pipe.close()  # not when the iterator failed: the command would take what it got for all
    finally:
        await close(iterator)


async def _written(fd: int, data: bytes) -> bool:
    """Write all of it; False: nobody reads any more."""
    loop = asyncio.get_running_loop()
    rest = memoryview(data)
    try:
        while rest := _after_write(fd, rest):
            await _ready(fd, loop.add_writer, loop.remove_writer)
    except BrokenPipeError:
        return False
    await asyncio.sleep(0)  # a fast reader and an iterator that never waits would hog the loop
    return True


def _after_write(fd: int, data: memoryview) -> memoryview:
    try:
        return data[os.write(fd, data) :]
    except BlockingIOError:
        return data


async def _read(pipe: IO[bytes], sink: ByteSink, over: asyncio.Future[None]) -> None:
    """Read to the end of file; once it is over, to the bottom of the pipe: it may be refilled for ever."""
    loop = asyncio.get_running_loop()
    owed = _PIPE_AT_MOST
    while owed > 0:
        await _ready(pipe.fileno(), loop.add_reader, loop.remove_reader, over)
        last = over.done()
        try:
            data = os.read(pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return  # over, and nothing there
        if not data:
            return
        await sink.write(data)
        if last:
            owed -= len(data)


async def _ready(
    fd: int,
    add: Callable[[int, Callable[[], None]], None],
    remove: Callable[[int], bool],
    over: asyncio.Future[None] | None = None,
) -> None:
    """Wait until the descriptor is, or it is over. Always by way of the loop, so that a fast peer does not hog it."""
    ready = asyncio.get_running_loop().create_future()

    def wake(_: object = None) -> None:
        if not ready.done():
            ready.set_result(None)

    add(fd, wake)
    if over is not None:
        over.add_done_callback(wake)
    try:
        await ready
    finally:
        remove(fd)
        if over is not None:
            over.remove_done_callback(wake)


class _Command:
    """A running command, the leader of its session.

    It is reaped last: until then its number cannot be given to another process, so that signals reach its group only.
    """

    def __init__(self, argv: list[bytes], *, piped: bool) -> None:
        self._process = subprocess.Popen(  # noqa: S603  no shell, and running what was asked for is the purpose
            argv,
            bufsize=0,
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101  for the type checkers: it was asked for
        assert self._process.stderr is not None  # noqa: S101  likewise
        self.stdin, self.stdout, self.stderr = self._process.stdin, self._process.stdout, self._process.stderr
        for pipe in self._pipes():
            os.set_blocking(pipe.fileno(), False)
        if self.stdin is not None:
            _widen(self.stdin)
        self.exited = asyncio.get_running_loop().create_future()
        self._notice_exit()

    def _pipes(self) -> list[IO[bytes]]:
        return [pipe for pipe in (self.stdin, self.stdout, self.stderr) if pipe is not None]

    def _notice_exit(self) -> None:
        try:
            pidfd = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):
            self._look()  # not Linux, an old one, or a sandbox that forbids it
        else:
            asyncio.get_running_loop().add_reader(pidfd, self._noticed, pidfd)

    def _noticed(self, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        self.exited.set_result(None)

    def _look(self, wait: float = 0.001) -> None:
        if self._has_exited():
            self.exited.set_result(None)
        else:
            asyncio.get_running_loop().call_later(wait, self._look, min(2 * wait, 0.05))

    def _has_exited(self) -> bool:
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True  # somebody else has reaped it

    async def end(self) -> None:
        """End it with what it started, in bounded time, however often that is cancelled."""
        await uncancelled(asyncio.ensure_future(self._end()), _TERM_SECONDS + 2 * _KILL_SECONDS)

    async def _end(self) -> None:
        family = Family(self._process.pid)
        # All stand still until each was asked: no script goes on because what it waited for was the first to end.
        await family.hold()
        await family.reach(signal.SIGTERM, signal.SIGCONT)
        await asyncio.wait({self.exited}, timeout=_TERM_SECONDS)
        clock = asyncio.get_running_loop().time
        deadline = clock() + _KILL_SECONDS
        while await family.reach(signal.SIGSTOP, signal.SIGKILL) and clock() < deadline:  # noqa: ASYNC110 -- no event tells that they are gone
            await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.wait({self.exited}, timeout=_KILL_SECONDS)

    def close(self) -> None:
        """Close our ends of its pipes."""
        for pipe in self._pipes():
            pipe.close()

    def forget(self) -> None:
        """Reap it, whatever its code; where not even KILL has ended it yet, as soon as it exits."""
        if self.exited.done():
            with contextlib.suppress(TransportError):
                self.reap()
        else:
            self.exited.add_done_callback(lambda _: self.forget())

    def reap(self) -> int:
        """The exit code, as a shell would tell it, of a command that has exited."""
        self._process.returncode = 0  # nothing for Popen to wait for any more
        try:
            _, status = os.waitpid(self._process.pid, 0)
        except ChildProcessError:
            message = "how the command ended cannot be told: SIGCHLD is ignored in this process, or its code was taken"
            raise TransportError(message, retryable=False) from None
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


def _widen(pipe: IO[bytes]) -> None:
    """Fewer turns of the loop for the same bytes: measured, three times as fast. Not everywhere, nor always granted."""
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _STDIN_PIPE)
