"""Answers between marks: what a script says there is an answer, whatever else is written around it is not.

A mark is random and new for every command, so no banner, wrapper or payload can write one. An answer whose end did not
arrive was cut, and is none.
"""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from intercede.contract.errors import TransportError
from intercede.contract.transport import ByteSink, CommandResult

__all__ = ["NO_STREAMS", "Answer", "Frames", "Piece", "Streams", "new_mark"]

Streams = Mapping[str, Callable[[str], ByteSink]]
NO_STREAMS: Streams = MappingProxyType({})
_SHOWN = 500


def new_mark() -> str:
    """Make a mark that nobody can guess."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a frame; ``code`` where they are its last."""

    name: str
    data: bytes
    code: int | None = None


class Frames:
    """Takes a stream apart while it arrives. Keeps no more of it than a mark may be hidden in."""

    def __init__(self, mark: str) -> None:
        self._begin = re.compile(rb"\n%b begin ([a-z0-9.]+)\n" % mark.encode())
        self._end = re.compile(rb"\n%b end [a-z0-9.]+ ([0-9]+)\n" % mark.encode())
        self._kept = len(mark) + 64
        self._inside: str | None = None
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Take the next bytes; return those that are known to be in a frame."""
        self._buffer += data
        while found := (self._begin if self._inside is None else self._end).search(self._buffer):
            before, self._buffer = self._buffer[: found.start()], self._buffer[found.end() :]
            if self._inside is None:
                self._inside = found[1].decode()
            else:
                yield Piece(self._inside, before, _code(int(found[1])))
                self._inside = None
        ready, self._buffer = self._buffer[: -self._kept], self._buffer[-self._kept :]
        if self._inside is not None and ready:
            yield Piece(self._inside, ready)


def _code(told: int) -> int:
    """Death by signal n is 128 + n in most shells, 384 + n in yash."""
    return told if told < 256 else 128 + told % 128  # noqa: PLR2004 -- the highest code is 255


class Answer:
    """The ByteSink for one script's stdout: keeps frames whole, and hands some on while they come.

    Args:
        mark: What the script was given.
        streams: From the first word of a frame's name, up to a dot, to what gives the sink for it.
    """

    def __init__(self, mark: str, streams: Streams = NO_STREAMS) -> None:
        self._frames = Frames(mark)
        self._stderr = Frames(mark)
        self._streams = streams
        self._data: dict[str, list[bytes]] = {}
        self._codes: dict[str, int] = {}
        self._said: dict[str, bytes] = {}
        self._result = CommandResult(returncode=0)

    async def write(self, data: bytes) -> None:
        """Take the next bytes of stdout."""
        for piece in self._frames.feed(data):
            stream = self._streams.get(piece.name.partition(".")[0])
            if stream is None:
                self._data.setdefault(piece.name, []).append(piece.data)
            elif piece.data:
                await stream(piece.name).write(piece.data)
            if piece.code is not None:
                self._codes[piece.name] = piece.code

    def finish(self, result: CommandResult) -> None:
        """Say how the command ended, and what it wrote to stderr."""
        self._result = result
        for piece in self._stderr.feed(result.stderr):
            self._said[piece.name] = self._said.get(piece.name, b"") + piece.data

    def __contains__(self, name: object) -> bool:
        return name in self._codes

    def names(self, word: str) -> list[str]:
        """Return the names of the whole frames that begin with that word."""
        return [name for name in self._codes if name.partition(".")[0] == word]

    def frame(self, name: str) -> CommandResult:
        """Return what stood in a frame, with its own exit code and stderr.

        Raises:
            TransportError: It is not there, or was cut.
        """
        if name not in self._codes:
            raise self.cut(name)
        data = b"".join(self._data.get(name, ()))
        return CommandResult(returncode=self._codes[name], stdout=data, stderr=self._said.get(name, b""))

    def text(self, name: str) -> str:
        """Return a frame's stdout; what is no UTF-8 in it stays as it was, escaped."""
        return self.frame(name).stdout.decode("utf-8", "surrogateescape")

    def lines(self, name: str) -> list[str]:
        """Return the lines of a frame's stdout."""
        return self.text(name).split("\n")[:-1]

    def cut(self, name: str) -> TransportError:
        """Tell that the answer has no such frame, and what came instead."""
        said = self._result.stderr.decode("utf-8", "replace").strip()[-_SHOWN:] or "nothing on stderr"
        return TransportError(
            f"the answer of the far side has no {name!r}, or was cut there; its shell ended with "
            f"{self._result.returncode} and said: {said}",
            retryable=True,
            returncode=self._result.returncode,
            stderr=said,
        )
