"""A hostile, damaged or large archive writes nothing outside of its destination."""

import contextlib
import os
import stat
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.batch.archives import (
    both_tars,
    create_with,
    format_record,
    list_files,
    list_neighbours,
    make_archive,
    make_header,
    make_pax,
    unpack,
)

from intercede.batch.archive import ArchiveError, Unpacker


@pytest.mark.asyncio
async def test_modes_are_reduced(dest: Path) -> None:
    """Set-id bits and rights of other users are not kept, whatever the umask is."""
    old = os.umask(0)
    try:
        await unpack(
            make_archive((make_header("a/plain", mode=0o6666), b""), (make_header("a/runs", mode=0o7777), b"")), dest
        )
    finally:
        os.umask(old)
    modes = [stat.S_IMODE((dest / name).stat().st_mode) for name in ("a", "a/plain", "a/runs")]
    assert modes == [0o700, 0o600, 0o700]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "name", ["/etc/evil", "../evil", "a/../../evil", "a//b", "x" * 5000, "a/" * 200 + "b"], ids=lambda name: name[:12]
)
async def test_a_hostile_name_is_refused(name: str, dest: Path) -> None:
    """A member whose name leads outside is refused with a reason, and the others are written."""
    unpacker = await unpack(make_archive((make_header(name), b"evil"), (make_header("good"), b"fine")), dest)
    assert list_files(dest) == {"good": (b"fine", False)}
    assert list_neighbours(dest) == ["dest"]
    assert list(unpacker.refused) == [name]
    assert "the name" in unpacker.refused[name]


@pytest.mark.asyncio
@pytest.mark.parametrize("path", [b"../evil", b"/evil", b"a\0b"])
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE])
async def test_a_hostile_name_in_a_pax_header_is_refused(path: bytes, kind: bytes, dest: Path) -> None:
    """A hostile name in a PAX header is refused, even if the main header has a harmless one."""
    unpacker = await unpack(
        make_archive(make_pax(format_record(b"path", path), kind), (make_header("innocent"), b"evil")), dest
    )
    assert list_files(dest) == {}
    assert list(unpacker.refused) == [os.fsdecode(path)]


KINDS = [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"V", b"Z"]


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS)
async def test_only_regular_files_are_written(kind: bytes, dest: Path) -> None:
    """Links, devices, FIFOs and unknown kinds are refused, and no later member is written through a link."""
    hostile = make_header("way", kind, linkname="..")
    unpacker = await unpack(make_archive((hostile, b""), (make_header("way/out"), b"x")), dest)
    assert list_files(dest) == {"way/out": (b"x", False)}
    assert "only regular files" in unpacker.refused["way"]


@pytest.mark.asyncio
@both_tars
async def test_special_files_of_real_tars_are_refused(tar: Sequence[str], tmp_path: Path, dest: Path) -> None:
    """Links and FIFOs in an archive of a real tar are refused, and its files are written."""
    there = tmp_path / "there"
    there.mkdir()
    (there / "one").write_bytes(b"1")
    os.link(there / "one", there / "two")
    (there / "link").symlink_to("/etc/passwd")
    os.mkfifo(there / "fifo")
    unpacker = await unpack(create_with(tar, there), dest)
    assert [data for data, _ in list_files(dest).values()] == [b"1"]
    assert sorted(reason.split(",")[0] for reason in unpacker.refused.values()) == [
        "it is a fifo",
        "it is a hard link",
        "it is a symbolic link",
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "options", [["--format=gnu"], *(["--format=pax", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0"))]
)
async def test_sparse_files_are_refused(options: list[str], tmp_path: Path, dest: Path) -> None:
    """A sparse file in each of its formats is refused, and the member after it is written."""
    there = tmp_path / "there"
    there.mkdir()
    with (there / "a").open("wb") as file:
        for hole in range(60):
            file.seek(hole * 65536)
            file.write(b"data")
    (there / "b").write_bytes(b"after")
    stream = create_with(["tar"], there, "--sparse", "--sort=name", *options)
    unpacker = await unpack(stream, dest)
    assert list_files(dest) == {"b": (b"after", False)}
    assert [reason for reason in unpacker.refused.values() if "a sparse file" in reason]


@pytest.mark.asyncio
async def test_a_member_over_the_limit_of_bytes_is_refused(dest: Path) -> None:
    """A member that exceeds the limit of bytes is refused, and smaller ones are written."""
    unpacker = await unpack(
        make_archive((make_header("a"), b"12"), (make_header("b"), b"345"), (make_header("c"), b"67")),
        dest,
        max_bytes=4,
    )
    assert sorted(unpacker.files) == ["a", "c"]
    assert unpacker.refused == {"b": "this file is over the limit of 4 bytes"}


@pytest.mark.asyncio
async def test_members_over_the_limit_of_files_are_refused(dest: Path) -> None:
    """Only the first member over the limit of files is recorded, so that an endless archive takes no memory."""
    unpacker = await unpack(make_archive(*((make_header(str(number)), b"x") for number in range(9))), dest, max_files=3)
    assert sorted(unpacker.files) == ["0", "1", "2"]
    assert unpacker.refused == {"3": "this file, and any that follow, are over the limit of 3 files"}


@pytest.mark.asyncio
async def test_refused_members_count_as_files(dest: Path) -> None:
    """Refused members count for the limit of files."""
    unpacker = await unpack(
        make_archive(*((make_header(str(number), tarfile.SYMTYPE), b"") for number in range(9))), dest, max_files=3
    )
    assert len(unpacker.refused) == 4


@pytest.mark.asyncio
@given(cut=st.integers(0, 5631))
@settings(max_examples=60, deadline=None)
async def test_each_cut_is_an_error(cut: int) -> None:
    """An archive that is cut at any byte is an ArchiveError, and no part of a file is left."""
    stream = make_archive((make_header("a"), b"x" * 2000), (make_header("l" * 200), b"y"))
    assert len(stream) == 5632
    with tempfile.TemporaryDirectory() as here:
        with Unpacker(lambda name: (Path(here), name)) as unpacker:
            await unpacker.write(stream[:cut])
            with pytest.raises(ArchiveError, match="cut"):
                unpacker.finish()
        assert {name for name, _ in list_files(Path(here)).items()} == set(unpacker.files)


DAMAGED = {
    "text": b"Last login: yesterday\n" * 100,
    "nothing but ones": b"\xff" * 2048,
    "lone zeros": make_archive((make_header("a"), b""), end=bytes(512) + b"x" * 512),
    "negative size": make_archive(make_pax(format_record(b"size", b"-5")), (make_header("a"), b"")),
    "endless size": make_archive(make_pax(format_record(b"size", b"9" * 5000)), (make_header("a"), b"")),
    "a PAX record without length": make_archive(make_pax(b"path=x\n"), (make_header("a"), b"")),
    "a second PAX record without a blank": make_archive(
        make_pax(format_record(b"path", b"x") + b"y" * 30), (make_header("a"), b"")
    ),
    "a PAX record of length 0": make_archive(make_pax(b"0 path=x\n"), (make_header("a"), b"")),
    "a PAX record that is too long": make_archive(make_pax(b"99 path=x\n"), (make_header("a"), b"")),
    "a PAX record without a value": make_archive(make_pax(b"7 path\n"), (make_header("a"), b"")),
    "a name without end": make_archive((make_header("x", tarfile.GNUTYPE_LONGNAME, size=2**30), b"")),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", DAMAGED.values(), ids=DAMAGED)
async def test_a_damaged_archive_is_an_error(stream: bytes, dest: Path) -> None:
    """A stream that is no archive is a retryable ArchiveError."""
    with pytest.raises(ArchiveError, match="this is not a tar archive") as raised:
        await unpack(stream, dest)
    assert raised.value.retryable


@pytest.mark.asyncio
async def test_a_member_over_8_gib_is_skipped(dest: Path) -> None:
    """A member of more than 8 GiB is refused, and skipping it takes no memory."""
    header = make_header("big", size=9 * 2**30).tobuf(tarfile.GNU_FORMAT)
    unpacker = await unpack(header + bytes(4096), dest, finish=False, max_bytes=2**30)
    assert unpacker.refused == {"big": f"this file is over the limit of {2**30} bytes"}
    with pytest.raises(ArchiveError, match="cut"):
        unpacker.finish()


BASE = make_archive(
    (make_header("dir/plain"), b"x" * 700),
    (make_header("l" * 150), b"long"),
    (make_header("dir/link", tarfile.SYMTYPE, linkname="../.."), b""),
    make_pax(format_record(b"path", b"dir/pax") + format_record(b"mtime", b"1.5")),
    (make_header("short"), b"pax"),
    (make_header("dir/last"), b"last"),
)
mutations = st.lists(st.tuples(st.integers(0, len(BASE) - 1), st.integers(0, 255)), min_size=1, max_size=8)


@pytest.mark.asyncio
@given(changes=mutations, sums=st.booleans(), step=st.integers(1, 5000))
@settings(max_examples=300, deadline=None)
async def test_no_change_of_bytes_writes_outside(changes: list[tuple[int, int]], sums: bool, step: int) -> None:
    """An archive with changed bytes writes only regular files inside its destination, and raises only ArchiveError."""
    stream = bytearray(BASE)
    for at, value in changes:
        stream[at] = value
    if sums:
        for at in range(0, len(stream), 512):
            fix_checksum(stream, at)
    with tempfile.TemporaryDirectory() as above:
        here = Path(above, "here")
        here.mkdir()
        with contextlib.suppress(ArchiveError):
            await unpack(bytes(stream), here, step=step)
        list_files(here)
        assert list_neighbours(here) == ["here"]


def fix_checksum(stream: bytearray, at: int) -> None:
    """Correct the checksum of the header at an offset."""
    block = stream[at : at + 512]
    if b"ustar" in block:
        block[148:156] = b" " * 8
        stream[at + 148 : at + 156] = b"%06o\0 " % sum(block)
