"""What every test folder shares."""

import os
import shutil

import pytest
from hypothesis import settings

# Machines are noisy: no test is red for being slow. Speed is shown in benchmarks/.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a tool that is not installed; with INTERCEDE_ALL_TOOLS, as in CI, its absence is an error."""
    needed = {tool: None for mark in item.iter_markers("needs") for tool in mark.args}
    missing = [tool for tool in needed if shutil.which(tool) is None]
    if not missing:
        return
    reason = f"needs {', '.join(missing)}"
    if os.environ.get("INTERCEDE_ALL_TOOLS"):
        pytest.fail(f"{reason}, and INTERCEDE_ALL_TOOLS says that every tool is installed", pytrace=False)
    pytest.skip(reason)
