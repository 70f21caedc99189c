"""Tests of the output of commands on a terminal."""

import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.cli.terminal import wrap_text


@given(st.lists(st.text("ab-.:", min_size=1, max_size=30), min_size=1, max_size=12), st.integers(20, 60))
def test_lines_are_broken_between_words(words: list[str], width: int) -> None:
    """Wrapping keeps every word whole; a line is too long only if a single word is."""
    shown = wrap_text(" ".join(words), width)

    assert shown.split() == words
    assert all(len(line) <= width or len(line.split()) == 1 for line in shown.split("\n"))


def test_text_that_fits_is_unchanged() -> None:
    """Columns, spaces and empty lines of a table that fits are kept."""
    assert wrap_text("a   b\n\n    c", 10) == "a   b\n\n    c"


def read(terminal: int) -> str:
    """Read the output of a terminal until every process has closed it."""
    data = b""
    with os.fdopen(terminal, "rb", buffering=0) as opened, suppress(OSError):  # a closed terminal raises EIO
        while some := opened.read(4096):
            data += some
    return data.decode()


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "intercede", "plugins", "transports"],
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--intercede-backend=fake", "-k", "IC-HANDLE-01"],
    ],
)
def test_no_word_is_broken_on_a_narrow_terminal(command: list[str]) -> None:
    """The verdict of a check and the table of plugins fit into the columns of the terminal."""
    controller, terminal = pty.openpty()
    environment = os.environ | {"COLUMNS": "60", "TERM": "dumb", "NO_COLOR": "1"}
    with subprocess.Popen([sys.executable, *command], stdout=terminal, env=environment) as started:
        os.close(terminal)
        shown = read(controller).splitlines()
    assert started.returncode == 0

    assert any("intercede" in line for line in shown)
    assert [line for line in shown if len(line) > 60 and len(line.split()) > 1] == []
