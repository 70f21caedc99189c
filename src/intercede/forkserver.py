"""A fork server: it starts Python processes quickly, by forking a process that has already imported their modules.

An interpreter with pydantic takes a sixth of a second of processor time to start; a fork takes a few milliseconds. The
server imports the modules that the client names, runs no other code, and has one thread, so forking it is safe.

For each process the server forks a *keeper*. The keeper forks the process, waits for its end, and kills all that the
process left running. A socket between the client and the keeper carries the request and the exit code. If the client
closes its end of the socket, or exits, the keeper kills the process. Only the keeper uses the process id, and only
before it reaps the process, so the id is never that of another one. Without ``os.waitid`` (on PyPy, and before CPython
3.13 on macOS) the keeper must reap the process to see its end, and kills the process group immediately after that.
"""

import atexit
import fcntl
import gc
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module, invalidate_caches
from socket import AF_UNIX, MSG_DONTWAIT, SHUT_WR, SOCK_STREAM, recv_fds, send_fds, socket, socketpair
from threading import Lock
from typing import cast

__all__ = ["ForkServer", "ForkServerError", "Process"]

_MAIN = """
import sys; modules = int(sys.argv[1]); sys.path[:] = sys.argv[modules + 2 :]
from intercede.forkserver import _run_server
exec(_run_server(sys.argv[2 : modules + 2]))
"""
"""The program of a server. ``_run_server`` returns only in a new process: it returns the source to execute.

After the source, the new process exits as an interpreter does.
"""
_READ_AT_START = ("LANG", "LC_", "LD_", "PYTHON")
"""The prefixes of variables that the dynamic loader and the Python interpreter read only when a process starts."""
_PATIENCE = 10.0
"""Seconds to wait for an answer of a server or a keeper. Both answer immediately, unless they are suspended."""
_MAX_DESCRIPTORS = 16
_HIGH_DESCRIPTOR = 32
"""A number above all descriptors of a keeper.

A new process first duplicates the descriptors of the request to numbers from this number on. The process then closes
all descriptors from 3 up to this number, and moves the duplicates to the numbers that the request contains."""
_MAX_ANSWER = 4096
"""The maximum number of bytes in an answer of a server or a keeper."""


class ForkServerError(Exception):
    """A process could not be started, or the exit code of a process is unknown.

    The exit code is unknown if the server or the keeper of the process was killed.
    """


class Process:
    """A process that a fork server started, as the client sees it.

    Args:
        connection: The client's end of the socket.
        server: The server that started the process.
    """

    def __init__(self, connection: socket, server: "_Server") -> None:
        self._connection, self._server = connection, server

    def wait(self, seconds: float) -> int:
        """Wait until the process ends, and return its exit code. The exit code is -n if signal n ended the process.

        Raises:
            TimeoutError: The process is still running after ``seconds``.
            ForkServerError: The exit code is unknown.
        """
        self._connection.settimeout(seconds)
        answer = b""
        with suppress(ConnectionResetError):
            answer = self._connection.recv(_MAX_ANSWER)
        return self._parse_code(answer)

    async def wait_async(self) -> int:
        """Wait in the event loop until the process ends, and return its exit code.

        The exit code is -n if signal n ended the process.

        Raises:
            ForkServerError: The exit code is unknown.
        """
        from asyncio import get_running_loop  # noqa: PLC0415 -- slow to load, and ``wait`` does without

        self._connection.setblocking(False)  # noqa: FBT003 -- its only parameter
        answer = b""
        with suppress(ConnectionResetError):
            answer = await get_running_loop().sock_recv(self._connection, _MAX_ANSWER)
        return self._parse_code(answer)

    def kill(self) -> None:
        """Request a kill of the process and its process group. ``wait`` and ``wait_async`` return after the kill."""
        with suppress(OSError):  # the request fails if the keeper of the process has already ended
            self._connection.shutdown(SHUT_WR)

    def close(self) -> None:
        """Kill the process if it is running, wait until that is done, and release the connection."""
        self.kill()
        self._connection.settimeout(_PATIENCE)
        with suppress(OSError):  # the wait times out if the keeper is suspended: the client cannot resume the keeper
            while self._connection.recv(_MAX_ANSWER):
                pass
        self._connection.close()

    def _parse_code(self, answer: bytes) -> int:
        if not answer:
            raise ForkServerError(f"the keeper of the process has ended ({self._server.read_last_words()})")
        return int(answer)


class ForkServer:
    """Starts Python processes in which some modules are already imported.

    The server starts with the first process. It starts again if it was killed, or if this process has changed something
    that a running server cannot take over: variables that an interpreter reads once, resource limits, user and groups.

    Args:
        preloaded: The names of the modules to import: none of a plugin, and none that starts a thread.
    """

    def __init__(self, *preloaded: str) -> None:
        self._preloaded = preloaded
        self._running: _Server | None = None
        self._lock = Lock()

    def open(self) -> None:
        """Start the server if it is not running. Processes that are forked from the current process share the server.

        Raises:
            OSError: No process can be started.
        """
        with self._lock:
            self._get_server()

    def start(
        self,
        source: str,
        given: Mapping[str, object],
        descriptors: Mapping[int, int],
        *,
        may_leave: bool = False,
    ) -> Process:
        """Start a process that executes Python source in ``__main__``, and return the process.

        The process is like a new interpreter: it has the environment, the working directory, the umask and the
        ``sys.path`` of this process, a session of its own, and ``os.devnull`` as stdin, stdout and stderr. Only the
        modules that the server has imported are not looked up on that path again.

        Args:
            source: The Python source to execute.
            given: Names to define in ``__main__``, with their values: basic types, or objects to convert to text.
            descriptors: Descriptors of this process to pass on, by their numbers in the new process.
            may_leave: True lets the children of the process continue after the end of the process. False kills the
                process group at the end of the process.

        Raises:
            ForkServerError: The server exits at once.
            OSError: No process can be started.
        """
        numbers, paths = list(descriptors), _list_path()
        request = _Request(source, given, may_leave, numbers, dict(os.environ), _read_umask(), paths)
        with ExitStack() as unless_started:
            ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
            unless_started.callback(ours.close)
            with theirs, _open_working_directory() as here:
                server = self._send_request(theirs.fileno(), here, *descriptors.values())
            ours.settimeout(_PATIENCE)
            with suppress(ConnectionError):  # ``wait`` reports that the connection is lost
                ours.sendall(json.dumps(vars(request), default=str).encode() + b"\n")
            unless_started.pop_all()
        return Process(ours, server)

    def _send_request(self, *descriptors: int) -> "_Server":
        """Send the descriptors of a request to the server, and return the server. A stopped server is started again."""
        with self._lock:
            server = self._get_server()
            if not server.send(descriptors):  # the server was killed
                server = self._get_server()
                if not server.send(descriptors):
                    raise ForkServerError(f"the fork server exits at once ({server.read_last_words()})")
            return server

    def _get_server(self) -> "_Server":
        if self._running is None or not self._running.is_up_to_date():
            if self._running is not None:
                self._running.stop()
            self._running = _Server(self._preloaded)
        return self._running


@dataclass(frozen=True)
class _Request:
    """The properties of a new process, except its descriptors."""

    source: str
    given: Mapping[str, object]
    may_leave: bool
    numbers: list[int]
    environment: dict[str, str]
    umask: int
    path: list[str]


class _Server:
    """A server process."""

    def __init__(self, preloaded: Sequence[str]) -> None:
        self._owner, self._inherited, self._is_running = os.getpid(), _read_inherited(), True
        self._control, theirs = socketpair(AF_UNIX, SOCK_STREAM)
        self._identity = _get_identity(self._control)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter, no shell
                [sys.executable, "-P", "-c", _MAIN, str(len(preloaded)), *preloaded, *_list_path()],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        atexit.register(self.stop)

    def is_up_to_date(self) -> bool:
        """Return whether the server seems to run and still has the properties that a new server would inherit."""
        return self._is_running and self._inherited == _read_inherited()

    def send(self, descriptors: Sequence[int]) -> bool:
        """Send the descriptors of a request, and return False if the server has ended."""
        try:
            self._is_running = self._has_control()
            if self._is_running:
                send_fds(self._control, [b"\0"], descriptors)
        except OSError:
            self._is_running = False
        return self._is_running

    def read_last_words(self) -> str:
        """Return the server's report about its own end."""
        with suppress(OSError):
            if self._has_control() and (words := self._control.recv(_MAX_ANSWER, MSG_DONTWAIT)):
                return words.decode(errors="replace")
        return "without a report"

    def stop(self) -> None:
        """Stop the server. The processes that the server has started continue.

        In a process that did not start the server, only the connection to the server is closed.
        """
        atexit.unregister(self.stop)
        if os.getpid() != self._owner:
            # The calls of kill() and wait() below do nothing, because the server is not a child of this process.
            self._process.returncode = 0
        elif self._has_control():
            with suppress(OSError, subprocess.TimeoutExpired):
                self._control.shutdown(SHUT_WR)
                self._process.wait(_PATIENCE)
        if self._has_control():
            self._control.close()
        self._control.detach()
        self._process.kill()
        self._process.wait()

    def _has_control(self) -> bool:
        """Return whether the descriptor is still the server's socket, and not closed or reused by other code."""
        return _get_identity(self._control) == self._identity


def _get_identity(connection: socket) -> tuple[int, int] | None:
    try:
        status = os.fstat(connection.fileno())
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def _open_working_directory() -> Generator[int]:
    """Open the working directory, and yield its descriptor. This works even if the directory was removed."""
    number = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))
    try:
        yield number
    finally:
        os.close(number)


def _read_inherited() -> tuple[object, ...]:
    """Return the properties of this process that a server inherits at its start and cannot change later."""
    variables = {name: value for name, value in os.environ.items() if name.startswith(_READ_AT_START)}
    variables.pop("PYTHONPATH", None)  # PYTHONPATH is left out, because each request contains sys.path
    limits = [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")]
    return sys.executable, variables, limits, os.getuid(), os.geteuid(), os.getgid(), os.getegid(), os.getgroups()


def _list_path() -> list[str]:
    return [entry for entry in sys.path if isinstance(cast("object", entry), str)]


def _read_umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


# The server, its keepers and the processes


def _run_server(modules: Sequence[str]) -> str:
    """Run a fork server. The function returns only in the new processes: it returns the source to execute."""
    control = socket(fileno=0)
    try:
        client, *descriptors = _wait_for_request(control, modules)
    except Exception as error:  # noqa: BLE001 -- the client passes it on
        control.send(f"{type(error).__name__}: {error}".encode()[:_MAX_ANSWER])
        os._exit(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, control.detach())
    os.close(nothing)
    return _run_keeper(socket(fileno=client), descriptors)


def _wait_for_request(control: socket, modules: Sequence[str]) -> list[int]:
    """Serve requests until the client has ended.

    The function returns only in a keeper, a process that is forked for each request: it returns the request's
    descriptors.
    """
    for module in modules:
        import_module(module)
    if hasattr(gc, "freeze"):  # PyPy has no gc.freeze
        gc.freeze()  # the garbage collectors of new processes then ignore the objects that exist now
    os.chdir("/")
    sys.argv[:] = ["-c"]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # if SIGCHLD is ignored, the kernel reaps the keepers
    while True:
        asked, descriptors, _, _ = recv_fds(control, 1, _MAX_DESCRIPTORS)
        if not asked:
            os._exit(0)
        if not os.fork():
            return descriptors
        for each in descriptors:
            os.close(each)


def _run_keeper(client: socket, descriptors: Sequence[int]) -> str:
    """Fork a process, wait until the process ends, and send its exit code to the client.

    The function returns only in the new process: it returns the source to execute.
    """
    with client.makefile("rb") as lines:
        line = lines.readline()
    if not line.endswith(b"\n"):  # the client has ended
        os._exit(0)
    request = _Request(**json.loads(line))
    bell = _make_wakeup_pipe()
    process = os.fork()
    if not process:
        client.detach()
        return _become_process(request, descriptors)
    for each in descriptors:
        os.close(each)
    code = _watch(process, client.fileno(), bell, request)
    with suppress(OSError):  # the client has ended
        client.send(b"%d" % code)
    os._exit(0)


def _make_wakeup_pipe() -> int:
    """Return a descriptor that becomes readable when a child of this process ends."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGCHLD, _ignore_signal)
    signal.set_wakeup_fd(writing)
    return reading


def _ignore_signal(_signal: int, _frame: object) -> None:
    """Do nothing. Python writes a signal to the wake-up descriptor only if the signal has a handler: this function."""


def _watch(process: int, client: int, bell: int, request: _Request) -> int:
    """Wait until a process ends, and return its exit code. Kill the process if its client closes the socket.

    Before the return, kill the process group as well, unless the process has ended and may leave children.
    """
    abandoned, over, status = False, *_check_end(process)
    while not abandoned and not over:
        ready, _, _ = select.select([client, bell], [], [])
        abandoned = client in ready
        if bell in ready:
            os.read(bell, 1)
        over, status = _check_end(process)
    if abandoned or not request.may_leave:
        if status is None:
            # killpg may miss the process, because the process may not have its own group yet.
            os.kill(process, signal.SIGKILL)
        with suppress(OSError):
            os.killpg(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1] if status is None else status)


def _check_end(process: int) -> tuple[bool, int | None]:
    """Return whether a process has ended, and its wait status. The status is None if the process was not reaped."""
    if hasattr(os, "waitid"):
        return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None, None
    reaped, status = os.waitpid(process, os.WNOHANG)
    return bool(reaped), status if reaped else None


def _become_process(request: _Request, descriptors: Sequence[int]) -> str:
    """Give this process the properties of a process that the client starts directly, and return its source."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    here, *sent = (fcntl.fcntl(each, fcntl.F_DUPFD, _HIGH_DESCRIPTOR) for each in descriptors)
    os.fchdir(here)
    os.closerange(3, _HIGH_DESCRIPTOR)
    for number, each in zip(request.numbers, sent, strict=True):
        os.dup2(each, number)
    os.closerange(_HIGH_DESCRIPTOR, _HIGH_DESCRIPTOR + len(descriptors))
    os.umask(request.umask)
    os.environ.clear()
    os.environ.update(request.environment)
    time.tzset()
    sys.path[:] = request.path
    invalidate_caches()
    vars(sys.modules["__main__"]).update(request.given)
    return request.source
