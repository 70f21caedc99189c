"""Right counts, finds and diagnostics never fail IC-LOAD, IC-FIND and IC-DIAG, however few jobs run at once."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from intercede import registry
from intercede.contract import JobBackend
from intercede.testing.frontends.check import run_checks
from intercede.testing.model.verdict import State


def wide() -> JobBackend:
    """Make local x direct, with a place for each job."""
    return _direct(16)


def narrow() -> JobBackend:
    """Make local x direct with one place: a job waits until all before it have ended."""
    return _direct(1)


def _direct(slots: int) -> JobBackend:
    root = str(Path(os.environ["XDG_STATE_HOME"], "direct"))
    scheduler = {"type": "direct", "slots": slots}
    return registry.backend({"transport": "local", "scheduler": scheduler, "batch": {"root": root}})


@pytest.fixture(autouse=True)
def _a_place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize("factory", [wide, narrow])
@pytest.mark.parametrize("area", ["load", "find", "diag"])
def test_it_is_never_failed(factory: Callable[[], JobBackend], area: str) -> None:
    """Everything in the area is green."""
    report = run_checks(factory, {area})

    assert [report.results[each].detail for each in report.red] == []
    assert any(result.state is State.PASSED for result in report.results.values())
