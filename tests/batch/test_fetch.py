"""Output is fetched correctly if the remote machine fails, is slow, or purges the job meanwhile."""

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from intercede.batch import BatchBackend
from intercede.contract.job import FileRef, JobHandle, JobState, OutputMember, OutputSpec, SubmissionSpec
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport

SECONDS = 30
Shim = Callable[[str, str], None]


class Meddling(DirectScheduler):
    """A scheduler whose status fragment changes files before it answers."""

    def __init__(self, meddling: str) -> None:
        super().__init__(2, 0)
        self._meddling = meddling

    def status_script(self) -> str:
        """Return a fragment that changes files, and then answers."""
        return f"{self._meddling}\n{super().status_script()}"


@pytest.fixture
def shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shim:
    """Return a function that puts a script in the place of a tool. The script calls the tool as $REAL."""

    def put(tool: str, script: str) -> None:
        real = shutil.which(tool)
        place = tmp_path / "shims"
        place.mkdir(exist_ok=True)
        (place / tool).write_text(f"#!/bin/sh\nREAL={real}\n{script}\n")
        (place / tool).chmod(0o755)
        monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")

    return put


def make_backend(
    root: Path, scheduler: DirectScheduler | None = None, *, max_files: int = 100, max_seconds: int = 3600
) -> BatchBackend:
    """Return a backend that is not entered."""
    return BatchBackend(
        LocalTransport(),
        scheduler or DirectScheduler(4, 0),
        root=str(root / "root"),
        max_files=max_files,
        max_seconds=max_seconds,
    )


def make_script_spec(script: str, *patterns: str, **fields: object) -> SubmissionSpec:
    """Return a specification that runs a script and names files."""
    outputs = OutputSpec(members=tuple(OutputMember(pattern=each) for each in patterns))
    return SubmissionSpec.model_validate(
        {"executable": "sh", "arguments": ("-c", script), "outputs": outputs, **fields}
    )


async def submit_and_finish(backend: BatchBackend, spec: SubmissionSpec, copies: int = 1) -> Mapping[int, JobHandle]:
    """Submit, and wait for the end."""
    handles = (await backend.submit(spec, copies)).handles
    async with asyncio.timeout(SECONDS):
        while not all(each.state.final for each in (await backend.status(handles.values())).values()):  # noqa: ASYNC110 -- jobs tell no event
            await asyncio.sleep(0.02)
    return handles


@pytest.mark.asyncio
async def test_a_failed_listing_replaces_no_files(tmp_path: Path, backend: BatchBackend, shim: Shim) -> None:
    """A fetch whose listing fails is not ok, and earlier files stay."""
    handle = (await submit_and_finish(backend, make_script_spec("echo precious")))[0]
    first = (await backend.fetch_output([handle], tmp_path / "dest"))[handle]
    shim("find", "exit 1")
    output = (await backend.fetch_output([handle], tmp_path / "dest"))[handle]
    assert (output.ok, output.stdout) == (False, None)
    assert output.reason is not None
    assert output.reason.startswith("other: its files could not be listed")
    assert first.stdout is not None
    assert first.stdout.read_text() == "precious\n"


@pytest.mark.asyncio
async def test_an_unreadable_directory_affects_one_job(tmp_path: Path, backend: BatchBackend, shim: Shim) -> None:
    """A job with an unreadable directory is not ok and its other files arrive, and the other jobs are ok."""
    shim("find", 'bad=0; for a; do case $a in */copies/1/work) bad=1 ;; esac; done; "$REAL" "$@"; exit "$bad"')
    handles = await submit_and_finish(backend, make_script_spec("echo out", "*.txt"), 3)
    outputs = await backend.fetch_output(list(handles.values()), tmp_path / "dest")
    assert [outputs[handles[index]].ok for index in range(3)] == [True, False, True]
    assert outputs[handles[1]].stdout is not None


@pytest.mark.asyncio
async def test_names_may_have_newlines(tmp_path: Path, backend: BatchBackend) -> None:
    """A pattern and the name of stdout may have newlines."""
    spec = make_script_spec("echo out; echo one >'a\nb'; echo other >c", "a\nb", "c", stdout="o\n.txt")
    handle = (await submit_and_finish(backend, spec))[0]
    output = (await backend.fetch_output([handle], tmp_path / "dest"))[handle]
    assert (output.ok, output.missing) == (True, ())
    assert {name: path.read_text() for name, path in output.files.items()} == {"a\nb": "one\n", "c": "other\n"}
    assert output.stdout is not None
    assert output.stdout.read_text() == "out\n"


@pytest.mark.asyncio
async def test_a_job_that_ends_during_a_fetch_is_fetched_whole(tmp_path: Path) -> None:
    """A job that ends while the scheduler is queried is fetched whole, since records and files are read afterwards."""
    go = tmp_path / "go"
    meddling = f': >{go}; for copy in ./*/copies/0; do until read -r _ <"$copy/exit"; do sleep 0.05; done; done'
    async with make_backend(tmp_path) as backend, make_backend(tmp_path, Meddling(meddling)) as meddled:
        submission = await backend.submit(make_script_spec(f"until [ -e {go} ]; do sleep 0.05; done; echo out"), 1)
        handle = submission.handles[0]
        output = (await meddled.fetch_output([handle], tmp_path / "dest"))[handle]
        assert (output.ok, output.reason) == (True, None)
        assert output.stdout is not None
        assert output.stdout.read_text() == "out\n"


@pytest.mark.asyncio
async def test_a_killed_job_is_fetched_without_a_status_before(
    tmp_path: Path, backend: BatchBackend, shim: Shim
) -> None:
    """A killed job is fetched by a second command if no status was queried before, and nothing else is touched."""
    inside = f'case $each in /*) case $each in {tmp_path}/*) ;; *) echo "$each is not ours" >&2; exit 1 ;; esac ;; esac'
    shim("mkdir", f'for each; do {inside}; done; exec "$REAL" "$@"')
    handle = (await backend.submit(make_script_spec("echo out; exec sleep 60"), 1)).handles[0]
    async with asyncio.timeout(SECONDS):
        while (await backend.diagnostics([handle]))[handle].text != "out\n":  # noqa: ASYNC110 -- jobs tell no event
            await asyncio.sleep(0.02)
        assert (await backend.kill([handle]))[handle].ok
        while not (output := (await backend.fetch_output([handle], tmp_path / "dest"))[handle]).ok:
            assert (output.reason or "").startswith("running")
    assert output.stdout is not None
    assert output.stdout.read_text() == "out\n"


@pytest.mark.asyncio
async def test_stdout_is_fetched_first(tmp_path: Path) -> None:
    """Stdout is fetched before other files if a job exceeds its limits, wherever its file lies."""
    place = BatchBackend(LocalTransport(), DirectScheduler(4, 0), root=str(tmp_path / "root"), max_bytes=1000)
    async with place as backend:
        spec = make_script_spec("rm ../stderr; head -c 700 /dev/zero | tee ../stderr; head -c 200 /dev/zero >f", "f")
        handles = await submit_and_finish(backend, spec, 6)
        outputs = await backend.fetch_output(list(handles.values()), tmp_path / "dest")
        for output in outputs.values():
            assert (output.reason or "").startswith("limit")
            assert (output.stdout is not None, output.stderr, set(output.files)) == (True, None, {"f"})


LIES_THERE: Mapping[str, Callable[[Path, Path], object]] = {
    "a file": lambda place, _: place.write_text("old"),
    "an empty directory": lambda place, _: place.mkdir(),
    "another directory": lambda place, elsewhere: shutil.copytree(elsewhere, place),
    "a link to one": lambda place, elsewhere: place.symlink_to(elsewhere),
    "a link to nothing": lambda place, elsewhere: place.symlink_to(elsewhere / "nothing"),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("what", LIES_THERE)
async def test_old_files_in_a_jobs_directory_are_replaced(tmp_path: Path, backend: BatchBackend, what: str) -> None:
    """Old files in the local directory of a job are replaced as a whole, and no link is followed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "stdout").write_text("theirs\n")
    handle = (await submit_and_finish(backend, make_script_spec("echo out")))[0]
    place = tmp_path / "dest" / handle.job
    place.parent.mkdir()
    LIES_THERE[what](place, elsewhere)
    output = (await backend.fetch_output([handle], tmp_path / "dest"))[handle]
    assert (output.ok, output.stdout) == (True, place / "stdout")
    assert sorted(path.name for path in place.iterdir()) == ["stderr", "stdout"]
    assert (place / "stdout").read_text() == "out\n"
    assert [path.is_symlink() for path in (tmp_path / "dest").iterdir()] == [False]
    assert (elsewhere / "stdout").read_text() == "theirs\n"


@pytest.mark.asyncio
async def test_a_directory_without_wanted_files_is_not_listed(
    tmp_path: Path, backend: BatchBackend, shim: Shim
) -> None:
    """The working directory of a job is not listed if none of its files is wanted."""
    shim("find", 'for a; do case $a in */work) echo "$a" >&2; exit 1 ;; esac; done; exec "$REAL" "$@"')
    handle = (
        await submit_and_finish(
            backend, make_script_spec("echo out; mkdir -p ../d; chmod 0 ../d; echo in >../d/stdout")
        )
    )[0]
    output = (await backend.fetch_output([handle], tmp_path / "dest"))[handle]
    assert output.ok, output.reason
    assert output.stdout is not None
    assert output.stdout.read_text() == "out\n"


@pytest.mark.asyncio
@pytest.mark.parametrize("what", ["copies/0", ""], ids=["copy", "submission"])
async def test_a_job_that_is_purged_during_a_fetch_is_not_ok(tmp_path: Path, backend: BatchBackend, what: str) -> None:
    """A job that is purged during a fetch is not ok, the others are, and earlier files stay."""
    handle = (await submit_and_finish(backend, make_script_spec("echo precious")))[0]
    first = (await backend.fetch_output([handle], tmp_path / "dest"))[handle]
    live = (await backend.submit(make_script_spec("sleep 60"))).handles[0]
    victim = f"./{handle.job.partition('.')[0]}/{what}"
    async with make_backend(tmp_path, Meddling(f"rm -rf {victim}")) as meddled:
        outputs = await meddled.fetch_output([handle, live], tmp_path / "dest")
    assert [(each.ok, (each.reason or "").partition(":")[0]) for each in outputs.values()] == [
        (False, "unknown"),
        (False, "running"),
    ]
    assert first.stdout is not None
    assert first.stdout.read_text() == "precious\n"
    await backend.kill([live])
    assert (await kill_and_finish(backend, live)) is JobState.KILLED


async def kill_and_finish(backend: BatchBackend, handle: JobHandle) -> JobState:
    """Kill a job, and wait until it is over."""
    async with asyncio.timeout(SECONDS):
        while not (state := (await backend.status([handle]))[handle].state).final:  # noqa: ASYNC110 -- jobs tell no event
            await asyncio.sleep(0.02)
    return state


@pytest.mark.asyncio
async def test_only_named_inputs_are_fetched(tmp_path: Path) -> None:
    """An input that a pattern names is fetched, and others count for no limit."""
    (tmp_path / "in").write_text("old")
    inputs = tuple(FileRef(name=name, source=tmp_path / "in") for name in ("state", "d/a", "d/b", "new\nline"))
    outputs = OutputSpec(members=(OutputMember(pattern="state"),), include_unlisted=True)
    spec = make_script_spec("echo new >state; echo 1 >d/c", inputs=inputs, outputs=outputs)
    async with make_backend(tmp_path, max_files=4) as backend:
        handle = (await submit_and_finish(backend, spec))[0]
        output = (await backend.fetch_output([handle], tmp_path / "dest"))[handle]
        assert (output.ok, output.reason, output.missing) == (True, None, ())
        assert set(output.files) == {"state", "d/c"}
        assert output.files["state"].read_text() == "new\n"


@pytest.mark.asyncio
async def test_a_pattern_that_matches_stdout_is_not_missing(tmp_path: Path, backend: BatchBackend) -> None:
    """A pattern that matches only the file of stdout is not missing."""
    handle = (await submit_and_finish(backend, make_script_spec("echo hi", "out*", "err", stdout="out.txt")))[0]
    output = (await backend.fetch_output([handle], tmp_path / "dest"))[handle]
    assert (output.ok, output.missing, dict(output.files)) == (True, ("err",), {})
    assert output.stdout is not None


@pytest.mark.asyncio
async def test_max_seconds_limits_the_whole_fetch(tmp_path: Path, shim: Shim) -> None:
    """A fetch of many slow commands is stopped after max_seconds, and the jobs say so."""
    shim("find", f'sleep 0.4; echo >>{tmp_path}/calls; exec "$REAL" "$@"')
    async with make_backend(tmp_path, max_seconds=1) as backend:
        spec = make_script_spec("echo out", "x" * 4000)  # a name that is long enough to be listed alone
        handles = [(await submit_and_finish(backend, spec))[0] for _ in range(6)]
        outputs = await backend.fetch_output(handles, tmp_path / "dest")
        reasons = {(each.reason or "ok").partition(":")[0] for each in outputs.values()}
        assert reasons <= {"ok", "limit"}
        assert "limit" in reasons
        assert len((tmp_path / "calls").read_text()) < 4


@pytest.mark.asyncio
async def test_max_seconds_works_without_timeout(
    tmp_path: Path, backend: BatchBackend, shim: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hanging command is ended after max_seconds if timeout(1) is missing, and a fast one ends at once."""
    place = tmp_path / "tools"
    place.mkdir()
    for directory in os.environ["PATH"].split(":"):
        for tool in Path(directory).iterdir() if Path(directory).is_dir() else ():
            if tool.name != "timeout" and not (place / tool.name).is_symlink():
                (place / tool.name).symlink_to(tool)
    monkeypatch.setenv("PATH", str(place))
    handle = (await submit_and_finish(backend, make_script_spec("echo out")))[0]
    began = time.monotonic()
    assert (await backend.fetch_output([handle], tmp_path / "dest"))[handle].ok
    assert time.monotonic() - began < SECONDS  # not max_seconds, which is an hour
    shim("tar", 'case "$*" in *-cf*) exec sleep 30 ;; esac\nexec "$REAL" "$@"')
    async with make_backend(tmp_path, max_seconds=1) as hurried:
        output = (await hurried.fetch_output([handle], tmp_path / "dest"))[handle]
        assert (output.ok, (output.reason or "").partition(":")[0]) == (False, "limit")
