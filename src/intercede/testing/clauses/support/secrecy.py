"""Search for a secret in log records, errors and child processes of this process, and in a job."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from traceback import format_exception

from intercede.testing.clauses.support.processes import read_descendants

__all__ = ["FINDINGS", "SEARCH", "Watch", "collect_logs", "get_text", "watch_processes"]

# grep reads the secret from a file, so that the secret is not among the arguments of grep.
SEARCH = """
env | grep -qFf secret && exit 10
printf '%s\\n' "$0" "$@" | grep -qFf secret && exit 11
cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -qFf secret && exit 12
cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -qFf secret && exit 13
exit 0
"""
"""A payload that searches the processes that it can see for the content of its file `secret`."""
FINDINGS = {
    10: "the secret is in its environment",
    11: "the secret is among its arguments",
    12: "the secret is in the argument list of a process on that machine",
    13: "the secret is in the environment of a process on that machine",
}


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(level=logging.NOTSET)
        self.texts: dict[str, list[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        raised = record.exc_info[1] if record.exc_info else None
        where = f"of {record.name}, {record.levelname}, written at {record.pathname}:{record.lineno}"
        text = f"{record.getMessage()} {record.args!r} {get_text(raised) if raised else ''}"
        self.texts.setdefault(where, []).append(text)


@contextmanager
def collect_logs() -> Generator[dict[str, list[str]]]:
    """Collect the text of every log record of every level, grouped by the line of code that wrote the record."""
    root, handler = logging.getLogger(), _Records()
    level = root.level
    root.addHandler(handler)
    root.setLevel(1)
    try:
        yield handler.texts
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


def get_text(error: BaseException) -> str:
    """Return everything that an error says: message, notes, causes and attributes."""
    return "".join(format_exception(error)) + repr(vars(error))


@dataclass
class Watch:
    """The places where the secret was found, and the number of searches."""

    seen: list[str] = field(default_factory=list[str])
    searches: int = 0


@asynccontextmanager
async def watch_processes(secret: bytes) -> AsyncGenerator[Watch]:
    """Search for a secret in the arguments and environments of descendants of this process, until the body ends."""
    watch = Watch()
    task = asyncio.ensure_future(_watch_for(secret, watch))
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _watch_for(secret: bytes, watch: Watch) -> None:
    while True:
        for pid, content in await asyncio.to_thread(lambda: list(read_descendants())):
            if secret in content:
                program = content.partition(b"\0")[0].decode(errors="replace")
                watch.seen.append(f"in the argument list or environment of process {pid}, {program}")
        watch.searches += 1
        await asyncio.sleep(0.01)
