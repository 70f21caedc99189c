"""Fixtures for the tests of Slurm."""

from pathlib import Path

import pytest
from tests.schedulers.slurm.places import RARE_SHELLS, SHELLS, Place
from tests.tools import each_tool


@pytest.fixture(
    params=[
        *each_tool(*SHELLS),
        *(
            pytest.param(*each.values, id=each.id, marks=[*each.marks, pytest.mark.slow])
            for each in each_tool(*RARE_SHELLS)
        ),
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return a root with one submission, once for each installed shell."""
    return Place(tmp_path, request.param)
