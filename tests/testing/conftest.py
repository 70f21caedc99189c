"""What all tests of the kit take for granted."""

import pytest

from intercede.testing.isolation import timeouts


@pytest.fixture(autouse=True)
def _a_quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have bounds be what they say, whatever else this machine does."""
    monkeypatch.setattr(timeouts, "get_load_factor", lambda: 1.0)
