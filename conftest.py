"""What every test folder shares."""

import gc
from collections.abc import Generator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tools import skip_what_lacks_its_tools

# Machines are noisy: no test is red for being slow. Speed is shown in benchmarks/. `make test-slow` runs the property tests, too,
# with --hypothesis-profile=thorough.
settings.register_profile("quick", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=400)
settings.load_profile("quick")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the garbage collector the thousands of items and modules that stay to the end: a tenth of each worker's start."""
    gc.disable()
    try:
        return (yield)
    finally:
        run_an_example()
        gc.freeze()
        gc.enable()


@settings(max_examples=1, database=None)
@given(st.none())
def run_an_example(_: None) -> None:
    """Have Hypothesis register its own generator before anything is frozen.

    It looks for who holds that, and does not see what is frozen: on Python 3.14 the first property test would be red.
    """


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a tool that this machine lacks; begin with what mostly waits: at the end no core would have work."""
    for item in items:
        skip_what_lacks_its_tools(item)
    items.sort(key=lambda item: "transports" not in item.path.parts)
