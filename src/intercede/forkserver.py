"""A fork server: Python processes that begin with their imports done, each forked from one process that does nothing else.

An interpreter with pydantic takes a sixth of a second of processor time to start, a fork of one some milliseconds. The
server imports the modules that it is given the names of, runs nobody else's code, and has one thread: so it can be forked safely.

For each process the server forks a *keeper*. The keeper forks the process, waits for its end, and kills what it left. A
socket between the client and the keeper carries the request and the exit code. If the client shuts its end, or ends
itself, the process is killed. Only the keeper uses the process id, before it reaps: so it is never another process's.
Without ``os.waitid`` (PyPy, and CPython before 3.13 on macOS) it reaps to see the end, and kills the group right after that.
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
import sys
modules = int(sys.argv[1])
sys.path[:] = sys.argv[modules + 2 :]
from intercede.forkserver import _serve
exec(_serve(sys.argv[2 : modules + 2]))
"""
"""What a server executes. Each process that it starts comes back from ``_serve``, to end as an interpreter does."""
_READ_ONCE = ("LANG", "LC_", "LD_", "PYTHON")
"""How the names of variables begin which the loader and the interpreter read only when they start."""
_PATIENCE = 10.0
"""Seconds for what a server or a keeper does at once, unless somebody has stopped it."""
_DESCRIPTORS = 16
_HIGH = 32
"""Descriptors of ours have lower numbers in a new process, and move above for a moment."""
_WORDS = 4096
"""The most bytes that a server says of its end, or a keeper of a process's."""


class ForkServerError(Exception):
    """A process could not be started, or how it ended is not known: its keeper or the server was ended."""


class Process:
    """A process that a fork server started, as its client sees it.

    Args:
        connection: The client's end of the socket.
        server: What started it.
    """

    def __init__(self, connection: socket, server: "_Running") -> None:
        self._connection, self._server = connection, server

    def wait(self, seconds: float) -> int:
        """Wait for its end, and return its exit code: -n if signal n ended it.

        Raises:
            TimeoutError: It goes on after so many seconds.
            ForkServerError: How it ended is not known.
        """
        self._connection.settimeout(seconds)
        answer = b""
        with suppress(ConnectionResetError):
            answer = self._connection.recv(_WORDS)
        return self._code(answer)

    async def ended(self) -> int:
        """Await its end, and return its exit code: -n if signal n ended it.

        Raises:
            ForkServerError: How it ended is not known.
        """
        from asyncio import get_running_loop  # noqa: PLC0415 -- slow to load, and ``wait`` does without

        self._connection.setblocking(False)  # noqa: FBT003 -- its only parameter
        answer = b""
        with suppress(ConnectionResetError):
            answer = await get_running_loop().sock_recv(self._connection, _WORDS)
        return self._code(answer)

    def kill(self) -> None:
        """Have it killed with its process group, unless it has ended: ``wait`` and ``ended`` return when that is done."""
        with suppress(OSError):  # its keeper has ended
            self._connection.shutdown(SHUT_WR)

    def close(self) -> None:
        """Have it killed unless it has ended, wait until that is done, and forget it."""
        self.kill()
        self._connection.settimeout(_PATIENCE)
        with suppress(OSError):  # somebody has stopped its keeper, which we cannot help
            while self._connection.recv(_WORDS):
                pass
        self._connection.close()

    def _code(self, answer: bytes) -> int:
        if not answer:
            raise ForkServerError(f"what watched over the process has ended ({self._server.last_words()})")
        return int(answer)


class ForkServer:
    """Starts Python processes that have some modules already.

    The server is started when the first process is asked for, and anew if it was ended or if this process now has what
    cannot be given to one that runs: variables that an interpreter reads once, limits of resources, user and groups.

    Args:
        preloaded: The names of the modules that it imports: none that is a plugin's, and none that starts a thread.
    """

    def __init__(self, *preloaded: str) -> None:
        self._preloaded = preloaded
        self._running: _Running | None = None
        self._lock = Lock()

    def open(self) -> None:
        """Have a server that runs: what is forked from this process shares it.

        Raises:
            OSError: No process can be started.
        """
        with self._lock:
            self._opened()

    def start(
        self,
        source: str,
        given: Mapping[str, object],
        descriptors: Mapping[int, int],
        *,
        may_leave: bool = False,
    ) -> Process:
        """Start a process that executes Python source in ``__main__``.

        It is as one that was executed now: with the environment, the working directory, the umask and the ``sys.path``
        of this process, in a session of its own, with stdin, stdout and stderr to ``os.devnull``. But what its server
        has imported is not looked for on that path again.

        Args:
            source: What it does.
            given: Names that are defined in it, with their values: basic types, or what is turned into text.
            descriptors: The descriptors that it has of this process, by their numbers in the new one.
            may_leave: Whether what it started may go on after its end; otherwise its process group is killed then.

        Raises:
            ForkServerError: The server ends at once.
            OSError: No process can be started.
        """
        numbers, paths = list(descriptors), _path()
        request = _Request(source, given, may_leave, numbers, dict(os.environ), _umask(), paths)
        with ExitStack() as unless_started:
            ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
            unless_started.callback(ours.close)
            with theirs, _here() as here:
                server = self._handed(theirs.fileno(), here, *descriptors.values())
            ours.settimeout(_PATIENCE)
            with suppress(ConnectionError):  # waiting for its end says so
                ours.sendall(json.dumps(vars(request), default=str).encode() + b"\n")
            unless_started.pop_all()
        return Process(ours, server)

    def _handed(self, *descriptors: int) -> "_Running":
        """Hand descriptors to a server that runs, and return that."""
        with self._lock:
            server = self._opened()
            if not server.take(descriptors):  # it was ended
                server = self._opened()
                if not server.take(descriptors):
                    raise ForkServerError(f"the fork server ends at once ({server.last_words()})")
            return server

    def _opened(self) -> "_Running":
        if self._running is None or not self._running.is_as_new():
            if self._running is not None:
                self._running.stop()
            self._running = _Running(self._preloaded)
        return self._running


@dataclass(frozen=True)
class _Request:
    """What a process is to be, beside the descriptors that are sent."""

    source: str
    given: Mapping[str, object]
    may_leave: bool
    numbers: list[int]
    environment: dict[str, str]
    umask: int
    path: list[str]


class _Running:
    """A server that was started."""

    def __init__(self, preloaded: Sequence[str]) -> None:
        self._owner, self._inherited, self._takes = os.getpid(), _inherited(), True
        self._control, theirs = socketpair(AF_UNIX, SOCK_STREAM)
        self._identity = _identity(self._control)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter, no shell
                [sys.executable, "-P", "-c", _MAIN, str(len(preloaded)), *preloaded, *_path()],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        atexit.register(self.stop)

    def is_as_new(self) -> bool:
        """Whether it runs, as far as is known, and one that is started now would inherit the same."""
        return self._takes and self._inherited == _inherited()

    def take(self, descriptors: Sequence[int]) -> bool:
        """Hand it the descriptors of a request, and return whether it takes them: it may have been ended."""
        try:
            self._takes = self._has_control()
            if self._takes:
                send_fds(self._control, [b"\0"], descriptors)
        except OSError:
            self._takes = False
        return self._takes

    def last_words(self) -> str:
        """Return what it says of its own end."""
        with suppress(OSError):
            if self._has_control() and (words := self._control.recv(_WORDS, MSG_DONTWAIT)):
                return words.decode(errors="replace")
        return "it says nothing"

    def stop(self) -> None:
        """Let it end: processes that it started go on. If it is the server of another process, forget it."""
        atexit.unregister(self.stop)
        if os.getpid() != self._owner:
            self._process.returncode = 0  # no child of ours
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
        """Whether the socket's number is still the socket's: somebody may have closed all descriptors of this process."""
        return _identity(self._control) == self._identity


def _identity(connection: socket) -> tuple[int, int] | None:
    try:
        status = os.fstat(connection.fileno())
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def _here() -> Generator[int]:
    """Open the working directory: it may have been removed, and then it has no name."""
    number = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))
    try:
        yield number
    finally:
        os.close(number)


def _inherited() -> tuple[object, ...]:
    """Return what a process has from the one that starts it, and cannot be given once it runs: as it is here now."""
    variables = {name: value for name, value in os.environ.items() if name.startswith(_READ_ONCE)}
    variables.pop("PYTHONPATH", None)  # sys.path counts
    limits = [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")]
    return sys.executable, variables, limits, os.getuid(), os.geteuid(), os.getgid(), os.getegid(), os.getgroups()


def _path() -> list[str]:
    return [entry for entry in sys.path if isinstance(cast("object", entry), str)]


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


# What follows is done by the server, its keepers and the processes.


def _serve(modules: Sequence[str]) -> str:
    """Be a fork server. What returns is a new process, with the source that it is to execute."""
    control = socket(fileno=0)
    try:
        client, *descriptors = _next_request(control, modules)
    except Exception as error:  # noqa: BLE001 -- the client passes it on
        control.send(f"{type(error).__name__}: {error}".encode()[:_WORDS])
        os._exit(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, control.detach())
    os.close(nothing)
    return _keep(socket(fileno=client), descriptors)


def _next_request(control: socket, modules: Sequence[str]) -> list[int]:
    """Serve until the client has ended. What returns is a keeper, with the descriptors that were sent."""
    for module in modules:
        import_module(module)
    if hasattr(gc, "freeze"):  # PyPy's has none
        gc.freeze()  # what is here by now is no garbage of theirs
    os.chdir("/")
    sys.argv[:] = ["-c"]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so no keeper has to be reaped
    while True:
        asked, descriptors, _, _ = recv_fds(control, 1, _DESCRIPTORS)
        if not asked:
            os._exit(0)
        if not os.fork():
            return descriptors
        for each in descriptors:
            os.close(each)


def _keep(client: socket, descriptors: Sequence[int]) -> str:
    """Fork a process, wait for its end, and send its exit code. What returns is that process."""
    with client.makefile("rb") as lines:
        line = lines.readline()
    if not line.endswith(b"\n"):  # the client has ended
        os._exit(0)
    request = _Request(**json.loads(line))
    bell = _bell()
    process = os.fork()
    if not process:
        client.detach()
        return _become(request, descriptors)
    for each in descriptors:
        os.close(each)
    code = _watch(process, client.fileno(), bell, request)
    with suppress(OSError):  # the client has ended
        client.send(b"%d" % code)
    os._exit(0)


def _bell() -> int:
    """Return a descriptor that can be read once a child of this process has ended."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGCHLD, _heard)
    signal.set_wakeup_fd(writing)
    return reading


def _heard(_signal: int, _frame: object) -> None:
    """Do nothing: a signal with a handler is written to the descriptor."""


def _watch(process: int, client: int, bell: int, request: _Request) -> int:
    """Wait until a process has ended or its client gives it up, kill what it may not leave, and return its exit code."""
    given_up, over, status = False, *_look_at(process)
    while not given_up and not over:
        ready, _, _ = select.select([client, bell], [], [])
        given_up = client in ready
        if bell in ready:
            os.read(bell, 1)
        over, status = _look_at(process)
    if given_up or not request.may_leave:
        if status is None:
            os.kill(process, signal.SIGKILL)  # it may lead no group yet
        with suppress(OSError):
            os.killpg(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1] if status is None else status)


def _look_at(process: int) -> tuple[bool, int | None]:
    """Return whether a process has ended, and its status if it had to be reaped to see that."""
    if hasattr(os, "waitid"):
        return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None, None
    reaped, status = os.waitpid(process, os.WNOHANG)
    return bool(reaped), status if reaped else None


def _become(request: _Request, descriptors: Sequence[int]) -> str:
    """Have this process be as one that the client has executed."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    here, *sent = (fcntl.fcntl(each, fcntl.F_DUPFD, _HIGH) for each in descriptors)
    os.fchdir(here)
    os.closerange(3, _HIGH)
    for number, each in zip(request.numbers, sent, strict=True):
        os.dup2(each, number)
    os.closerange(_HIGH, _HIGH + len(descriptors))
    os.umask(request.umask)
    os.environ.clear()
    os.environ.update(request.environment)
    time.tzset()
    sys.path[:] = request.path
    invalidate_caches()
    vars(sys.modules["__main__"]).update(request.given)
    return request.source
