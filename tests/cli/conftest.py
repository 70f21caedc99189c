"""The command line as its users start it: a process, with a home of its own."""

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
    """Return the variables of a user who set none of ours."""
    home = tmp_path / "home"
    home.mkdir()
    ours = {name: value for name, value in os.environ.items() if not name.startswith("INTERCEDE_")}
    return ours | {"HOME": str(home)}


@pytest.fixture
def intercede(tmp_path: Path, environment: dict[str, str], run_module: "RunModule") -> Command:
    """Return a function that runs ``intercede`` with arguments, and variables as keywords."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return run_module("intercede", *arguments, directory=tmp_path, variables=environment | variables)

    return run
