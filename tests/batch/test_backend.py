"""BatchBackend over local and direct: real processes, every verb, and how many commands each takes."""

import asyncio
import os
import shutil
import stat
import subprocess
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import pytest
from pydantic import SecretBytes

from intercede.batch import BatchBackend
from intercede.contract.backend import CAPABILITIES, capabilities
from intercede.contract.errors import (
    ConfigError,
    InvalidSpecError,
    NotOpenError,
    ResourceError,
    TransportError,
    UnsupportedSpecError,
)
from intercede.contract.job import (
    ContainerSpec,
    CopyVars,
    FileRef,
    JobHandle,
    JobState,
    JobStatus,
    OutputMember,
    OutputSpec,
    Resources,
    SubmissionSpec,
)
from intercede.contract.scheduler import Batch, Queued
from intercede.contract.transport import ByteSink, CommandResult
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport

T = TypeVar("T")
SECONDS = 30


class Counting:
    """The transport local, with a count of its commands, an environment, and a hook before each."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._local = LocalTransport()
        self._prefix = ["env", *(f"{name}={value}" for name, value in (environment or {}).items())]
        self.commands: list[Sequence[str]] = []
        self.scripts: list[bytes] = []
        self.before: Callable[[], Awaitable[None]] | None = None

    async def __aenter__(self) -> Self:
        await self._local.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        await self._local.__aexit__(exc_type, exc, traceback)

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        self.commands.append(argv)
        if self.before is not None:
            await self.before()
        return await self._local.run([*self._prefix, *argv], stdin=stdin, stdout=stdout)


class Site:
    """A place to run jobs: a root, and backends that share it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dest = root.parent / "dest"

    def backend(self, transport: Counting | None = None, *, slots: int = 4, grace_s: int = 1) -> BatchBackend:
        return BatchBackend(transport or Counting(), DirectScheduler(slots, grace_s), root=str(self.root))

    def directory(self, handle: JobHandle) -> Path:
        stamp, _, index = handle.job.partition(".")
        return self.root / stamp / "copies" / index


def inside(pid: str, place: Path) -> bool:
    """Whether a process works in that place, or did before it was removed."""
    try:
        return os.readlink(f"/proc/{pid}/cwd").startswith(str(place))
    except OSError:
        return False


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A fresh root; afterwards no process may be left in it."""
    yield Site(tmp_path / "root")
    deadline = time.monotonic() + 5
    while left := [pid for pid in os.listdir("/proc") if pid.isdigit() and inside(pid, tmp_path)]:
        assert time.monotonic() < deadline, f"processes {left} were left behind"
        time.sleep(0.02)


async def until(look: Callable[[], Awaitable[T]], enough: Callable[[T], bool]) -> T:
    """Ask again and again, for a bounded time."""
    async with asyncio.timeout(SECONDS):
        while not enough(answer := await look()):
            await asyncio.sleep(0.02)
    return answer


async def finish(backend: BatchBackend, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
    """Wait until all are final."""
    return await until(lambda: backend.status(handles), lambda told: all(each.state.final for each in told.values()))


async def seen(backend: BatchBackend, handle: JobHandle, state: JobState) -> None:
    """Wait until a job is in that state."""
    await until(lambda: backend.status([handle]), lambda told: told[handle].state is state)


def sh(script: str, *arguments: str, **fields: object) -> SubmissionSpec:
    """Return a specification that runs a script."""
    return SubmissionSpec.model_validate({"executable": "sh", "arguments": ("-c", script, "sh", *arguments), **fields})


def patterns(*some: str, include_unlisted: bool = False) -> OutputSpec:
    """Return what to bring back."""
    return OutputSpec(members=tuple(OutputMember(pattern=each) for each in some), include_unlisted=include_unlisted)


@pytest.mark.parametrize("copies", [1, 40])
def test_every_verb_takes_as_many_commands_for_many_as_for_one(site: Site, copies: int) -> None:
    """Enter, submit, status, fetch, counts, find, diagnostics and purge of what has an exit code: one each."""
    transport = Counting()

    async def used(verb: Awaitable[T]) -> tuple[T, int]:
        before = len(transport.commands)
        return await verb, len(transport.commands) - before

    async def main() -> None:
        _, entering = await used(backend.__aenter__())
        submission, submitting = await used(backend.submit(sh("echo out", tag="t"), copies))
        handles = list(submission.handles.values())
        await finish(backend, handles)
        _, status = await used(backend.status(handles))
        outputs, fetching = await used(backend.fetch_output(handles, site.dest))
        assert all(output.ok for output in outputs.values())
        others = [(await used(verb))[1] for verb in (backend.counts(), backend.find("t"), backend.diagnostics(handles))]
        killed, killing = await used(backend.kill(handles))
        purged, purging = await used(backend.purge(handles))
        assert all(outcome.ok for outcome in [*killed.values(), *purged.values()])
        assert [entering, submitting, status, fetching, *others, killing, purging] == [1] * 9
        await backend.__aexit__(None, None, None)

    backend = site.backend(transport)
    asyncio.run(main())


@pytest.mark.parametrize("copies", [1, 20])
def test_verdicts_without_an_exit_code_cost_one_command_more_once(site: Site, copies: int) -> None:
    """Killing is one command; the first status that sees the end writes it down; later ones are one; fetching is two
    where nothing was written down before."""
    transport = Counting()

    async def main() -> None:
        async with site.backend(transport) as backend, site.backend() as other:
            handles = list((await backend.submit(sh("sleep 60"), copies)).handles.values())
            await seen(backend, handles[0], JobState.RUNNING)
            before = len(transport.commands)
            assert all(outcome.ok for outcome in (await backend.kill(handles)).values())
            assert len(transport.commands) == before + 1
            await until(other.counts, lambda counts: counts.queued + counts.running == 0)
            before = len(transport.commands)
            outputs = await backend.fetch_output(handles, site.dest)
            assert all(output.ok for output in outputs.values())
            assert len(transport.commands) == before + 2
            told = await backend.status(handles)
            assert {(each.state, each.reason) for each in told.values()} == {(JobState.KILLED, "killed_by_user")}
            assert len(transport.commands) == before + 3

    asyncio.run(main())


def test_the_gate_sees_every_capability(site: Site) -> None:
    """BatchBackend claims all there are."""
    assert capabilities(site.backend()) == frozenset(CAPABILITIES)


def test_a_verb_outside_of_async_with_raises(site: Site) -> None:
    """Before entering and after leaving, also with an empty list."""
    backend = site.backend()

    async def main() -> None:
        for _ in range(2):
            for verb in (backend.status, backend.kill, backend.purge, backend.diagnostics):
                with pytest.raises(NotOpenError):
                    await verb([])
            for call in (backend.counts(), backend.find("t"), backend.fetch_output([], site.dest)):
                with pytest.raises(NotOpenError):
                    await call
            with pytest.raises(NotOpenError):
                await backend.submit(sh("true"))
            async with backend:
                assert await backend.status([]) == {}
        await backend.__aexit__(None, None, None)

    asyncio.run(main())


ARGUMENTS = ("a b", "", "'\"`$HOME`", "*", "new\nline\n", "-n", "é☃", "\\", "$(false)", "tab\t", "\r")


def test_arguments_and_environment_arrive_byte_for_byte(site: Site) -> None:
    """Whatever is in them; a copy's own variables win over the specification's."""
    script = 'printf "%s\\0" "$@" "$ODD" "$WHO" "$IFS"'
    copies = [CopyVars(environment={"WHO": f"copy {index}\n", "IFS": "e"}) for index in range(12)]
    spec = sh(script, *ARGUMENTS, environment={"ODD": "it's\n\"$odd\"\n", "WHO": "nobody"})

    async def main() -> None:
        async with site.backend() as backend:
            submission = await backend.submit(spec, copies)
            await finish(backend, submission.handles.values())
            outputs = await backend.fetch_output(list(submission.handles.values()), site.dest)
            for index, handle in submission.handles.items():
                path = outputs[handle].stdout
                assert path is not None
                got = path.read_bytes().decode().split("\0")
                assert got[:-1] == [*ARGUMENTS, "it's\n\"$odd\"\n", f"copy {index}\n", " \t\n"]  # sh resets IFS

    asyncio.run(main())


@pytest.mark.parametrize("code", [0, 1, 2, 99, 100, 126, 127, 255])
def test_exit_codes_are_told(site: Site, code: int) -> None:
    """0 is DONE; every other one FAILED with that code."""

    async def main() -> None:
        async with site.backend() as backend:
            handle = (await backend.submit(sh(f"exit {code}"))).handles[0]
            status = (await finish(backend, [handle]))[handle]
            assert status.exit_code == code
            assert (status.state, status.reason) == (
                (JobState.FAILED, "exit_code") if code else (JobState.DONE, None)
            )

    asyncio.run(main())


@pytest.mark.parametrize("number", [1, 2, 3, 9, 11, 13, 15])
def test_death_by_signal_is_told(site: Site, number: int) -> None:
    """Nothing is ignored in a payload that the resource does not ignore itself: INT and PIPE end it, too."""

    async def main() -> None:
        async with site.backend() as backend:
            handle = (await backend.submit(sh(f"kill -{number} $$; exit 5"))).handles[0]
            status = (await finish(backend, [handle]))[handle]
            assert (status.state, status.signal, status.reason) == (JobState.FAILED, number, "signal")

    asyncio.run(main())


def test_what_cannot_start_fails(site: Site, tmp_path: Path) -> None:
    """A program that is not there, and a shebang that leads nowhere: 127 or 126."""
    (tmp_path / "bad").write_text("#!/nowhere/at/all\n")

    async def main() -> None:
        async with site.backend() as backend:
            for executable in ("no-such-program", "-no-such-program", tmp_path / "bad"):
                handle = (await backend.submit(SubmissionSpec(executable=executable))).handles[0]
                status = (await finish(backend, [handle]))[handle]
                assert status.state is JobState.FAILED
                assert status.exit_code in {126, 127}

    asyncio.run(main())


@pytest.mark.parametrize("text", ["#!/bin/sh\n", ""])
def test_a_local_executable_runs_whatever_its_mode(site: Site, tmp_path: Path, text: str) -> None:
    """With its shebang or by sh; the name `true` on PATH is the program, not the shell's word."""
    (tmp_path / "it's -x").write_text(f"{text}echo ran \"$1\"\n")
    (tmp_path / "it's -x").chmod(0o644)

    async def main() -> None:
        async with site.backend() as backend:
            spec = SubmissionSpec(executable=tmp_path / "it's -x", arguments=("a  b",))
            handle = (await backend.submit(spec)).handles[0]
            assert (await finish(backend, [handle]))[handle].state is JobState.DONE
            path = (await backend.fetch_output([handle], site.dest))[handle].stdout
            assert path is not None
            assert path.read_text() == "ran a  b\n"

    asyncio.run(main())


def test_inputs_and_secrets_arrive_and_never_come_back(site: Site, tmp_path: Path) -> None:
    """Inputs in sub-directories too; a secret with mode 0600 in its own copy only, removed at the end."""
    (tmp_path / "in").write_bytes(b"\0\xff" * 1000)
    script = 'cmp in.bin d/e.bin && stat -c %a token && cat token && mkdir sub && cp token sub/mine && ls -A'
    spec = sh(
        script,
        inputs=(FileRef(name="in.bin", source=tmp_path / "in"), FileRef(name="d/e.bin", source=tmp_path / "in")),
        outputs=patterns(include_unlisted=True),
    )
    copies = [CopyVars(secrets={"token": SecretBytes(f"hush{index}\n".encode())}) for index in range(3)]

    async def main() -> None:
        async with site.backend() as backend:
            submission = await backend.submit(spec, copies)
            (tmp_path / "in").unlink()
            await finish(backend, submission.handles.values())
            outputs = await backend.fetch_output(list(submission.handles.values()), site.dest)
            for index, handle in submission.handles.items():
                output = outputs[handle]
                assert output.ok
                assert output.stdout is not None
                assert output.stdout.read_text() == f"600\nhush{index}\nd\nin.bin\nsub\ntoken\n"
                assert set(output.files) == {"sub/mine"}
                assert not (site.directory(handle) / "work" / "token").exists()

    asyncio.run(main())


def test_a_secret_is_in_no_argument_list_and_no_readable_file(site: Site) -> None:
    """All that lies in the root is ours alone, and no command of ours was given the secret."""
    transport = Counting()

    async def main() -> None:
        async with site.backend(transport) as backend:
            copies = [CopyVars(secrets={"token": SecretBytes(b"hush-hush")}, environment={"V": "quiet-value"})]
            handle = (await backend.submit(sh("sleep 0.2; exit 3"), copies)).handles[0]
            told = await finish(backend, [handle])
            assert "hush-hush" not in repr((transport.commands, handle, told))
            assert "quiet-value" not in repr(transport.commands)

    asyncio.run(main())
    open_ = [path for path in (site.root, *site.root.rglob("*")) if path.lstat().st_mode & 0o077]
    assert open_ == []


@pytest.mark.parametrize(
    ("fields", "copies", "error"),
    [
        ({}, 0, InvalidSpecError),
        ({}, [], InvalidSpecError),
        ({"inputs": [{"name": "a", "source": "/nowhere/at/all"}]}, 1, InvalidSpecError),
        ({"inputs": [{"name": "a", "source": "/dev"}]}, 1, InvalidSpecError),
        ({"executable": "/nowhere/at/all"}, 1, InvalidSpecError),
        ({"inputs": [{"name": "a", "source": "https://host/a"}]}, 1, UnsupportedSpecError),
        ({"container": ContainerSpec(image="i")}, 1, UnsupportedSpecError),
        ({"outputs": {"members": [{"pattern": "a", "destination": "https://h/a"}]}}, 1, UnsupportedSpecError),
        ({"resources": Resources(queue="q")}, 1, UnsupportedSpecError),
        ({"environment": {"PPID": "1"}}, 1, UnsupportedSpecError),
        ({"stdout": "a"}, [CopyVars(secrets={"a": SecretBytes(b"")})], InvalidSpecError),
        ({"stdout": "a/b"}, [CopyVars(secrets={"a": SecretBytes(b"")})], InvalidSpecError),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    site: Site, fields: dict[str, object], copies: int | list[CopyVars], error: type[Exception]
) -> None:
    """By its own error, and no submission lies in the root."""
    spec = SubmissionSpec.model_validate({"executable": "true", **fields})

    async def main() -> None:
        async with site.backend() as backend:
            with pytest.raises(error):
                await backend.submit(spec, copies)
        assert {path.name for path in site.root.iterdir()} == {"resource-id", ".trash"}

    asyncio.run(main())


def test_only_what_was_asked_comes_back(site: Site) -> None:
    """Named members, globs, directories; what matched nothing is missing; stdout and stderr under names of their own."""
    script = "mkdir -p logs/deep .dot; echo 1 >a.txt; echo 2 >b.log; echo 3 >logs/deep/c; echo 4 >.dot/d; : >empty; echo out"
    spec = sh(script, outputs=patterns("*.txt", "logs", "none*", "**/d", "empty"), stdout="logs/out", stderr="err")

    async def main() -> None:
        async with site.backend() as backend:
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

    asyncio.run(main())


HOSTILE = ["a b", "new\nline", "-rf", "--", "é", "\udcff", "back\\slash", "'", "*", "[x]", "\n", " lead", "nl\n."]


def test_hostile_names_come_through_and_links_do_not(site: Site, tmp_path: Path) -> None:
    """Files under any name, in a directory of any name; links, fifos and what they lead to stay there."""
    (tmp_path / "outside").write_text("outside")
    (tmp_path / "make.py").write_text(
        "import os\n"
        f"for name in {HOSTILE!r}:\n"
        "    name = os.fsencode(name)\n"
        "    open(name + b'.f', 'w').write('x')\n"
        "    os.mkdir(b'd' + name); open(b'd' + name + b'/f', 'w').close()\n"
        f"os.symlink({str(tmp_path / 'outside')!r}, 'link'); os.symlink({str(tmp_path)!r}, 'dirlink'); os.mkfifo('fifo')\n"
        "os.link('a b.f', 'hard')\n"
    )
    spec = sh(f"python3 {tmp_path / 'make.py'}", outputs=patterns(include_unlisted=True))

    async def main() -> None:
        async with site.backend() as backend:
            handle = (await backend.submit(spec)).handles[0]
            assert (await finish(backend, [handle]))[handle].state is JobState.DONE
            output = (await backend.fetch_output([handle], site.dest))[handle]
            assert (output.ok, output.reason) == (True, None)
            assert set(output.files) == {*(f"{name}.f" for name in HOSTILE), *(f"d{name}/f" for name in HOSTILE), "hard"}
            assert all(stat.S_ISREG(path.lstat().st_mode) for path in site.dest.rglob("*") if not path.is_dir())

    asyncio.run(main())
