"""Fixtures that run the command line as a process with a home directory of its own."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import RunModule

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a user who has set no variable of intercede."""
    home = tmp_path / "home"
    home.mkdir()
    variables = {name: value for name, value in os.environ.items() if not name.startswith("INTERCEDE_")}
    return variables | {"HOME": str(home)}


@pytest.fixture
def intercede(tmp_path: Path, environment: dict[str, str], run_module: "RunModule") -> Command:
    """Return a function that runs ``intercede`` with these arguments, and with keywords as variables."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return run_module("intercede", *arguments, directory=tmp_path, variables=environment | variables)

    return run
