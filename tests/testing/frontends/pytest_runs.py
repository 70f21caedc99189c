"""Runs of pytest with the kit in an empty directory."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import intercede

HERE = Path(__file__).parent / "site"
SOURCES = Path(intercede.__file__).parents[1]
CONFTEST = """
import frame_clauses, intercede.testing.clauses
intercede.testing.clauses.CLAUSES = frame_clauses.CLAUSES  # few clauses, so that a run is fast
"""
ENTRIES = """\
[intercede.backends]
tiny = frame_subjects:Tiny
rich = frame_subjects:TinyOutput
talkative = frame_subjects:Talkative
empty = frame_subjects:HERE
broken = frame_broken:Nothing
[intercede.transports]
chatty = frame_subjects:Chatty
"""

Pytest = Callable[..., "Run"]


class Run:
    """How a run of pytest ended."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.code = process.returncode
        self.text = process.stdout + process.stderr
        self.lines = process.stdout.rstrip().splitlines()
        self.last = self.lines[-1] if self.lines else ""

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.text}"


TINY = "--intercede-backend=tiny"
GREEN = (
    "intercede: tiny 1.5 (frame) is CONFORMANT to contract 1.0, full: 4/4 MUST, 1/1 SHOULD, "
    "not applicable: output, kill, purge, load, find, diagnostics"
)


def make_red_option(*clauses: str, kind: str = "tiny", **options: str) -> str:
    """Return the option for a subject that is red in these clauses."""
    return "--intercede-backend=" + json.dumps({"type": kind, "red": ",".join(clauses), **options})
