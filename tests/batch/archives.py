"""Archives to pack and unpack, real tars, and headers made by hand."""

import os
import stat
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from tests.tools import each_tool

from intercede.batch.archive import Member, Unpacker, pack

both_tars = pytest.mark.parametrize("tar", each_tool("tar", "busybox tar"))

parts = st.binary(min_size=1, max_size=150).filter(
    lambda part: part not in {b".", b".."} and not set(part) & set(b"/\0")
)
names = st.lists(parts, min_size=1, max_size=3).map(lambda some: os.fsdecode(b"/".join(some)))
contents = st.one_of(st.binary(max_size=2000), st.integers(0, 3000).map(lambda size: b"z" * size))
trees = st.dictionaries(names, st.tuples(contents, st.booleans()), max_size=6).filter(
    lambda tree: not any(other.startswith(name + "/") for name in tree for other in tree)
)
quick = settings(max_examples=25, deadline=None)


async def pack_members(members: list[Member]) -> bytes:
    """Return the archive of these members."""
    return b"".join([piece async for piece in pack(members)])


async def unpack(stream: bytes, dest: Path, *, step: int = 65536, finish: bool = True, **limits: int) -> Unpacker:
    """Unpack a stream in pieces of `step` bytes into a directory."""
    with Unpacker(lambda name: (dest, name), **limits) as unpacker:
        for at in range(0, len(stream), step):
            await unpacker.write(stream[at : at + step])
        if finish:
            unpacker.finish()
    return unpacker


def list_files(directory: Path) -> dict[str, tuple[bytes, bool]]:
    """Return each file below a directory: its bytes, and whether its owner may execute it.

    Other kinds of files are an error.
    """
    files: dict[str, tuple[bytes, bool]] = {}
    for above, _, here in os.walk(directory):
        for name in here:
            path = Path(above, name)
            status = path.lstat()
            assert stat.S_ISREG(status.st_mode), path
            files[str(path.relative_to(directory))] = (path.read_bytes(), bool(status.st_mode & stat.S_IXUSR))
    return files


def list_neighbours(path: Path) -> list[str]:
    """Return the names in the directory that holds a path."""
    return sorted(other.name for other in path.parent.iterdir())


def extract_with(tar: Sequence[str], stream: bytes, directory: Path) -> None:
    """Unpack an archive with a tar, as the remote machine does."""
    subprocess.run([*tar, "-xof", "-"], input=stream, cwd=directory, check=True, capture_output=True)


def create_with(tar: Sequence[str], directory: Path, *options: str) -> bytes:
    """Return the archive that a tar makes of a directory."""
    return subprocess.run([*tar, *options, "-cf", "-", "."], cwd=directory, check=True, capture_output=True).stdout


def make_archive(*members: tuple[tarfile.TarInfo, bytes], end: bytes = bytes(1024)) -> bytes:
    """Return an archive of any headers."""
    stream = b""
    for info, body in members:
        info.size = info.size or len(body)
        stream += info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + body + bytes(-len(body) % 512)
    return stream + end


def make_header(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    """Return a header."""
    made = tarfile.TarInfo(name)
    made.type = kind
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def make_pax(records: bytes, kind: bytes = tarfile.XHDTYPE) -> tuple[tarfile.TarInfo, bytes]:
    """Return a PAX header with these records."""
    return make_header("PaxHeader", kind), records


def format_record(key: bytes, value: bytes) -> bytes:
    """Return one PAX record with its length in front."""
    length = len(key) + len(value) + 3
    length += len(str(length + len(str(length))))
    return b"%d %s=%s\n" % (length, key, value)
