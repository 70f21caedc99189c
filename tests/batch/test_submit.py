"""Submissions over local and direct arrive unchanged, and invalid ones are refused before anything starts."""

from collections.abc import AsyncIterable, Sequence
from pathlib import Path

import pytest
from pydantic import SecretBytes
from tests.batch.sites import Chunky, Counting, Site, finish, make_outputs, make_script_spec

from intercede.batch import BatchBackend
from intercede.contract.errors import (
    InvalidSpecError,
    LimitError,
    TransportError,
    UnsupportedSpecError,
)
from intercede.contract.job import (
    ContainerSpec,
    CopyVars,
    FileRef,
    JobState,
    Resources,
    SubmissionSpec,
)
from intercede.contract.transport import ByteSink, CommandResult

ARGUMENTS = ("a b", "", "'\"`$HOME`", "*", "new\nline\n", "-n", "é☃", "\\", "$(false)", "tab\t", "\r")


@pytest.mark.asyncio
async def test_arguments_and_environment_arrive_byte_for_byte(site: Site, backend: BatchBackend) -> None:
    """Arguments and variables arrive byte for byte, and a copy's variables replace those of the specification."""
    script = 'printf "%s\\0" "$@" "$ODD" "$WHO" "$IFS"'
    copies = [CopyVars(environment={"WHO": f"copy {index}\n", "IFS": "e"}) for index in range(12)]
    spec = make_script_spec(script, *ARGUMENTS, environment={"ODD": 'it\'s\n"$odd"\n', "WHO": "nobody"})
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
async def test_variables_of_any_name_reach_only_the_payload(
    site: Site, backend: BatchBackend, tmp_path: Path, own: bool
) -> None:
    """Variables with names that the wrapper uses itself reach the payload and do not change the wrapper."""
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
async def test_a_program_that_cannot_start_fails(backend: BatchBackend, tmp_path: Path) -> None:
    """A missing program, or one with an invalid shebang, ends with exit code 127 or 126."""
    (tmp_path / "bad").write_text("#!/nowhere/at/all\n")
    for executable in ("no-such-program", "-no-such-program", tmp_path / "bad"):
        handle = (await backend.submit(SubmissionSpec(executable=executable))).handles[0]
        status = (await finish(backend, [handle]))[handle]
        assert status.state is JobState.FAILED
        assert status.exit_code in {126, 127}


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ["#!/bin/sh\n", ""])
async def test_a_local_executable_runs_with_any_mode(
    site: Site, backend: BatchBackend, tmp_path: Path, text: str
) -> None:
    """A local program runs without its execute bit, by its shebang or by sh."""
    (tmp_path / "it's -x").write_text(f'{text}echo ran "$1"\n')
    (tmp_path / "it's -x").chmod(0o644)
    spec = SubmissionSpec(executable=tmp_path / "it's -x", arguments=("a  b",))
    handle = (await backend.submit(spec)).handles[0]
    assert (await finish(backend, [handle]))[handle].state is JobState.DONE
    path = (await backend.fetch_output([handle], site.dest))[handle].stdout
    assert path is not None
    assert path.read_text() == "ran a  b\n"


@pytest.mark.asyncio
async def test_inputs_and_secrets_arrive_and_are_not_fetched(site: Site, backend: BatchBackend, tmp_path: Path) -> None:
    """Inputs arrive in their directories. A secret has mode 0600 in its own copy, and is removed at the end."""
    (tmp_path / "in").write_bytes(b"\0\xff" * 1000)
    script = "cmp in.bin d/e.bin && stat -c %a token && cat token && mkdir sub && cp token sub/mine && ls -A"
    spec = make_script_spec(
        script,
        inputs=(FileRef(name="in.bin", source=tmp_path / "in"), FileRef(name="d/e.bin", source=tmp_path / "in")),
        outputs=make_outputs(include_unlisted=True),
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
    """No file in the root is readable for others, and no argument of a command holds a secret."""
    transport = Counting()
    async with site.backend(transport) as backend:
        copies = [CopyVars(secrets={"token": SecretBytes(b"hush-hush")}, environment={"V": "quiet-value"})]
        handle = (await backend.submit(make_script_spec("sleep 0.2; exit 3"), copies)).handles[0]
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
async def test_an_invalid_submission_is_refused_before_anything_starts(
    site: Site, backend: BatchBackend, fields: dict[str, object], copies: int | list[CopyVars], error: type[Exception]
) -> None:
    """An invalid submission is an error of its own class, and leaves nothing in the root."""
    spec = SubmissionSpec.model_validate({"executable": "true", **fields})
    with pytest.raises(error):
        await backend.submit(spec, copies)
    assert {path.name for path in site.root.iterdir()} == {"resource-id", ".trash"}


@pytest.mark.asyncio
async def test_a_wholly_refused_submission_leaves_nothing(site: Site) -> None:
    """A submission whose copies are all refused is a retryable LimitError, and leaves nothing in the root."""
    async with BatchBackend(Counting(), Chunky(1), root=str(site.root)) as backend:
        with pytest.raises(LimitError, match="over a limit") as caught:
            await backend.submit(make_script_spec("true", tag="t"), 1)
        assert caught.value.retryable
        assert await backend.find("t") == []
    assert {path.name for path in site.root.iterdir()} == {"resource-id", ".trash"}


@pytest.mark.asyncio
async def test_a_cut_archive_starts_nothing(site: Site) -> None:
    """An archive that is cut, even between two blocks, starts nothing."""

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
            await backend.submit(make_script_spec("true", tag="t"))
        assert await backend.find("t") == []


@pytest.mark.asyncio
async def test_a_text_instead_of_a_specification_is_a_type_error(site: Site) -> None:
    """A text in the place of a specification is a TypeError that says what to write."""
    async with site.backend() as backend:
        with pytest.raises(TypeError, match=r"not a str: write SubmissionSpec\(executable='hostname'\)"):
            await backend.submit("hostname")  # type: ignore[arg-type]  # wrong on purpose
