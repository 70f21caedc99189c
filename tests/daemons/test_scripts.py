"""The harness itself, without a daemon: its scripts are clean, and its table names what is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.daemons.conftest import Combination

HERE = Path(__file__).parent


def test_a_combination_names_daemons_that_are_there(combination: Combination) -> None:
    """Each has a folder with an `up.sh` that can be run."""
    for title in combination.up:
        assert os.access(HERE / title.split()[0] / "up.sh", os.X_OK), title
