"""The table of combinations names existing daemons."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.daemons.conftest import Combination

HERE = Path(__file__).parent


def test_a_combination_names_existing_daemons(combination: Combination) -> None:
    """Each daemon of the table has a directory with an executable `up.sh`."""
    for title in combination.up:
        assert os.access(HERE / title.split()[0] / "up.sh", os.X_OK), title
