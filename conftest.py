"""Hooks and settings of all tests."""

import gc
from collections.abc import Generator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tools import skip_what_lacks_its_tools

# Machines are noisy, so no test is red for being slow. Benchmarks measure speed. `make test-slow` runs the property
# tests as well, with --hypothesis-profile=thorough.
settings.register_profile("quick", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=400)
settings.load_profile("quick")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector off the items and modules that live to the end, which saves a tenth of the start."""
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

    It looks for references to its generator and does not see frozen ones: on Python 3.14 the first property test would
    be red.
    """


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need a missing tool, and run the tests of transports first, since they mostly wait."""
    for item in items:
        skip_what_lacks_its_tools(item)
    items.sort(key=lambda item: "transports" not in item.path.parts)
