"""Tests of ``intercede run`` with real jobs: its output, files, exit code and interruption."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from intercede.cli.run import ONE_SIGNAL, write_kill_command

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]

BOUND = 30  # seconds to wait at most


def list_submissions(environment: dict[str, str]) -> list[Path]:
    """Return the wrappers that submissions have left under the home directory."""
    return [path for path in Path(environment["HOME"]).rglob("wrapper") if ".trash" not in path.parts]


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Start]:
    """Return a function that starts ``intercede run`` and waits for a word on its stderr."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, until: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "intercede", "run", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        started.append(process)
        assert process.stderr is not None
        assert any(until in line for line in process.stderr), f"it ended without {until!r}"
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 1", 1), ("exit 99", 99), ("exit 255", 255), ("kill -9 $$", 137)]
)
def test_the_exit_code_is_the_payloads(intercede: Command, script: str, code: int) -> None:
    """The exit code is the payload's, or 128 + n for signal n."""
    assert intercede("run", "--", "sh", "-c", script).returncode == code


def test_stdout_and_stderr_are_the_payloads(intercede: Command) -> None:
    """The output of a single copy is printed unchanged, each stream on its own."""
    ended = intercede("run", "--", "sh", "-c", "printf 'a b'; echo oops >&2")

    assert ended.stdout == "a b"
    assert "oops\n" in ended.stderr


def test_arguments_are_the_commands_own(intercede: Command) -> None:
    """All words after the command belong to it, options included, even without the two dashes."""
    assert intercede("run", "printf", "%s|", "--copies", "3", "a b").stdout == "--copies|3|a b|"


def test_lines_of_several_copies_are_prefixed(intercede: Command) -> None:
    """Each line of several copies begins with the copy's index, even a last line without newline."""
    ended = intercede("run", "--copies", "3", "--", "printf", r"one\ntwo")

    assert ended.returncode == 0, ended
    assert ended.stdout.splitlines() == [f"{index}: {word}" for index in range(3) for word in ("one", "two")]


def test_the_first_failing_copy_gives_the_code(intercede: Command, tmp_path: Path) -> None:
    """The first copy by index that failed determines the exit code, and each failed copy is named."""
    turn = tmp_path / "turn"
    script = f'mkdir "{turn}" 2>/dev/null && exit 0; exit 7'  # the first copy to get here succeeds

    ended = intercede("run", "--copies", "3", "--", "sh", "-c", script)

    assert ended.returncode == 7
    assert len(re.findall(r"copy \d: FAILED, exit code 7", ended.stderr)) == 2


def test_output_is_kept(intercede: Command, tmp_path: Path) -> None:
    """Each copy gets a directory with its files below the directory of --output, and stdout names it."""
    ended = intercede("run", "--copies", "2", "--output", "kept", "--", "sh", "-c", "echo hello; echo data > made.txt")

    assert re.findall(r"copy (\d): DONE: ", ended.stdout) == ["0", "1"]
    assert [path.read_text() for path in tmp_path.glob("kept/**/made.txt")] == ["data\n", "data\n"]
    streams = re.findall(r"DONE: (\S+)", ended.stdout)
    assert [(tmp_path / path).read_text() for path in streams] == ["hello\n", "hello\n"]


def test_fetched_jobs_are_purged_and_reported(intercede: Command, environment: dict[str, str]) -> None:
    """The jobs leave no file on the resource once their output is fetched."""
    ended = intercede("run", "--copies", "2", "--", "true")

    assert "purged 2 jobs" in ended.stderr
    assert list_submissions(environment) == []


def test_a_local_file_is_staged(intercede: Command, tmp_path: Path) -> None:
    """A command with a slash is a local file, which is copied to the job."""
    (tmp_path / "script").write_text("echo from a file\n")

    assert intercede("run", "./script").stdout == "from a file\n"


def test_a_named_backend_of_the_file(intercede: Command, tmp_path: Path) -> None:
    """--backend may name a table in the file of --config."""
    (tmp_path / "site.toml").write_text('[backends.here]\ntransport = "local"\nscheduler = "direct"\n')

    assert intercede("run", "--config", "site.toml", "--backend", "here", "--", "echo", "there").stdout == "there\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--backend", "nope", "--", "true"), ("nope",)),
        (("--backend", '{"transport": "local"}', "--", "true"), ("scheduler",)),
        (("--backend", '{"transport"', "--", "true"), ("must be a configuration in JSON",)),
        (("--backend", '{"transport": "local", "scheduler": "direct", "slotz": 1}', "--", "true"), ("slotz", "slots")),
        (("--config", "missing.toml", "--", "true"), ("missing.toml",)),
        (("--copies", "0", "--", "true"), ("--copies",)),
        (("--copies", "many", "--", "true"), ("--copies",)),
        (("--output", "a-file", "--", "true"), ("--output",)),
        (("--output", "a-file/below", "--", "true"), ("a-file",)),
        (("./no-such-file",), ("no-such-file",)),
        (("",), ("COMMAND",)),
        ((), ("COMMAND",)),
    ],
)
def test_a_wrong_argument_is_one_message(
    intercede: Command, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """An error of intercede or in the options is one message on stderr, with code 2 and no traceback."""
    (tmp_path / "a-file").touch()

    ended = intercede("run", *arguments)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert [word for word in words if word not in ended.stderr] == []
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_kills_the_jobs(start: Start, environment: dict[str, str], number: signal.Signals) -> None:
    """The first signal kills the jobs, fetches their output and purges them; the code is 128 + n."""
    running = start("--", "sh", "-c", "echo so far; sleep 300", until="RUNNING")
    wait_for_word(environment, "so far")

    running.send_signal(number)
    out, err = running.communicate(timeout=BOUND)

    assert running.returncode == 128 + number
    assert out == "so far\n"
    assert "killing 1 job" in err
    assert list_submissions(environment) == []


def wait_for_word(environment: dict[str, str], word: str) -> None:
    """Wait until a job has written this word."""
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline:
        if any(path.read_text() == f"{word}\n" for path in Path(environment["HOME"]).rglob("stdout")):
            return
        time.sleep(0.05)
    pytest.fail(f"no job wrote {word!r}")


def test_a_second_interrupt_stops_and_names_the_jobs(start: Start, environment: dict[str, str]) -> None:
    """A second signal stops waiting for stubborn jobs, and prints their tag, handles and a line that kills them."""
    running = start("--", "sh", "-c", "trap '' TERM; echo so far; sleep 20; sleep 20", until="RUNNING")
    wait_for_word(environment, "so far")

    running.send_signal(signal.SIGINT)
    assert running.stderr is not None
    assert any("killing" in line for line in running.stderr)
    time.sleep(ONE_SIGNAL)  # later signals count as a second one
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=BOUND)

    assert running.returncode == 130
    assert "gave up" in err
    assert re.search(r"with the tag intercede-run-[0-9a-f]{16}", err)
    *_, handle, lead, line = err.splitlines()
    assert sorted(json.loads(handle.partition("copy 0: ")[2])) == ["job", "resource"]
    assert lead == "intercede: to end what is left of them, in Python:"
    assert run_line(line, environment).count("OpOutcome(ok=True") == 1


def run_line(line: str, environment: dict[str, str]) -> str:
    """Run a line of Python in another directory, as a user who pastes it, and return its output."""
    command = [sys.executable, "-W", "error", "-c", line]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=BOUND, check=True, cwd="/")
    assert ended.stderr == ""
    return ended.stdout


def test_the_kill_command_uses_the_same_backend(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The printed kill command works in any directory, for a named backend and for one in JSON."""
    (tmp_path / "it's.toml").write_text('[backends."here"]\ntransport = "local"\nscheduler = "direct"\n')
    monkeypatch.chdir(tmp_path)
    whole = {"transport": "local", "scheduler": {"type": "direct", "slots": None}, "batch": {"resource": 'it\'s "me"'}}

    assert run_line(write_kill_command("here", Path("it's.toml"), "no-such-tag"), environment) == "{}\n"
    assert run_line(write_kill_command(whole, None, "no-such-tag"), environment) == "{}\n"


def test_a_terminal_gets_a_live_display(tmp_path: Path, environment: dict[str, str]) -> None:
    """On a terminal, stderr shows the number of finished jobs in one line that is redrawn."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "intercede", "run", "--copies", "3", "--", "sleep", "0.3"]
    environment |= {"TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=tmp_path, env=environment)
    os.close(terminal)

    shown = b"".join(iter(lambda: read(controller), b"")).decode()
    os.close(controller)

    assert process.wait(BOUND) == 0
    assert "3/3" in shown
    assert "\x1b[" in shown
    assert "3 DONE" in shown


def read(terminal: int) -> bytes:
    """Read from a terminal; an error means that the other side is closed."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def test_the_kill_command_holds_no_secret() -> None:
    """The printed line hides secrets, because it may end up in a log; the user fills them in."""
    line = write_kill_command({"type": "grid", "endpoint": "https://ce", "token": "Tr0ub4dor"}, None, "tag")

    assert "'endpoint': 'https://ce', 'token': '***'" in line
