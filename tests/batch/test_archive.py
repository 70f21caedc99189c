"""Tar both ways: what GNU tar and busybox tar write and read, and what a hostile stream can do (nothing)."""

import contextlib
import io
import os
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tools import each_tool

from intercede.batch.archive import ArchiveError, Member, Unpacker, pack
from intercede.contract.errors import InvalidSpecError

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


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """An empty directory, beside which nothing may appear."""
    (tmp_path / "dest").mkdir()
    return tmp_path / "dest"


async def packed(members: list[Member]) -> bytes:
    """The whole stream of these members."""
    return b"".join([piece async for piece in pack(members)])


async def unpacked(stream: bytes, dest: Path, *, step: int = 65536, finish: bool = True, **limits: int) -> Unpacker:
    """Feed the stream in pieces of that size; everything goes below dest."""
    with Unpacker(lambda name: (dest, name), **limits) as unpacker:
        for at in range(0, len(stream), step):
            await unpacker.write(stream[at : at + step])
        if finish:
            unpacker.finish()
    return unpacker


def found(directory: Path) -> dict[str, tuple[bytes, bool]]:
    """Every file below, by name: its bytes, and whether its owner may execute it. Nothing but files may be there."""
    files: dict[str, tuple[bytes, bool]] = {}
    for above, _, here in os.walk(directory):
        for name in here:
            path = Path(above, name)
            status = path.lstat()
            assert stat.S_ISREG(status.st_mode), path
            files[str(path.relative_to(directory))] = (path.read_bytes(), bool(status.st_mode & stat.S_IXUSR))
    return files


def beside(path: Path) -> list[str]:
    """The names in the directory that it lies in."""
    return sorted(other.name for other in path.parent.iterdir())


def extract(tar: Sequence[str], stream: bytes, directory: Path) -> None:
    """Unpack as the far side does."""
    subprocess.run([*tar, "-xof", "-"], input=stream, cwd=directory, check=True, capture_output=True)


def create(tar: Sequence[str], directory: Path, *options: str) -> bytes:
    """What a real tar makes of that directory."""
    return subprocess.run([*tar, *options, "-cf", "-", "."], cwd=directory, check=True, capture_output=True).stdout


def handmade(*members: tuple[tarfile.TarInfo, bytes], end: bytes = bytes(1024)) -> bytes:
    """An archive of any headers at all."""
    stream = b""
    for info, body in members:
        info.size = info.size or len(body)
        stream += info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + body + bytes(-len(body) % 512)
    return stream + end


def info(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    """A header."""
    made = tarfile.TarInfo(name)
    made.type = kind
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def pax(records: bytes, kind: bytes = tarfile.XHDTYPE) -> tuple[tarfile.TarInfo, bytes]:
    """A PAX header with these records."""
    return info("PaxHeader", kind), records


def record(key: bytes, value: bytes) -> bytes:
    """One PAX record, with its own length in front."""
    length = len(key) + len(value) + 3
    length += len(str(length + len(str(length))))
    return b"%d %s=%s\n" % (length, key, value)


@pytest.mark.asyncio
@both_tars
@given(tree=trees)
@quick
async def test_any_tree_packed_here_unpacks_there(tar: Sequence[str], tree: dict[str, tuple[bytes, bool]]) -> None:
    """Names of any bytes and length, contents and execute bits come out of GNU tar and busybox tar as they went in."""
    with tempfile.TemporaryDirectory() as there:
        stream = await packed([Member(name, data, 0o700 if runs else 0o600) for name, (data, runs) in tree.items()])
        extract(tar, stream, Path(there))
        assert found(Path(there)) == tree


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
        unpacker = await unpacked(create(tar, Path(there)), Path(here), step=step)
        assert found(Path(here)) == tree
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
            archive.addfile(info(name, size=len(data), mode=0o755 if runs else 0o644), io.BytesIO(data))
    with tempfile.TemporaryDirectory() as here:
        await unpacked(buffer.getvalue(), Path(here), step=step)
        assert found(Path(here)) == tree


@pytest.mark.asyncio
@both_tars
async def test_there_and_back(tar: Sequence[str], tmp_path: Path) -> None:
    """A packed local file of several chunks, unpacked and packed by a real tar, comes back byte for byte."""
    source, there, back = tmp_path / "source", tmp_path / "there", tmp_path / "back"
    data = os.urandom(300_001)
    source.write_bytes(data)
    there.mkdir()
    back.mkdir()
    extract(tar, (await packed([Member("deep/in/it", source)])), there)
    await unpacked(create(tar, there), back)
    assert (back / "deep/in/it").read_bytes() == data


@pytest.mark.asyncio
@pytest.mark.parametrize("form", ["gnu", "oldgnu", "pax", "ustar", "v7"])
async def test_every_format_of_gnu_tar_unpacks(form: str, tmp_path: Path, dest: Path) -> None:
    """All formats that GNU tar writes are read."""
    (tmp_path / "there/sub").mkdir(parents=True)
    (tmp_path / "there/sub/file").write_bytes(b"data")
    unpacker = await unpacked(create(["tar"], tmp_path / "there", f"--format={form}"), dest)
    assert found(dest) == {"sub/file": (b"data", False)}
    assert unpacker.files == {"./sub/file": (dest, "./sub/file")}
    assert (dest / "sub" / "file").is_file()


@pytest.mark.asyncio
async def test_incremental_archives_of_gnu_tar_unpack(tmp_path: Path, dest: Path) -> None:
    """Times stand where other formats have the name's beginning; they do not get into the name."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").write_bytes(b"data")
    stream = create(["tar"], tmp_path / "there", "--format=gnu", "--incremental")
    unpacker = await unpacked(stream, dest)
    assert found(dest) == {"file": (b"data", False)}
    assert list(unpacker.refused) == ["./"]  # its list of the directory


@pytest.mark.asyncio
async def test_the_order_is_kept(tmp_path: Path) -> None:
    """Members stand in the archive as they were given, so that the last one proves the rest."""
    stream = await packed([Member(name, b"") for name in "zebra"])
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        assert archive.getnames() == list("zebra")


@pytest.mark.asyncio
async def test_headers_belong_to_nobody() -> None:
    """The modes are the member's, without a file type; no user of this machine is named."""
    with tarfile.open(fileobj=io.BytesIO(await packed([Member("a", b"", 0o100755)]))) as archive:
        only = archive.getmembers()[0]
    assert (only.mode, only.uid, only.gid, only.uname, only.gname) == (0o755, 0, 0, "", "")


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["", "/", "/etc/x", "..", "a/../b", "a//b", "a/", "a\0b", "./", "\ud800", "x" * 5000])
async def test_names_that_cannot_be_are_not_packed(name: str) -> None:
    """A name that leads elsewhere, or nowhere, is an InvalidSpecError that says so."""
    with pytest.raises(InvalidSpecError, match="cannot be sent: the name") as raised:
        await packed([Member(name, b"")])
    assert raised.value.value == name


def missing(path: Path) -> None:
    """Nothing there."""
    assert not path.exists()


def directory(path: Path) -> None:
    """A directory."""
    path.mkdir()


@pytest.mark.asyncio
@pytest.mark.parametrize("make", [missing, directory, os.mkfifo])
async def test_local_files_that_cannot_be_read_are_told(make: Callable[[Path], None], tmp_path: Path) -> None:
    """A missing file, a directory, a fifo: InvalidSpecError with the path, at once."""
    make(tmp_path / "it")
    with pytest.raises(InvalidSpecError, match="it' cannot be sent") as raised:
        await packed([Member("name", tmp_path / "it")])
    assert raised.value.value == str(tmp_path / "it")


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [100_000, 300_000], ids=["shrinks", "grows"])
async def test_a_file_that_changes_its_size_ends_the_stream(size: int, tmp_path: Path, dest: Path) -> None:
    """The error says so, and what went out before is not a whole archive."""
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
        await unpacked(b"".join(sent), dest)
    assert found(dest) == {}


def test_secrets_do_not_show() -> None:
    """A member's bytes are not in its repr."""
    assert "hunter2" not in repr(Member("password", b"hunter2"))


@pytest.mark.asyncio
async def test_modes_are_reduced(dest: Path) -> None:
    """Set-id bits and rights of others do not arrive, whatever the umask."""
    old = os.umask(0)
    try:
        await unpacked(handmade((info("a/plain", mode=0o6666), b""), (info("a/runs", mode=0o7777), b"")), dest)
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
    unpacker = await unpacked(handmade((info(name), b"evil"), (info("good"), b"fine")), dest)
    assert found(dest) == {"good": (b"fine", False)}
    assert beside(dest) == ["dest"]
    assert list(unpacker.refused) == [name]
    assert "the name" in unpacker.refused[name]


@pytest.mark.asyncio
@pytest.mark.parametrize("path", [b"../evil", b"/evil", b"a\0b"])
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE])
async def test_hostile_names_in_pax_headers(path: bytes, kind: bytes, dest: Path) -> None:
    """The name that counts is the one that is judged."""
    unpacker = await unpacked(handmade(pax(record(b"path", path), kind), (info("innocent"), b"evil")), dest)
    assert found(dest) == {}
    assert list(unpacker.refused) == [os.fsdecode(path)]


KINDS = [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"V", b"Z"]


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS)
async def test_only_regular_files_come_through(kind: bytes, dest: Path) -> None:
    """Links, devices, fifos and unknown kinds are recorded; a link is not a way out for the member after it."""
    hostile = info("way", kind, linkname="..")
    unpacker = await unpacked(handmade((hostile, b""), (info("way/out"), b"x")), dest)
    assert found(dest) == {"way/out": (b"x", False)}
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
    unpacker = await unpacked(create(tar, there), dest)
    assert [data for data, _ in found(dest).values()] == [b"1"]
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
    stream = create(["tar"], there, "--sparse", "--sort=name", *options)
    unpacker = await unpacked(stream, dest)
    assert found(dest) == {"b": (b"after", False)}
    assert [reason for reason in unpacker.refused.values() if "a sparse file" in reason]


@pytest.mark.asyncio
async def test_names_that_are_there_already(dest: Path) -> None:
    """The first one stays; a file is not replaced, nor taken for a directory, nor the other way round."""
    (dest / "link").symlink_to(dest.parent)
    unpacker = await unpacked(
        handmade(*((info(name), name.encode()) for name in ["a", "a", "a/b", "c/d", "c", "link", "link/e"])), dest
    )
    (dest / "link").unlink()
    assert found(dest) == {"a": (b"a", False), "c/d": (b"c/d", False)}
    assert sorted(unpacker.refused) == ["a", "a/b", "c", "link", "link/e"]
    assert beside(dest) == ["dest"]


@pytest.mark.asyncio
async def test_names_longer_than_the_disk_allows(dest: Path) -> None:
    """A component that the file system refuses is recorded."""
    unpacker = await unpacked(handmade((info("x" * 300), b""), (info("good"), b"")), dest)
    assert list(found(dest)) == ["good"]
    assert "File name too long" in unpacker.refused["x" * 300]


@pytest.mark.asyncio
async def test_the_limit_of_bytes(dest: Path) -> None:
    """What does not fit is recorded, what still fits arrives."""
    unpacker = await unpacked(handmade((info("a"), b"12"), (info("b"), b"345"), (info("c"), b"67")), dest, max_bytes=4)
    assert sorted(unpacker.files) == ["a", "c"]
    assert unpacker.refused == {"b": "over the limit of 4 bytes"}


@pytest.mark.asyncio
async def test_the_limit_of_files(dest: Path) -> None:
    """The first one over it is recorded for all: what comes without end is not kept without end."""
    unpacker = await unpacked(handmade(*((info(str(number)), b"x") for number in range(9))), dest, max_files=3)
    assert sorted(unpacker.files) == ["0", "1", "2"]
    assert unpacker.refused == {"3": "over the limit of 3 files, this one and any that follow"}


@pytest.mark.asyncio
async def test_the_limit_counts_what_is_refused(dest: Path) -> None:
    """A stream of links is bounded as well."""
    unpacker = await unpacked(
        handmade(*((info(str(number), tarfile.SYMTYPE), b"") for number in range(9))), dest, max_files=3
    )
    assert len(unpacker.refused) == 4


@pytest.mark.asyncio
async def test_many_jobs_in_one_stream(tmp_path: Path) -> None:
    """Each member goes where route says, limits are per destination, and None skips without a word."""
    made = {job: tmp_path / job for job in ("one", "two")}
    for directory_made in made.values():
        directory_made.mkdir()

    def route(member: str) -> tuple[Path, str] | None:
        job, _, name = member.partition("/")
        return (made[job], name) if job in made else None

    stream = handmade(*((info(name), b"x") for name in ["one/files/a", "one/b", "two/files/a", "three/a"]))
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
        await unpacker.write(handmade((info("a"), b"")))
    assert unpacker.refused == {"a": "the name leads upwards"}
    assert beside(dest) == ["dest"]


@pytest.mark.asyncio
async def test_what_route_raises_passes(dest: Path) -> None:
    """It ends the unpacking, unchanged."""
    places: dict[str, tuple[Path, str]] = {}
    with pytest.raises(KeyError, match="mine"), Unpacker(lambda name: places["mine of " + name]) as unpacker:
        await unpacker.write(handmade((info("a"), b"")))


@pytest.mark.asyncio
async def test_a_destination_that_is_not_there(tmp_path: Path) -> None:
    """Is the caller's mistake, not the member's: an OSError; so is one that is a link."""
    (tmp_path / "link").symlink_to(tmp_path)
    for destination in (tmp_path / "missing", tmp_path / "link"):
        with pytest.raises(OSError, match=destination.name):
            await unpacked(handmade((info("a"), b"")), destination)


@pytest.mark.asyncio
@given(cut=st.integers(0, 5631))
@settings(max_examples=60, deadline=None)
async def test_every_cut_is_seen(cut: int) -> None:
    """A stream without its end raises, and no file that did not arrive whole is left or listed."""
    stream = handmade((info("a"), b"x" * 2000), (info("l" * 200), b"y"))
    assert len(stream) == 5632
    with tempfile.TemporaryDirectory() as here:
        with Unpacker(lambda name: (Path(here), name)) as unpacker:
            await unpacker.write(stream[:cut])
            with pytest.raises(ArchiveError, match="cut"):
                unpacker.finish()
        assert {name for name, _ in found(Path(here)).items()} == set(unpacker.files)


@pytest.mark.asyncio
async def test_what_follows_the_end_is_ignored(dest: Path) -> None:
    """As every tar does: it pads its output with zeros, and a shell may say more."""
    stream = handmade((info("a"), b"x")) + bytes(9000) + b"chatter"
    assert list((await unpacked(stream, dest)).files) == ["a"]


DAMAGED = {
    "text": b"Last login: yesterday\n" * 100,
    "nothing but ones": b"\xff" * 2048,
    "lone zeros": handmade((info("a"), b""), end=bytes(512) + b"x" * 512),
    "negative size": handmade(pax(record(b"size", b"-5")), (info("a"), b"")),
    "endless size": handmade(pax(record(b"size", b"9" * 5000)), (info("a"), b"")),
    "a PAX record without length": handmade(pax(b"path=x\n"), (info("a"), b"")),
    "a second PAX record without a blank": handmade(pax(record(b"path", b"x") + b"y" * 30), (info("a"), b"")),
    "a PAX record of length 0": handmade(pax(b"0 path=x\n"), (info("a"), b"")),
    "a PAX record that is too long": handmade(pax(b"99 path=x\n"), (info("a"), b"")),
    "a PAX record without a value": handmade(pax(b"7 path\n"), (info("a"), b"")),
    "a name without end": handmade((info("x", tarfile.GNUTYPE_LONGNAME, size=2**30), b"")),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", DAMAGED.values(), ids=DAMAGED)
async def test_what_is_no_archive_is_an_error(stream: bytes, dest: Path) -> None:
    """One documented error, which a transport's caller can take for a lost connection."""
    with pytest.raises(ArchiveError, match="this is no tar archive") as raised:
        await unpacked(stream, dest)
    assert raised.value.retryable


@pytest.mark.asyncio
async def test_a_member_beyond_8_gib(dest: Path) -> None:
    """The GNU form of large sizes is understood: the member is over the limit, and skipping it takes no memory."""
    header = info("big", size=9 * 2**30).tobuf(tarfile.GNU_FORMAT)
    unpacker = await unpacked(header + bytes(4096), dest, finish=False, max_bytes=2**30)
    assert unpacker.refused == {"big": f"over the limit of {2**30} bytes"}
    with pytest.raises(ArchiveError, match="cut"):
        unpacker.finish()


BASE = handmade(
    (info("dir/plain"), b"x" * 700),
    (info("l" * 150), b"long"),
    (info("dir/link", tarfile.SYMTYPE, linkname="../.."), b""),
    pax(record(b"path", b"dir/pax") + record(b"mtime", b"1.5")),
    (info("short"), b"pax"),
    (info("dir/last"), b"last"),
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
            resum(stream, at)
    with tempfile.TemporaryDirectory() as above:
        here = Path(above, "here")
        here.mkdir()
        with contextlib.suppress(ArchiveError):
            await unpacked(bytes(stream), here, step=step)
        found(here)
        assert beside(here) == ["here"]


def resum(stream: bytearray, at: int) -> None:
    """Put the checksum of the header at that place right."""
    block = stream[at : at + 512]
    if b"ustar" in block:
        block[148:156] = b" " * 8
        stream[at + 148 : at + 156] = b"%06o\0 " % sum(block)


@pytest.mark.asyncio
async def test_nothing_stays_open(dest: Path) -> None:
    """Neither after the end, nor in the middle of a file, nor after an error."""
    before = len(beside(Path("/proc/self/fd/0")))
    whole = handmade((info("a/b"), b"x" * 600))
    for number, stream in enumerate([whole, whole[:600], whole[:1000] + b"x" * 1000]):
        (dest / str(number)).mkdir()
        with contextlib.suppress(ArchiveError):
            await unpacked(stream, dest / str(number))
    assert len(beside(Path("/proc/self/fd/0"))) == before


@pytest.mark.asyncio
async def test_a_failing_disk_is_no_fault_of_the_stream(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails here raises as it is, and the file is not left."""

    def full(_fd: int, _data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("intercede.batch.archive.os.write", full)
    with pytest.raises(OSError, match="No space left"):
        await unpacked(handmade((info("a"), b"x")), dest)
    monkeypatch.undo()
    assert found(dest) == {}
