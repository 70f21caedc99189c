"""The harness itself, without a daemon: its scripts are clean, and its table names what is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.daemons.conftest import Combination

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SCRIPTS = sorted([*HERE.rglob("*.sh"), HERE.parent / "pythons.sh", *ROOT.glob(".ci/*")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_shellcheck_finds_nothing(script: Path) -> None:
    """Every script is clean, with what it sources."""
    tool = Path(sys.executable).with_name("shellcheck")
    said = subprocess.run([tool, "-x", "-P", "SCRIPTDIR", script], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "")


def test_a_combination_names_daemons_that_are_there(combination: Combination) -> None:
    """Each has a folder with an `up.sh` that can be run."""
    for title in combination.up:
        assert os.access(HERE / title.split()[0] / "up.sh", os.X_OK), title
