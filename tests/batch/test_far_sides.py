"""Each verb works with the shells and tools that remote machines have."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

import pytest
from pydantic import SecretBytes
from tests.prefixed import Prefixed, set_variables
from tests.tools import each_tool, marks

from intercede.batch import BatchBackend
from intercede.contract.errors import ConfigError, ResourceError, UnsupportedSpecError
from intercede.contract.job import CopyVars, FileRef, JobHandle, JobState, JobStatus, SubmissionSpec
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport

T = TypeVar("T")
SECONDS = 30
FILES = ("out/f.txt", "é b", "sparse")
HOSTILE_ENVIRONMENT = {
    "IFS": "a/e",
    "CDPATH": "/:/tmp",
    "ENV": "/nowhere/rc",
    "BASH_ENV": "/nowhere/rc",
    "BASH_FUNC_cat%%": "() { echo hijacked; }",
    "BASH_FUNC_mkdir%%": "() { echo hijacked; }",
    "BASH_FUNC_command%%": "() { echo hijacked; }",
    "BASH_FUNC_read%%": "() { echo hijacked; }",
    "SHELLOPTS": "nounset:noclobber:noglob:monitor:allexport",
    "LC_ALL": "C.UTF-8",
    "GREP_OPTIONS": "--color=always",
    "TAR_OPTIONS": "--xattrs --acls -v",
    "POSIXLY_CORRECT": "1",
    "TIME_STYLE": "+%s //",
    "QUOTING_STYLE": "c",
    "BLOCK_SIZE": "1M",
    "SQUEUE_FORMAT": "%i",
}


def make_tools(place: Path, shell: str, others: str = "") -> dict[str, str]:
    """Make a directory in which sh is that shell. Return a PATH that begins with it."""
    place.mkdir()
    (place / "sh").symlink_to(_find_program(shell))
    path = os.environ["PATH"]
    if others == "bsdtar":
        (place / "tar").symlink_to(_find_program("bsdtar"))
    elif others:
        path = _link_all(place, others)
    return {"PATH": f"{place}:{path}"}


def _link_all(place: Path, box: str) -> str:
    """Link each tool of a box. Return a PATH with these tools only, and an awk if the box has none."""
    listing = subprocess.run(
        [box, *(["--list"] if box == "busybox" else [])], capture_output=True, text=True, check=True
    )
    for tool in {*listing.stdout.split(), "awk"} - {"sh"}:
        (place / tool).symlink_to(_find_program(box if tool in listing.stdout.split() else tool))
    return str(place)


def _find_program(program: str) -> str:
    path = shutil.which(program)
    assert path is not None
    return path


FAR_SIDES = [
    *(
        pytest.param(shell, "", id=shell, marks=marks(shell))
        for shell in ("dash", "bash", "mksh", "zsh", "yash", "posh")
    ),
    pytest.param("busybox", "busybox", id="busybox", marks=marks("busybox")),
    pytest.param("dash", "toybox", id="toybox", marks=marks("toybox")),
    pytest.param("dash", "bsdtar", id="bsdtar", marks=marks("bsdtar")),
]


@pytest.mark.parametrize("hostile", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["plain", "hostile"])
@pytest.mark.parametrize(("shell", "others"), FAR_SIDES)
@pytest.mark.asyncio
async def test_each_verb_works_with_each_shell(tmp_path: Path, shell: str, others: str, hostile: bool) -> None:
    """Each verb answers alike with each shell and each set of tools, also in a hostile environment."""
    environment = {**(HOSTILE_ENVIRONMENT if hostile else {}), **make_tools(tmp_path / "tools", shell, others)}
    root, dest = tmp_path / "root", tmp_path / "dest"
    async with BatchBackend(Prefixed(*set_variables(environment)), DirectScheduler(5, 0), root=str(root)) as backend:
        handles = (
            await backend.submit(make_spec(tmp_path), make_copies("exit 0", "exit 3", "kill -9 $$", "sleep 60"))
        ).handles
        running, over = handles[3], [handles[index] for index in range(3)]
        told = await wait_until(
            lambda: backend.status(over), lambda told: all(each.state.final for each in told.values())
        )
        ends = [(told[handle].state, told[handle].exit_code, told[handle].signal) for handle in over]
        assert ends == [(JobState.DONE, 0, None), (JobState.FAILED, 3, None), (JobState.FAILED, None, 9)]
        await wait_until(
            lambda: backend.diagnostics([running]), lambda told: told[running].text == "input\nhush\nerr\n"
        )
        assert (await backend.counts()).running == 1
        assert set(await backend.find("a\ttag")) == set(handles.values())
        assert (await backend.kill([running]))[running].ok
        assert (await finish(backend, [running]))[running].state is JobState.KILLED
        outputs = await backend.fetch_output(handles.values(), dest)
        for output in outputs.values():
            assert (output.ok, output.reason, set(output.files)) == (
                True,
                None,
                {*FILES, *(f"hard{n}" for n in range(9))},
            )
            assert output.missing == ("nothing", "out/link")
            assert {output.files[f"hard{n}"].read_text() for n in range(9)} == {"it's\n"}
            assert output.files["sparse"].read_bytes() == bytes(300_000)
            assert output.stdout is not None
            assert output.stdout.read_text() == "input\nhush\n"
            assert output.files["é b"].read_text() == "it's\n"
        assert all(outcome.ok for outcome in (await backend.purge(handles.values())).values())
    assert {path.name for path in root.iterdir()} == {"resource-id", ".trash"}


def make_spec(place: Path) -> SubmissionSpec:
    """Return a job that uses all parts of a submission, writes files, and ends as END says."""
    (place / "in").write_text("input\n")
    script = """
        mkdir out; echo "$V" >out/f.txt; : >.hidden; cp out/f.txt "é b"
        echo "$V" >hard0; for n in 1 2 3 4 5 6 7 8; do ln hard0 hard$n; done
        truncate -s 300000 sparse; ln -s f.txt out/link; mkfifo unasked
        cat d/in "$1"; echo err >&2; eval "$END"
    """
    return SubmissionSpec.model_validate(
        {
            "executable": "sh",
            "arguments": ("-c", script, "sh", "token"),
            "inputs": [FileRef(name="d/in", source=place / "in")],
            "outputs": {"members": [{"pattern": each} for each in ("out/*", "é*", "hard?", "sparse", "nothing")]},
            "environment": {"V": "it's"},
            "tag": "a\ttag",
        }
    )


def make_copies(*ends: str) -> list[CopyVars]:
    """Return a copy for each end, with a secret."""
    return [CopyVars(environment={"END": end}, secrets={"token": SecretBytes(b"hush\n")}) for end in ends]


async def finish(backend: BatchBackend, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
    """Wait until all jobs are final, and return their statuses."""
    return await wait_until(
        lambda: backend.status(handles), lambda told: all(each.state.final for each in told.values())
    )


async def wait_until(look: Callable[[], Awaitable[T]], enough: Callable[[T], bool]) -> T:
    """Call a function until its answer is good enough, for a limited time."""
    async with asyncio.timeout(SECONDS):
        while not enough(answer := await look()):  # noqa: ASYNC110 -- processes set no event
            await asyncio.sleep(0.02)
    return answer


@pytest.mark.parametrize("shell", each_tool("ksh"))
@pytest.mark.asyncio
async def test_ksh93_is_refused_on_entering(tmp_path: Path, shell: tuple[str, ...]) -> None:
    """Entering raises ConfigError if sh is ksh93.

    It forks no subshell, so that a recorded pid would be another process.
    """
    backend = BatchBackend(
        Prefixed(*set_variables(make_tools(tmp_path / "tools", shell[0]))),
        DirectScheduler(),
        root=str(tmp_path / "root"),
    )
    with pytest.raises(ConfigError, match="sh is ksh93"):
        await backend.__aenter__()
    assert not (tmp_path / "root").exists()


@pytest.mark.asyncio
async def test_shellopts_of_bash_reach_no_payload(tmp_path: Path) -> None:
    """SHELLOPTS of the environment reach no payload. It would have its own process group, or variables of intercede."""
    surroundings = make_tools(tmp_path / "tools", "bash") | {"SHELLOPTS": "monitor:allexport"}
    script = (
        "env | sed 's/=.*//' >names; read -r _ _ _ _ group session _ </proc/self/stat; "
        "echo $group $session; exec sleep 300"
    )
    async with BatchBackend(
        Prefixed(*set_variables(surroundings)), DirectScheduler(1, 1), root=str(tmp_path / "root")
    ) as backend:
        spec = SubmissionSpec(executable="dash", arguments=("-c", script))
        handle = (await backend.submit(spec)).handles[0]
        work = tmp_path / "root" / handle.job.replace(".", "/copies/")
        async with asyncio.timeout(SECONDS):
            while not (work / "stdout").exists() or not (groups := (work / "stdout").read_text()):  # noqa: ASYNC110 -- a file sets no event
                await asyncio.sleep(0.02)
        group, session = groups.split()
        assert group == session
        assert [name for name in (work / "work" / "names").read_text().split() if name.startswith("ic_")] == []
        assert (await backend.kill([handle]))[handle].ok
        async with asyncio.timeout(SECONDS):
            while not (await backend.status([handle]))[handle].state.final:  # noqa: ASYNC110 -- jobs set no event
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("name", ["back\\slash", "tab\\there\\", "quo'te \\0"])
@pytest.mark.parametrize("tar", ["tar", pytest.param("bsdtar", marks=marks("bsdtar"))])
@pytest.mark.asyncio
async def test_a_home_may_have_any_name(tmp_path: Path, name: str, tar: str) -> None:
    """A home whose name has backslashes works, which ``awk -v`` and the lists of tar take for escapes."""
    home = tmp_path / name
    home.mkdir()
    environment = make_tools(tmp_path / "tools", "sh", tar.removeprefix("tar"))
    async with BatchBackend(
        Prefixed(*set_variables({**environment, "HOME": str(home)})), DirectScheduler(1, 0)
    ) as backend:
        handle = (await backend.submit(make_spec_with_outputs("mkdir 'd\\'; echo x >'d\\/f\\t'", "d*"))).handles[0]
        await finish(backend, [handle])
        output = (await backend.fetch_output([handle], tmp_path / "dest"))[handle]
        assert (output.ok, set(output.files)) == (True, {"d\\/f\\t"})


def make_spec_with_outputs(script: str, *patterns: str) -> SubmissionSpec:
    """Return a job that runs a script, and names output files."""
    members = [{"pattern": each} for each in patterns]
    return SubmissionSpec.model_validate(
        {"executable": "sh", "arguments": ("-c", script), "outputs": {"members": members}}
    )


@pytest.mark.parametrize("pattern", ["l*", "latest", "**", "deep", "deep/*"])
@pytest.mark.asyncio
async def test_a_matched_name_that_is_no_file_is_missing(tmp_path: Path, pattern: str) -> None:
    """A link or a FIFO that a pattern matches is missing by its name, and an unmatched one is not reported."""
    script = (
        "echo 1 >l1; ln -s l1 latest; ln -s /etc letc; mkdir deep; mkfifo deep/lfifo; echo >deep/f; ln -s / unasked"
    )
    wanted = {
        "l*": ({"l1"}, ("latest", "letc")),
        "latest": (set[str](), ("latest",)),
        "**": ({"l1", "deep/f"}, ("deep/lfifo", "latest", "letc", "unasked")),
        "deep": ({"deep/f"}, ("deep/lfifo",)),
        "deep/*": ({"deep/f"}, ("deep/lfifo",)),
    }
    async with BatchBackend(LocalTransport(), DirectScheduler(1, 0), root=str(tmp_path / "root")) as backend:
        handle = (await backend.submit(make_spec_with_outputs(script, pattern))).handles[0]
        await finish(backend, [handle])
        output = (await backend.fetch_output([handle], tmp_path / "dest"))[handle]
        assert (output.ok, set(output.files), output.missing) == (True, *wanted[pattern])


@pytest.mark.parametrize("full", ["plans", "report", "faults", "list.0", "walked"])
@pytest.mark.asyncio
async def test_a_full_disk_during_a_fetch_is_an_error(tmp_path: Path, full: str) -> None:
    """A fetch that cannot write its lists is a retryable ResourceError, and removes nothing."""
    shims = tmp_path / "shims"
    shims.mkdir()
    script = f'{_find_program("mkdir")} "$@"; case $1 in */.parcel.*) ln -s /dev/full "$1/{full}" ;; esac'
    (shims / "mkdir").write_text(f"#!/bin/sh\n{script}\n")
    (shims / "mkdir").chmod(0o755)
    (shims / "stat").write_text(f'#!/bin/sh\n{_find_program("stat")} "$@"; [ {full} != faults ]\n')
    (shims / "stat").chmod(0o755)
    root = str(tmp_path / "root")
    async with BatchBackend(LocalTransport(), DirectScheduler(1, 0), root=root) as backend:
        handle = (await backend.submit(make_spec_with_outputs("echo out"))).handles[0]
        await finish(backend, [handle])
        transport = Prefixed(*set_variables({"PATH": f"{shims}:{os.environ['PATH']}"}))
        async with BatchBackend(transport, DirectScheduler(), root=root) as crowded:
            with pytest.raises(ResourceError, match="the remote disk has no space") as caught:
                await crowded.fetch_output([handle], tmp_path / "dest")
            assert caught.value.retryable
        assert (await backend.fetch_output([handle], tmp_path / "dest"))[handle].ok
        assert not [path.name for path in Path(root).iterdir() if path.name.startswith(".parcel")]


def check_prefix(*prefix: str) -> tuple[str, ...]:
    """Return a prefix of commands, or skip the test if the kernel refuses it."""
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip(f"the kernel refuses {' '.join(prefix)}")
    return prefix


@pytest.mark.needs("mount")
@pytest.mark.parametrize("staged", [False, True], ids=["named", "staged"])
@pytest.mark.asyncio
async def test_a_sent_program_on_a_noexec_root_is_refused(tmp_path: Path, staged: bool) -> None:
    """A program that is sent to a root mounted noexec is refused, and an installed one runs."""
    root, program = tmp_path / "root", tmp_path / "program"
    program.write_text("#!/bin/sh\necho ran\n")
    mounted = f'mkdir -p -m 700 {root}; mount --bind {root} {root} && mount -o remount,bind,noexec {root} && exec "$@"'
    transport = Prefixed(*check_prefix("unshare", "--map-root-user", "--mount", "sh", "-c", mounted, "sh"))
    async with BatchBackend(transport, DirectScheduler(1, 0), root=str(root)) as backend:
        if not staged:
            assert (await backend.submit(SubmissionSpec(executable="true"))).handles
            return
        with pytest.raises(UnsupportedSpecError, match=f"below {root}: its file system is mounted noexec") as caught:
            await backend.submit(SubmissionSpec(executable=program, tag="t"))
        assert caught.value.field == "executable"
        assert await backend.find("t") == []
    assert {path.name for path in root.iterdir()} == {"resource-id", ".trash"}


@pytest.mark.asyncio
async def test_a_root_in_a_user_namespace_is_accepted(tmp_path: Path) -> None:
    """A root in a rootless container is accepted, where the owner of / is unmapped and shows as 65534."""
    place, prefix = tmp_path, ["unshare", "--map-root-user"]
    if os.getuid() == 0:  # root's own namespace would map the owner of /
        place = Path(tempfile.mkdtemp())
        os.chown(place, 23456, 23456)
        prefix = ["setpriv", "--reuid=23456", "--regid=23456", "--clear-groups", *prefix]
    try:
        async with BatchBackend(
            Prefixed(*check_prefix(*prefix)), DirectScheduler(), root=str(place / "root")
        ) as backend:
            assert await backend.find("t") == []
    finally:
        if place != tmp_path:
            shutil.rmtree(place)


@pytest.mark.asyncio
async def test_a_root_below_a_directory_of_user_65534_is_refused(tmp_path: Path) -> None:
    """A root below a directory of user 65534 is refused outside of a user namespace."""
    if os.getuid() != 0 or Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
        pytest.skip("only root can make what belongs to somebody else")
    (tmp_path / "theirs" / "root").mkdir(parents=True)
    os.chown(tmp_path / "theirs", 65534, 65534)
    with pytest.raises(ConfigError, match="which user 65534 can replace"):
        await BatchBackend(LocalTransport(), DirectScheduler(), root=str(tmp_path / "theirs" / "root")).__aenter__()
