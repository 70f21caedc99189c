"""A backend with right counts, finds and diagnostics is never red, however few jobs it runs at once."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from intercede import registry
from intercede.contract import JobBackend
from intercede.testing.frontends.check import run_checks
from intercede.testing.model.verdict import State


def make_wide() -> JobBackend:
    """Return a backend of local and direct with sixteen slots."""
    return _make_direct(16)


def make_narrow() -> JobBackend:
    """Return a backend of local and direct with one slot, in which jobs wait for each other."""
    return _make_direct(1)


def _make_direct(slots: int) -> JobBackend:
    root = str(Path(os.environ["XDG_STATE_HOME"], "direct"))
    scheduler = {"type": "direct", "slots": slots}
    return registry.backend({"transport": "local", "scheduler": scheduler, "batch": {"root": root}})


@pytest.fixture(autouse=True)
def _use_own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize("factory", [make_wide, make_narrow])
@pytest.mark.parametrize("area", ["load", "find", "diag"])
def test_a_right_backend_is_green(factory: Callable[[], JobBackend], area: str) -> None:
    """The clauses of an area are green for a right backend, with many slots and with one."""
    report = run_checks(factory, {area})

    assert [report.results[each].detail for each in report.red] == []
    assert any(result.state is State.PASSED for result in report.results.values())
