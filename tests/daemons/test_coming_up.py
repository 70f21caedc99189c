"""Every daemon of the table comes up, and a second time at once. `make daemons` is this file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.daemons.conftest import Client, Daemons, Line

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(1500)]
AGAIN = 5.0


def test_it_comes_up_once(daemons: Daemons, title: str) -> None:
    """A second `up.sh` starts nothing anew, says the same, and is quick: whatever was up stays as it was."""
    first = daemons.bring(title)
    running = first.host.processes()
    second = daemons.bring(title)
    assert second.version == first.version
    assert first.host.processes() == running
    assert second.seconds < AGAIN


def test_the_client_is_made_once(daemons: Daemons, client: Client) -> None:
    """Nothing is installed again while the sources are the same, which somebody at work may change meanwhile."""
    assert (client.at / "venv" / "bin" / "intercede").exists()


def test_the_delay_line_comes_up(line: Line) -> None:
    """It needs a TUN device."""
    assert line.host == "far"
