"""Files travel as tar streams: ``pack`` makes one, ``Unpacker`` takes one apart while it arrives.

Headers are written in GNU format, which GNU tar and busybox both unpack, with any name and any size; busybox does
not read the names in PAX headers. Nothing here extracts by ``tarfile``, whose filters have let links lead outside,
nor reads headers by it: what is not understood here is refused, not guessed at.
"""

import contextlib
import errno
import os
import stat
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from intercede.batch.offload import run_in_thread
from intercede.contract.errors import InvalidSpecError, TransportError

__all__ = ["ArchiveError", "Member", "Unpacker", "local", "pack"]

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_CHUNK = 65536
_QUICK = 4096
"""So many bytes hold few files."""
_NAME_BYTES = 4096
_NAME_DEPTH = 128
_EXTENSION_BYTES = 2**20
"""The most that a long name or a PAX header may take: they are kept in memory."""
_SIZE_BYTES = 2**63
_SPARSE = b"GNU.sparse"
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

_PAX = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENSIONS = (*_PAX, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_BODILESS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.DIRTYPE: "a directory",
    tarfile.FIFOTYPE: "a fifo",
}
_NO_FILES = frozenset({tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE})
_OF_THE_NAME = frozenset(
    {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}
)
"""What opening fails with because of the member's name; any other errno is a failure of the disk here."""


class ArchiveError(TransportError):
    """The stream is no complete tar archive: it was cut off, or other bytes got into it."""


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file to send. The side that unpacks makes the directories above it."""

    name: str
    """Relative and contained, with slashes."""
    content: bytes | Path = field(repr=False)
    """Its bytes, or the local file that holds them."""
    mode: int = 0o600
    """Its permissions there."""


async def pack(members: Iterable[Member]) -> AsyncIterator[bytes]:
    """Make a tar stream of the members, in their order, with nothing read ahead of need.

    Args:
        members: Taken one by one while the stream is made.

    Yields:
        The stream, in pieces of about 64 KiB.

    Raises:
        InvalidSpecError: A name is absolute, leads outside or cannot be; a local file is not there, not regular, not
            readable, or changed its size meanwhile. The stream has no end then: nobody can take it for a whole one.
    """
    waiting = bytearray()
    for member in members:
        for piece in _packed(member):
            waiting += piece
            if len(waiting) >= _CHUNK:
                yield bytes(waiting)
                waiting.clear()
    yield bytes(waiting) + _ZEROS + _ZEROS


def _packed(member: Member) -> Iterator[bytes]:
    if fault := _fault(member.name):
        raise InvalidSpecError(f"{member.name!r} cannot be sent: {fault}", field="name", value=member.name)
    if isinstance(member.content, Path):
        yield from _file(member, member.content)
    else:
        size = len(member.content)
        yield _header(member, size)
        yield from (member.content[at : at + _CHUNK] for at in range(0, size, _CHUNK))
        yield bytes(-size % _BLOCK)


def _header(member: Member, size: int) -> bytes:
    info = tarfile.TarInfo(member.name)
    info.size, info.mode, info.mtime = size, stat.S_IMODE(member.mode), int(time.time())
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _file(member: Member, path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb", buffering=0, opener=_unblocked) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _unreadable(path, "it is not a regular file")
            yield _header(member, status.st_size)
            yield from _exactly(file, status.st_size, path)
            yield bytes(-status.st_size % _BLOCK)
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error


def _unblocked(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # opening a fifo would wait for its writer


def _exactly(file: IO[bytes], size: int, path: Path) -> Iterator[bytes]:
    left = size
    while left and (data := file.read(min(left, _CHUNK))):
        left -= len(data)
        yield data
    if left or os.fstat(file.fileno()).st_size != size:
        raise _unreadable(path, f"its size changed while it was read, from {size} bytes")


def _unreadable(path: Path, why: str) -> InvalidSpecError:
    return InvalidSpecError(f"the local file {str(path)!r} cannot be sent: {why}", field="inputs", value=str(path))


def _fault(name: str) -> str | None:
    """Why nothing may be written under this name, if so."""
    parts = _parts(name)
    if name.startswith("/"):
        return "the name is absolute"
    if not parts or "" in parts:
        return "the name has an empty component"
    if ".." in parts:
        return "the name leads upwards"
    if "\0" in name:
        return "the name holds a NUL"
    if len(parts) > _NAME_DEPTH or not _encodable(name):
        return f"the name is deeper than {_NAME_DEPTH}, longer than {_NAME_BYTES} bytes, or no text"
    return None


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part != "."]


def _encodable(name: str) -> bool:
    try:
        return len(_as_bytes(name)) <= _NAME_BYTES
    except UnicodeEncodeError:
        return False


@dataclass(slots=True)
class _Header:
    name: str
    type: bytes
    size: int
    mode: int


@dataclass(slots=True)
class _Usage:
    files: int = 0
    bytes: int = 0


class Unpacker:
    """A ByteSink that unpacks a tar stream while it arrives, in bounded memory, and never outside the given directories.

    For every member that is not a directory ``route`` is asked where it belongs. So one stream can hold the files of
    many jobs, named ``<job>/<kind>/<name>``, and each job can have a freshly made directory of its own::

        def route(member: str) -> tuple[Path, str] | None:
            job, _, name = member.partition("/")
            return (made[job], name) if job in made else None

        with Unpacker(route, max_bytes=2**30, max_files=10_000) as unpacker:
            result = await transport.run(["sh", "-c", script], stdout=unpacker)
            unpacker.finish()
        unpacker.files, unpacker.refused

    Only regular files come through, with mode 0600, or 0700 where the owner could execute; directories are made as
    the names need them, mode 0700. Links, devices, fifos, sparse files, names that are absolute, lead upwards or have
    empty components, names that are there already, and what is over a limit are left out and recorded, and the rest
    arrives. No link is ever made or followed below a destination, whoever put it there.

    Args:
        route: From a member's name to a destination, an existing directory, and the name below it; None: skip the
            member without a word. Called once a member; what it raises passes through ``write``.
        max_bytes: The most that one destination may get, in bytes.
        max_files: The most members, refused ones included, for one destination; and of names that cannot be.
    """

    def __init__(
        self, route: Callable[[str], tuple[Path, str] | None], *, max_bytes: int = 2**40, max_files: int = 10**6
    ) -> None:
        self.files: dict[str, tuple[Path, str]] = {}
        """Where each member lies that arrived whole, by its name in the archive: what ``route`` said."""
        self.refused: dict[str, str] = {}
        """Why a member was left out, by its name in the archive. Of those beyond max_files the first stands here."""
        self.no_files: set[str] = set()
        """Of the names in ``refused``, those of links, devices and fifos: nothing of them is lost."""
        self._route = route
        self._max_bytes, self._max_files = max_bytes, max_files
        self._usage: dict[Path | None, _Usage] = {}
        self._globals: dict[bytes, bytes] = {}
        self._place = _Place()
        self._pending = memoryview(b"")
        self._ended = False
        self._parser = self._parse()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close what is open; a file that did not arrive whole is removed."""
        self._parser.close()
        self._place.close()

    async def write(self, data: bytes) -> None:
        """Take the next bytes of the stream, in pieces of any size. Bytes after the archive's end are ignored.

        Raises:
            ArchiveError: This is no tar archive.
            OSError: The disk here failed (full, quota, I/O), or a destination is not there.
        """
        self._pending = memoryview(data)
        if len(data) < _QUICK:
            next(self._parser, None)
        else:  # making files takes its time
            await run_in_thread(next, self._parser, None)

    def finish(self) -> None:
        """Say that no more will come.

        Raises:
            ArchiveError: The archive's end was not seen: what has arrived may lack members.
        """
        if not self._ended:
            raise ArchiveError("the archive was cut: its end did not arrive")

    def _parse(self) -> Generator[None, None, None]:
        while (info := (yield from self._next_header())) is not None:
            place = self._open(info)
            if info.type not in _BODILESS:
                yield from self._body(info.size)
            if place is not None:
                self._place.keep()
                self.files[info.name] = place
        self._ended = True

    def _next_header(self) -> Generator[None, None, _Header | None]:
        """The next member, with what the extension headers before it say; None at the archive's end."""
        name, records = "", dict(self._globals)
        while (block := (yield from self._take(_BLOCK))) != _ZEROS:
            info = _decoded(block)
            if info.type not in _EXTENSIONS:
                yield from self._skip_sparse_map(info, block)
                return _amended(info, name, records)
            text = yield from self._extension(info)
            if info.type == tarfile.GNUTYPE_LONGNAME:
                name = _text(text)
            elif info.type == tarfile.XGLTYPE:
                self._globals |= _records(text)
                records = self._globals | records
            elif info.type in _PAX:
                records |= _records(text)
        if (yield from self._take(_BLOCK)) != _ZEROS:
            raise ArchiveError("this is no tar archive: a lone block of zeros is in it")
        return None

    def _extension(self, info: _Header) -> Generator[None, None, bytes]:
        if info.size > _EXTENSION_BYTES:
            raise ArchiveError(f"this is no tar archive: a name or header of {info.size} bytes is in it")
        text = yield from self._take(info.size)
        yield from self._take(-info.size % _BLOCK)
        return text

    def _skip_sparse_map(self, info: _Header, block: bytes) -> Generator[None, None, None]:
        more = info.type == tarfile.GNUTYPE_SPARSE and block[482] != 0
        while more:
            more = (yield from self._take(_BLOCK))[504] != 0

    def _body(self, size: int) -> Generator[None, None, None]:
        left = size
        while left:
            data = yield from self._some(left)
            left -= len(data)
            self._place.write(data)
        yield from self._take(-size % _BLOCK)

    def _take(self, size: int) -> Generator[None, None, bytes]:
        taken = bytearray()
        while len(taken) < size:
            taken += yield from self._some(size - len(taken))
        return bytes(taken)

    def _some(self, limit: int) -> Generator[None, None, memoryview]:
        while not self._pending:
            yield
        data, self._pending = self._pending[:limit], self._pending[limit:]
        return data

    def _open(self, info: _Header) -> tuple[Path, str] | None:
        """Open the member's file; None: its bytes go nowhere."""
        place = self._admitted(info)
        if place is None:
            return None
        try:
            self._place.open(place[0], _parts(place[1]), 0o700 if info.mode & stat.S_IXUSR else 0o600)
        except _NameTakenError as error:
            self.refused[info.name] = str(error)
            return None
        return place

    def _admitted(self, info: _Header) -> tuple[Path, str] | None:
        """Return the place of a member; None: it has none, and ``refused`` says why if it was wanted."""
        if info.type == tarfile.DIRTYPE:
            return None
        fault = _fault(info.name)
        place = None if fault else self._route(info.name)
        if not fault and place is None:
            return None
        usage = self._usage.setdefault(place and place[0], _Usage())
        usage.files += 1
        if usage.files > self._max_files + 1:
            return None  # the one before stands for it: what arrives without end must not be kept without end
        fault = fault or (place and _fault(place[1])) or _unwanted(info) or self._excess(usage, info)
        if fault:
            self.refused[info.name] = fault
            if info.type in _NO_FILES:
                self.no_files.add(info.name)
            return None
        usage.bytes += info.size
        return place

    def _excess(self, usage: _Usage, info: _Header) -> str | None:
        if usage.files > self._max_files:
            return f"over the limit of {self._max_files} files, this one and any that follow"
        if usage.bytes + info.size > self._max_bytes:
            return f"over the limit of {self._max_bytes} bytes"
        return None


def _decoded(block: bytes) -> _Header:
    try:
        mode, size, stored = _number(block[100:108]), _number(block[124:136]), _number(block[148:156])
    except ValueError as error:
        raise ArchiveError("this is no tar archive: a header in it is no header") from error
    if stored != sum(block) - sum(block[148:156]) + 8 * ord(" "):
        raise ArchiveError("this is no tar archive: a header in it is damaged")
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and block[345]:  # in GNU's own format other things lie there
        name = _text(block[345:500]) + "/" + name
    return _Header(name, block[156:157], _checked(size), mode)


def _number(field: bytes) -> int:
    """Octal digits, or the GNU form for large ones: a byte 0x80, then the number as it is."""
    if field[0] == 0x80:  # noqa: PLR2004  the sentence above names it
        return int.from_bytes(field[1:], "big")
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def _text(field: bytes) -> str:
    return _as_text(field.partition(b"\0")[0])


def _as_text(name: bytes) -> str:
    """Read a name as UTF-8, there and here, whatever the locale of this process is."""
    return name.decode("utf-8", "surrogateescape")


def _as_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def local(name: str) -> str:
    """Write a name as this process has to for a path that has it."""
    return os.fsdecode(_as_bytes(name))


def _checked(size: int) -> int:
    if not 0 <= size <= _SIZE_BYTES:
        raise ArchiveError(f"this is no tar archive: a member of {size} bytes is in it")
    return size


def _amended(info: _Header, name: str, records: dict[bytes, bytes]) -> _Header:
    info.name = _as_text(records.get(b"path", b"")) or name or info.name
    if size := records.get(b"size"):
        info.size = _checked(int(size[:20]) if size.isdigit() else -1)
    if _SPARSE in records:
        info.type = tarfile.GNUTYPE_SPARSE
    return info


def _records(text: bytes) -> dict[bytes, bytes]:
    """Return the records of a PAX header that matter, each ``<its length> <key>=<value>`` and a newline."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(text):
        blank = text.find(b" ", at, at + 20)
        length = text[at : max(blank, at)]
        end = at + (int(length) if length.isdigit() else 0)
        key, equals, value = text[blank + 1 : end].partition(b"=")
        if not at < blank < end <= len(text) or not equals or not value.endswith(b"\n"):
            raise ArchiveError("this is no tar archive: a PAX header in it is damaged")
        if key in (b"path", b"size"):
            records[key] = value[:-1]
        elif key.startswith(_SPARSE):
            records[_SPARSE] = b""
        at = end
    return records


def _unwanted(info: _Header) -> str | None:
    if info.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
        return None
    kind = _BODILESS.get(info.type) or ("a sparse file" if info.type == tarfile.GNUTYPE_SPARSE else "of unknown kind")
    return f"it is {kind}, and only regular files come through"


class _NameTakenError(Exception):
    """The local directory has no place for that name. Recorded, never raised to callers."""


class _Place:
    """The file being written, and its directory, kept open because the next file is mostly in the same one."""

    def __init__(self) -> None:
        self._at: tuple[Path, list[str]] | None = None
        self._directory = -1
        self._name = b""
        self._file = -1

    def open(self, destination: Path, parts: list[str], mode: int) -> None:
        """Create the file. Raises _NameTakenError, or OSError where the name is not to blame."""
        *above, last = parts
        self._name = _as_bytes(last)
        if self._at != (destination, above):
            self._leave()
            self._directory = os.open(destination, _DIRECTORY)
        try:
            if self._at is None:
                self._enter(above)
                self._at = (destination, above)
            self._file = os.open(self._name, _NEW_FILE, mode, dir_fd=self._directory)
        except OSError as error:
            if error.errno in _OF_THE_NAME:
                raise _NameTakenError(f"there is no place for the name: {error.strerror}") from error
            raise

    def write(self, data: memoryview) -> None:
        """Write all of it, if a file is open."""
        while self._file >= 0 and data:
            data = data[os.write(self._file, data) :]

    def keep(self) -> None:
        """The file is whole."""
        file, self._file = self._file, -1
        os.close(file)

    def close(self) -> None:
        """Remove the file if it is not whole, and let go of everything."""
        if self._file >= 0:
            os.unlink(self._name, dir_fd=self._directory)
            self.keep()
        self._leave()

    def _enter(self, above: list[str]) -> None:
        for part in above:
            with contextlib.suppress(FileExistsError):
                os.mkdir(_as_bytes(part), 0o700, dir_fd=self._directory)
            below = os.open(_as_bytes(part), _DIRECTORY, dir_fd=self._directory)
            os.close(self._directory)
            self._directory = below

    def _leave(self) -> None:
        self._at = None
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1
