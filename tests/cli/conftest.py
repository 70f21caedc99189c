"""The command line as its users start it: a process, with a home of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the variables of a user who set none of ours."""
    home = tmp_path / "home"
    home.mkdir()
    ours = {name: value for name, value in os.environ.items() if not name.startswith("INTERCEDE_")}
    return ours | {"HOME": str(home)}


@pytest.fixture
def intercede(tmp_path: Path, environment: dict[str, str]) -> Command:
    """Return a function that runs ``intercede`` with arguments, and variables as keywords."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "intercede", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env=environment | variables,
            check=False,
        )

    return run
