"""Each daemon of the table starts, and a second start changes nothing. `make daemons` runs this file."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.daemons.conftest import Client, Daemons, Line

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(1500)]
AGAIN = 5.0


def test_a_daemon_starts_once(daemons: Daemons, title: str) -> None:
    """A second `up.sh` of a daemon is quick, prints the same, and leaves the running daemon."""
    first = daemons.bring(title)
    running = first.host.processes()
    second = daemons.bring(title)
    assert second.version == first.version
    assert first.host.processes() == running
    assert second.seconds < AGAIN


def test_the_client_is_made_once(daemons: Daemons, client: Client) -> None:
    """The client's environment is not installed again while the sources are the same."""
    assert (client.at / "venv" / "bin" / "intercede").exists()


def test_a_newer_host_has_no_python(daemons: Daemons) -> None:
    """A host of the newer release has no Python, so that a conformant transport needs none."""
    host = daemons.bring("ssh HOST=gridtrixie RELEASE=trixie").host
    assert host.run("sh", "-c", "command -v sh tar").returncode == 0
    assert host.run("sh", "-c", "command -v python3 || command -v python || ls /usr/bin/python*").returncode != 0


def test_the_line_delays_and_is_cut(line: Line) -> None:
    """A connection over the delay line takes a round trip, and one over the cut line gets no refusal."""
    begun = time.monotonic()
    socket.create_connection((line.address, 22), timeout=10).close()
    assert time.monotonic() - begun >= 0.05
    with line.cut(), pytest.raises(TimeoutError):
        socket.create_connection((line.address, 22), timeout=0.5)
    socket.create_connection((line.address, 22), timeout=10).close()
