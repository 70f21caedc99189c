"""Run scripts with sh on the remote machine, and read their answers."""

import asyncio
import shlex
from collections.abc import AsyncIterator, Iterable

from intercede.batch.archive import Member, pack
from intercede.batch.remote.api import load_script, write_preamble
from intercede.batch.remote.framing import NO_STREAMS, Answer, Streams, make_mark
from intercede.contract.errors import ResourceError
from intercede.contract.transport import Transport

__all__ = ["Shell", "make_no_space_error"]

_READ = 'unset -f command cat 2>/dev/null; eval "$(command cat)"'
"""The command that reads a whole script from stdin, and then runs it.

With ``sh -s``, a child process that reads stdin would swallow the rest of the script.
"""
_CHUNK = 65536
_MAX_SHOWN = 500


def make_no_space_error(stderr: bytes = b"") -> ResourceError:
    """Return the error for a remote disk that has no space for the temporary files of a script."""
    text = stderr.decode("utf-8", "replace").strip()[-_MAX_SHOWN:]
    return ResourceError(
        "the remote disk has no space for temporary files, neither in the root nor for mktemp: free some space, or "
        f"purge jobs whose output is fetched{text and f'; the script wrote: {text}'}",
        retryable=True,
    )


class Shell:
    """Runs scripts over a transport, a limited number at a time.

    ``root`` is the remote directory in which scripts start. ``root`` is empty until the directory is known.

    Args:
        transport: The transport that runs the scripts.
        in_flight: The maximum number of scripts that run at once.
        api: The shell functions that the scheduler's fragments may call.
    """

    def __init__(self, transport: Transport, in_flight: int, api: str) -> None:
        self._transport = transport
        self._api = api
        self._turn = asyncio.Semaphore(in_flight)
        self.root = ""

    async def run(self, parts: Iterable[str], streams: Streams = NO_STREAMS) -> Answer:
        """Run a script in the root, and return its answer.

        Args:
            parts: The parts of the script, which follow the prelude.
            streams: Functions that return a ``ByteSink`` for some frames of the answer, as in ``Answer``.

        Raises:
            TransportError: The transport failed.
        """
        mark = make_mark()
        start = f"root={shlex.quote(self.root)}\n{load_script('remote/home')}" if self.root else ""
        script = "\n".join([write_preamble(self._api, "remote/tidy"), f"mark={mark}", start, *parts, ""])
        return await self._exec(
            ["sh", "-c", _READ], mark, _split_data(script.encode("utf-8", "surrogateescape")), streams
        )

    async def unpack(self, directory: str, members: Iterable[Member]) -> Answer:
        """Unpack an archive into a new directory of the root, and run ``submit.sh``, the last member of the archive.

        Raises:
            InvalidSpecError: A local file cannot be read.
            TransportError: The transport failed.
        """
        mark = make_mark()
        argv = ["sh", "-c", load_script("remote/boot"), "sh", self.root, directory, mark]
        return await self._exec(argv, mark, pack(members), NO_STREAMS)

    async def _exec(self, argv: list[str], mark: str, stdin: AsyncIterator[bytes], streams: Streams) -> Answer:
        answer = Answer(mark, streams)
        async with self._turn:
            answer.finish(await self._transport.run(argv, stdin=stdin, stdout=answer))
        return answer


async def _split_data(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _CHUNK):
        yield data[start : start + _CHUNK]
