"""Archives of GNU tar, busybox tar and Python are unpacked."""

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
async def test_an_archive_of_each_tar_is_unpacked(
    tar: Sequence[str], tree: dict[str, tuple[bytes, bool]], step: int
) -> None:
    """A tree that a tar packed is unpacked whole, in pieces of any size."""
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
async def test_pax_archives_are_unpacked(tree: dict[str, tuple[bytes, bool]], step: int) -> None:
    """Names in PAX headers are used."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, (data, runs) in tree.items():
            archive.addfile(make_header(name, size=len(data), mode=0o755 if runs else 0o644), io.BytesIO(data))
    with tempfile.TemporaryDirectory() as here:
        await unpack(buffer.getvalue(), Path(here), step=step)
        assert list_files(Path(here)) == tree


@pytest.mark.asyncio
@pytest.mark.parametrize("form", ["gnu", "oldgnu", "pax", "ustar", "v7"])
async def test_each_format_of_gnu_tar_is_unpacked(form: str, tmp_path: Path, dest: Path) -> None:
    """Archives in each format that GNU tar writes are unpacked."""
    (tmp_path / "there/sub").mkdir(parents=True)
    (tmp_path / "there/sub/file").write_bytes(b"data")
    unpacker = await unpack(create_with(["tar"], tmp_path / "there", f"--format={form}"), dest)
    assert list_files(dest) == {"sub/file": (b"data", False)}
    assert unpacker.files == {"./sub/file": (dest, "./sub/file")}
    assert (dest / "sub" / "file").is_file()


@pytest.mark.asyncio
async def test_incremental_archives_of_gnu_tar_are_unpacked(tmp_path: Path, dest: Path) -> None:
    """The times in an incremental archive of GNU tar do not become parts of names."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").write_bytes(b"data")
    stream = create_with(["tar"], tmp_path / "there", "--format=gnu", "--incremental")
    unpacker = await unpack(stream, dest)
    assert list_files(dest) == {"file": (b"data", False)}
    assert list(unpacker.refused) == ["./"]  # its list of the directory


@pytest.mark.asyncio
async def test_an_existing_name_is_not_replaced(dest: Path) -> None:
    """A member whose name exists already, as a file, a directory or a link, is refused, and the first one stays."""
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
async def test_a_name_that_the_file_system_refuses_is_recorded(dest: Path) -> None:
    """A member whose name is too long for the file system is refused, and the others are written."""
    unpacker = await unpack(make_archive((make_header("x" * 300), b""), (make_header("good"), b"")), dest)
    assert list(list_files(dest)) == ["good"]
    assert "File name too long" in unpacker.refused["x" * 300]


@pytest.mark.asyncio
async def test_one_stream_holds_many_jobs(tmp_path: Path) -> None:
    """Each member is written where `route` says, limits hold for each destination, and None skips a member."""
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
async def test_a_hostile_name_from_route_is_refused(dest: Path) -> None:
    """A name that `route` returns is refused if it leads upwards."""
    with Unpacker(lambda name: (dest, "../" + name)) as unpacker:
        await unpacker.write(make_archive((make_header("a"), b"")))
    assert unpacker.refused == {"a": "the name leads upwards"}
    assert list_neighbours(dest) == ["dest"]


@pytest.mark.asyncio
async def test_an_error_of_route_is_passed_on(dest: Path) -> None:
    """An exception of `route` ends the unpacking unchanged."""
    places: dict[str, tuple[Path, str]] = {}
    with pytest.raises(KeyError, match="mine"), Unpacker(lambda name: places["mine of " + name]) as unpacker:
        await unpacker.write(make_archive((make_header("a"), b"")))


@pytest.mark.asyncio
async def test_a_missing_destination_is_an_error(tmp_path: Path) -> None:
    """A destination that is missing or a link is an OSError."""
    (tmp_path / "link").symlink_to(tmp_path)
    for destination in (tmp_path / "missing", tmp_path / "link"):
        with pytest.raises(OSError, match=destination.name):
            await unpack(make_archive((make_header("a"), b"")), destination)


@pytest.mark.asyncio
async def test_bytes_after_the_end_are_ignored(dest: Path) -> None:
    """Zeros and text after the end of an archive are ignored."""
    stream = make_archive((make_header("a"), b"x")) + bytes(9000) + b"chatter"
    assert list((await unpack(stream, dest)).files) == ["a"]


@pytest.mark.asyncio
async def test_no_file_stays_open(dest: Path) -> None:
    """No file is open after an archive that is whole, cut or damaged."""
    before = len(list_neighbours(Path("/proc/self/fd/0")))
    whole = make_archive((make_header("a/b"), b"x" * 600))
    for number, stream in enumerate([whole, whole[:600], whole[:1000] + b"x" * 1000]):
        (dest / str(number)).mkdir()
        with contextlib.suppress(ArchiveError):
            await unpack(stream, dest / str(number))
    assert len(list_neighbours(Path("/proc/self/fd/0"))) == before


@pytest.mark.asyncio
async def test_a_failed_write_is_an_oserror(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails is an OSError and no ArchiveError, and the file is removed."""

    def full(_fd: int, _data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("intercede.batch.archive.os.write", full)
    with pytest.raises(OSError, match="No space left"):
        await unpack(make_archive((make_header("a"), b"x")), dest)
    monkeypatch.undo()
    assert list_files(dest) == {}
