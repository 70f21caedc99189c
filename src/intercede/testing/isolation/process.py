"""Protection of the process that runs the checks: a subject cannot end it, and what the subject changed is restored.

This is not a sandbox. A subject that sends signals to this process, crashes it or never releases the interpreter's lock
ends the run. Only a worker process survives that: ``pytest -n 1``.
"""

import asyncio
import os
import resource
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import thread as pools
from contextlib import ExitStack, contextmanager, suppress

__all__ = ["ProcessEnded", "exit_process", "protect_process", "restore_thread_start"]

exit_process = os._exit
"""Ends this process, even while ``os._exit`` is replaced to keep the subject from ending it."""
_ENDS = ("_exit", "abort", "execv", "execve")
_RUNNERS = frozenset({"pytest_timeout", "execnet", "xdist"})
"""Packages that may end the process: they do so if a test hangs."""
_LOCK_SECONDS = 0.2
_STARTERS = {
    name: start for name, start in vars(threading).items() if name in {"_start_new_thread", "_start_joinable_thread"}
}
"""The functions of ``threading`` that start threads. Their names depend on the version of Python."""
_RESTORED: Mapping[object, Sequence[str]] = {
    asyncio: (
        *("all_tasks", "create_subprocess_exec", "create_task", "current_task", "ensure_future", "gather"),
        *("get_running_loop", "set_event_loop", "shield", "sleep", "timeout", "to_thread", "wait", "wait_for"),
    ),
    os: ("getpid", "kill", "killpg"),
    socket: ("socketpair",),
    sys: ("stdout", "stderr"),
    tempfile: ("tempdir",),
    threading: tuple(_STARTERS),
    threading.Thread: ("join", "is_alive", "run"),
    time: ("monotonic", "sleep", "time"),
}
"""Functions that a subject may replace and that later checks need."""


class ProcessEnded(BaseException):
    """A subject called a function that would have ended the process that runs the checks.

    Args:
        what: The name of that function.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}() would have ended the process that runs the checks")
        self.what = what


@contextmanager
def protect_process() -> Generator[None]:
    """Keep a subject from ending this process, and restore afterwards what the subject changed.

    Functions of the standard library that later checks need are restored. In the main thread, so are the working
    directory, the umask, the environment and the standard descriptors: no other thread changes those meanwhile.
    """
    with _patches, ExitStack() as undo:
        if threading.current_thread() is threading.main_thread():
            _save_process_state(undo)
        yield


class _Patches:
    """While any check runs, replaces the functions that would end the process or keep the process from ending."""

    def __init__(self) -> None:
        self._lock, self._users, self._undo = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._replace()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._undo.close()
                _forget_executor_threads()

    def _replace(self) -> None:
        for owner, names in _RESTORED.items():
            for name in names:
                self._undo.callback(setattr, owner, name, getattr(owner, name))
        self._undo.callback(sys.setswitchinterval, sys.getswitchinterval())
        self._replace_policy()
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, TypeError):  # the stream is None, or its attributes are read-only
                self._undo.callback(vars(stream).pop, "close", None)
                stream.close = _do_nothing  # type: ignore[method-assign]  # pytest reads the stream later
        for name in _ENDS:
            own: Callable[..., object] = getattr(os, name)
            self._undo.callback(setattr, os, name, own)
            setattr(os, name, _make_refusal(name, own))
        limit = sys.setrecursionlimit
        self._undo.callback(setattr, sys, "setrecursionlimit", limit)
        sys.setrecursionlimit = _make_limit_raiser(limit)
        start = threading.Thread.start
        self._undo.callback(setattr, threading.Thread, "start", start)
        threading.Thread.start = _make_daemon_start(start)  # type: ignore[method-assign,assignment]  # restored by _undo

    def _replace_policy(self) -> None:
        """Install the default event loop policy: before Python 3.14, uvloop's policy cannot watch child processes."""
        if sys.version_info < (3, 14):
            policy = asyncio.get_event_loop_policy()  # pyright: ignore[reportDeprecated] -- deprecated in 3.14 only
            put = asyncio.set_event_loop_policy  # pyright: ignore[reportDeprecated] -- deprecated in 3.14 only
            self._undo.callback(put, policy)
            put(asyncio.DefaultEventLoopPolicy())


def _do_nothing() -> None:
    """Do nothing."""


_patches = _Patches()


def _make_refusal(name: str, own: Callable[..., object]) -> Callable[..., object]:
    here = os.getpid()

    def refuse(*arguments: object) -> object:
        caller = sys._getframe(1).f_globals.get("__name__", "")  # noqa: SLF001 -- it is documented, and there is no other way
        if os.getpid() == here and str(caller).partition(".")[0] not in _RUNNERS:  # a forked child may end
            raise ProcessEnded(f"os.{name}")
        return own(*arguments)

    return refuse


def _make_limit_raiser(own: Callable[[int], None]) -> Callable[[int], None]:
    """Return a replacement of ``sys.setrecursionlimit`` that never lowers the limit, which all threads share.

    Under a very low limit no code could restore the former one.
    """

    def limit(wanted: int) -> None:
        own(max(wanted, sys.getrecursionlimit()))

    return limit


def restore_thread_start() -> None:
    """Restore the functions that start threads, in case a subject has replaced them.

    With a replacement, a thread might never start, and code that waits for the thread would wait for ever.
    """
    for name, start in _STARTERS.items():
        setattr(threading, name, start)


def _make_daemon_start(own: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    def start(thread: threading.Thread) -> None:
        thread.daemon = True  # the interpreter does not wait for this thread at exit
        own(thread)

    return start


def _forget_executor_threads() -> None:
    """Keep the interpreter from waiting at exit for threads of executors: one may be busy for ever.

    Also replace the lock that all executors share, if a thread that holds it does not release it.
    """
    if pools._global_shutdown_lock.acquire(timeout=_LOCK_SECONDS):  # noqa: SLF001 -- there is no other way
        pools._global_shutdown_lock.release()  # noqa: SLF001 -- there is no other way
    else:
        pools._global_shutdown_lock = threading.Lock()  # noqa: SLF001 -- there is no other way
    for thread in [each for each in threading.enumerate() if each in pools._threads_queues]:  # noqa: SLF001 -- there is no other way
        if thread.daemon:
            pools._threads_queues.pop(thread, None)  # type: ignore[attr-defined]  # noqa: SLF001 -- there is no other way


def _save_process_state(undo: ExitStack) -> None:
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE):
        undo.callback(_raise_limit, limit, resource.getrlimit(limit)[0])
    for number in (0, 1, 2):
        with suppress(OSError):  # the descriptor was closed before, and stays closed
            undo.callback(_reopen, number, os.dup(number))
    undo.callback(_restore_environment, dict(os.environ))
    mask = os.umask(0o077)
    os.umask(mask)
    undo.callback(os.umask, mask)
    with suppress(OSError):  # the working directory has already been removed
        undo.callback(_restore_directory, os.getcwd())  # noqa: PTH109 -- os.chdir takes the text


def _raise_limit(limit: int, soft: int) -> None:
    now, hard = resource.getrlimit(limit)
    if now != soft:
        with suppress(ValueError, OSError):  # the hard limit was lowered as well, and cannot be raised
            resource.setrlimit(limit, (soft, hard))


def _reopen(number: int, copy: int) -> None:
    if not (_is_open(number) and os.path.sameopenfile(number, copy)):
        os.dup2(copy, number)
    os.close(copy)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _restore_environment(before: dict[str, str]) -> None:
    if dict(os.environ) != before:
        os.environ.clear()
        os.environ.update(before)


def _restore_directory(directory: str) -> None:
    with suppress(OSError):  # the subject removed the directory, and it cannot be made again
        os.makedirs(directory, exist_ok=True)  # noqa: PTH103 -- os.getcwd returned a text
        os.chdir(directory)
