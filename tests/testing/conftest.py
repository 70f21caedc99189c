"""Fixtures of all tests of the kit."""

import pytest

from intercede.testing.isolation import timeouts


@pytest.fixture(autouse=True)
def _pretend_quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep time limits as they are, whatever the load of the machine is."""
    monkeypatch.setattr(timeouts, "get_load_factor", lambda: 1.0)
