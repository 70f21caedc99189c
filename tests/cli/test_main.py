"""Tests of the console command itself."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from subprocess import PIPE

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_a_missing_extra_is_reported(missing: str) -> None:
    """If a library of the extra is missing, one sentence names it and the way to install it; the code is 2."""
    program = f"import sys; sys.modules[{missing!r}] = None; from intercede.__main__ import main; sys.exit(main())"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert f"needs {missing}" in ended.stderr
    assert 'pip install "intercede[cli] @ ' in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_import_error_of_our_own_is_not_hidden() -> None:
    """A module of our own that is missing is not reported as a missing extra."""
    program = "import sys; sys.modules['intercede.cli.run'] = None; from intercede.__main__ import main; main()"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert "ModuleNotFoundError" in ended.stderr
    assert "pip install" not in ended.stderr


def test_the_version_is_the_distributions(intercede: Command) -> None:
    """``intercede --version`` prints the installed version."""
    assert intercede("--version").stdout == f"intercede {version('intercede')}\n"


def test_a_misspelt_command_gets_a_suggestion(intercede: Command) -> None:
    """A misspelt command is a usage error that suggests the right one."""
    ended = intercede("plugin")

    assert ended.returncode == 2
    assert "plugins" in ended.stderr


@pytest.mark.parametrize(
    "started_as", [["-m", "intercede"], ["-c", "from intercede.__main__ import main; raise SystemExit(main())"]]
)
def test_ctrl_c_while_libraries_are_loaded_is_no_traceback(tmp_path: Path, started_as: list[str]) -> None:
    """An interrupt during the imports ends with code 130, as later, and prints no traceback."""
    # Many short sleeps: a signal just before a long one would be handled only after it.
    (tmp_path / "typer.py").write_text(
        "import time\nprint('loading', flush=True)\nfor _ in range(3000):\n    time.sleep(0.02)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, *started_as, "plugins"]

    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=environment) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "loading\n"
        started.send_signal(signal.SIGINT)
        _, errors = started.communicate(timeout=30)

    assert (started.returncode, errors) == (130, "")
