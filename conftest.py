"""What every test folder shares."""

import pytest
from hypothesis import settings
from tests.tools import skip_what_lacks_its_tools

# Machines are noisy: no test is red for being slow. Speed is shown in benchmarks/.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a tool that this machine lacks."""
    for item in items:
        skip_what_lacks_its_tools(item)
