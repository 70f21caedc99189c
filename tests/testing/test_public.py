"""What intercede.testing offers, and that it is loaded only when it is asked for."""

import subprocess
import sys

import pytest

from intercede import testing


def test_every_public_name_is_there() -> None:
    """And no other."""
    assert all(getattr(testing, name) is not None for name in testing.__all__)
    with pytest.raises(AttributeError, match="run_check'"):
        _ = testing.run_check  # pyright: ignore[reportAttributeAccessIssue] -- that is the test


def test_importing_it_loads_nothing_of_the_kit() -> None:
    """The command line imports it for one name."""
    source = "import sys, intercede.testing; print([m for m in sys.modules if m.startswith('intercede.testing.')])"

    assert subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout == "[]\n"
