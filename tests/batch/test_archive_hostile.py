"""Archives that are hostile, damaged or too large write nothing outside."""

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
    """Set-id bits and rights of others do not arrive, whatever the umask."""
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
async def test_hostile_names_are_recorded_and_nothing_is_written(name: str, dest: Path) -> None:
    """What leads outside, or is no name, is left out with a reason, and the rest arrives."""
    unpacker = await unpack(make_archive((make_header(name), b"evil"), (make_header("good"), b"fine")), dest)
    assert list_files(dest) == {"good": (b"fine", False)}
    assert list_neighbours(dest) == ["dest"]
    assert list(unpacker.refused) == [name]
    assert "the name" in unpacker.refused[name]


@pytest.mark.asyncio
@pytest.mark.parametrize("path", [b"../evil", b"/evil", b"a\0b"])
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE])
async def test_hostile_names_in_pax_headers(path: bytes, kind: bytes, dest: Path) -> None:
    """The name that counts is the one that is judged."""
    unpacker = await unpack(
        make_archive(make_pax(format_record(b"path", path), kind), (make_header("innocent"), b"evil")), dest
    )
    assert list_files(dest) == {}
    assert list(unpacker.refused) == [os.fsdecode(path)]


KINDS = [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"V", b"Z"]


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS)
async def test_only_regular_files_come_through(kind: bytes, dest: Path) -> None:
    """Links, devices, fifos and unknown kinds are recorded; a link is not a way out for the member after it."""
    hostile = make_header("way", kind, linkname="..")
    unpacker = await unpack(make_archive((hostile, b""), (make_header("way/out"), b"x")), dest)
    assert list_files(dest) == {"way/out": (b"x", False)}
    assert "only regular files" in unpacker.refused["way"]


@pytest.mark.asyncio
@both_tars
async def test_what_real_tars_make_of_special_files(tar: Sequence[str], tmp_path: Path, dest: Path) -> None:
    """Links and fifos in a real tree are left out and recorded, and its files arrive."""
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
    """Every form of them, with maps that need further blocks, and the member after it arrives."""
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
async def test_the_limit_of_bytes(dest: Path) -> None:
    """What does not fit is recorded, what still fits arrives."""
    unpacker = await unpack(
        make_archive((make_header("a"), b"12"), (make_header("b"), b"345"), (make_header("c"), b"67")),
        dest,
        max_bytes=4,
    )
    assert sorted(unpacker.files) == ["a", "c"]
    assert unpacker.refused == {"b": "over the limit of 4 bytes"}


@pytest.mark.asyncio
async def test_the_limit_of_files(dest: Path) -> None:
    """The first one over it is recorded for all: what comes without end is not kept without end."""
    unpacker = await unpack(make_archive(*((make_header(str(number)), b"x") for number in range(9))), dest, max_files=3)
    assert sorted(unpacker.files) == ["0", "1", "2"]
    assert unpacker.refused == {"3": "over the limit of 3 files, this one and any that follow"}


@pytest.mark.asyncio
async def test_the_limit_counts_what_is_refused(dest: Path) -> None:
    """A stream of links is bounded as well."""
    unpacker = await unpack(
        make_archive(*((make_header(str(number), tarfile.SYMTYPE), b"") for number in range(9))), dest, max_files=3
    )
    assert len(unpacker.refused) == 4


@pytest.mark.asyncio
@given(cut=st.integers(0, 5631))
@settings(max_examples=60, deadline=None)
async def test_every_cut_is_seen(cut: int) -> None:
    """A stream without its end raises, and no file that did not arrive whole is left or listed."""
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
async def test_what_is_no_archive_is_an_error(stream: bytes, dest: Path) -> None:
    """One documented error, which a transport's caller can take for a lost connection."""
    with pytest.raises(ArchiveError, match="this is not a tar archive") as raised:
        await unpack(stream, dest)
    assert raised.value.retryable


@pytest.mark.asyncio
async def test_a_member_beyond_8_gib(dest: Path) -> None:
    """The GNU form of large sizes is understood: the member is over the limit, and skipping it takes no memory."""
    header = make_header("big", size=9 * 2**30).tobuf(tarfile.GNU_FORMAT)
    unpacker = await unpack(header + bytes(4096), dest, finish=False, max_bytes=2**30)
    assert unpacker.refused == {"big": f"over the limit of {2**30} bytes"}
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
async def test_no_mutation_escapes(changes: list[tuple[int, int]], sums: bool, step: int) -> None:
    """Whatever is changed, with checksums put right or not: nothing outside, only plain files, only ArchiveError."""
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
    """Put the checksum of the header at that place right."""
    block = stream[at : at + 512]
    if b"ustar" in block:
        block[148:156] = b" " * 8
        stream[at + 148 : at + 156] = b"%06o\0 " % sum(block)
