"""``intercede run`` with real jobs: what is printed, what is kept, which code it exits with, and how it is interrupted."""

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

from intercede.cli.run import ONE_SIGNAL, ending

Command = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]

BOUND = 30  # seconds for whatever must come


def submissions(environment: dict[str, str]) -> list[Path]:
    """Return the directories that submissions left under the home directory."""
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
def test_the_code_is_the_payloads(intercede: Command, script: str, code: int) -> None:
    """It exits as the payload did, with 128 + n for signal n."""
    assert intercede("run", "--", "sh", "-c", script).returncode == code


def test_stdout_and_stderr_are_the_payloads(intercede: Command) -> None:
    """One copy's output comes as it was written, each on its own stream."""
    ended = intercede("run", "--", "sh", "-c", "printf 'a b'; echo oops >&2")

    assert ended.stdout == "a b"
    assert "oops\n" in ended.stderr


def test_arguments_are_the_commands_own(intercede: Command) -> None:
    """What follows the command belongs to it, options and all, also without the two dashes."""
    assert intercede("run", "printf", "%s|", "--copies", "3", "a b").stdout == "--copies|3|a b|"


def test_several_copies_are_told_apart(intercede: Command) -> None:
    """Each line of several copies begins with the copy's index, also one without an end."""
    ended = intercede("run", "--copies", "3", "--", "printf", r"one\ntwo")

    assert ended.returncode == 0, ended
    assert ended.stdout.splitlines() == [f"{index}: {word}" for index in range(3) for word in ("one", "two")]


def test_the_first_failing_copy_gives_the_code(intercede: Command, tmp_path: Path) -> None:
    """Of several copies, the first by index that did not end with 0 counts, and each of them is named."""
    turn = tmp_path / "turn"
    script = f'mkdir "{turn}" 2>/dev/null && exit 0; exit 7'  # one of them succeeds, whichever is first

    ended = intercede("run", "--copies", "3", "--", "sh", "-c", script)

    assert ended.returncode == 7
    assert len(re.findall(r"copy \d: FAILED, exit code 7", ended.stderr)) == 2


def test_output_is_kept(intercede: Command, tmp_path: Path) -> None:
    """With --output each copy has a directory there, with the files that the command made; stdout says where."""
    ended = intercede("run", "--copies", "2", "--output", "kept", "--", "sh", "-c", "echo hello; echo data > made.txt")

    assert re.findall(r"copy (\d): DONE: ", ended.stdout) == ["0", "1"]
    assert [path.read_text() for path in tmp_path.glob("kept/**/made.txt")] == ["data\n", "data\n"]
    streams = re.findall(r"DONE: (\S+)", ended.stdout)
    assert [(tmp_path / path).read_text() for path in streams] == ["hello\n", "hello\n"]


def test_what_was_fetched_is_purged_and_said_to_be(intercede: Command, environment: dict[str, str]) -> None:
    """Nothing of the jobs is left on the resource once their output is here."""
    ended = intercede("run", "--copies", "2", "--", "true")

    assert "purged 2 jobs" in ended.stderr
    assert submissions(environment) == []


def test_a_local_file_is_staged(intercede: Command, tmp_path: Path) -> None:
    """A command with a slash is a file of ours, which travels to the job."""
    (tmp_path / "script").write_text("echo from a file\n")

    assert intercede("run", "./script").stdout == "from a file\n"


def test_a_named_backend_of_the_file(intercede: Command, tmp_path: Path) -> None:
    """--backend may name a table of the file that --config names."""
    (tmp_path / "site.toml").write_text('[backends.here]\ntransport = "local"\nscheduler = "direct"\n')

    assert intercede("run", "--config", "site.toml", "--backend", "here", "--", "echo", "there").stdout == "there\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--backend", "nope", "--", "true"), ("nope",)),
        (("--backend", '{"transport": "local"}', "--", "true"), ("scheduler",)),
        (("--backend", '{"transport"', "--", "true"), ("this one is not JSON",)),
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
def test_what_is_wrong_is_one_message(
    intercede: Command, tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """An error of intercede or in the options is said in words on stderr, with the code 2 and no traceback."""
    (tmp_path / "a-file").touch()

    ended = intercede("run", *arguments)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert [word for word in words if word not in ended.stderr] == []
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_kills_the_jobs(start: Start, environment: dict[str, str], number: signal.Signals) -> None:
    """The first signal kills the jobs, brings what they wrote and purges them; the code is 128 + n."""
    running = start("--", "sh", "-c", "echo so far; sleep 300", until="RUNNING")
    await_word(environment, "so far")

    running.send_signal(number)
    out, err = running.communicate(timeout=BOUND)

    assert running.returncode == 128 + number
    assert out == "so far\n"
    assert "killing 1 job" in err
    assert submissions(environment) == []


def await_word(environment: dict[str, str], word: str) -> None:
    """Wait until a job has written something."""
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline:
        if any(path.read_text() == f"{word}\n" for path in Path(environment["HOME"]).rglob("stdout")):
            return
        time.sleep(0.05)
    pytest.fail(f"no job wrote {word!r}")


def test_a_second_interrupt_gives_up_and_names_what_is_left(start: Start, environment: dict[str, str]) -> None:
    """Whoever cannot wait for the end of stubborn jobs is told their tag and handles, and the line that ends them."""
    running = start("--", "sh", "-c", "trap '' TERM; echo so far; sleep 20; sleep 20", until="RUNNING")
    await_word(environment, "so far")

    running.send_signal(signal.SIGINT)
    assert running.stderr is not None
    assert any("killing" in line for line in running.stderr)
    time.sleep(ONE_SIGNAL)  # the first came before its answer, so from here on another is a second one
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=BOUND)

    assert running.returncode == 130
    assert "gave up" in err
    assert re.search(r"with the tag intercede-run-[0-9a-f]{16}", err)
    *_, told, lead, line = err.splitlines()
    assert sorted(json.loads(told.partition("copy 0: ")[2])) == ["job", "resource"]
    assert lead == "intercede: to end what is left of them, in Python:"
    assert pasted(line, environment).count("OpOutcome(ok=True") == 1


def pasted(line: str, environment: dict[str, str]) -> str:
    """Return what a line of Python prints, started as by somebody who pastes it elsewhere."""
    command = [sys.executable, "-W", "error", "-c", line]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=BOUND, check=True, cwd="/")
    assert ended.stderr == ""
    return ended.stdout


def test_the_line_that_ends_them_is_for_the_same_backend(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A named backend of a file, wherever the line is pasted, and one in JSON, quotes, None and all."""
    (tmp_path / "it's.toml").write_text('[backends."here"]\ntransport = "local"\nscheduler = "direct"\n')
    monkeypatch.chdir(tmp_path)
    whole = {"transport": "local", "scheduler": {"type": "direct", "slots": None}, "batch": {"resource": 'it\'s "me"'}}

    assert pasted(ending("here", Path("it's.toml"), "no-such-tag"), environment) == "{}\n"
    assert pasted(ending(whole, None, "no-such-tag"), environment) == "{}\n"


def test_a_terminal_gets_a_live_display(tmp_path: Path, environment: dict[str, str]) -> None:
    """Where stderr is a terminal, one line shows how many are done and is drawn again and again."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "intercede", "run", "--copies", "3", "--", "sleep", "0.3"]
    environment |= {"TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment)
    os.close(theirs)

    shown = b"".join(iter(lambda: read(ours), b"")).decode()
    os.close(ours)

    assert process.wait(BOUND) == 0
    assert "3/3" in shown
    assert "\x1b[" in shown
    assert "3 DONE" in shown


def read(terminal: int) -> bytes:
    """Read from a terminal; its end is an error where the other side is gone."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def test_the_line_that_ends_jobs_holds_no_secret() -> None:
    """It is printed, and may land in a log; what is hidden is to be filled in."""
    line = ending({"type": "grid", "endpoint": "https://ce", "token": "Tr0ub4dor"}, None, "tag")

    assert "'endpoint': 'https://ce', 'token': '***'" in line
