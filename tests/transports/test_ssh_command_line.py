"""Tests of the line of sh that runs a command, with several shells, and of the script that ends a command."""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests import nested
from tests.tools import each_tool, is_installed

from intercede.contract.errors import InvalidSpecError
from intercede.transports._ssh_command import _FINISH, build_command_line, parse_exit_code

START = 'read -r IC_LINE && eval "$IC_LINE"'
MARK = "\x02mark"
SHOW = ("sh", "-c", 'for a do printf "%s\\0" "$a"; done', "sh")
SHELLS = ("sh", "dash", "bash --posix", "busybox sh", "ksh", "mksh", "zsh --emulate sh")
every_shell = pytest.mark.parametrize("shell", each_tool(*SHELLS))

words = st.binary(max_size=40).filter(lambda word: b"\0" not in word)
hostile = st.sampled_from(
    [b"", b"\n", b"a\n", b"'", b'"$(x)`x`', b"-n", b"\\", b"\x01\x7f\x81\x88", b" * ~ ", b"$1\n'"]
)


def run_line(
    shell: tuple[str, ...], argv: list[str], rest: bytes = b"", **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """Run the line and then the rest in this shell, and return the result."""
    line = build_command_line(argv, piped=bool(rest), mark=MARK)
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run([*shell, "-c", START], input=line + rest, capture_output=True, env=environment, check=False)


def read_result(stream: bytes) -> tuple[bytes, int]:
    """Return the output, and the code after the mark."""
    before, _, code = stream.rpartition(MARK.encode())
    assert re.fullmatch(rb" [0-9]+\n", code)
    return before, parse_exit_code(code)


@every_shell
@given(arguments=st.lists(words | hostile, max_size=5), piped=st.booleans())
@example(arguments=[bytes(range(1, 256))], piped=False)
@example(arguments=[b"\n", b"\n\n", b"x\n", b"\n'\"\n"], piped=True)
@settings(max_examples=25)
def test_arguments_arrive_byte_for_byte(
    shell: tuple[str, ...],
    arguments: list[bytes],
    piped: bool,
) -> None:
    """Arguments of any bytes arrive unchanged, with stdin and without."""
    done = run_line(shell, [*SHOW, *map(os.fsdecode, arguments)], b"rest" if piped else b"")
    assert read_result(done.stdout) == (b"".join(argument + b"\0" for argument in arguments), 0)
    assert read_result(done.stderr) == (b"", 0)


@every_shell
@pytest.mark.parametrize("name", ["-dash", "a b", "new\nline", "it's", "$(x)", "a=b", "-a=b", "\udcff", "if"])
def test_any_file_name_can_be_a_command(shell: tuple[str, ...], name: str, tmp_path: os.PathLike[str]) -> None:
    """A command with any valid file name is found on PATH."""
    program = os.path.join(tmp_path, name)  # noqa: PTH118  a path of any bytes
    with open(program, "w", opener=lambda path, flags: os.open(path, flags, 0o755)) as file:
        file.write('#!/bin/sh\nprintf "<%s>" "$@"\n')
    done = run_line(shell, [name, "x", "-y"], PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert (read_result(done.stdout), done.stderr) == ((b"<x><-y>", 0), MARK.encode() + b" 0\n")


@every_shell
@pytest.mark.parametrize("name", ["no-such-command", "-no-such", "-no=such", "no=such", "/", "./missing", ""])
def test_a_command_that_cannot_run(shell: tuple[str, ...], name: str) -> None:
    """A command that cannot run gives 127 or 126 and a message on stderr."""
    done = run_line(shell, [name, "argument"])
    said, code = read_result(done.stderr)
    assert code in (126, 127)
    assert said
    assert read_result(done.stdout) == (b"", code)


@every_shell
@pytest.mark.parametrize("script", ["exit 0", "exit 7", "exit 255", "kill -TERM $$", "kill -KILL $$"])
def test_the_code_follows_the_mark(shell: tuple[str, ...], script: str) -> None:
    """The exit code follows the mark on both streams, and is 128 + n for death by signal."""
    wanted = {"kill -TERM $$": 143, "kill -KILL $$": 137}.get(script) or int(script.split()[1])
    done = run_line(shell, ["sh", "-c", script])
    assert (read_result(done.stdout), read_result(done.stderr)) == ((b"", wanted), (b"", wanted))


@every_shell
def test_stdin_belongs_to_the_command(shell: tuple[str, ...]) -> None:
    """Every byte after the line reaches the command."""
    rest = bytes(range(256)) * 100
    assert read_result(run_line(shell, ["cat"], rest).stdout) == (rest, 0)


@every_shell
def test_without_stdin_it_is_dev_null(shell: tuple[str, ...]) -> None:
    """Without stdin, the command reads from /dev/null."""
    assert read_result(run_line(shell, ["readlink", "/proc/self/fd/0"]).stdout) == (b"/dev/null\n", 0)


@every_shell
def test_the_environment_is_unchanged(shell: tuple[str, ...]) -> None:
    """The command sees no variable or descriptor of the script, even if the user exports a variable of that name."""
    script = "env -0 | tr '\\n' ' ' | tr '\\0' '\\n' | cut -d= -f1; echo; ls /proc/$$/fd"
    done = run_line(shell, ["sh", "-c", script], IC_LINE="theirs", HOME="/")
    names, _, descriptors = read_result(done.stdout)[0].decode().partition("\n\n")
    assert {"PATH", "HOME"} <= set(names.split()) <= {"PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "_", "A__z", "LOGNAME"}
    assert set(descriptors.split()) <= {"0", "1", "2", "10"}  # a shell may keep a descriptor of its own


@every_shell
@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=20)
def test_a_truncated_line_runs_no_command(shell: tuple[str, ...], share: float) -> None:
    """If the connection is lost within the line, no command runs."""
    line = build_command_line(["echo", "ran"], piped=True, mark=MARK)
    cut = line[: int(share * len(line))]
    done = subprocess.run([*shell, "-c", START], input=cut, capture_output=True, check=False)
    assert done.stdout == b""


@pytest.mark.parametrize("argv", [[], ["true", "a\0b"], ["\0"], ["true", "\ud800"]])
def test_an_invalid_line_is_refused(argv: list[str]) -> None:
    """An empty argv, a NUL or a lone surrogate is an InvalidSpecError."""
    with pytest.raises(InvalidSpecError) as raised:
        build_command_line(argv, piped=False, mark=MARK)
    assert raised.value.field == "argv"


WORD = "0123456789abcdef"
DEAF = "trap '' TERM; timeout 300 sh -c \"trap '' TERM; echo ready; read -r line\"; :"
MEEK = "echo ready; read -r line"


def start_sessions(count: int, script: str) -> list[subprocess.Popen[bytes]]:
    """Start sessions that run this script."""
    pipe = subprocess.PIPE
    groups = [
        subprocess.Popen(["sh", "-c", script, WORD], stdin=pipe, stdout=pipe, start_new_session=True)
        for _ in range(count)
    ]
    for group in groups:
        assert group.stdout is not None
        assert group.stdout.readline() == b"ready\n"
    return groups


def test_every_sh_can_end_a_command() -> None:
    """The script ends a command with TERM, or KILL after two seconds, and fails if there is no command."""
    shells = [shell for shell in SHELLS if is_installed(shell.split()[0])]
    groups = start_sessions(len(shells), DEAF)
    argvs = [
        [*shell.split(), "-c", _FINISH, "sh", str(group.pid), WORD] for shell, group in zip(shells, groups, strict=True)
    ]
    ending = [subprocess.Popen(argv) for argv in argvs]
    assert {group.wait(20) for group in groups} == {-9}
    assert {group.communicate(timeout=20)[0] for group in groups} == {b""}  # no process holds the stream open
    assert {end.wait(20) for end in ending} == {0}
    assert 0 not in {subprocess.run(argv, check=False).returncode for argv in argvs}


def test_another_process_is_not_ended() -> None:
    """A reused pid is recognised, because our sh has a random word among its arguments."""
    (group,) = start_sessions(1, MEEK)
    assert subprocess.run(["sh", "-c", _FINISH, "sh", str(group.pid), "another"], check=False).returncode != 0
    assert group.poll() is None
    ending = subprocess.Popen(["sh", "-c", _FINISH, "sh", str(group.pid), WORD])
    assert (group.wait(20), ending.wait(20)) == (-15, 0)
    group.communicate()


@pytest.mark.needs("mount", "unshare")
@pytest.mark.parametrize(
    "hidden", [["--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"], []], ids=["no proc", "no awk"]
)
def test_without_proc_or_awk_the_group_ends(hidden: list[str], tmp_path: Path) -> None:
    """Without /proc or awk, the script ends the process group."""
    (group,) = start_sessions(1, MEEK)
    for tool in ("sleep", "grep"):
        (tmp_path / tool).symlink_to(f"/bin/{tool}")
    finish = ["sh", "-c", _FINISH, "sh", str(group.pid), WORD]
    argv = ["unshare", *hidden, *finish] if hidden else ["env", f"PATH={tmp_path}", "/bin/sh", *finish[1:]]
    ending = subprocess.Popen(argv)
    assert (group.wait(20), ending.wait(20)) == (-15, 0)
    group.communicate()


@pytest.mark.needs("posh")
def test_a_sh_without_builtin_kill_is_refused(tmp_path: Path) -> None:
    """Posh runs procps' kill, which reads -1234 as -1, every process of the user, so the script fails."""
    (tmp_path / "kill").write_text(f"#!/bin/sh\necho called >>{tmp_path}/called\n")
    (tmp_path / "kill").chmod(0o755)
    argv = ["/bin/posh", "-c", _FINISH, "sh", "999999", WORD]
    done = subprocess.run(argv, env={"PATH": str(tmp_path)}, check=False)  # PATH has no other kill
    assert done.returncode != 0
    assert not (tmp_path / "called").exists()


def test_ending_sends_only_term(tmp_path: Path) -> None:
    """Children continue first: else Linux would send HUP to a stopped group whose last parent ends."""
    nested.write(tmp_path)
    words = ["sh", "-c", 'cd "$1" && shift && "$@"; :', WORD, str(tmp_path), *nested.COMMAND]
    group = subprocess.Popen(words, start_new_session=True)
    while not nested.are_up(tmp_path):
        assert group.poll() is None
        time.sleep(0.02)
    ending = subprocess.Popen(["sh", "-c", _FINISH, "sh", str(group.pid), WORD])
    assert (group.wait(20), ending.wait(20)) == (-15, 0)
    assert nested.read_signals(tmp_path) == {"TERM"}


@pytest.mark.parametrize("pid", ["0", "1", "-1", "01", "", "x"])
def test_invalid_pids_are_refused(pid: str) -> None:
    """The script refuses 0 (our own group), 1 (init) and -1 (every process)."""
    assert subprocess.run(["sh", "-c", _FINISH, "sh", pid, "no process has this"], check=False).returncode == 1
