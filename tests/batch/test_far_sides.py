"""What may stand on the far side: every sh and every set of tools that is known to work, and what is refused in words."""

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
from tests.prefixed import Prefixed, variables
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


def tools(place: Path, shell: str, others: str = "") -> dict[str, str]:
    """Make a directory in which sh is that shell, and return a PATH that begins with it."""
    place.mkdir()
    (place / "sh").symlink_to(_where(shell))
    path = os.environ["PATH"]
    if others == "bsdtar":
        (place / "tar").symlink_to(_where("bsdtar"))
    elif others:
        path = _all_of(place, others)
    return {"PATH": f"{place}:{path}"}


def _all_of(place: Path, box: str) -> str:
    """Put every tool of a box in place, and return a PATH that leads to no other, except an awk where it has none."""
    listing = subprocess.run(
        [box, *(["--list"] if box == "busybox" else [])], capture_output=True, text=True, check=True
    )
    for tool in {*listing.stdout.split(), "awk"} - {"sh"}:
        (place / tool).symlink_to(_where(box if tool in listing.stdout.split() else tool))
    return str(place)


def _where(program: str) -> str:
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
async def test_every_verb_on_every_far_side(tmp_path: Path, shell: str, others: str, hostile: bool) -> None:
    """The same answers from each, with friendly and hostile surroundings."""
    environment = {**(HOSTILE_ENVIRONMENT if hostile else {}), **tools(tmp_path / "tools", shell, others)}
    root, dest = tmp_path / "root", tmp_path / "dest"
    async with BatchBackend(Prefixed(*variables(environment)), DirectScheduler(5, 0), root=str(root)) as backend:
        handles = (await backend.submit(spec(tmp_path), copies("exit 0", "exit 3", "kill -9 $$", "sleep 60"))).handles
        running, over = handles[3], [handles[index] for index in range(3)]
        told = await until(lambda: backend.status(over), lambda told: all(each.state.final for each in told.values()))
        ends = [(told[handle].state, told[handle].exit_code, told[handle].signal) for handle in over]
        assert ends == [(JobState.DONE, 0, None), (JobState.FAILED, 3, None), (JobState.FAILED, None, 9)]
        await until(lambda: backend.diagnostics([running]), lambda told: told[running].text == "input\nhush\nerr\n")
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


def spec(place: Path) -> SubmissionSpec:
    """Return a job that uses all that a submission can bring, writes files, and ends as END says."""
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


def copies(*ends: str) -> list[CopyVars]:
    """Return a copy for each end, with a secret."""
    return [CopyVars(environment={"END": end}, secrets={"token": SecretBytes(b"hush\n")}) for end in ends]


async def finish(backend: BatchBackend, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
    """Wait until all are final."""
    return await until(lambda: backend.status(handles), lambda told: all(each.state.final for each in told.values()))


async def until(look: Callable[[], Awaitable[T]], enough: Callable[[T], bool]) -> T:
    """Ask again and again, for a bounded time."""
    async with asyncio.timeout(SECONDS):
        while not enough(answer := await look()):  # noqa: ASYNC110 -- processes tell no event
            await asyncio.sleep(0.02)
    return answer


@pytest.mark.parametrize("shell", each_tool("ksh"))
@pytest.mark.asyncio
async def test_a_shell_that_forks_no_subshell_is_refused_on_entering(tmp_path: Path, shell: tuple[str, ...]) -> None:
    """ksh93 runs a subshell within itself: the process that is noted as a copy's would be another, which lives on."""
    backend = BatchBackend(
        Prefixed(*variables(tools(tmp_path / "tools", shell[0]))), DirectScheduler(), root=str(tmp_path / "root")
    )
    with pytest.raises(ConfigError, match="sh is ksh93"):
        await backend.__aenter__()
    assert not (tmp_path / "root").exists()


@pytest.mark.asyncio
async def test_options_that_bash_takes_from_the_environment_reach_no_payload(tmp_path: Path) -> None:
    """Under `set -m` a payload would lead a process group that no kill is for; under `set -a` it would be given variables of ours."""
    surroundings = tools(tmp_path / "tools", "bash") | {"SHELLOPTS": "monitor:allexport"}
    script = "env | sed 's/=.*//' >names; read -r _ _ _ _ group session _ </proc/self/stat; echo $group $session; exec sleep 300"
    async with BatchBackend(
        Prefixed(*variables(surroundings)), DirectScheduler(1, 1), root=str(tmp_path / "root")
    ) as backend:
        spec = SubmissionSpec(executable="dash", arguments=("-c", script))
        handle = (await backend.submit(spec)).handles[0]
        work = tmp_path / "root" / handle.job.replace(".", "/copies/")
        async with asyncio.timeout(SECONDS):
            while not (work / "stdout").exists() or not (groups := (work / "stdout").read_text()):  # noqa: ASYNC110 -- a file tells no event
                await asyncio.sleep(0.02)
        group, session = groups.split()
        assert group == session
        assert [name for name in (work / "work" / "names").read_text().split() if name.startswith("ic_")] == []
        assert (await backend.kill([handle]))[handle].ok
        async with asyncio.timeout(SECONDS):
            while not (await backend.status([handle]))[handle].state.final:  # noqa: ASYNC110 -- no event tells it
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("name", ["back\\slash", "tab\\there\\", "quo'te \\0"])
@pytest.mark.parametrize("tar", ["tar", pytest.param("bsdtar", marks=marks("bsdtar"))])
@pytest.mark.asyncio
async def test_a_home_of_any_name_will_do(tmp_path: Path, name: str, tar: str) -> None:
    """Also one with backslashes, which ``awk -v`` and tar's lists of names take for escapes."""
    home = tmp_path / name
    home.mkdir()
    environment = tools(tmp_path / "tools", "sh", tar.removeprefix("tar"))
    async with BatchBackend(Prefixed(*variables({**environment, "HOME": str(home)})), DirectScheduler(1, 0)) as backend:
        handle = (await backend.submit(asked("mkdir 'd\\'; echo x >'d\\/f\\t'", "d*"))).handles[0]
        await finish(backend, [handle])
        output = (await backend.fetch_output([handle], tmp_path / "dest"))[handle]
        assert (output.ok, set(output.files)) == (True, {"d\\/f\\t"})


def asked(script: str, *patterns: str) -> SubmissionSpec:
    """Return a job that runs a script, and names files."""
    members = [{"pattern": each} for each in patterns]
    return SubmissionSpec.model_validate(
        {"executable": "sh", "arguments": ("-c", script), "outputs": {"members": members}}
    )


@pytest.mark.parametrize("pattern", ["l*", "latest", "**", "deep", "deep/*"])
@pytest.mark.asyncio
async def test_what_a_pattern_matches_and_is_no_file_is_missing_by_name(tmp_path: Path, pattern: str) -> None:
    """Results that link to scratch space are common, and do not come: a link, a fifo. What is only in reach is not told."""
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
        handle = (await backend.submit(asked(script, pattern))).handles[0]
        await finish(backend, [handle])
        output = (await backend.fetch_output([handle], tmp_path / "dest"))[handle]
        assert (output.ok, set(output.files), output.missing) == (True, *wanted[pattern])


@pytest.mark.parametrize("full", ["plans", "report", "faults", "list.0", "walked"])
@pytest.mark.asyncio
async def test_no_room_for_the_lists_is_told(tmp_path: Path, full: str) -> None:
    """Nothing was removed there, and it says what to do: /dev/full stands for what a full disk takes no more of."""
    shims = tmp_path / "shims"
    shims.mkdir()
    script = f'{_where("mkdir")} "$@"; case $1 in */.parcel.*) ln -s /dev/full "$1/{full}" ;; esac'
    (shims / "mkdir").write_text(f"#!/bin/sh\n{script}\n")
    (shims / "mkdir").chmod(0o755)
    (shims / "stat").write_text(f'#!/bin/sh\n{_where("stat")} "$@"; [ {full} != faults ]\n')
    (shims / "stat").chmod(0o755)
    root = str(tmp_path / "root")
    async with BatchBackend(LocalTransport(), DirectScheduler(1, 0), root=root) as backend:
        handle = (await backend.submit(asked("echo out"))).handles[0]
        await finish(backend, [handle])
        transport = Prefixed(*variables({"PATH": f"{shims}:{os.environ['PATH']}"}))
        async with BatchBackend(transport, DirectScheduler(), root=root) as crowded:
            with pytest.raises(ResourceError, match="the remote disk has no space") as caught:
                await crowded.fetch_output([handle], tmp_path / "dest")
            assert caught.value.retryable
        assert (await backend.fetch_output([handle], tmp_path / "dest"))[handle].ok
        assert not [path.name for path in Path(root).iterdir() if path.name.startswith(".parcel")]


def namespace(*prefix: str) -> tuple[str, ...]:
    """Return a prefix, if the kernel lets it run."""
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip(f"the kernel refuses {' '.join(prefix)}")
    return prefix


@pytest.mark.needs("mount")
@pytest.mark.parametrize("staged", [False, True], ids=["named", "staged"])
@pytest.mark.asyncio
async def test_what_cannot_be_executed_where_it_lies_is_refused(tmp_path: Path, staged: bool) -> None:
    """A root that is mounted noexec (SLES, CIS benchmarks: /tmp and /home) runs what is there, and nothing that was sent."""
    root, program = tmp_path / "root", tmp_path / "program"
    program.write_text("#!/bin/sh\necho ran\n")
    mounted = f'mkdir -p -m 700 {root}; mount --bind {root} {root} && mount -o remount,bind,noexec {root} && exec "$@"'
    transport = Prefixed(*namespace("unshare", "--map-root-user", "--mount", "sh", "-c", mounted, "sh"))
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
async def test_a_root_in_a_user_namespace_will_do(tmp_path: Path) -> None:
    """In rootless containers the owner of / is nobody that is mapped, and shows as 65534: only there it is taken for root."""
    place, prefix = tmp_path, ["unshare", "--map-root-user"]
    if os.getuid() == 0:  # whose own namespace would map the owner of /
        place = Path(tempfile.mkdtemp())
        os.chown(place, 23456, 23456)
        prefix = ["setpriv", "--reuid=23456", "--regid=23456", "--clear-groups", *prefix]
    try:
        async with BatchBackend(Prefixed(*namespace(*prefix)), DirectScheduler(), root=str(place / "root")) as backend:
            assert await backend.find("t") == []
    finally:
        if place != tmp_path:
            shutil.rmtree(place)


@pytest.mark.asyncio
async def test_a_root_below_what_nobody_owns_is_refused(tmp_path: Path) -> None:
    """Outside of a user namespace 65534 is a user like others."""
    if os.getuid() != 0 or Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]:
        pytest.skip("only root can make what belongs to somebody else")
    (tmp_path / "theirs" / "root").mkdir(parents=True)
    os.chown(tmp_path / "theirs", 65534, 65534)
    with pytest.raises(ConfigError, match="which user 65534 can replace"):
        await BatchBackend(LocalTransport(), DirectScheduler(), root=str(tmp_path / "theirs" / "root")).__aenter__()
