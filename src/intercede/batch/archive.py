"""Send and receive files as tar streams: ``pack`` makes a stream, ``Unpacker`` unpacks a stream while it arrives.

``pack`` writes headers in GNU format. GNU tar and busybox both unpack it, with any name and any size; busybox does not
read the names in PAX headers. ``Unpacker`` does not use ``tarfile`` to read or extract, because its filters have let
links lead outside. It refuses every header that it does not understand.
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

__all__ = ["ArchiveError", "Member", "Unpacker", "make_local_name", "pack"]

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_CHUNK = 65536
_SMALL = 4096
"""Data of fewer bytes than this is unpacked without a thread, because it can hold only a few files."""
_NAME_BYTES = 4096
_NAME_DEPTH = 128
_EXTENSION_BYTES = 2**20
"""The maximum size in bytes of a long name or a PAX header, which are kept in memory."""
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
_NOT_FILES = frozenset({tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE})
_NAME_ERRORS = frozenset(
    {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}
)
"""The errors that creating a file may raise because of the file's name. Other errors mean that the disk failed."""


class ArchiveError(TransportError):
    """The stream is not a complete tar archive: it was cut off, or other bytes got into it."""


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file to send. Unpacking creates the directories above it."""

    name: str
    """A relative path with slashes, inside the directory in which the archive is unpacked."""
    content: bytes | Path = field(repr=False)
    """The bytes of the file, or the path of the local file that holds them."""
    mode: int = 0o600
    """The permissions of the unpacked file."""


async def pack(members: Iterable[Member]) -> AsyncIterator[bytes]:
    """Make a tar stream of files, in the given order. Each file is read only when the stream needs its bytes.

    Args:
        members: The files. The iterator is advanced while the stream is made.

    Yields:
        The bytes of the stream, about 64 KiB at a time.

    Raises:
        InvalidSpecError: A name is invalid, absolute, or leads upwards; or a local file is missing, not regular, not
            readable, or changed its size while it was read. The stream then has no end mark, so no program takes it
            for a complete one.
    """
    waiting = bytearray()
    for member in members:
        for piece in _pack_member(member):
            waiting += piece
            if len(waiting) >= _CHUNK:
                yield bytes(waiting)
                waiting.clear()
    yield bytes(waiting) + _ZEROS + _ZEROS


def _pack_member(member: Member) -> Iterator[bytes]:
    if fault := _find_name_fault(member.name):
        raise InvalidSpecError(f"{member.name!r} cannot be sent: {fault}", field="name", value=member.name)
    if isinstance(member.content, Path):
        yield from _pack_file(member, member.content)
    else:
        size = len(member.content)
        yield _make_header(member, size)
        yield from (member.content[at : at + _CHUNK] for at in range(0, size, _CHUNK))
        yield bytes(-size % _BLOCK)


def _make_header(member: Member, size: int) -> bytes:
    info = tarfile.TarInfo(member.name)
    info.size, info.mode, info.mtime = size, stat.S_IMODE(member.mode), int(time.time())
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _pack_file(member: Member, path: Path) -> Iterator[bytes]:
    try:
        with open(path, "rb", buffering=0, opener=_open_nonblocking) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _make_read_error(path, "it is not a regular file")
            yield _make_header(member, status.st_size)
            yield from _read_exactly(file, status.st_size, path)
            yield bytes(-status.st_size % _BLOCK)
    except OSError as error:
        raise _make_read_error(path, str(error.strerror)) from error


def _open_nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # without O_NONBLOCK, opening a fifo would wait for a writer


def _read_exactly(file: IO[bytes], size: int, path: Path) -> Iterator[bytes]:
    left = size
    while left and (data := file.read(min(left, _CHUNK))):
        left -= len(data)
        yield data
    if left or os.fstat(file.fileno()).st_size != size:
        raise _make_read_error(path, f"its size changed while it was read, from {size} bytes")


def _make_read_error(path: Path, why: str) -> InvalidSpecError:
    return InvalidSpecError(f"the local file {str(path)!r} cannot be sent: {why}", field="inputs", value=str(path))


def _find_name_fault(name: str) -> str | None:
    """Return the reason why a member's name is refused, or None if it is valid."""
    parts = _split_name(name)
    if name.startswith("/"):
        return "the name is absolute"
    if not parts or "" in parts:
        return "the name has an empty component"
    if ".." in parts:
        return "the name leads upwards"
    if "\0" in name:
        return "the name holds a NUL"
    if len(parts) > _NAME_DEPTH or not _is_encodable(name):
        return f"the name has more than {_NAME_DEPTH} components or {_NAME_BYTES} bytes, or is not text"
    return None


def _split_name(name: str) -> list[str]:
    return [part for part in name.split("/") if part != "."]


def _is_encodable(name: str) -> bool:
    try:
        return len(_encode_name(name)) <= _NAME_BYTES
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
    """A ``ByteSink`` that unpacks a tar stream while the stream arrives, below directories that the caller chooses.

    An unpacker needs little memory. It writes only below the destinations. For every member that is not a directory,
    ``route`` returns the destination, which is a local directory, and the path of the file relative to the destination.
    So one stream can hold the files of many jobs, and each job can have a directory of its own::

        def route(member: str) -> tuple[Path, str] | None:
            job, _, name = member.partition("/")
            return (made[job], name) if job in made else None

        with Unpacker(route, max_bytes=2**30, max_files=10_000) as unpacker:
            result = await transport.run(["sh", "-c", script], stdout=unpacker)
            unpacker.finish()
        unpacker.files, unpacker.refused

    Only regular files are unpacked. They get mode 0600, or 0700 if the owner could execute them. Directories are
    created if a name needs them, with mode 0700. These members are left out and recorded in ``refused``: links,
    devices, fifos and sparse files; names that are absolute, lead upwards, have empty components or exist already; and
    members over a limit. No link is ever created or followed below a destination, even one that was there before.

    Args:
        route: A function that gets the name of a member. It returns the destination, which is an existing directory,
            and the path of the file relative to the destination, or None to skip the member. It is called at most once
            per member. ``write`` raises its exceptions.
        max_bytes: The maximum number of bytes for one destination.
        max_files: The maximum number of members for one destination, refused members included. It is also the maximum
            number of members with an invalid name.
    """

    def __init__(
        self, route: Callable[[str], tuple[Path, str] | None], *, max_bytes: int = 2**40, max_files: int = 10**6
    ) -> None:
        self.files: dict[str, tuple[Path, str]] = {}
        """Name in the archive -> (destination, path below the destination), for each member that arrived complete."""
        self.refused: dict[str, str] = {}
        """Name in the archive -> the reason why the member was left out.

        Only the first member of a destination that is over the limit ``max_files`` is recorded.
        """
        self.not_files: set[str] = set()
        """The names in ``refused`` that belong to symbolic links, devices and fifos, which have no content."""
        self._route = route
        self._max_bytes, self._max_files = max_bytes, max_files
        self._usage: dict[Path | None, _Usage] = {}
        self._globals: dict[bytes, bytes] = {}
        self._writer = _FileWriter()
        self._pending = memoryview(b"")
        self._ended = False
        self._parser = self._parse()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close all files, and remove a file that did not arrive complete."""
        self._parser.close()
        self._writer.close()

    async def write(self, data: bytes) -> None:
        """Take the next bytes of the stream, any number of bytes. Bytes after the archive's end are ignored.

        Raises:
            ArchiveError: The stream is not a tar archive.
            OSError: The local disk failed (full, quota, I/O), or a destination does not exist.
        """
        self._pending = memoryview(data)
        if len(data) < _SMALL:
            next(self._parser, None)
        else:  # a thread unpacks the data, because creating many files takes time
            await run_in_thread(next, self._parser, None)

    def finish(self) -> None:
        """Check at the end of the stream that the archive was complete.

        Raises:
            ArchiveError: The archive's end did not arrive, so members may be missing.
        """
        if not self._ended:
            raise ArchiveError("the archive was cut off: its end did not arrive")

    def _parse(self) -> Generator[None, None, None]:
        while (info := (yield from self._read_header())) is not None:
            place = self._open_file(info)
            if info.type not in _BODILESS:
                yield from self._read_body(info.size)
            if place is not None:
                self._writer.finish()
                self.files[info.name] = place
        self._ended = True

    def _read_header(self) -> Generator[None, None, _Header | None]:
        """Return the next member's header, completed from its extension headers, or None at the archive's end."""
        name, records = "", dict(self._globals)
        while (block := (yield from self._take(_BLOCK))) != _ZEROS:
            info = _parse_header(block)
            if info.type not in _EXTENSIONS:
                yield from self._skip_sparse_map(info, block)
                return _apply_extensions(info, name, records)
            text = yield from self._read_extension(info)
            if info.type == tarfile.GNUTYPE_LONGNAME:
                name = _decode_field(text)
            elif info.type == tarfile.XGLTYPE:
                self._globals |= _parse_pax(text)
                records = self._globals | records
            elif info.type in _PAX:
                records |= _parse_pax(text)
        if (yield from self._take(_BLOCK)) != _ZEROS:
            raise ArchiveError("this is not a tar archive: a lone block of zeros is in it")
        return None

    def _read_extension(self, info: _Header) -> Generator[None, None, bytes]:
        if info.size > _EXTENSION_BYTES:
            raise ArchiveError(f"this is not a tar archive: a name or header of {info.size} bytes is in it")
        text = yield from self._take(info.size)
        yield from self._take(-info.size % _BLOCK)
        return text

    def _skip_sparse_map(self, info: _Header, block: bytes) -> Generator[None, None, None]:
        more = info.type == tarfile.GNUTYPE_SPARSE and block[482] != 0
        while more:
            more = (yield from self._take(_BLOCK))[504] != 0

    def _read_body(self, size: int) -> Generator[None, None, None]:
        left = size
        while left:
            data = yield from self._take_some(left)
            left -= len(data)
            self._writer.write(data)
        yield from self._take(-size % _BLOCK)

    def _take(self, size: int) -> Generator[None, None, bytes]:
        taken = bytearray()
        while len(taken) < size:
            taken += yield from self._take_some(size - len(taken))
        return bytes(taken)

    def _take_some(self, limit: int) -> Generator[None, None, memoryview]:
        while not self._pending:
            yield
        data, self._pending = self._pending[:limit], self._pending[limit:]
        return data

    def _open_file(self, info: _Header) -> tuple[Path, str] | None:
        """Create the local file of a member, and return its destination and name, or None if the member is skipped."""
        place = self._admit(info)
        if place is None:
            return None
        try:
            self._writer.open(place[0], _split_name(place[1]), 0o700 if info.mode & stat.S_IXUSR else 0o600)
        except _NameTakenError as error:
            self.refused[info.name] = str(error)
            return None
        return place

    def _admit(self, info: _Header) -> tuple[Path, str] | None:
        """Return the destination and name of a member, or None to skip it. A refusal is recorded in ``refused``."""
        if info.type == tarfile.DIRTYPE:
            return None
        fault = _find_name_fault(info.name)
        place = None if fault else self._route(info.name)
        if not fault and place is None:
            return None
        usage = self._usage.setdefault(place and place[0], _Usage())
        usage.files += 1
        if usage.files > self._max_files + 1:
            return None  # the member is not recorded: an endless stream must not need endless memory
        fault = (
            fault or (place and _find_name_fault(place[1])) or _find_type_fault(info) or self._find_excess(usage, info)
        )
        if fault:
            self.refused[info.name] = fault
            if info.type in _NOT_FILES:
                self.not_files.add(info.name)
            return None
        usage.bytes += info.size
        return place

    def _find_excess(self, usage: _Usage, info: _Header) -> str | None:
        if usage.files > self._max_files:
            return f"this file, and any that follow, are over the limit of {self._max_files} files"
        if usage.bytes + info.size > self._max_bytes:
            return f"this file is over the limit of {self._max_bytes} bytes"
        return None


def _parse_header(block: bytes) -> _Header:
    try:
        mode, size, stored = _parse_number(block[100:108]), _parse_number(block[124:136]), _parse_number(block[148:156])
    except ValueError as error:
        raise ArchiveError("this is not a tar archive: a header in it has an invalid number") from error
    if stored != sum(block) - sum(block[148:156]) + 8 * ord(" "):
        raise ArchiveError("this is not a tar archive: a header in it is damaged")
    name = _decode_field(block[:100])
    # In a POSIX header, bytes 345 to 499 hold the first part of a long name. A GNU header has other data there.
    if block[257:263] == b"ustar\0" and block[345]:
        name = _decode_field(block[345:500]) + "/" + name
    return _Header(name, block[156:157], _check_size(size), mode)


def _parse_number(field: bytes) -> int:
    """Parse a number in a header: octal digits, or GNU's form, which is the byte 0x80 and then a binary number."""
    if field[0] == 0x80:  # noqa: PLR2004 -- the docstring explains it
        return int.from_bytes(field[1:], "big")
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def _decode_field(field: bytes) -> str:
    return _decode_name(field.partition(b"\0")[0])


def _decode_name(name: bytes) -> str:
    """Decode a name as UTF-8, whatever the locale of this process is. Invalid bytes become lone surrogates."""
    return name.decode("utf-8", "surrogateescape")


def _encode_name(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def make_local_name(name: str) -> str:
    """Return the name with which this process, in its locale, can open the local file of a member."""
    return os.fsdecode(_encode_name(name))


def _check_size(size: int) -> int:
    if not 0 <= size <= _SIZE_BYTES:
        raise ArchiveError(f"this is not a tar archive: a member of {size} bytes is in it")
    return size


def _apply_extensions(info: _Header, name: str, records: dict[bytes, bytes]) -> _Header:
    info.name = _decode_name(records.get(b"path", b"")) or name or info.name
    if size := records.get(b"size"):
        info.size = _check_size(int(size[:20]) if size.isdigit() else -1)
    if _SPARSE in records:
        info.type = tarfile.GNUTYPE_SPARSE
    return info


def _parse_pax(text: bytes) -> dict[bytes, bytes]:
    """Return the path and the size in a PAX header, and the key ``GNU.sparse`` if the member is a sparse file.

    A record of a PAX header is ``LENGTH KEY=VALUE`` and a newline.
    """
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(text):
        blank = text.find(b" ", at, at + 20)
        length = text[at : max(blank, at)]
        end = at + (int(length) if length.isdigit() else 0)
        key, equals, value = text[blank + 1 : end].partition(b"=")
        if not at < blank < end <= len(text) or not equals or not value.endswith(b"\n"):
            raise ArchiveError("this is not a tar archive: a PAX header in it is damaged")
        if key in (b"path", b"size"):
            records[key] = value[:-1]
        elif key.startswith(_SPARSE):
            records[_SPARSE] = b""
        at = end
    return records


def _find_type_fault(info: _Header) -> str | None:
    if info.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
        return None
    kind = _BODILESS.get(info.type) or ("a sparse file" if info.type == tarfile.GNUTYPE_SPARSE else "of unknown kind")
    return f"it is {kind}, and only regular files are unpacked"


class _NameTakenError(Exception):
    """A local file cannot be created because of its name.

    ``Unpacker`` records this error in ``refused``, and never raises it to its callers.
    """


class _FileWriter:
    """Writes one file at a time.

    The directory of the last file stays open, because the next file is usually in the same directory.
    """

    def __init__(self) -> None:
        self._at: tuple[Path, list[str]] | None = None
        self._directory = -1
        self._name = b""
        self._file = -1

    def open(self, destination: Path, parts: list[str], mode: int) -> None:
        """Create a file, and the directories above it.

        Args:
            destination: An existing directory.
            parts: The components of the path of the file, relative to the destination.
            mode: The permissions of the file.

        Raises:
            _NameTakenError: The file cannot be created because of its name.
            OSError: The local disk failed, or the destination does not exist.
        """
        *above, last = parts
        self._name = _encode_name(last)
        if self._at != (destination, above):
            self._leave()
            self._directory = os.open(destination, _DIRECTORY)
        try:
            if self._at is None:
                self._enter(above)
                self._at = (destination, above)
            self._file = os.open(self._name, _NEW_FILE, mode, dir_fd=self._directory)
        except OSError as error:
            if error.errno in _NAME_ERRORS:
                raise _NameTakenError(
                    f"the local directory cannot have a file of that name: {error.strerror}"
                ) from error
            raise

    def write(self, data: memoryview) -> None:
        """Write all of the data to the open file. If no file is open, the data is dropped."""
        while self._file >= 0 and data:
            data = data[os.write(self._file, data) :]

    def finish(self) -> None:
        """Close the open file and keep it. The caller has written all of its data."""
        file, self._file = self._file, -1
        os.close(file)

    def close(self) -> None:
        """Remove the file if it is incomplete, and close its directory."""
        if self._file >= 0:
            os.unlink(self._name, dir_fd=self._directory)
            self.finish()
        self._leave()

    def _enter(self, above: list[str]) -> None:
        for part in above:
            with contextlib.suppress(FileExistsError):
                os.mkdir(_encode_name(part), 0o700, dir_fd=self._directory)
            below = os.open(_encode_name(part), _DIRECTORY, dir_fd=self._directory)
            os.close(self._directory)
            self._directory = below

    def _leave(self) -> None:
        self._at = None
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1
