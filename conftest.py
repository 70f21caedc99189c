"""What every test folder shares."""

import gc
from collections.abc import Generator

import pytest
from hypothesis import settings
from tests.tools import skip_what_lacks_its_tools

# Machines are noisy: no test is red for being slow. Speed is shown in benchmarks/.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the garbage collector the thousands of items and modules that stay to the end: a tenth of each worker's start."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a tool that this machine lacks; begin with what mostly waits: at the end no core would have work."""
    for item in items:
        skip_what_lacks_its_tools(item)
    items.sort(key=lambda item: "transports" not in item.path.parts)
