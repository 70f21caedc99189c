"""A child process that can build the subject: what must not happen in this one happens there."""

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from secrets import token_hex

from intercede.forkserver import ForkServer, ForkServerError, Process
from intercede.testing.subjects.subject import Subject

__all__ = ["CHILDREN", "STANDALONE_SOURCE", "Child", "run_child"]

_SOURCE = """
import json, resource, signal
signal.alarm(request["seconds"])  # whoever waits for it may be gone
if request["size"]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (request["size"], resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
def tell(value, open=open, dumps=json.dumps):  # bound before the subject is there
    with open(request["told"], "w", encoding="utf-8") as file:
        file.write(dumps(value))
from intercede.testing.subjects.subject import make_subject_from_spec
from intercede.testing.subjects.entering import entered
subject = make_subject_from_spec(request["subject"])
names = {"__name__": "__main__", "entered": entered, "make_plugin": subject.make_plugin, "make_backend": subject.make_backend, "tell": tell, "request": request, "subject": subject}
exec(compile(request["source"], "<child>", "exec"), {**names, "arguments": request["arguments"]})
"""
"""The source that it executes, with ``request`` defined."""
STANDALONE_SOURCE = f"""
import json, sys
request = json.loads(sys.stdin.buffer.read())
sys.path[:] = request["path"]
{_SOURCE}"""
"""The same, for one that is executed and reads that from its stdin."""
CHILDREN = ForkServer(
    "asyncio", "intercede.batch", "intercede.config", "intercede.registry.loading", "intercede.testing.run.context"
)

_LOST = 255
"""The exit code of one whose end nobody saw."""
_GRACE = 10.0
"""Seconds that killing it may take."""
_LARGEST = 256 << 20
"""The most bytes of a file that one writes which starts no jobs: it might print without end."""
_MOST = 16 << 20
"""The most bytes that are read of what it tells, and of the end of what it prints."""


@dataclass(frozen=True)
class Child:
    """How a child process ended."""

    code: int
    """Its exit code; 128 + n where signal n ended it."""
    stderr: str
    told: object = None
    """What its source told last, in basic types; None: nothing, or what is no JSON."""

    @property
    def last_words(self) -> str:
        """The last line of what it printed on stderr."""
        return self.stderr.strip().rpartition("\n")[2] or "nothing on stderr"


async def run_child(
    subject: Subject, source: str, arguments: Sequence[str], scratch: Path, *, seconds: float, jobs: bool = False
) -> Child:
    """Run Python source in a child process that can build the subject. It is killed where this is cancelled.

    Args:
        subject: What ``make_backend`` and ``make_plugin`` make in the child.
        source: What it does. What it gives to ``tell`` comes back: its stdout is the subject's, too.
        arguments: A list of that name in the child.
        scratch: A directory of its own for the time being: files are left in it.
        seconds: After so many it ends by itself: this loop may stand still, and never cancel it.
        jobs: Whether it starts jobs, which may be processes that go on; otherwise whatever it started ends with it.
    """
    # Into files: a pipe ends only when the last process that inherited it has ended, and that may be a daemon.
    told, said = (scratch / f".{token_hex(8)}" for _ in range(2))
    request = {
        "subject": subject.spec,
        "source": source,
        "arguments": arguments,
        "told": str(told),
        "seconds": ceil(seconds) + 1,
        "size": 0 if jobs else _LARGEST,  # what a job writes is its own affair
    }
    try:
        with said.open("wb") as stderr:
            process = CHILDREN.start(_SOURCE, {"request": request}, {2: stderr.fileno()}, may_leave=jobs)
        code = await _wait_or_kill(process)
    except ForkServerError as error:
        return Child(_LOST, f"{_read(said).decode(errors='replace')}\n{error}")
    return Child(code if code >= 0 else 128 - code, _read(said).decode(errors="replace"), _load_answer(told))


async def _wait_or_kill(process: Process) -> int:
    """Await its end. If this is cancelled, it is killed, and the cancellation has to wait for that."""
    ended = asyncio.ensure_future(process.wait_async())
    cancelled = None
    while not ended.done():
        try:
            await asyncio.wait({ended})
        except asyncio.CancelledError as error:
            cancelled = error
            process.kill()
            asyncio.get_running_loop().call_later(_GRACE, ended.cancel)  # what kills it may have been stopped
    process.close()
    if cancelled is not None:
        raise cancelled
    return ended.result()


def _load_answer(file: Path) -> object:
    try:
        return json.loads(_read(file))
    except (ValueError, RecursionError):  # the second: brackets without end
        return None


def _read(file: Path) -> bytes:
    """Read the end of a file; nothing where a subject has removed it, or nobody wrote it."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, os.fstat(opened.fileno()).st_size - _MOST))
            return opened.read(_MOST)
    except OSError:
        return b""
