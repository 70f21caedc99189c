"""Functions that run in a child process, where a subject cannot harm the process that checks it."""

import asyncio
import json
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from inspect import isawaitable
from math import ceil
from operator import attrgetter
from pathlib import Path
from secrets import token_hex
from typing import Never, cast

from intercede.forkserver import ForkServer, ForkServerError, Process
from intercede.testing.subjects.subject import Subject, SubjectSpec, make_subject_from_spec

__all__ = ["CHILDREN", "Child", "ChildContext", "ChildFunction", "call_again", "call_function", "run_child"]

_SOURCE = "from intercede.testing.subjects.child import call_function\ncall_function(request)\n"
_RESTART = "import sys; sys.path[:] = sys.argv[2:]\nfrom intercede.testing.subjects import child\nchild.call_again()\n"
CHILDREN = ForkServer(
    "asyncio",
    "intercede.batch",
    "intercede.config",
    "intercede.registry.loading",
    "intercede.testing.clauses.support.child_functions",
    "intercede.testing.run.context",
)
"""The server that starts child processes. Each child process begins with the listed modules imported."""

_UNKNOWN_END = 255
"""The exit code of a child process whose end was not seen."""
_GRACE = 10.0
"""Seconds that killing a child process may take."""
_LARGEST_FILE = 256 << 20
"""The largest file, in bytes, that a child process may write if it starts no jobs. Its output might have no end."""
_MOST_READ = 16 << 20
"""The largest number of bytes that are read of a report, or of the end of stderr."""


@dataclass(frozen=True)
class ChildContext:
    """Everything that a function gets in a child process."""

    subject: Subject
    arguments: Sequence[str]
    report: Callable[[object], None]
    """Sends plain data to the parent. The last report counts."""
    request: Mapping[str, object]
    """The request of the parent, in JSON's types."""

    def start_again(self, file: Path, **variables: str) -> Never:
        """Replace this process by a new interpreter that calls the same function, with some environment variables.

        Args:
            file: A file to write the request to.
            variables: The variables, by name.
        """
        file.write_text(json.dumps(self.request), "utf-8")
        path = [each for each in sys.path if isinstance(cast("object", each), str)]
        os.execve(  # noqa: S606 -- our own interpreter, without a shell
            sys.executable, [sys.executable, "-c", _RESTART, str(file), *path], {**os.environ, **variables}
        )


ChildFunction = Callable[[ChildContext], Awaitable[None] | None]
"""A function of a module, which the child process imports by name. Coroutine functions are awaited."""


@dataclass(frozen=True)
class Child:
    """How a child process ended, and what it reported."""

    code: int
    """The exit code; 128 + n if signal n ended the process."""
    stderr: str
    report: object = None
    """The last report, as plain data. It is None if there was no report, or one that is not valid JSON."""

    @property
    def last_words(self) -> str:
        """The last line of stderr."""
        return self.stderr.strip().rpartition("\n")[2] or "nothing on stderr"


async def run_child(
    subject: Subject,
    function: ChildFunction,
    arguments: Sequence[str],
    scratch: Path,
    *,
    seconds: float,
    jobs: bool = False,
) -> Child:
    """Call a function in a child process that makes the subject, and return how the process ended.

    If the caller is cancelled, the process is killed.

    Args:
        subject: The subject. The child process makes it from its specification.
        function: The function. The result holds what the function gives to ``report``. The function does not use
            stdout, because the subject may write to stdout, too.
        arguments: The arguments in the function's context.
        scratch: A directory in which files may be left.
        seconds: The time limit. The process ends itself, because the parent's event loop may be blocked.
        jobs: Whether the function starts jobs, which may outlive the process. Otherwise everything that the process
            started is ended with the process.
    """
    # The report and stderr are files. A pipe would stay open until every process that inherited it has ended, and such
    # a process may be a daemon.
    report, printed = (scratch / f".{token_hex(8)}" for _ in range(2))
    request = {
        "subject": subject.spec,
        "function": f"{function.__module__}:{function.__qualname__}",
        "arguments": arguments,
        "report": str(report),
        "seconds": ceil(seconds) + 1,
        "largest_file": 0 if jobs else _LARGEST_FILE,  # the size of a job's files is not limited
    }
    try:
        with printed.open("wb") as stderr:
            process = CHILDREN.start(_SOURCE, {"request": request}, {2: stderr.fileno()}, may_leave=jobs)
        code = await _wait_or_kill(process)
    except ForkServerError as error:
        return Child(_UNKNOWN_END, f"{_read_end(printed).decode(errors='replace')}\n{error}")
    stderr_text = _read_end(printed).decode(errors="replace")
    return Child(code if code >= 0 else 128 - code, stderr_text, _load_report(report))


async def _wait_or_kill(process: Process) -> int:
    """Wait for the end of a process. If the caller is cancelled, kill the process and still wait for its end."""
    ended = asyncio.ensure_future(process.wait_async())
    cancelled = None
    while not ended.done():
        try:
            await asyncio.wait({ended})
        except asyncio.CancelledError as error:
            cancelled = error
            process.kill()
            # Stop waiting after a while: the child may have suspended the process that reports its end.
            asyncio.get_running_loop().call_later(_GRACE, ended.cancel)
    process.close()
    if cancelled is not None:
        raise cancelled
    return ended.result()


def _load_report(file: Path) -> object:
    try:
        return json.loads(_read_end(file))
    except (ValueError, RecursionError):  # RecursionError: too many nested brackets
        return None


def _read_end(file: Path) -> bytes:
    """Read the end of a file. A file that was never written, or was removed, is empty."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, os.fstat(opened.fileno()).st_size - _MOST_READ))
            return opened.read(_MOST_READ)
    except OSError:
        return b""


# In the child process


def call_function(request: Mapping[str, object]) -> None:
    """Call the function that a request names. This process was started for this one request."""
    signal.alarm(cast("int", request["seconds"]))  # the alarm ends this process even if the parent has ended
    if largest := cast("int", request["largest_file"]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    report = _make_report(str(request["report"]))
    module, _, name = str(request["function"]).partition(":")
    function = cast("ChildFunction", attrgetter(name)(import_module(module)))
    subject = make_subject_from_spec(cast("SubjectSpec", request["subject"]))
    result = function(ChildContext(subject, cast("Sequence[str]", request["arguments"]), report, request))
    if isawaitable(result):
        asyncio.run(_await_result(result))


async def _await_result(result: Awaitable[None]) -> None:
    await result


def _make_report(path: str) -> Callable[[object], None]:
    """Return the function that writes a report.

    It keeps references to the functions that it calls, because a subject may replace them in their modules.
    """
    open_file, dumps = open, json.dumps

    def report(value: object) -> None:
        with open_file(path, "w", encoding="utf-8") as file:
            file.write(dumps(value))

    return report


def call_again() -> None:
    """Call the function of a request in this process, which has replaced the process that got the request."""
    call_function(json.loads(Path(sys.argv[1]).read_bytes()))
