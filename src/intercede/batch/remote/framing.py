"""Read the answers of scripts, which are framed: the output of each command is between a begin and an end line.

Both lines hold a random mark that is new for every script, so no banner, wrapper or payload can write such a
line. All output outside of frames is ignored. If the end line of a frame did not arrive, the frame is incomplete and
is not used.
"""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from intercede.contract.errors import TransportError
from intercede.contract.transport import ByteSink, CommandResult

__all__ = ["NO_STREAMS", "Answer", "FramePart", "FrameReader", "Streams", "make_mark"]

Streams = Mapping[str, Callable[[str], ByteSink]]
NO_STREAMS: Streams = MappingProxyType({})
_MAX_SHOWN = 500


def make_mark() -> str:
    """Return a random text that no output can imitate, to mark where a command's output begins and ends."""
    return secrets.token_hex(16)


@dataclass(frozen=True, slots=True)
class FramePart:
    """Some consecutive bytes of a frame, which is the output of one command in a script's answer."""

    name: str
    """The name of the frame."""
    data: bytes
    code: int | None = None
    """The exit code of the frame's command if this part ends the frame, otherwise None."""


class FrameReader:
    """Extracts the frames from a stream as it arrives. It holds back only bytes that may be part of a mark."""

    def __init__(self, mark: str) -> None:
        self._begin = re.compile(rb"\n%b begin ([a-z0-9.]+)\n" % mark.encode())
        self._end = re.compile(rb"\n%b end [a-z0-9.]+ ([0-9]+)\n" % mark.encode())
        self._kept = len(mark) + 64
        self._inside: str | None = None
        self._buffer = b""

    def feed(self, data: bytes) -> Iterator[FramePart]:
        """Take the next bytes of the stream, and yield the parts that belong to a frame."""
        self._buffer += data
        while found := (self._begin if self._inside is None else self._end).search(self._buffer):
            before, self._buffer = self._buffer[: found.start()], self._buffer[found.end() :]
            if self._inside is None:
                self._inside = found[1].decode()
            else:
                yield FramePart(self._inside, before, _normalize_code(int(found[1])))
                self._inside = None
        ready, self._buffer = self._buffer[: -self._kept], self._buffer[-self._kept :]
        if self._inside is not None and ready:
            yield FramePart(self._inside, ready)


def _normalize_code(code: int) -> int:
    """Convert an exit code to a number of at most 255.

    After death by signal n, most shells report 128 + n, and yash reports 384 + n. The result is 128 + n for both.
    """
    return code if code < 256 else 128 + code % 128  # noqa: PLR2004 -- the highest code is 255


class Answer:
    """Keeps the output of a script's commands by frame name. An ``Answer`` is the ``ByteSink`` of the script's stdout.

    Some frames are not kept. They are passed on to other sinks while they arrive.

    Args:
        mark: The mark of the script.
        streams: The part of a frame's name before the first dot -> a function that gets the name and returns the
            ``ByteSink`` for the frame. Frames of other names are kept.
    """

    def __init__(self, mark: str, streams: Streams = NO_STREAMS) -> None:
        self._frames = FrameReader(mark)
        self._stderr = FrameReader(mark)
        self._streams = streams
        self._data: dict[str, list[bytes]] = {}
        self._codes: dict[str, int] = {}
        self._stderr_data: dict[str, bytes] = {}
        self._result = CommandResult(returncode=0)

    async def write(self, data: bytes) -> None:
        """Take the next bytes of stdout."""
        for part in self._frames.feed(data):
            stream = self._streams.get(part.name.partition(".")[0])
            if stream is None:
                self._data.setdefault(part.name, []).append(part.data)
            elif part.data:
                await stream(part.name).write(part.data)
            if part.code is not None:
                self._codes[part.name] = part.code

    def finish(self, result: CommandResult) -> None:
        """Record how the script ended, and extract the frames from its stderr."""
        self._result = result
        for part in self._stderr.feed(result.stderr):
            self._stderr_data[part.name] = self._stderr_data.get(part.name, b"") + part.data

    def __contains__(self, name: object) -> bool:
        return name in self._codes

    def list_names(self, word: str) -> list[str]:
        """Return the names of complete frames, either ``word`` or names that begin with ``word`` and a dot."""
        return [name for name in self._codes if name.partition(".")[0] == word]

    def get_frame(self, name: str) -> CommandResult:
        """Return the result of the command in a frame: its exit code, stdout and stderr.

        Raises:
            TransportError: The frame is missing or incomplete.
        """
        if name not in self._codes:
            raise self.make_cut_error(name)
        data = b"".join(self._data.get(name, ()))
        return CommandResult(returncode=self._codes[name], stdout=data, stderr=self._stderr_data.get(name, b""))

    def get_text(self, name: str) -> str:
        """Return the stdout of a frame as text. Bytes that are not UTF-8 become lone surrogates."""
        return self.get_frame(name).stdout.decode("utf-8", "surrogateescape")

    def get_lines(self, name: str) -> list[str]:
        """Return the lines of the stdout of a frame."""
        return self.get_text(name).split("\n")[:-1]

    def make_cut_error(self, name: str) -> TransportError:
        """Return the error for a missing or incomplete frame. The error quotes the end of the script's stderr."""
        stderr = self._result.stderr.decode("utf-8", "replace").strip()[-_MAX_SHOWN:] or "nothing"
        return TransportError(
            f"the answer of the remote side has no {name!r}, or was cut off in it; the remote shell ended with "
            f"{self._result.returncode} and wrote to stderr: {stderr}",
            retryable=True,
            returncode=self._result.returncode,
            stderr=stderr,
        )
