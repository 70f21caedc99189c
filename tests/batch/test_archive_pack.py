"""Local files are packed into a tar archive that each tar can read."""

import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from tests.batch.archives import both_tars, create_with, extract_with, list_files, pack_members, quick, trees, unpack

from intercede.batch.archive import ArchiveError, Member, pack
from intercede.contract.errors import InvalidSpecError


@pytest.mark.asyncio
@both_tars
@given(tree=trees)
@quick
async def test_a_packed_tree_unpacks_with_each_tar(tar: Sequence[str], tree: dict[str, tuple[bytes, bool]]) -> None:
    """Names of any bytes, contents and execute bits are the same after GNU tar or busybox tar unpacked them."""
    with tempfile.TemporaryDirectory() as there:
        stream = await pack_members(
            [Member(name, data, 0o700 if runs else 0o600) for name, (data, runs) in tree.items()]
        )
        extract_with(tar, stream, Path(there))
        assert list_files(Path(there)) == tree


@pytest.mark.asyncio
@both_tars
async def test_a_file_survives_both_ways(tar: Sequence[str], tmp_path: Path) -> None:
    """A large file that is packed, unpacked and packed by a tar, and unpacked again is the same."""
    source, there, back = tmp_path / "source", tmp_path / "there", tmp_path / "back"
    data = os.urandom(300_001)
    source.write_bytes(data)
    there.mkdir()
    back.mkdir()
    extract_with(tar, (await pack_members([Member("deep/in/it", source)])), there)
    await unpack(create_with(tar, there), back)
    assert (back / "deep/in/it").read_bytes() == data


@pytest.mark.asyncio
async def test_members_keep_their_order(tmp_path: Path) -> None:
    """Members are in the archive in the given order, so that the last one proves the rest."""
    stream = await pack_members([Member(name, b"") for name in "zebra"])
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        assert archive.getnames() == list("zebra")


@pytest.mark.asyncio
async def test_headers_name_no_user() -> None:
    """Headers hold the mode of a member and no user or group of this machine."""
    with tarfile.open(fileobj=io.BytesIO(await pack_members([Member("a", b"", 0o100755)]))) as archive:
        only = archive.getmembers()[0]
    assert (only.mode, only.uid, only.gid, only.uname, only.gname) == (0o755, 0, 0, "", "")


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["", "/", "/etc/x", "..", "a/../b", "a//b", "a/", "a\0b", "./", "\ud800", "x" * 5000])
async def test_invalid_names_are_not_packed(name: str) -> None:
    """A member's name that is empty, absolute or leads upwards is an InvalidSpecError."""
    with pytest.raises(InvalidSpecError, match="cannot be sent: the name") as raised:
        await pack_members([Member(name, b"")])
    assert raised.value.value == name


def make_nothing(path: Path) -> None:
    """Make no file."""
    assert not path.exists()


def make_directory(path: Path) -> None:
    """Make a directory."""
    path.mkdir()


@pytest.mark.asyncio
@pytest.mark.parametrize("make", [make_nothing, make_directory, os.mkfifo])
async def test_an_unreadable_local_file_is_an_error(make: Callable[[Path], None], tmp_path: Path) -> None:
    """A missing file, a directory or a FIFO is an InvalidSpecError that names the path."""
    make(tmp_path / "it")
    with pytest.raises(InvalidSpecError, match="it' cannot be sent") as raised:
        await pack_members([Member("name", tmp_path / "it")])
    assert raised.value.value == str(tmp_path / "it")


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [100_000, 300_000], ids=["shrinks", "grows"])
async def test_a_file_that_changes_its_size_ends_the_stream(size: int, tmp_path: Path, dest: Path) -> None:
    """A file whose size changes while it is packed is an InvalidSpecError, and the archive so far is not whole."""
    path = tmp_path / "it"
    path.write_bytes(bytes(200_000))

    sent: list[bytes] = []

    async def read() -> None:
        async for piece in pack([Member("it", path), Member("last", b"")]):
            sent.append(piece)
            os.truncate(path, size)

    with pytest.raises(InvalidSpecError, match="its size changed while it was read, from 200000 bytes"):
        await read()
    with pytest.raises(ArchiveError, match="cut"):
        await unpack(b"".join(sent), dest)
    assert list_files(dest) == {}


def test_the_repr_of_a_member_hides_its_bytes() -> None:
    """The repr of a member does not hold its bytes, which may be a secret."""
    assert "hunter2" not in repr(Member("password", b"hunter2"))
