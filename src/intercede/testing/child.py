"""A child process that can build the subject: what must not happen in this one happens there."""

import asyncio
import json
import sys
from collections.abc import Sequence

from intercede.contract.transport import CommandResult
from intercede.testing.subjects import Subject

__all__ = ["run_child"]

_BOOT = """
import json, sys
request = json.loads(sys.stdin.buffer.read())
sys.path[:] = request["path"]
from intercede.testing.subjects import remade
subject = remade(request["subject"])
names = {"__name__": "__main__", "part": subject.part, "build": subject.build, "arguments": request["arguments"]}
exec(compile(request["source"], "<child>", "exec"), names)
"""


async def run_child(subject: Subject, source: str, arguments: Sequence[str] = ()) -> CommandResult:
    """Run Python source in a child process that can build the subject. It is killed where this is cancelled."""
    # By stdin, not argv: what a configuration says is not for every user of the machine to read.
    request = {"path": sys.path, "subject": subject.recipe, "source": source, "arguments": arguments}
    child = await _started()
    try:
        stdout, stderr = await child.communicate(json.dumps(request, default=str).encode())
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    code = child.returncode or 0
    return CommandResult(returncode=code if code >= 0 else 128 - code, stdout=stdout, stderr=stderr)


async def _started() -> asyncio.subprocess.Process:
    """Start it. A cancellation meanwhile has to wait: what asyncio is cancelled while starting is left to nobody."""
    pipe = asyncio.subprocess.PIPE
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(sys.executable, "-c", _BOOT, stdin=pipe, stdout=pipe, stderr=pipe)
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        child = await starting
        child.kill()
        await child.wait()
        raise
