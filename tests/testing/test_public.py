"""The public names of intercede.testing are loaded when they are first used."""

import subprocess
import sys

import pytest

from intercede import testing


def test_each_public_name_exists() -> None:
    """Each public name of intercede.testing exists, and another name is an AttributeError."""
    assert all(getattr(testing, name) is not None for name in testing.__all__)
    with pytest.raises(AttributeError, match="run_check'"):
        _ = testing.run_check  # pyright: ignore[reportAttributeAccessIssue] -- the access is the test


def test_importing_the_package_loads_no_module_of_the_kit() -> None:
    """Importing intercede.testing loads none of its modules."""
    source = "import sys, intercede.testing; print([m for m in sys.modules if m.startswith('intercede.testing.')])"

    assert subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout == "[]\n"
