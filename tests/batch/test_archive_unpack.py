"""Archives of GNU tar, busybox tar and others are unpacked."""

import contextlib
import io
import os
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.batch.archives import (
    both_tars,
    create_with,
    list_files,
    list_neighbours,
    make_archive,
    make_header,
    quick,
    trees,
    unpack,
)

from intercede.batch.archive import ArchiveError, Unpacker


@pytest.mark.asyncio
@both_tars
@given(tree=trees, step=st.integers(1, 3000))
@quick
async def test_any_tree_packed_there_unpacks_here(
    tar: Sequence[str], tree: dict[str, tuple[bytes, bool]], step: int
) -> None:
    """What either tar makes of a tree arrives whole, however the stream is cut into pieces."""
    with tempfile.TemporaryDirectory() as there, tempfile.TemporaryDirectory() as here:
        for name, (data, runs) in tree.items():
            path = Path(there, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            path.chmod(0o755 if runs else 0o644)
        unpacker = await unpack(create_with(tar, Path(there)), Path(here), step=step)
        assert list_files(Path(here)) == tree
        assert not unpacker.refused
        assert {os.path.normpath(name) for _, name in unpacker.files.values()} == set(tree)


@pytest.mark.asyncio
@given(tree=trees, step=st.integers(1, 700))
@quick
async def test_pax_archives_unpack_here(tree: dict[str, tuple[bytes, bool]], step: int) -> None:
    """Names that stand in PAX headers are read from there."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, (data, runs) in tree.items():
            archive.addfile(make_header(name, size=len(data), mode=0o755 if runs else 0o644), io.BytesIO(data))
    with tempfile.TemporaryDirectory() as here:
        await unpack(buffer.getvalue(), Path(here), step=step)
        assert list_files(Path(here)) == tree


@pytest.mark.asyncio
@pytest.mark.parametrize("form", ["gnu", "oldgnu", "pax", "ustar", "v7"])
async def test_every_format_of_gnu_tar_unpacks(form: str, tmp_path: Path, dest: Path) -> None:
    """All formats that GNU tar writes are read."""
    (tmp_path / "there/sub").mkdir(parents=True)
    (tmp_path / "there/sub/file").write_bytes(b"data")
    unpacker = await unpack(create_with(["tar"], tmp_path / "there", f"--format={form}"), dest)
    assert list_files(dest) == {"sub/file": (b"data", False)}
    assert unpacker.files == {"./sub/file": (dest, "./sub/file")}
    assert (dest / "sub" / "file").is_file()


@pytest.mark.asyncio
async def test_incremental_archives_of_gnu_tar_unpack(tmp_path: Path, dest: Path) -> None:
    """Times stand where other formats have the name's beginning; they do not get into the name."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").write_bytes(b"data")
    stream = create_with(["tar"], tmp_path / "there", "--format=gnu", "--incremental")
    unpacker = await unpack(stream, dest)
    assert list_files(dest) == {"file": (b"data", False)}
    assert list(unpacker.refused) == ["./"]  # its list of the directory


@pytest.mark.asyncio
async def test_names_that_are_there_already(dest: Path) -> None:
    """The first one stays; a file is not replaced, nor taken for a directory, nor the other way round."""
    (dest / "link").symlink_to(dest.parent)
    unpacker = await unpack(
        make_archive(*((make_header(name), name.encode()) for name in ["a", "a", "a/b", "c/d", "c", "link", "link/e"])),
        dest,
    )
    (dest / "link").unlink()
    assert list_files(dest) == {"a": (b"a", False), "c/d": (b"c/d", False)}
    assert sorted(unpacker.refused) == ["a", "a/b", "c", "link", "link/e"]
    assert list_neighbours(dest) == ["dest"]


@pytest.mark.asyncio
async def test_names_longer_than_the_disk_allows(dest: Path) -> None:
    """A component that the file system refuses is recorded."""
    unpacker = await unpack(make_archive((make_header("x" * 300), b""), (make_header("good"), b"")), dest)
    assert list(list_files(dest)) == ["good"]
    assert "File name too long" in unpacker.refused["x" * 300]


@pytest.mark.asyncio
async def test_many_jobs_in_one_stream(tmp_path: Path) -> None:
    """Each member goes where route says, limits are per destination, and None skips without a word."""
    made = {job: tmp_path / job for job in ("one", "two")}
    for directory_made in made.values():
        directory_made.mkdir()

    def route(member: str) -> tuple[Path, str] | None:
        job, _, name = member.partition("/")
        return (made[job], name) if job in made else None

    stream = make_archive(*((make_header(name), b"x") for name in ["one/files/a", "one/b", "two/files/a", "three/a"]))
    with Unpacker(route, max_files=1) as unpacker:
        await unpacker.write(stream)
        unpacker.finish()
    assert unpacker.files == {
        "one/files/a": (tmp_path / "one", "files/a"),
        "two/files/a": (tmp_path / "two", "files/a"),
    }
    assert list(unpacker.refused) == ["one/b"]


@pytest.mark.asyncio
async def test_the_name_that_route_gives_is_judged_too(dest: Path) -> None:
    """A careless route leads nowhere either."""
    with Unpacker(lambda name: (dest, "../" + name)) as unpacker:
        await unpacker.write(make_archive((make_header("a"), b"")))
    assert unpacker.refused == {"a": "the name leads upwards"}
    assert list_neighbours(dest) == ["dest"]


@pytest.mark.asyncio
async def test_what_route_raises_passes(dest: Path) -> None:
    """It ends the unpacking, unchanged."""
    places: dict[str, tuple[Path, str]] = {}
    with pytest.raises(KeyError, match="mine"), Unpacker(lambda name: places["mine of " + name]) as unpacker:
        await unpacker.write(make_archive((make_header("a"), b"")))


@pytest.mark.asyncio
async def test_a_destination_that_is_not_there(tmp_path: Path) -> None:
    """Is the caller's mistake, not the member's: an OSError; so is one that is a link."""
    (tmp_path / "link").symlink_to(tmp_path)
    for destination in (tmp_path / "missing", tmp_path / "link"):
        with pytest.raises(OSError, match=destination.name):
            await unpack(make_archive((make_header("a"), b"")), destination)


@pytest.mark.asyncio
async def test_what_follows_the_end_is_ignored(dest: Path) -> None:
    """As every tar does: it pads its output with zeros, and a shell may say more."""
    stream = make_archive((make_header("a"), b"x")) + bytes(9000) + b"chatter"
    assert list((await unpack(stream, dest)).files) == ["a"]


@pytest.mark.asyncio
async def test_nothing_stays_open(dest: Path) -> None:
    """Neither after the end, nor in the middle of a file, nor after an error."""
    before = len(list_neighbours(Path("/proc/self/fd/0")))
    whole = make_archive((make_header("a/b"), b"x" * 600))
    for number, stream in enumerate([whole, whole[:600], whole[:1000] + b"x" * 1000]):
        (dest / str(number)).mkdir()
        with contextlib.suppress(ArchiveError):
            await unpack(stream, dest / str(number))
    assert len(list_neighbours(Path("/proc/self/fd/0"))) == before


@pytest.mark.asyncio
async def test_a_failing_disk_is_no_fault_of_the_stream(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails here raises as it is, and the file is not left."""

    def full(_fd: int, _data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("intercede.batch.archive.os.write", full)
    with pytest.raises(OSError, match="No space left"):
        await unpack(make_archive((make_header("a"), b"x")), dest)
    monkeypatch.undo()
    assert list_files(dest) == {}
