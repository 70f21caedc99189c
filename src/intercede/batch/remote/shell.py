"""Running scripts on the remote machine, by sh, and reading their answers."""

import asyncio
import shlex
from collections.abc import AsyncIterator, Iterable

from intercede.batch.archive import Member, pack
from intercede.batch.remote.api import load, text_of
from intercede.batch.remote.framing import NO_STREAMS, Answer, Streams, new_mark
from intercede.contract.errors import ResourceError
from intercede.contract.transport import Transport

__all__ = ["Shell", "no_room"]

_READ = 'unset -f command cat 2>/dev/null; eval "$(command cat)"'
"""With ``sh -s`` a child that reads stdin would eat the rest of the script."""
_PIECE = 65536
_SAID = 500


def no_room(said: bytes = b"") -> ResourceError:
    """Return the error for a remote side that has no room to write down what it needs to answer."""
    words = said.decode("utf-8", "replace").strip()[-_SAID:]
    return ResourceError(
        "there is no room on the far side to note what to answer, neither in the root nor for mktemp: free some, or "
        f"purge what has been fetched{words and f'; it said: {words}'}",
        retryable=True,
    )


class Shell:
    """Runs scripts over a transport, a limited number at a time.

    ``root`` is the remote directory that scripts start in. It is empty until it is known.

    Args:
        transport: Carries the scripts.
        in_flight: How many may run at once.
        api: The functions that the scheduler's fragments may call.
    """

    def __init__(self, transport: Transport, in_flight: int, api: str) -> None:
        self._transport = transport
        self._api = api
        self._turn = asyncio.Semaphore(in_flight)
        self.root = ""

    async def run(self, parts: Iterable[str], streams: Streams = NO_STREAMS) -> Answer:
        """Run a script, made of the prelude and these parts, in the root.

        Raises:
            TransportError: The transport failed.
        """
        mark = new_mark()
        start = f"root={shlex.quote(self.root)}\n{text_of('remote/home')}" if self.root else ""
        script = "\n".join([load(self._api, "remote/tidy"), f"mark={mark}", start, *parts, ""])
        return await self._exec(["sh", "-c", _READ], mark, _pieces(script.encode("utf-8", "surrogateescape")), streams)

    async def unpack(self, directory: str, members: Iterable[Member]) -> Answer:
        """Unpack an archive into a new directory of the root, and run its last member, ``submit.sh``.

        Raises:
            InvalidSpecError: A local file cannot be read.
            TransportError: The transport failed.
        """
        mark = new_mark()
        argv = ["sh", "-c", text_of("remote/boot"), "sh", self.root, directory, mark]
        return await self._exec(argv, mark, pack(members), NO_STREAMS)

    async def _exec(self, argv: list[str], mark: str, stdin: AsyncIterator[bytes], streams: Streams) -> Answer:
        answer = Answer(mark, streams)
        async with self._turn:
            answer.finish(await self._transport.run(argv, stdin=stdin, stdout=answer))
        return answer


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]
