"""BatchBackend over local and direct: real processes, every verb, and how many commands each takes."""

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from pydantic import SecretBytes
from tests.prefixed import Prefixed, variables

from intercede.batch import BatchBackend
from intercede.batch.remote.api import text_of
from intercede.contract.backend import CAPABILITIES, capabilities
from intercede.contract.errors import (
    ConfigError,
    InvalidSpecError,
    LimitError,
    NotOpenError,
    ResourceError,
    SchedulerError,
    TransportError,
    UnsupportedSpecError,
)
from intercede.contract.job import (
    ContainerSpec,
    CopyFailure,
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

T = TypeVar("T")
SECONDS = 30


class Counting(Prefixed):
    """The transport local, with an environment, that counts how many commands are under way."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(*variables(environment or {}))
        self._out = 0
        self.most_out = 0

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run it."""
        self._out += 1
        self.most_out = max(self.most_out, self._out)
        try:
            return await super().run(argv, stdin=stdin, stdout=stdout)
        finally:
            self._out -= 1


class Chunky(DirectScheduler):
    """Like a batch system: it tells ids in words of its own only, and refuses the last copy."""

    def submit_script(self, batch: Batch) -> str:
        """Queue all but the last."""
        fewer = batch.model_copy(update={"copies": batch.copies - 1})
        return (super().submit_script(fewer) if fewer.copies else "echo started") + "\nrm -f natives\n"

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """The last one is over a limit."""
        taken = super().parse_submit(batch, result).ids
        refused = {batch.copies - 1: CopyFailure(reason="over a limit", retryable=True)}
        return Queued(ids={index: taken[index] for index in range(batch.copies - 1)}, refused=refused)


class Site:
    """A place to run jobs: a root, and backends that share it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dest = root.parent / "dest"

    def backend(self, transport: Counting | None = None, *, slots: int = 4, grace_s: int = 1) -> BatchBackend:
        """Return a new one, not entered."""
        return BatchBackend(transport or Counting(), DirectScheduler(slots, grace_s), root=str(self.root))

    def directory(self, handle: JobHandle) -> Path:
        """Return where a copy lies."""
        stamp, _, index = handle.job.partition(".")
        return self.root / stamp / "copies" / index


@pytest.fixture
def site(root: Path) -> Site:
    """The fresh root, and backends that share it."""
    return Site(root)


async def until(look: Callable[[], Awaitable[T]], enough: Callable[[T], bool]) -> T:
    """Ask again and again, for a bounded time."""
    async with asyncio.timeout(SECONDS):
        while not enough(answer := await look()):  # noqa: ASYNC110 -- processes tell no event
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


@pytest.mark.asyncio
@pytest.mark.parametrize("copies", [1, 40])
async def test_every_verb_takes_as_many_commands_for_many_as_for_one(site: Site, copies: int) -> None:
    """Enter, submit, status, fetch, counts, find, diagnostics and purge of what has an exit code: one each."""
    transport = Counting()

    async def used(verb: Awaitable[T]) -> tuple[T, int]:
        before = len(transport.commands)
        return await verb, len(transport.commands) - before

    backend = site.backend(transport)
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


@pytest.mark.asyncio
@pytest.mark.parametrize("copies", [1, 20])
async def test_verdicts_without_an_exit_code_cost_one_command_more_once(site: Site, copies: int) -> None:
    """Killing is one; the look that first sees the end writes it down with another, whichever verb it is."""
    transport = Counting()
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


def test_the_gate_sees_every_capability(site: Site) -> None:
    """BatchBackend claims all there are."""
    assert capabilities(site.backend()) == frozenset(CAPABILITIES)


@pytest.mark.asyncio
async def test_a_verb_outside_of_async_with_raises(site: Site) -> None:
    """Before entering and after leaving, also with an empty list."""
    backend = site.backend()
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


ARGUMENTS = ("a b", "", "'\"`$HOME`", "*", "new\nline\n", "-n", "é☃", "\\", "$(false)", "tab\t", "\r")


@pytest.mark.asyncio
async def test_arguments_and_environment_arrive_byte_for_byte(site: Site, backend: BatchBackend) -> None:
    """Whatever is in them; a copy's own variables win over the specification's."""
    script = 'printf "%s\\0" "$@" "$ODD" "$WHO" "$IFS"'
    copies = [CopyVars(environment={"WHO": f"copy {index}\n", "IFS": "e"}) for index in range(12)]
    spec = sh(script, *ARGUMENTS, environment={"ODD": 'it\'s\n"$odd"\n', "WHO": "nobody"})
    submission = await backend.submit(spec, copies)
    await finish(backend, submission.handles.values())
    outputs = await backend.fetch_output(list(submission.handles.values()), site.dest)
    for index, handle in submission.handles.items():
        path = outputs[handle].stdout
        assert path is not None
        got = path.read_bytes().decode().split("\0")
        assert got[:-1] == [*ARGUMENTS, 'it\'s\n"$odd"\n', f"copy {index}\n", " \t\n"]  # sh resets IFS


@pytest.mark.asyncio
@pytest.mark.parametrize("own", [True, False], ids=["copy", "all"])
async def test_variables_of_any_name_change_nothing_but_the_payload(
    site: Site, backend: BatchBackend, tmp_path: Path, own: bool
) -> None:
    """Also those that the wrapper uses itself: its redirections, its program, its record."""
    (tmp_path / "run").write_text('printf %s "$_ic_stdout$_ic_top$_ic_what"; echo err >&2; exit 3\n')
    names = ["stdout", "stderr", "top", "what", "code", "signal", "attempt", "native", "host", "now", "boot", "command"]
    environment = {f"_ic_{name}": "v" for name in names}
    spec = SubmissionSpec(executable=tmp_path / "run", environment={} if own else environment)
    handle = (await backend.submit(spec, [CopyVars(environment=environment if own else {})])).handles[0]
    assert (await finish(backend, [handle]))[handle].exit_code == 3
    output = (await backend.fetch_output([handle], site.dest))[handle]
    assert output.stdout is not None
    assert output.stderr is not None
    assert (output.stdout.read_text(), output.stderr.read_text(), output.log) == ("vvv", "err\n", None)


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [0, 1, 2, 99, 100, 126, 127, 255])
async def test_exit_codes_are_told(backend: BatchBackend, code: int) -> None:
    """0 is DONE; every other one FAILED with that code."""
    handle = (await backend.submit(sh(f"exit {code}"))).handles[0]
    status = (await finish(backend, [handle]))[handle]
    assert status.exit_code == code
    assert (status.state, status.reason) == ((JobState.FAILED, "exit_code") if code else (JobState.DONE, None))


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [1, 2, 3, 9, 11, 13, 15])
async def test_death_by_signal_is_told(backend: BatchBackend, number: int) -> None:
    """Nothing is ignored in a payload that the resource does not ignore itself: INT and PIPE end it, too."""
    handle = (await backend.submit(sh(f"kill -{number} $$; exit 5"))).handles[0]
    status = (await finish(backend, [handle]))[handle]
    assert (status.state, status.signal, status.reason) == (JobState.FAILED, number, "signal")


@pytest.mark.asyncio
async def test_what_cannot_start_fails(backend: BatchBackend, tmp_path: Path) -> None:
    """A program that is not there, and a shebang that leads nowhere: 127 or 126."""
    (tmp_path / "bad").write_text("#!/nowhere/at/all\n")
    for executable in ("no-such-program", "-no-such-program", tmp_path / "bad"):
        handle = (await backend.submit(SubmissionSpec(executable=executable))).handles[0]
        status = (await finish(backend, [handle]))[handle]
        assert status.state is JobState.FAILED
        assert status.exit_code in {126, 127}


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["#!/bin/sh\n", ""])
async def test_a_local_executable_runs_whatever_its_mode(
    site: Site, backend: BatchBackend, tmp_path: Path, text: str
) -> None:
    """With its shebang or by sh; the name `true` on PATH is the program, not the shell's word."""
    (tmp_path / "it's -x").write_text(f'{text}echo ran "$1"\n')
    (tmp_path / "it's -x").chmod(0o644)
    spec = SubmissionSpec(executable=tmp_path / "it's -x", arguments=("a  b",))
    handle = (await backend.submit(spec)).handles[0]
    assert (await finish(backend, [handle]))[handle].state is JobState.DONE
    path = (await backend.fetch_output([handle], site.dest))[handle].stdout
    assert path is not None
    assert path.read_text() == "ran a  b\n"


@pytest.mark.asyncio
async def test_inputs_and_secrets_arrive_and_never_come_back(site: Site, backend: BatchBackend, tmp_path: Path) -> None:
    """Inputs in sub-directories too; a secret with mode 0600 in its own copy only, removed at the end."""
    (tmp_path / "in").write_bytes(b"\0\xff" * 1000)
    script = "cmp in.bin d/e.bin && stat -c %a token && cat token && mkdir sub && cp token sub/mine && ls -A"
    spec = sh(
        script,
        inputs=(FileRef(name="in.bin", source=tmp_path / "in"), FileRef(name="d/e.bin", source=tmp_path / "in")),
        outputs=patterns(include_unlisted=True),
    )
    copies = [CopyVars(secrets={"token": SecretBytes(f"hush{index}\n".encode())}) for index in range(3)]
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


@pytest.mark.asyncio
async def test_a_secret_is_in_no_argument_list_and_no_readable_file(site: Site) -> None:
    """All that lies in the root is ours alone, and no command of ours was given the secret."""
    transport = Counting()
    async with site.backend(transport) as backend:
        copies = [CopyVars(secrets={"token": SecretBytes(b"hush-hush")}, environment={"V": "quiet-value"})]
        handle = (await backend.submit(sh("sleep 0.2; exit 3"), copies)).handles[0]
        told = await finish(backend, [handle])
        assert "hush-hush" not in repr((transport.commands, handle, told))
        assert "quiet-value" not in repr(transport.commands)
    open_ = [path for path in (site.root, *site.root.rglob("*")) if path.lstat().st_mode & 0o077]
    assert open_ == []


@pytest.mark.asyncio
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
async def test_what_cannot_be_is_refused_before_anything_starts(
    site: Site, backend: BatchBackend, fields: dict[str, object], copies: int | list[CopyVars], error: type[Exception]
) -> None:
    """By its own error, and no submission lies in the root."""
    spec = SubmissionSpec.model_validate({"executable": "true", **fields})
    with pytest.raises(error):
        await backend.submit(spec, copies)
    assert {path.name for path in site.root.iterdir()} == {"resource-id", ".trash"}


@pytest.mark.asyncio
async def test_only_what_was_asked_comes_back(site: Site, backend: BatchBackend) -> None:
    """Named members, globs, directories; what matched nothing is missing; stdout and stderr under names of their own."""
    script = (
        "mkdir -p logs/deep .dot; echo 1 >a.txt; echo 2 >b.log; echo 3 >logs/deep/c; echo 4 >.dot/d; : >empty; echo out"
    )
    spec = sh(script, outputs=patterns("*.txt", "logs", "none*", "**/d", "empty"), stdout="logs/out", stderr="err")
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
async def test_hostile_names_come_through_and_links_do_not(site: Site, backend: BatchBackend, tmp_path: Path) -> None:
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
    spec = sh(f"{sys.executable} {tmp_path / 'make.py'}", outputs=patterns(include_unlisted=True))
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
async def test_a_job_over_the_limits_is_told_and_the_others_arrive(site: Site) -> None:
    """What fits is sent, stdout and stderr first; the rest is left out over there, job by job."""
    spec = sh('n=1; [ "$MANY" = no ] || n=9; for i in $(seq $n); do printf 12345 >f$i; done', outputs=patterns("f*"))
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
async def test_an_unfinished_job_is_not_ok_and_comes_whole_later(site: Site, backend: BatchBackend) -> None:
    """Fetching early loses nothing; diagnostics shows the output so far."""
    spec = sh("echo early; while [ ! -e go ]; do sleep 0.02; done; echo late", outputs=patterns("go"))
    handle = (await backend.submit(spec)).handles[0]
    shown = await until(lambda: backend.diagnostics([handle]), lambda told: told[handle].text != "")
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
async def test_handles_from_elsewhere_are_data(site: Site, backend: BatchBackend) -> None:
    """Foreign, hostile and unknown ones are answered, each alone, whatever they spell."""
    hostile = ["../../etc", "$(touch x)", "aaaaaaaaaaaaa.0\n", "aaaaaaaaaaaaa.00", "aaaaaaaaaaaaa.-1", "é", "'; exit"]
    mine = (await backend.submit(sh("true"))).handles[0]
    foreign = [JobHandle(resource=mine.resource, job=job) for job in hostile]
    foreign.append(JobHandle(resource="another", job=mine.job))
    unknown = JobHandle(resource=mine.resource, job="a" * 13 + ".0")
    every = [mine, mine, unknown, *foreign]
    await finish(backend, [mine])
    told = await backend.status(every)
    assert set(told) == set(every)
    assert {told[handle].reason for handle in foreign} == {"foreign"}
    assert told[unknown].state is JobState.UNKNOWN
    killed, purged = await backend.kill(every), await backend.purge([unknown, *foreign])
    assert {killed[handle].reason for handle in foreign} == {"foreign"}
    assert (killed[unknown].reason, killed[mine].ok, purged[unknown].ok) == ("unknown", True, True)
    assert {purged[handle].reason for handle in foreign} == {"foreign"}
    outputs = await backend.fetch_output(every, site.dest)
    assert [handle for handle, output in outputs.items() if output.ok] == [mine]
    outputs = await backend.fetch_output([unknown, mine], site.dest)
    assert (outputs[unknown].ok, outputs[mine].ok) == (False, True)
    assert not (await backend.fetch_output([unknown], site.dest))[unknown].ok
    assert set(await backend.diagnostics(every)) == set(every)


@pytest.mark.asyncio
async def test_killing_ends_a_running_job_and_its_children_and_no_other(
    site: Site, backend: BatchBackend, working_in: Callable[[Path], list[str]]
) -> None:
    """What ignores TERM has its grace; the other copies live on; a second kill is fine."""
    script = 'trap "" TERM; echo $$ >pid; sh -c "echo \\$\\$ >child; sleep 60; sleep 60" & wait; wait; sleep 60'
    handles = (await backend.submit(sh(script), 2)).handles
    for handle in handles.values():
        await seen(backend, handle, JobState.RUNNING)
        await until(partial(written, site.directory(handle) / "work" / "child"), bool)
    for _ in range(2):
        assert (await backend.kill([handles[0]]))[handles[0]].ok
    status = (await finish(backend, [handles[0]]))[handles[0]]
    assert (status.state, status.reason) == (JobState.KILLED, "killed_by_user")
    child = (await written(site.directory(handles[0]) / "work" / "child")).strip()
    assert child not in working_in(site.root)
    assert (await backend.status([handles[1]]))[handles[1]].state is JobState.RUNNING
    await backend.kill([handles[1]])
    await finish(backend, [handles[1]])


async def written(path: Path) -> str:
    """Return what stands in a file, if there is one."""
    return await asyncio.to_thread(lambda: path.read_text() if path.exists() else "")


@pytest.mark.asyncio
async def test_a_job_killed_right_after_submit_never_reaches_its_end(
    site: Site, working_in: Callable[[Path], list[str]]
) -> None:
    """Whether it waited, was about to start, or ran: no copy writes its last line, and all are KILLED."""
    marks, go = site.root.parent / "marks", site.root.parent / "go"
    marks.mkdir()
    spec = sh(f"until [ -e '{go}' ]; do sleep 0.05; done; touch '{marks}'/$$")
    async with site.backend(slots=2) as backend:
        for _ in range(3):
            handles = list((await backend.submit(spec, 6)).handles.values())
            assert all(outcome.ok for outcome in (await backend.kill(handles)).values())
            told = await finish(backend, handles)
            assert {status.state for status in told.values()} == {JobState.KILLED}
    go.touch()
    async with asyncio.timeout(SECONDS):
        while working_in(site.root):  # noqa: ASYNC110 -- processes tell no event
            await asyncio.sleep(0.02)
    assert list(marks.iterdir()) == []


@pytest.mark.asyncio
async def test_a_final_state_does_not_change(site: Site) -> None:
    """A kill after the end changes nothing: neither a code's verdict nor a signal's that somebody was told."""
    async with site.backend() as backend, site.backend() as other:
        handles = [(await backend.submit(sh(script))).handles[0] for script in ("exit 3", "kill -9 $$")]
        before = await finish(backend, handles)
        assert all(outcome.ok for outcome in (await other.kill(handles)).values())
        assert dict(await other.status(handles)) == dict(before)


@pytest.mark.asyncio
async def test_purging_leaves_nothing_of_a_job_and_the_last_takes_the_rest(site: Site, backend: BatchBackend) -> None:
    """Other copies stay; purged ones are unknown, not fetchable, not found; read-only directories are no hindrance."""
    spec = sh("mkdir -p a/b; touch a/b/c; chmod 500 a/b a", tag="t")
    handles = (await backend.submit(spec, 3)).handles
    await finish(backend, handles.values())
    assert (await backend.purge([handles[1]]))[handles[1]].ok
    assert set(await backend.find("t")) == {handles[0], handles[2]}
    told = await backend.status(list(handles.values()))
    assert [told[handles[index]].state for index in range(3)] == ["DONE", "UNKNOWN", "DONE"]
    assert not (await backend.fetch_output([handles[1]], site.dest))[handles[1]].ok
    for _ in range(2):
        assert all(outcome.ok for outcome in (await backend.purge(list(handles.values()))).values())
    assert await backend.find("t") == []
    assert {path.name for path in site.root.iterdir()} == {"resource-id", ".trash"}
    assert list((site.root / ".trash").iterdir()) == []


TAGS = ["t", "t ", "*", "$(false)", "new\nline", "é/..", "'", "x" * 256]


@pytest.mark.asyncio
async def test_tags_are_data_and_found_from_elsewhere(site: Site) -> None:
    """Each finds its own submissions, all of them, each job once; one process writes, another finds."""
    async with site.backend() as backend, site.backend() as other:
        made = {tag: [await backend.submit(sh("true", tag=tag), 2) for _ in range(2)] for tag in TAGS[:3]}
        made |= {tag: [await backend.submit(sh("true", tag=tag))] for tag in TAGS[3:]}
        for tag, submissions in made.items():
            wanted = [handle for each in submissions for handle in each.handles.values()]
            assert sorted(handle.job for handle in await other.find(tag)) == sorted(handle.job for handle in wanted)
        assert await other.find("none") == []
        await finish(other, [h for some in made.values() for each in some for h in each.handles.values()])


@pytest.mark.asyncio
@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.02, 0.05, 0.1, 0.2])
async def test_a_cancelled_submit_is_found_exactly(site: Site, backend: BatchBackend, after_s: float) -> None:
    """Whatever it had come to: what find returns is all that ever runs, and the instance is usable."""
    marks = site.root.parent / "marks"
    marks.mkdir()
    task = asyncio.create_task(backend.submit(sh(f"touch {marks}/$PPID-$$", tag="t"), 3))
    await asyncio.sleep(after_s)
    task.cancel()
    await asyncio.wait({task})
    found = await backend.find("t")
    assert len(found) in {0, 3}
    assert set(await backend.find("t")) == set(found)
    told = await finish(backend, found)
    assert {status.state for status in told.values()} <= {JobState.DONE}
    last = (await backend.submit(sh("true"))).handles[0]
    await finish(backend, [last])
    assert len(list(marks.iterdir())) == len(found)


@pytest.mark.asyncio
async def test_native_ids_are_read_once_by_whoever_does_not_know_them(site: Site) -> None:
    """A scheduler that tells ids in its own words costs a stranger one command, once; its refusals are told."""
    spec = sh("while [ ! -e ../../../go ]; do sleep 0.02; done", tag="t")
    first, second, third = Counting(), Counting(), Counting()
    several = [BatchBackend(each, Chunky(4), root=str(site.root)) for each in (first, second, third)]
    async with several[0] as backend, several[1] as other, several[2] as late:
        submission = await backend.submit(spec, 4)
        assert list(submission.failures) == [3]
        handles = list(submission.handles.values())
        await until(lambda: other.status(handles), lambda told: {s.state for s in told.values()} == {JobState.RUNNING})
        before = len(second.commands)
        assert (await other.status(handles))[handles[0]].state is JobState.RUNNING
        assert len(second.commands) == before + 1
        before = len(third.commands)
        assert (await late.counts()).running == 3
        assert sorted(await late.find("t"), key=str) == sorted(handles, key=str)
        assert len(third.commands) == before + 2
        (site.directory(handles[0]).parents[1] / "go").touch()
        await finish(backend, handles)
        assert all(outcome.ok for outcome in (await backend.purge(handles)).values())
    assert {path.name for path in site.root.iterdir()} == {"resource-id", ".trash"}


@pytest.mark.asyncio
async def test_a_lost_answer_is_settled_by_the_schedulers_list(site: Site) -> None:
    """Whoever asks learns the ids from the scheduler, where the submission's own end was never written."""
    async with site.backend() as backend, site.backend() as other:
        handles = (await backend.submit(sh("sleep 60", tag="t"), 2)).handles
        for name in ("natives", "submitted"):
            (site.directory(handles[0]).parents[1] / name).unlink()
        assert set(await other.find("t")) == set(handles.values())
        (site.directory(handles[0]).parents[1] / "natives").unlink(missing_ok=True)
        await until(lambda: other.status([handles[0]]), lambda told: told[handles[0]].state is JobState.RUNNING)
        assert all(outcome.ok for outcome in (await other.kill(list(handles.values()))).values())
        await finish(other, handles.values())


@pytest.mark.asyncio
async def test_a_submission_that_was_refused_whole_leaves_nothing(site: Site) -> None:
    """It raises, to be tried again, and nothing lies there or is found."""
    async with BatchBackend(Counting(), Chunky(1), root=str(site.root)) as backend:
        with pytest.raises(LimitError, match="over a limit") as caught:
            await backend.submit(sh("true", tag="t"), 1)
        assert caught.value.retryable
        assert await backend.find("t") == []
    assert {path.name for path in site.root.iterdir()} == {"resource-id", ".trash"}


@pytest.mark.asyncio
async def test_commands_in_flight_bounds_the_transport(site: Site) -> None:
    """Twenty verbs at once are never more than three commands."""
    transport = Counting()
    backend = BatchBackend(transport, DirectScheduler(1), root=str(site.root), commands_in_flight=3)
    async with backend:
        await asyncio.gather(*(backend.find("t") for _ in range(20)))
    assert transport.most_out == 3


@pytest.mark.asyncio
async def test_packing_that_takes_too_long_is_told(site: Site, backend: BatchBackend, tmp_path: Path) -> None:
    """The far side stops it; the job says so, and comes whole where there is time."""
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "tar").write_text('#!/bin/sh\ncase "$*" in *-cf*) sleep 30 ;; esac\nexec /usr/bin/env -u PATH tar "$@"\n')
    (slow / "tar").chmod(0o755)
    handle = (await backend.submit(sh("echo out"))).handles[0]
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
async def test_a_cut_archive_starts_nothing(site: Site) -> None:
    """An archive that ends early, even at a block's boundary, has no submit.sh, and nothing was started."""

    class Cutting(Counting):
        async def run(
            self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
        ) -> CommandResult:
            async def half() -> AsyncIterable[bytes]:
                if stdin is not None:
                    async for data in stdin:
                        yield data[:5120]
                        return

            cut = stdin if "tar" not in argv[2] else half()
            return await super().run(argv, stdin=cut, stdout=stdout)

    async with site.backend(Cutting()) as backend:
        with pytest.raises(TransportError):
            await backend.submit(sh("true", tag="t"))
        assert await backend.find("t") == []


@pytest.mark.asyncio
async def test_a_job_that_left_no_trace_is_lost(site: Site, backend: BatchBackend) -> None:
    """All of its processes were killed by somebody: UNKNOWN, at once, never success; it can be purged."""
    handle = (await backend.submit(sh("sleep 60"))).handles[0]
    await seen(backend, handle, JobState.RUNNING)
    group = (site.root / handle.job.partition(".")[0] / "direct" / "0").read_text().split()[0]
    os.killpg(int(group), 9)
    told = await until(lambda: backend.status([handle]), lambda told: told[handle].state is not JobState.RUNNING)
    assert (told[handle].state, told[handle].reason) == (JobState.UNKNOWN, "lost")
    assert not (await backend.fetch_output([handle], site.dest))[handle].ok
    assert (await backend.purge([handle]))[handle].ok


@pytest.mark.asyncio
async def test_jobs_survive_the_process_that_submitted_them(site: Site, backend: BatchBackend) -> None:
    """Another process, later, drives them by their handles alone."""
    program = f"""
import asyncio, os, signal
from intercede.batch import BatchBackend
from intercede.contract import SubmissionSpec
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport
async def main():
    async with BatchBackend(LocalTransport(), DirectScheduler(1), root={str(site.root)!r}) as backend:
        spec = SubmissionSpec(executable="sh", arguments=("-c", "sleep 0.3; echo survived"))
        submission = await backend.submit(spec, 2)
        print(*(handle.model_dump_json() for handle in submission.handles.values()), sep="\\n", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    import sys  # noqa: PLC0415 -- only here

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    handles = [JobHandle.model_validate_json(line) for line in result.stdout.splitlines()]
    told = await finish(backend, handles)
    assert [told[handle].state for handle in handles] == [JobState.DONE] * 2


@pytest.mark.asyncio
async def test_what_has_had_its_wall_time_fails_by_timeout(backend: BatchBackend) -> None:
    """With the signal that ended it; nobody killed it."""
    handle = (await backend.submit(sh("sleep 60", resources=Resources(wall_time_s=1)))).handles[0]
    status = (await finish(backend, [handle]))[handle]
    assert (status.state, status.reason, status.signal) == (JobState.FAILED, "timeout", 15)


@pytest.mark.asyncio
async def test_roots_that_are_not_ours_alone_are_refused(tmp_path: Path) -> None:
    """A link, a file, what others may write, what lies where everybody may write: each with its reason."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()
    (tmp_path / "wide").mkdir()
    (tmp_path / "wide").chmod(0o770)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    (tmp_path / "loose" / "ours").mkdir(parents=True)
    (tmp_path / "loose").chmod(0o777)
    cases = {
        "link": "link",
        "file": "no directory",
        "wide": "others may write",
        "open/root": "everybody",
        "loose/ours/root": "can be replaced",
    }
    for name, why in cases.items():
        backend = BatchBackend(Counting(), DirectScheduler(), root=str(tmp_path / name))
        with pytest.raises(ConfigError, match=why) as caught:
            await backend.__aenter__()
        assert caught.value.field == "root"


@pytest.mark.asyncio
async def test_a_root_that_was_replaced_is_not_used(tmp_path: Path) -> None:
    """Where the root belongs to somebody else by now, no script runs in it."""
    if os.getuid() != 0:
        pytest.skip("only root can make what belongs to somebody else")
    async with BatchBackend(Counting(), DirectScheduler(), root=str(tmp_path / "root")) as backend:
        (tmp_path / "root").rename(tmp_path / "away")
        (tmp_path / "root").mkdir()
        os.chown(tmp_path / "root", 23456, 23456)
        with pytest.raises(ResourceError):
            await backend.submit(sh("true"))
        with pytest.raises(ResourceError, match="not ours any more"):
            await backend.counts()
    assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.asyncio
async def test_the_default_root_lies_in_the_home(tmp_path: Path) -> None:
    """Made with mode 700, blanks in its name or not; two instances call the resource the same."""
    home = tmp_path / "a home's"
    home.mkdir()
    for _ in range(2):
        async with BatchBackend(Counting({"HOME": str(home)}), DirectScheduler()) as backend:
            handle = (await backend.submit(sh("true"))).handles[0]
            assert handle.resource == (home / ".intercede" / "resource-id").read_text().strip()
            await finish(backend, [handle])
    assert stat.S_IMODE((home / ".intercede").stat().st_mode) == 0o700
    with pytest.raises(ConfigError, match="HOME"):
        await BatchBackend(Counting({"HOME": ""}), DirectScheduler()).__aenter__()


@pytest.mark.asyncio
async def test_what_lies_about_in_the_root_is_no_job_and_no_code(site: Site) -> None:
    """Names that no submission has are passed over, whatever a shell would make of them."""
    async with asyncio.timeout(20):
        async with site.backend() as backend:
            handle = (await backend.submit(sh("true", tag="mine"))).handles[0]
            await finish(backend, [handle])
            root = site.root
            for name in ("x-$(touch owned)", "stray", handle.job.split(".")[0]):
                (root / name / "copies" / "notanumber").mkdir(parents=True)
            os.mkfifo(root / "x-$(touch owned)" / "tag")
            counts, found = await backend.counts(), await backend.find("mine")
            assert (counts.queued + counts.running, found) == (0, [handle])
            assert not list(root.rglob("owned"))


@pytest.mark.asyncio
async def test_a_file_that_is_written_while_it_is_packed_is_not_taken_for_whole(
    site: Site, backend: BatchBackend
) -> None:
    """What outlives the payload and goes on writing cannot pass off a file of zeros as its output."""
    writer = "(while [ -e go ]; do head -c 3000000 /dev/zero | tr '\\0' x >f; : >f; done) >/dev/null 2>&1 & sleep 0.2"
    spec = sh(f": >go; {writer}", outputs=OutputSpec(members=(OutputMember(pattern="f"),)))
    handle = (await backend.submit(spec)).handles[0]
    await finish(backend, [handle])
    try:
        for _ in range(20):
            output = (await backend.fetch_output([handle], site.dest))[handle]
            assert not output.ok or set(output.files["f"].read_bytes()) <= {ord("x")}
    finally:
        (site.directory(handle) / "work" / "go").unlink()


@pytest.mark.asyncio
@pytest.mark.parametrize("verb", ["status", "kill", "purge", "diagnostics", "fetch_output"])
async def test_what_newcomers_give_in_place_of_handles_is_answered_with_what_to_write(site: Site, verb: str) -> None:
    """``submission.handles`` is keyed by copy, and the first thing that one gives a verb; each verb says the same."""
    async with site.backend() as backend:
        submission = await backend.submit(sh("exit 0"))
        asked: Callable[..., Awaitable[object]] = getattr(backend, verb)
        more = [site.dest] if verb == "fetch_output" else []

        for given in (submission.handles, submission):
            with pytest.raises(TypeError, match=r"write submission\.handles\.values\(\)"):
                await asked(given, *more)
        with pytest.raises(TypeError, match=r"write \[handle\]"):
            await asked(submission.handles[0], *more)
        await finish(backend, submission.handles.values())


@pytest.mark.asyncio
async def test_output_is_fetched_into_a_directory_that_is_text(site: Site) -> None:
    """``fetch_output(handles, "out")`` is what one writes first."""
    async with site.backend() as backend:
        handles = (await backend.submit(sh("echo here"))).handles.values()
        await finish(backend, handles)
        (output,) = (await backend.fetch_output(handles, str(site.dest))).values()

    assert output.stdout is not None
    assert output.stdout.is_relative_to(site.dest)
    assert output.stdout.read_text() == "here\n"


@pytest.mark.asyncio
async def test_a_command_in_place_of_a_specification_is_answered_with_what_to_write(site: Site) -> None:
    """Nothing starts, and no attribute of a text is looked for."""
    async with site.backend() as backend:
        with pytest.raises(TypeError, match=r"not a str: write SubmissionSpec\(executable='hostname'\)"):
            await backend.submit("hostname")  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.asyncio
async def test_a_copy_whose_id_cannot_be_written_down_is_not_lost(root: Path, tmp_path: Path) -> None:
    """A payload may have filled the disk before anybody asks: what the scheduler calls it is known all the same."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mv").write_text('#!/bin/sh\ncase $2 in */natives) exit 1 ;; esac\nexec /bin/mv "$@"\n')
    (tmp_path / "bin" / "mv").chmod(0o700)
    transport = Counting({"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})
    async with BatchBackend(transport, Chunky(4, 1), root=str(root)) as backend:
        handle = (await backend.submit(sh("sleep 300"), 2)).handles[0]
        for _ in range(2):
            assert (await backend.status([handle]))[handle].state in {JobState.QUEUED, JobState.RUNNING}
        assert (await backend.kill([handle]))[handle].ok
        assert (await finish(backend, [handle]))[handle].state is JobState.KILLED


@pytest.mark.parametrize("stderr", ["", "2>&-"], ids=["stderr", "no stderr"])
def test_a_script_ends_where_the_root_is_somebody_elses(tmp_path: Path, stderr: str) -> None:
    """Also where it cannot say so, as with a stderr that is closed."""
    root = tmp_path if os.getuid() == 0 else Path("/")
    if os.getuid() == 0:
        os.chown(tmp_path, 23456, 23456)
    script = f"{{ root={root}\n{text_of('remote/home')}\necho went on\n}} {stderr}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")


class Colons(DirectScheduler):
    """Its ids hold a colon, which no id may."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Name each job by host and number."""
        return Queued(
            ids={index: f"host:{native}" for index, native in super().parse_submit(batch, result).ids.items()}
        )


class Unchecked(Colons):
    """The same, and says that it was looked at."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Skip what pydantic would have said."""
        ids = DirectScheduler.parse_submit(self, batch, result).ids
        return Queued.model_construct(ids={index: f"host:{native}" for index, native in ids.items()}, refused={})


class Stumbling(DirectScheduler):
    """Takes every answer for one with a word more."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Read a third word, which is not there."""
        return Queued(ids={0: result.stdout.decode().split()[99]})


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        (Colons, ["raised ValidationError: ", " ids.0 ", "an id is 1 to 200 letters", "for the answer '"]),
        (Unchecked, ["answered with the id 'host:", "an id is 1 to 200 letters"]),
        (Stumbling, ["raised IndexError: list index out of range, for the answer '"]),
    ],
)
async def test_a_parser_that_breaks_is_told_as_the_plugin_s_fault_and_its_job_is_found(
    site: Site, scheduler: type[DirectScheduler], said: list[str]
) -> None:
    """The job runs: the error is typed, names the plugin and the submission, and once it is mended the job has a handle."""
    spec = SubmissionSpec(executable="true", tag="broken")
    broken = BatchBackend(Counting(), scheduler(4, 1), root=str(site.root))
    async with broken:
        with pytest.raises(SchedulerError, match="is at fault, not the request") as told:
            await broken.submit(spec)

    stamps = [each.parent.name for each in site.root.glob("*/copies")]
    assert [each in str(told.value) for each in [*said, *stamps]] == [True] * (len(said) + 1), str(told.value)
    assert not told.value.retryable
    async with site.backend() as mended:
        (handle,) = await mended.find("broken")
        assert (await finish(mended, [handle]))[handle].state is JobState.DONE


class Mute(DirectScheduler):
    """Its parser of listings returns nothing."""

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        """Forget the return."""
        return None  # type: ignore[return-value]  # the mistake


@pytest.mark.asyncio
async def test_a_listing_that_cannot_be_read_is_told_as_the_plugin_s_fault(site: Site) -> None:
    """The caller of `status` sees which parser it was, and no TypeError."""
    async with BatchBackend(Counting(), Mute(4, 1), root=str(site.root)) as backend:
        submission = await backend.submit(SubmissionSpec(executable="sleep", arguments=("1",)))
        with pytest.raises(SchedulerError, match="its parse_status raised TypeError"):
            await backend.status(submission.handles.values())
