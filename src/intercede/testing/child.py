"""A child process that can build the subject: what must not happen in this one happens there."""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from secrets import token_hex
from signal import SIGKILL
from typing import BinaryIO

from intercede.testing.bounded import to_its_end
from intercede.testing.subjects import Subject

__all__ = ["BOOT", "Child", "run_child"]

BOOT = """
import json, resource, signal, sys
request = json.loads(sys.stdin.buffer.read())
signal.alarm(request["seconds"])  # whoever waits for it may be gone
if request["size"]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (request["size"], resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
sys.path[:] = request["path"]
def tell(value, open=open, dumps=json.dumps):  # bound before the subject is there
    with open(request["told"], "w", encoding="utf-8") as file:
        file.write(dumps(value))
from intercede.testing.subjects import remade
subject = remade(request["subject"])
names = {"__name__": "__main__", "part": subject.part, "build": subject.build, "tell": tell, "request": request, "subject": subject}
exec(compile(request["source"], "<child>", "exec"), {**names, "arguments": request["arguments"]})
"""
"""What it executes."""
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
        subject: What ``build`` and ``part`` make in the child.
        source: What it does. What it gives to ``tell`` comes back: its stdout is the subject's, too.
        arguments: A list of that name in the child.
        scratch: A directory of its own for the time being: files are left in it.
        seconds: After so many it ends by itself: this loop may stand still, and never cancel it.
        jobs: Whether it starts jobs, which may be processes that go on; otherwise whatever it started ends with it.
    """
    # Into files: a pipe ends only when the last process that inherited it has ended, and that may be a daemon.
    told, said = (scratch / f".{token_hex(8)}" for _ in range(2))
    # By stdin, not argv: what a configuration says is not for every user of the machine to read.
    request = {
        "path": sys.path,
        "subject": subject.recipe,
        "source": source,
        "arguments": arguments,
        "told": str(told),
        "seconds": ceil(seconds) + 1,
        "size": 0 if jobs else _LARGEST,  # what a job writes is its own affair
    }
    with said.open("wb") as stderr:
        child = await _started(stderr)
    goes_on = False
    try:
        await _ask(child, json.dumps(request, default=str).encode())
        code = await child.wait()
        goes_on = jobs
    finally:
        if not goes_on:
            await _end(child)
    return Child(code if code >= 0 else 128 - code, _read(said).decode(errors="replace"), _value(told))


async def _started(stderr: BinaryIO) -> asyncio.subprocess.Process:
    """Start it. A cancellation meanwhile has to wait: what asyncio is cancelled while starting is left to nobody."""
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *(sys.executable, "-c", BOOT),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with suppress(asyncio.CancelledError):  # it is raised below
            await to_its_end(starting)
        await _end(starting.result())
        raise


async def _ask(child: asyncio.subprocess.Process, request: bytes) -> None:
    """Write what it reads first of all; where it has ended already, its exit code tells."""
    assert child.stdin is not None  # noqa: S101 -- it was started with a pipe
    with suppress(BrokenPipeError, ConnectionResetError):
        child.stdin.write(request)
        await child.stdin.drain()
    child.stdin.close()


async def _end(child: asyncio.subprocess.Process) -> None:
    """Kill it and what it started: all of its process group, of which it is the first. A cancellation has to wait."""
    with suppress(ProcessLookupError):  # nobody is left
        os.killpg(child.pid, SIGKILL)
    await to_its_end(child.wait())


def _value(file: Path) -> object:
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
