"""The transport ``local``: runs commands on this machine, as children of this process.

Each command leads its own session, so ending it also ends what it started. The exception is a process that has
detached itself: it has started a session of its own, and its parent has ended (a daemon, a job runner). The transport
uses no thread and no child watcher: it watches a child through its pidfd, or polls if the system has no pidfds. It does
not change signal handlers, the environment or the working directory.
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
from typing import IO, Self

from intercede.contract.errors import ConfigError, TransportError
from intercede.contract.transport import ByteSink, CommandResult
from intercede.plugin_tools.transport import RunningCommands, TailBuffer, encode_argv, wait_uninterrupted
from intercede.transports._process_tree import ProcessTree
from intercede.transports._streams import STDERR_LIMIT, close_source

__all__ = ["LocalTransport"]

_CHUNK = 65536
_STDIN_PIPE_SIZE = 2**18
_MAX_PIPE_SIZE = 2**20
"""The largest capacity of a pipe, in bytes, unless root has raised the system's limit."""
_TERM_SECONDS = 2.0
_KILL_SECONDS = 5.0
_POLL_SECONDS = 0.02
_DRAIN_SECONDS = 0.5
_SHORTAGES = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""The errors of starting a process that mean a shortage on this machine; any other errno is about the command."""


class LocalTransport:
    """Runs commands on this machine. See ``intercede.contract.Transport`` for what a transport promises.

    A command has ended when its own process has ended. Processes that it left in the background are not waited for;
    they continue. Such a process may hold stdout or stderr open: its output is still read for half a second after the
    command's end, then reading stops. Output of the command itself is never lost by that.

    Ending a command (``run`` is cancelled, the sink or the iterator raises, the transport is left) sends TERM to its
    process group, its session, and its descendants with their groups and sessions. It waits at most two seconds for
    the command itself, sends KILL until no process is left, and reaps the command. Without /proc, only the process
    group is signalled.
    """

    def __init__(self) -> None:
        self._running = RunningCommands()

    async def __aenter__(self) -> Self:
        """Make ``run`` available; this transport needs no connection.

        Raises:
            ConfigError: This Python has no ``os.waitid`` to watch its children with: PyPy 8.0, and CPython before 3.13
                on macOS.
        """
        if not hasattr(os, "waitid"):
            python = sys.implementation.name
            raise ConfigError(
                f"the transport 'local' needs os.waitid, which this {python} does not have: "
                "use CPython (on macOS, 3.13 or newer)",
                field="transport",
                value=python,
                expected="a Python with os.waitid",
            )
        self._running.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """End every running command, so that its ``run`` raises NotOpenError."""
        await self._running.close()

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: AsyncIterable[bytes] | None = None,
        stdout: ByteSink | None = None,
    ) -> CommandResult:
        """Run a command on this machine and wait for its end.

        Args:
            argv: The command and its arguments. A command without a slash is searched for on PATH.
            stdin: Streamed to the command's stdin. None means ``/dev/null``.
            stdout: Receives the command's stdout while it runs. None means that the result holds all of it.

        Returns:
            The result of the command. The exit code is 127 if the command does not exist, and 126 if it cannot be
            executed; stderr then holds the reason.

        Raises:
            NotOpenError: The transport is not entered or was left, before the call or while the command ran.
            InvalidSpecError: argv is empty, is a text, or holds anything other than text; or an argument holds a NUL or
                a lone surrogate, except U+DC80 to U+DCFF. Each of these becomes one byte, 0x80 to 0xFF.
            TransportError: No process can be started now, or other code in this process took the exit code.
            Exception: Any exception of the sink or the iterator; the command is ended first.
        """
        return await self._running.run(_run_command, argv, stdin, stdout)


async def _run_command(
    argv: Sequence[str], stdin: AsyncIterable[bytes] | None, stdout: ByteSink | None
) -> CommandResult:
    words = encode_argv(argv)
    try:
        command = _Command(words, piped=stdin is not None)
    except OSError as error:
        await close_source(stdin)
        return _translate_start_error(words[0], error)
    stdout_buffer, stderr_buffer = TailBuffer(), TailBuffer(STDERR_LIMIT)
    stop_waiting = asyncio.get_running_loop().create_future()
    feeder = asyncio.create_task(_feed(command.stdin, stdin))
    readers = {
        asyncio.create_task(_read_pipe(command.stdout, stdout or stdout_buffer, stop_waiting)),
        asyncio.create_task(_read_pipe(command.stderr, stderr_buffer, stop_waiting)),
    }
    try:
        await _wait_for_exit(command.exited, {feeder, *readers})
        feeder.cancel()
        await _drain(feeder, readers, stop_waiting)
    except BaseException:
        await _abandon(command, {feeder, *readers})
        raise
    finally:
        # Close the pipes only now: a command may clean up after TERM, and a closed pipe would kill the command.
        command.close()
    return CommandResult(returncode=command.reap(), stdout=bytes(stdout_buffer.data), stderr=bytes(stderr_buffer.data))


def _translate_start_error(name: bytes, error: OSError) -> CommandResult:
    """Return the result that a shell gives: 127 if the command does not exist, 126 if it cannot be executed."""
    if error.errno in _SHORTAGES:
        raise TransportError(
            f"cannot start a process for {name.decode(errors='replace')!r}: {error.strerror}"
        ) from error
    message = name + b": " + str(error.strerror).encode() + b"\n"
    return CommandResult(returncode=127 if error.errno == errno.ENOENT else 126, stderr=message)


async def _wait_for_exit(exited: asyncio.Future[None], tasks: set[asyncio.Task[None]]) -> None:
    """Wait for the command's exit. An exception that the sink or the iterator raises before that is raised at once."""
    waiting: set[asyncio.Future[None]] = {exited, *tasks}
    while exited in waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()


async def _drain(
    feeder: asyncio.Task[None], readers: set[asyncio.Task[None]], stop_waiting: asyncio.Future[None]
) -> None:
    """Wait until the feeder and the readers have ended, after the command's exit.

    ``stop_waiting`` is done half a second later. From then on, a reader reads only what is left in its pipe.
    """
    timer = asyncio.get_running_loop().call_later(_DRAIN_SECONDS, stop_waiting.set_result, None)
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
        command.reap_later()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _feed(pipe: IO[bytes] | None, source: AsyncIterable[bytes] | None) -> None:
    if pipe is None or source is None:
        return
    iterator = aiter(source)
    try:
        async for data in iterator:
            if not await _write_all(pipe.fileno(), data):
                break
        # After an error of the iterator, stdin stays open: the command would mistake partial input for all of it.
        pipe.close()
    finally:
        await close_source(iterator)


async def _write_all(fd: int, data: bytes) -> bool:
    """Write all of the data, and return False if the reader has closed the pipe."""
    loop = asyncio.get_running_loop()
    rest = memoryview(data)
    try:
        while rest := _write_some(fd, rest):
            await _wait_until_ready(fd, loop.add_writer, loop.remove_writer)
    except BrokenPipeError:
        return False
    await asyncio.sleep(0)  # let other tasks run: a fast reader and an iterator that never waits would starve them
    return True


def _write_some(fd: int, data: memoryview) -> memoryview:
    try:
        return data[os.write(fd, data) :]
    except BlockingIOError:
        return data


async def _read_pipe(pipe: IO[bytes], sink: ByteSink, stop_waiting: asyncio.Future[None]) -> None:
    """Read a pipe to end of file, and write the data to the sink.

    Once ``stop_waiting`` is done, read at most the capacity of a pipe, because a process may refill the pipe for ever.
    """
    loop = asyncio.get_running_loop()
    owed = _MAX_PIPE_SIZE
    while owed > 0:
        await _wait_until_ready(pipe.fileno(), loop.add_reader, loop.remove_reader, stop_waiting)
        last = stop_waiting.done()
        try:
            data = os.read(pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return  # stop_waiting is done, and the pipe is empty
        if not data:
            return
        await sink.write(data)
        if last:
            owed -= len(data)


async def _wait_until_ready(
    fd: int,
    add: Callable[[int, Callable[[], None]], None],
    remove: Callable[[int], bool],
    stop_waiting: asyncio.Future[None] | None = None,
) -> None:
    """Wait until the descriptor is ready or ``stop_waiting`` is done.

    Other tasks always get a turn before this returns, so that a fast peer cannot starve them.
    """
    ready = asyncio.get_running_loop().create_future()

    def wake(_: object = None) -> None:
        if not ready.done():
            ready.set_result(None)

    add(fd, wake)
    if stop_waiting is not None:
        stop_waiting.add_done_callback(wake)
    try:
        await ready
    finally:
        remove(fd)
        if stop_waiting is not None:
            stop_waiting.remove_done_callback(wake)


class _Command:
    """A running command, the leader of its session.

    It is reaped last: until then the system cannot reuse its pid, so signals reach its own group only.
    """

    def __init__(self, argv: list[bytes], *, piped: bool) -> None:
        self._process = subprocess.Popen(  # noqa: S603 -- no shell; running commands is the purpose
            argv,
            bufsize=0,
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101 -- for the type checkers: it was requested
        assert self._process.stderr is not None  # noqa: S101 -- as above
        self.stdin, self.stdout, self.stderr = self._process.stdin, self._process.stdout, self._process.stderr
        for pipe in self._list_pipes():
            os.set_blocking(pipe.fileno(), False)
        if self.stdin is not None:
            _enlarge_pipe(self.stdin)
        self.exited = asyncio.get_running_loop().create_future()
        self._watch_exit()

    def _list_pipes(self) -> list[IO[bytes]]:
        return [pipe for pipe in (self.stdin, self.stdout, self.stderr) if pipe is not None]

    def _watch_exit(self) -> None:
        try:
            pidfd = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):
            self._poll_exit()  # this is not Linux, or an old Linux, or a sandbox forbids pidfd_open
        else:
            asyncio.get_running_loop().add_reader(pidfd, self._handle_exit, pidfd)

    def _handle_exit(self, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        self.exited.set_result(None)

    def _poll_exit(self, wait: float = 0.001) -> None:
        if self._has_exited():
            self.exited.set_result(None)
        else:
            asyncio.get_running_loop().call_later(wait, self._poll_exit, min(2 * wait, 0.05))

    def _has_exited(self) -> bool:
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True  # other code in this process has reaped the command

    async def end(self) -> None:
        """End the command and what it started, within a time limit, even if this call is cancelled repeatedly."""
        await wait_uninterrupted(asyncio.ensure_future(self._end()), _TERM_SECONDS + 2 * _KILL_SECONDS)

    async def _end(self) -> None:
        tree = ProcessTree(self._process.pid)
        # Stop every process before any of them gets TERM. Otherwise a script that waits for another process could
        # continue with its next line when that process ends first.
        await tree.suspend()
        await tree.signal_all(signal.SIGTERM, signal.SIGCONT)
        await asyncio.wait({self.exited}, timeout=_TERM_SECONDS)
        clock = asyncio.get_running_loop().time
        deadline = clock() + _KILL_SECONDS
        stop_and_kill = (signal.SIGSTOP, signal.SIGKILL)
        while await tree.signal_all(*stop_and_kill) and clock() < deadline:  # noqa: ASYNC110 -- ends raise no event
            await asyncio.sleep(_POLL_SECONDS)
        await asyncio.wait({self.exited}, timeout=_KILL_SECONDS)

    def close(self) -> None:
        """Close our ends of the command's pipes."""
        for pipe in self._list_pipes():
            pipe.close()

    def reap_later(self) -> None:
        """Reap the command and ignore its exit code; if even KILL has not ended it yet, reap it when it exits."""
        if self.exited.done():
            with contextlib.suppress(TransportError):
                self.reap()
        else:
            self.exited.add_done_callback(lambda _: self.reap_later())

    def reap(self) -> int:
        """Return the exit code of a command that has exited, in the form that a shell reports."""
        self._process.returncode = 0  # Popen must not wait for the child
        try:
            _, status = os.waitpid(self._process.pid, 0)
        except ChildProcessError:
            message = (
                "the command's exit code is lost: this process ignores SIGCHLD, or other code in it reaped the command"
            )
            raise TransportError(message, retryable=False) from None
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


def _enlarge_pipe(pipe: IO[bytes]) -> None:
    """Enlarge a pipe, if the system allows it. The event loop then needs a third of the turns for the same bytes."""
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _STDIN_PIPE_SIZE)
