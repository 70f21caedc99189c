"""Fragments call documented functions, in each verb and each shell, and tools do not see certain variables."""

import os
import subprocess
from collections.abc import AsyncIterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.tools import each_tool

from intercede.batch import BatchBackend
from intercede.batch.remote.api import SCRIPTS, Verb, load_script, write_api, write_preamble, write_program
from intercede.contract.errors import PluginContractError
from intercede.contract.job import SubmissionSpec
from intercede.contract.scheduler import ToolEnvironment
from intercede.contract.transport import ByteSink, CommandResult
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport

VERBS: tuple[Verb, ...] = ("submit", "status", "kill", "list")
PLACE: dict[Verb, str] = {"submit": ".", "status": "./s", "kill": "./s", "list": "./s"}
SHELLS = [
    *each_tool("dash", "bash --posix", "busybox sh"),
    *(
        pytest.param(*each.values, id=each.id, marks=[*each.marks, pytest.mark.slow])
        for each in each_tool("mksh", "posh", "yash -o posixlycorrect", "zsh --emulate sh")
    ),
]


class Tooled(DirectScheduler):
    """A scheduler that names the variables of its tools."""

    environment: object = ToolEnvironment(
        unset=("Q_*", "QUEUE"), keep=("Q_ACCOUNT", "QS_CONF"), job_variable="QS_JOB", unset_in_job=("QS_*",)
    )

    def tool_environment(self) -> ToolEnvironment:
        """Return the value that the test gives."""
        return cast("ToolEnvironment", self.environment)


def run_fragment(
    verb: Verb,
    fragment: str,
    root: Path,
    shell: Sequence[str] = ("sh",),
    copies: int = 1,
    variables: Mapping[str, str] | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run a fragment as a backend does."""
    (root / "s" / "copies" / "0" / "work").mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [*shell, "-c", write_program(verb, write_api(Tooled()), fragment, copies)],
        cwd=root / "s" if verb == "submit" else root,
        env={"PATH": os.environ["PATH"], **(variables or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


RECORDS = {
    "code 0 1 host 7 1\n": "0 code 0",
    "code 255 1 host 7 1\n": "0 code 255",
    "caught 3 1 host 7 2\n": "0 caught 3",
    "signal 9 1 host 7 1\n": "0 signal 9",
    "none - - - - 1            ": "1 begun ",
    "code 0 1 host 7 1": "1 begun ",  # an unfinished line
    "": "1 begun ",
    "\n": "1 begun ",
    "code\n": "1 begun ",
    "code -1 x\n": "1 begun ",
    "code 0x1 x\n": "1 begun ",
    "killed 9 x\n": "1 begun ",
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("verb", VERBS)
def test_a_record_is_read_in_each_verb(tmp_path: Path, shell: tuple[str, ...], verb: Verb) -> None:
    """The function ic_read_record reads valid records, and reports others as unfinished and a missing copy as gone."""
    copies = tmp_path / "s" / "copies"
    expected = list(RECORDS.values())
    for index, record in enumerate(RECORDS):
        (copies / str(index)).mkdir(parents=True)
        (copies / str(index) / "exit").write_text(record)
    (copies / "90").mkdir()
    indices = " ".join([*map(str, range(len(RECORDS))), "90", "91"])
    loop = f'for i in {indices}; do ic_read_record {PLACE[verb]} "$i"; echo "$? $ic_end $ic_number"; done'

    done = run_fragment(verb, loop, tmp_path, shell)

    assert (done.stdout.splitlines(), done.stderr) == ([*expected, "1 new ", "1 gone "], "")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("verb", VERBS)
def test_tools_see_neither_the_locale_nor_their_variables(tmp_path: Path, shell: tuple[str, ...], verb: Verb) -> None:
    """The function ic_tool unsets the locale and the tools' variables in each verb.

    It unsets those of a job only inside a job.
    """
    given = {
        "LC_ALL": "C.UTF-8",
        "Q_SIZE": "1\nQ_ACCOUNT=2",
        "QUEUE": "q",
        "Q_ACCOUNT": "a",
        "QUEUES": "x",
        "QS_HINT": "h",
    }
    seen = "printenv Q_SIZE QUEUE Q_ACCOUNT QUEUES QS_HINT QS_CONF LC_ALL | tr '\\n' ' '; echo"
    other = shell[0] if len(shell) == 1 else "sh"
    fragment = f'ic_tool sh -c "{seen}"; {other} -c "$ic_api"\'ic_tool sh -c "$1"\' sh "{seen}"'

    outside = run_fragment(verb, fragment, tmp_path, shell, variables=given)
    inside = run_fragment(verb, fragment, tmp_path, shell, variables={**given, "QS_JOB": "7", "QS_CONF": "c"})

    assert (outside.stdout, outside.stderr) == ("a x h C \n" * 2, "")
    assert (inside.stdout, inside.stderr) == ("a x c C \n" * 2, "")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("verb", VERBS)
def test_secrets_are_removed_in_each_verb(tmp_path: Path, shell: tuple[str, ...], verb: Verb) -> None:
    """The function ic_forget_secrets removes the secrets of a copy, and is no error for a copy without any."""
    copy = tmp_path / "s" / "copies" / "0"
    (copy / "work").mkdir(parents=True)
    (copy / "secrets").write_text("rm -rf ./key\n")
    (copy / "work" / "key").write_text("hidden")

    done = run_fragment(
        verb, f"ic_forget_secrets {PLACE[verb]} 0 && ic_forget_secrets {PLACE[verb]} 1 && echo ok", tmp_path, shell
    )

    assert (done.stdout, done.stderr) == ("ok\n", "")
    assert not (copy / "work" / "key").exists()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("lines", "taken"),
    [
        ("0 a\n1 b\n2 c\n", True),
        ("0 a\n1 b\n", False),
        ("0 a\n1 b\n2 c\n3 d\n", False),
        ("0 a\n2 c\n1 b\n", False),
        ("0 a\n1 b\n2\n", False),
        ("0 a\n1 b\n2 c", False),
        ("0 a\n\n1 b\n2 c\n", False),
        ("", False),
    ],
    ids=repr,
)
def test_ids_of_all_copies_are_reported_or_none(
    tmp_path: Path, shell: tuple[str, ...], lines: str, taken: bool
) -> None:
    """The function ic_report_ids writes the ids of all copies, or fails and writes nothing."""
    done = run_fragment("submit", f"printf '{lines}' | ic_report_ids; echo $?", tmp_path, shell, copies=3)

    assert (done.stdout, done.stderr) == ("0\n" if taken else "1\n", "")
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["copies", *(["natives"] if taken else [])]
    assert not taken or (tmp_path / "s" / "natives").read_text() == lines


def test_only_a_submit_fragment_can_report_ids(tmp_path: Path) -> None:
    """The function ic_report_ids fails in a fragment that does not submit, and writes nothing."""
    done = run_fragment("status", "echo '0 a' | ic_report_ids; echo $?", tmp_path)

    assert done.stdout == "1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize("verb", VERBS)
def test_a_fragment_has_no_arguments_and_its_own_exit_code(tmp_path: Path, verb: Verb) -> None:
    """A fragment has no positional arguments, and its exit code is that of the answer."""
    done = run_fragment(verb, "echo $#; exit 7", tmp_path)

    assert (done.stdout, done.returncode) == ("0\n", 7)


@pytest.mark.parametrize(
    "pattern",
    ["", "*", "**", "A*B", "A?", "A[B]", "1A", "A B", "A;x", "A)", "A|B", "A\n", "$A", "é", "A-B", "P*", "PATH", "I*",
     "IC_IDS", "IC_*", "i*", "ic_x", "_*", "_ic_x*", "H*", "LC_*", "IFS"],
)  # fmt: skip
@pytest.mark.parametrize("field", ["unset", "unset_in_job"])
def test_an_invalid_pattern_is_refused(field: str, pattern: str) -> None:
    """A pattern of variables must be a name, or the beginning of one and *, and no variable that fragments need."""
    with pytest.raises(ValidationError):
        ToolEnvironment.model_validate({field: (pattern,), "job_variable": "QS_JOB"})


def test_unset_in_job_needs_a_job_variable() -> None:
    """A ToolEnvironment with unset_in_job and without job_variable is invalid."""
    with pytest.raises(ValidationError, match="job_variable"):
        ToolEnvironment(unset_in_job=("QS_*",))


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (("Q_*",), "must return a ToolEnvironment, not"),
        (None, "must return a ToolEnvironment, not None"),
        (ToolEnvironment.model_construct(unset=("Q_*) rm -rf ~;;",)), "must return a valid ToolEnvironment"),
        (ToolEnvironment.model_construct(job_variable="x}; rm"), "must return a valid ToolEnvironment"),
    ],
    ids=["a tuple", "none", "no pattern", "no name"],
)
def test_an_invalid_tool_environment_is_refused(environment: object, said: str) -> None:
    """A scheduler whose tool_environment returns an invalid value is a PluginContractError when the backend is made."""
    scheduler = Tooled(1)
    scheduler.environment = environment

    with pytest.raises(PluginContractError, match=f"tool_environment of Tooled {said}"):
        BatchBackend(LocalTransport(), scheduler)


def test_a_tool_environment_that_fails_is_refused() -> None:
    """A tool_environment that raises or is no method is a PluginContractError."""

    class Raises(DirectScheduler):
        def tool_environment(self) -> ToolEnvironment:
            raise RuntimeError("no")

    class Constant(DirectScheduler):
        tool_environment = ToolEnvironment()

    with pytest.raises(PluginContractError, match="must return a valid ToolEnvironment: no"):
        BatchBackend(LocalTransport(), Raises(1))
    with pytest.raises(PluginContractError, match="must be a method"):
        BatchBackend(LocalTransport(), Constant(1))


NAMES = st.from_regex(r"[ABQ][A-Z_]{0,3}", fullmatch=True)
PATTERNS = st.lists(st.builds(str.__add__, NAMES, st.sampled_from(["", "*"])), max_size=4).map(tuple)


@given(unset=PATTERNS, keep=PATTERNS, inside=PATTERNS, names=st.sets(NAMES, min_size=1, max_size=6), job=st.booleans())
def test_the_shell_and_the_type_match_variables_alike(
    unset: tuple[str, ...], keep: tuple[str, ...], inside: tuple[str, ...], names: set[str], job: bool
) -> None:
    """A variable is unset if a pattern matches it and none keeps it, and those of a job only inside a job."""

    def matches(patterns: tuple[str, ...], name: str) -> bool:
        return any(name == each or (each[-1] == "*" and name.startswith(each[:-1])) for each in patterns)

    scheduler = Tooled(1)
    scheduler.environment = ToolEnvironment(unset=unset, keep=keep, job_variable="ZJOB", unset_in_job=inside)
    fragment = "ic_tool env"
    done = subprocess.run(
        ["sh", "-c", write_program("status", write_api(scheduler), fragment)],
        env={"PATH": os.environ["PATH"], **dict.fromkeys(names, "1"), **({"ZJOB": "1"} if job else {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )

    left = {line.partition("=")[0] for line in done.stdout.splitlines()} & names
    assert left == {
        name for name in names if matches(keep, name) or not (matches(unset, name) or (job and matches(inside, name)))
    }


class Overheard(LocalTransport):
    """A transport that keeps the scripts which are sent."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts: list[str] = []

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run a command, and keep its stdin."""
        sent = b"".join([piece async for piece in stdin or _send_nothing()])
        self.scripts.append(sent.decode("utf-8", "replace"))
        return await super().run(argv, stdin=_send(sent), stdout=stdout)


async def _send_nothing() -> AsyncIterable[bytes]:
    return
    yield b""  # pragma: no cover


async def _send(data: bytes) -> AsyncIterable[bytes]:
    yield data


@pytest.mark.asyncio
async def test_the_kit_loads_the_scripts_of_a_backend(root: Path) -> None:
    """Each verb of a backend begins with the text and the scripts that the kit loads for it."""
    scheduler, transport = DirectScheduler(1, 0), Overheard()
    api = write_api(scheduler)
    async with BatchBackend(transport, scheduler, root=str(root)) as backend:
        handle = (await backend.submit(SubmissionSpec(executable="sleep", arguments=("60",)))).handles[0]
        submission_id = handle.job.partition(".")[0]
        (root / submission_id / "submitted").unlink()
        (root / submission_id / "natives").unlink()
        for verb, ask in (("status", backend.status), ("kill", backend.kill)):
            transport.scripts.clear()
            await ask([handle])
            sent = [
                script
                for script in transport.scripts
                if f"_ic_{'print_status' if verb == 'status' else 'end_copies'} '" in script
            ]
            assert sent, verb
            _expect_loaded(cast("Verb", verb), api, sent[-1])
        await backend.kill([handle])
    assert (root / submission_id / "submit.sh").read_text().startswith(write_preamble(api, *SCRIPTS["submit"]))


def _expect_loaded(verb: Verb, api: str, script: str) -> None:
    assert script.startswith(write_preamble(api, SCRIPTS[verb][0]))
    assert [name for name in SCRIPTS[verb] if load_script(name) not in script] == []
    assert write_program(verb, api, "true").startswith(write_preamble(api, *SCRIPTS[verb]))


@pytest.mark.parametrize("shell", SHELLS)
def test_the_functions_work_without_other_scripts(tmp_path: Path, shell: tuple[str, ...]) -> None:
    """The text of the functions works in a script that another sh runs, as on a node of the cluster."""
    copy = tmp_path / "copies" / "0"
    (copy / "work").mkdir(parents=True)
    (copy / "exit").write_text("signal 9 1 host 7 1\n")
    (copy / "secrets").write_text("rm -rf ./key\n")
    (copy / "work" / "key").touch()
    script = 'ic_read_record . 0 && ic_tool echo "$ic_end $ic_number" && ic_forget_secrets . 0 && ! ic_report_ids'

    done = subprocess.run(
        [*shell, "-c", write_api(Tooled()) + script],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "Q_SIZE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr, done.returncode) == ("signal 9\n", "", 0)
    assert [path.name for path in [*(copy / "work").iterdir(), *tmp_path.iterdir()]] == ["copies"]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("record", "wrapper", "code"), [("code 3", 0, 3), ("caught 4", 0, 4), ("signal 9", 0, 137), ("none -", 126, 126)]
)
def test_the_documented_job_script_ends_as_the_payload_did(
    tmp_path: Path, shell: tuple[str, ...], record: str, wrapper: int, code: int
) -> None:
    """The job script of the reference exits with the code in the record, or with the wrapper's if there is none."""
    page = (Path(__file__).parents[2] / "docs/reference/types.md").read_text()
    job = page.partition("<!-- file: job.sh -->\n```sh\n")[2].partition("```")[0]
    (tmp_path / "copies" / "0").mkdir(parents=True)
    end = "" if record == "none -" else "\n"
    (tmp_path / "wrapper").write_text(
        f"printf '{record} 1 host %s 1{end}' \"$IC_NATIVE\" >copies/$1/exit\nexit {wrapper}\n"
    )

    done = subprocess.run(
        [*shell, "-c", f"{write_api(Tooled())}\n{job}"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "INDEX": "0", "ID": "17.0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (code, "")
    assert " 17.0 1" in (tmp_path / "copies" / "0" / "exit").read_text()
