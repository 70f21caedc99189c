"""What the commands say, as a terminal shows it."""

import os
import pty
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.cli.words import fitted


@given(st.lists(st.text("ab-.:", min_size=1, max_size=30), min_size=1, max_size=12), st.integers(20, 60))
def test_lines_are_broken_between_words(words: list[str], width: int) -> None:
    """No word is broken, none is lost, and a line is too long only where one word is."""
    shown = fitted(" ".join(words), width)

    assert shown.split() == words
    assert all(len(line) <= width or len(line.split()) == 1 for line in shown.split("\n"))


def test_what_fits_is_left_as_it_is() -> None:
    """Columns, blanks and empty lines of a table that fits are kept."""
    assert fitted("a   b\n\n    c", 10) == "a   b\n\n    c"


def read(terminal: int) -> str:
    """Read what is written to a terminal, until nobody has it open any more."""
    data = b""
    with os.fdopen(terminal, "rb", buffering=0) as opened, suppress(OSError):  # EIO is how a terminal ends
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
    """What follows the checks, as the verdict, and the table of plugins fit into the columns that there are."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "60", "TERM": "dumb", "NO_COLOR": "1"}
    with subprocess.Popen([sys.executable, *command], stdout=theirs, env=environment) as started:
        os.close(theirs)
        shown = read(ours).splitlines()
    assert started.returncode == 0

    assert any("intercede" in line for line in shown)
    assert [line for line in shown if len(line) > 60 and len(line.split()) > 1] == []
