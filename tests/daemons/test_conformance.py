"""The whole kit runs over each combination of real daemons, as users without root's rights."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.daemons.conftest import Client, Combination, Daemons, Row

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(1500)]
KIT_SECONDS = 600
VERDICT = re.compile(r"NOT CONFORMANT|CONFORMANT|PARTIAL|INCOMPLETE")


def read_verdict(said: str) -> str:
    """Return the verdict in the kit's last line, if there is one."""
    line = next((line for line in reversed(said.splitlines()) if line.startswith("intercede: ")), "")
    found = VERDICT.search(line)
    return found[0] if found else "NO VERDICT"


def count_outcomes(said: str) -> str:
    """Return how many checks had each outcome, in pytest's words."""
    found = re.search(r"^(\d+ .*) in [\d.]+s", said, re.MULTILINE)
    return found[1] if found else ""


def test_a_combination_is_conformant(
    combination: Combination, daemons: Daemons, client: Client, table: list[Row]
) -> None:
    """A combination of real daemons is CONFORMANT, with each MUST passed and each capability claimed."""
    row = [combination.name, "NOT HAD", "", "", ""]
    try:
        up = [daemons.bring(title) for title in combination.up]
        row[1], row[4] = "NO VERDICT", "; ".join(daemon.version for daemon in up)
        begun = time.monotonic()
        ended = client.kit(combination.client, combination.backend, seconds=KIT_SECONDS)
        row[1:4] = read_verdict(ended.stdout), count_outcomes(ended.stdout), f"{time.monotonic() - begun:.0f}"
    finally:
        table.append((row[0], row[1], row[2], row[3], row[4]))
    assert (ended.returncode, row[1]) == (0, "CONFORMANT"), ended.stdout + ended.stderr
