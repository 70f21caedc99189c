"""Tests of ``intercede check``, which runs the conformance suite without pytest."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
LOCAL = '{"transport": "local", "scheduler": "direct"}'


@pytest.fixture
def state(tmp_path: Path) -> dict[str, str]:
    """Return the variable that gives the jobs a directory of their own."""
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


def test_the_verdict_is_the_last_line_and_the_exit_code(intercede: Command, state: dict[str, str]) -> None:
    """The verdict on a selection of clauses is PARTIAL; stderr shows a letter for each check."""
    ended = intercede("check", "fake", "--only", "shape", "--only", "IC-SUBMIT-01", **state)

    assert ended.returncode == 0, ended
    assert ended.stdout.splitlines()[-1].startswith("intercede: fake: PARTIAL, 6 of ")
    assert ended.stderr.strip(".\n") == ""


def test_a_failure_is_reported_in_full(intercede: Command, state: dict[str, str], tmp_path: Path) -> None:
    """A failure gives code 1, and is printed with its clause, its error and the command that repeats it."""
    config = json.dumps({"type": "fake", "state": str(tmp_path / "nowhere" / "x")})
    (tmp_path / "nowhere").write_text("a file where a directory must be")

    ended = intercede("check", config, "--only", "IC-LIFE-02", **state)

    assert ended.returncode == 1, ended
    assert "IC-LIFE-02 (MUST)" in ended.stdout
    assert "NotADirectoryError" in ended.stdout or "cannot be made" in ended.stdout
    assert f"again: intercede check '{config}' --only IC-LIFE-02" in ended.stdout
    assert "NOT CONFORMANT: fix IC-LIFE-02" in ended.stdout.splitlines()[-1]


def test_a_report_that_cannot_be_written_stops_the_run(
    intercede: Command, state: dict[str, str], tmp_path: Path
) -> None:
    """If the library that writes the page is missing, the command fails before the first check."""
    (tmp_path / "lacking").mkdir()
    (tmp_path / "lacking" / "jinja2.py").write_text("raise ImportError('not here', name='jinja2')")

    ended = intercede("check", "fake", "--report", "r", PYTHONPATH=str(tmp_path / "lacking"), **state)

    assert ended.returncode == 2, ended
    assert 'pip install "intercede[testing] @ ' in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], "no plugin provides backends:nope"),
        (["fake", "--only", "IC-SUBMIT-99"], "did you mean IC-SUBMIT-"),
        (["fake", "--timeout-scale", "soon"], "--timeout-scale must be a number above 0, or auto"),
        (["fake", "--known", "nowhere.toml"], "nowhere.toml"),
        (["fake", "--jobs", "1"], "is too few"),
    ],
)
def test_a_wrong_argument_is_one_message(
    intercede: Command, state: dict[str, str], arguments: list[str], words: str
) -> None:
    """A wrong argument is one message and exit code 2 before the first check."""
    ended = intercede("check", *arguments, **state)

    assert ended.returncode == 2, ended
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_transports_schedulers_and_reports(intercede: Command, state: dict[str, str], tmp_path: Path) -> None:
    """An option selects the role, and the reports are written to the given directory."""
    transport = intercede(
        "check", "local", "--role", "transport", "--only", "IC-TRANSPORT-01", "--report", "r", **state
    )
    scheduler = intercede("check", "direct", "--role", "scheduler", "--only", "IC-SCHEDULER-08", **state)

    assert (transport.returncode, scheduler.returncode) == (0, 0), (transport, scheduler)
    assert json.loads((tmp_path / "r" / "conformance.json").read_text())["verdict"] == "PARTIAL"
    assert "direct: PARTIAL, 1 of " in scheduler.stdout


def test_known_failures_are_rewritten(intercede: Command, state: dict[str, str], tmp_path: Path) -> None:
    """A known failure that passes is an error, and is removed from the file."""
    known = tmp_path / "known.toml"
    known.write_text('[[known]]\nclause = "IC-SHAPE-01"\nreason = "r"\nsymptom = "stays"\nuntil = 2999-01-01\n')

    ended = intercede("check", "fake", "--only", "shape", "--known", str(known), "--update-known", **state)

    assert ended.returncode == 1, ended
    assert "and passes: remove the entry" in ended.stdout
    assert "IC-SHAPE-01" not in known.read_text()


def test_a_terminal_shows_the_progress(state: dict[str, str], environment: dict[str, str], tmp_path: Path) -> None:
    """A terminal shows a bar during the run, and stdout ends with the verdict."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "intercede", "check", LOCAL, "--only", "shape"]
    with os.fdopen(leader, "rb", buffering=0) as terminal:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=follower,
            env=environment | state | {"TERM": "xterm", "COLUMNS": "100"},
            cwd=tmp_path,
            timeout=60,
            check=False,
        )
        os.close(follower)
        shown = terminal.read(1 << 16)

    assert ended.returncode == 0
    assert b"IC-SHAPE-" in shown
    assert ended.stdout.decode().splitlines()[-1].startswith("intercede: local+direct: PARTIAL, ")


def test_the_output_of_a_subject_is_kept_off_the_terminal(
    intercede: Command, state: dict[str, str], tmp_path: Path
) -> None:
    """After a failure, the end of the subject's output is shown with a margin and without secrets."""
    metadata = tmp_path / "site" / "loud-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[intercede.backends]\nloud = loud:Loud\n")
    (tmp_path / "site" / "loud.py").write_text(LOUD)
    config = json.dumps({"type": "loud", "password": "hunter2-Sesame"})
    paths = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])

    ended = intercede("check", config, "--only", "IC-STATUS-01", PYTHONPATH=paths, **state)

    assert ended.returncode == 1, ended
    assert "hunter2" not in ended.stdout + ended.stderr
    assert "  | login with ***" in ended.stderr
    assert not [line for line in (ended.stdout + ended.stderr).splitlines() if line.lstrip().startswith("::")]


LOUD = """
import sys
from intercede.testing.gallery.fake import FakeBackend

class Loud(FakeBackend):
    def __init__(self, password):
        super().__init__()
        self.password = password

    async def status(self, handles):
        print("login with", self.password)
        sys.stdout.buffer.write(b"::error::pwned\\n")
        print("err", self.password, file=sys.stderr)
        return {}
"""
