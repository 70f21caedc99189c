"""Output is fetched over local and direct within its limits."""

import os
import stat
import sys
from pathlib import Path

import pytest
from tests.batch.sites import Counting, Site, finish, make_outputs, make_script_spec, wait_until

from intercede.batch import BatchBackend
from intercede.contract.job import (
    CopyVars,
    JobState,
    OutputMember,
    OutputSpec,
)
from intercede.schedulers.direct import DirectScheduler


@pytest.mark.asyncio
async def test_only_wanted_files_are_fetched(site: Site, backend: BatchBackend) -> None:
    """Files that patterns and names match are fetched, unmatched patterns are missing, and stdout has its own name."""
    script = (
        "mkdir -p logs/deep .dot; echo 1 >a.txt; echo 2 >b.log; echo 3 >logs/deep/c; echo 4 >.dot/d; : >empty; echo out"
    )
    spec = make_script_spec(
        script, outputs=make_outputs("*.txt", "logs", "none*", "**/d", "empty"), stdout="logs/out", stderr="err"
    )
    handle = (await backend.submit(spec)).handles[0]
    await finish(backend, [handle])
    for _ in range(2):
        output = (await backend.fetch_output([handle], site.dest))[handle]
        assert (output.ok, output.missing) == (True, ("none*", "**/d"))
        assert set(output.files) == {"a.txt", "logs/deep/c", "empty"}
        assert output.stdout is not None
        assert output.stdout.read_text() == "out\n"
        assert all(path.is_relative_to(site.dest) for path in output.files.values())
    assert len(list(site.dest.iterdir())) == 1


HOSTILE = ["a b", "new\nline", "-rf", "--", "é", "\udcff", "back\\slash", "'", "*", "[x]", "\n", " lead", "nl\n."]


@pytest.mark.asyncio
async def test_files_with_hostile_names_are_fetched_without_links(
    site: Site, backend: BatchBackend, tmp_path: Path
) -> None:
    """Files with any name are fetched, and links, FIFOs and their targets are not."""
    (tmp_path / "outside").write_text("outside")
    (tmp_path / "make.py").write_text(
        "import os\n"
        f"for name in {HOSTILE!r}:\n"
        "    name = os.fsencode(name)\n"
        "    open(name + b'.f', 'w').write('x')\n"
        "    os.mkdir(b'd' + name); open(b'd' + name + b'/f', 'w').close()\n"
        f"os.symlink({str(tmp_path / 'outside')!r}, 'link')\n"
        f"os.symlink({str(tmp_path)!r}, 'dirlink'); os.mkfifo('fifo')\n"
        "os.link('a b.f', 'hard')\n"
    )
    spec = make_script_spec(f"{sys.executable} {tmp_path / 'make.py'}", outputs=make_outputs(include_unlisted=True))
    handle = (await backend.submit(spec)).handles[0]
    assert (await finish(backend, [handle]))[handle].state is JobState.DONE
    output = (await backend.fetch_output([handle], site.dest))[handle]
    assert (output.ok, output.reason) == (True, None)
    assert set(output.files) == {
        *(f"{name}.f" for name in HOSTILE),
        *(f"d{name}/f" for name in HOSTILE),
        "hard",
    }
    assert all(stat.S_ISREG(path.lstat().st_mode) for path in site.dest.rglob("*") if not path.is_dir())


@pytest.mark.asyncio
async def test_a_job_over_the_limits_is_not_ok(site: Site) -> None:
    """A job over the limits is not ok, stdout and fitting files arrive, and the other jobs are ok."""
    spec = make_script_spec(
        'n=1; [ "$MANY" = no ] || n=9; for i in $(seq $n); do printf 12345 >f$i; done', outputs=make_outputs("f*")
    )
    copies = [CopyVars(environment={"MANY": many}) for many in ("no", "yes")]
    for files, size in ((5, 1000), (1000, 16)):
        limited = BatchBackend(Counting(), DirectScheduler(2), root=str(site.root), max_files=files, max_bytes=size)
        async with limited as backend:
            handles = (await backend.submit(spec, copies)).handles
            await finish(backend, handles.values())
            outputs = await backend.fetch_output(list(handles.values()), site.dest)
            assert outputs[handles[0]].ok
            assert set(outputs[handles[0]].files) == {"f1"}
            assert outputs[handles[1]].stdout is not None
            reason = outputs[handles[1]].reason
            assert not outputs[handles[1]].ok
            assert reason is not None
            assert reason.startswith("limit: 6 files")
            assert len(outputs[handles[1]].files) == 3


@pytest.mark.asyncio
async def test_an_unfinished_job_is_fetched_whole_later(site: Site, backend: BatchBackend) -> None:
    """Output of a running job is not ok, and is fetched whole after its end. Diagnostics show the output so far."""
    spec = make_script_spec("echo early; while [ ! -e go ]; do sleep 0.02; done; echo late", outputs=make_outputs("go"))
    handle = (await backend.submit(spec)).handles[0]
    shown = await wait_until(lambda: backend.diagnostics([handle]), lambda told: told[handle].text != "")
    assert shown[handle].text == "early\n"
    early = (await backend.fetch_output([handle], site.dest))[handle]
    assert (early.ok, early.reason and early.reason.partition(":")[0]) == (False, "running")
    assert (await backend.purge([handle]))[handle].reason == "running"
    assert (await backend.counts()).running == 1
    (site.directory(handle) / "work" / "go").touch()
    await finish(backend, [handle])
    output = (await backend.fetch_output([handle], site.dest))[handle]
    assert output.stdout is not None
    assert output.stdout.read_text() == "early\nlate\n"


@pytest.mark.asyncio
async def test_packing_that_takes_too_long_is_stopped(site: Site, backend: BatchBackend, tmp_path: Path) -> None:
    """A job whose packing takes longer than max_seconds is not ok, and is fetched later with more time."""
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "tar").write_text('#!/bin/sh\ncase "$*" in *-cf*) sleep 30 ;; esac\nexec /usr/bin/env -u PATH tar "$@"\n')
    (slow / "tar").chmod(0o755)
    handle = (await backend.submit(make_script_spec("echo out"))).handles[0]
    await finish(backend, [handle])
    patience = BatchBackend(
        Counting({"PATH": f"{slow}:{os.environ['PATH']}"}),
        DirectScheduler(),
        root=str(site.root),
        max_seconds=1,
    )
    async with patience:
        output = (await patience.fetch_output([handle], site.dest))[handle]
        assert (output.ok, output.reason and output.reason.partition(":")[0]) == (False, "limit")
    assert (await backend.fetch_output([handle], site.dest))[handle].ok


@pytest.mark.asyncio
async def test_a_file_that_changes_during_packing_is_not_ok(site: Site, backend: BatchBackend) -> None:
    """A file that a surviving process writes during the packing arrives with its real bytes, or is not ok."""
    writer = "(while [ -e go ]; do head -c 3000000 /dev/zero | tr '\\0' x >f; : >f; done) >/dev/null 2>&1 & sleep 0.2"
    spec = make_script_spec(f": >go; {writer}", outputs=OutputSpec(members=(OutputMember(pattern="f"),)))
    handle = (await backend.submit(spec)).handles[0]
    await finish(backend, [handle])
    try:
        for _ in range(20):
            output = (await backend.fetch_output([handle], site.dest))[handle]
            assert not output.ok or set(output.files["f"].read_bytes()) <= {ord("x")}
    finally:
        (site.directory(handle) / "work" / "go").unlink()


@pytest.mark.asyncio
async def test_the_destination_may_be_text(site: Site) -> None:
    """The destination of fetch_output may be a text instead of a path."""
    async with site.backend() as backend:
        handles = (await backend.submit(make_script_spec("echo here"))).handles.values()
        await finish(backend, handles)
        (output,) = (await backend.fetch_output(handles, str(site.dest))).values()

    assert output.stdout is not None
    assert output.stdout.is_relative_to(site.dest)
    assert output.stdout.read_text() == "here\n"
