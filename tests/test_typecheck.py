"""The typed surface, as its users' type checkers see it: programs that nobody runs."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "typecheck"
ROOT = Path(__file__).parents[1]
Checker = Callable[..., set[tuple[str, int]]]
REFUSED = sorted((PROGRAMS / "refused").glob("*.py"))


def to_be_refused(path: Path) -> set[int]:
    """Return the numbers of the lines that carry a comment ``# refused: ...``."""
    return {number for number, line in enumerate(path.read_text().splitlines(), 1) if "# refused:" in line}


def named(path: Path) -> str:
    """Return where a program lies."""
    return str(path.relative_to(PROGRAMS))


def mypy(*paths: Path) -> set[tuple[str, int]]:
    """Return file and line of every error that mypy reports."""
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", *map(str, paths)]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    found = re.findall(r"^(.+?):(\d+)(?::\d+)?: error", output, re.MULTILINE)
    return {(named(ROOT / name), int(line)) for name, line in found}


def pyright(*paths: Path) -> set[tuple[str, int]]:
    """Return file and line of every error that pyright reports; by a project of its own, as the house's leaves them out."""
    project = ["--project", str(PROGRAMS)]
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *project]
    output = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout)
    assert output["summary"]["filesAnalyzed"] == len(paths)
    found = [each for each in output["generalDiagnostics"] if each["severity"] == "error"]
    return {(named(Path(each["file"])), each["range"]["start"]["line"] + 1) for each in found}


@pytest.mark.parametrize("checker", [mypy, pyright], ids=["mypy", "pyright"])
def test_right_programs_are_accepted_and_wrong_ones_refused_where_they_are_wrong(checker: Checker) -> None:
    """What users write passes strict checking without a cast; each line that says it is refused is, and no other."""
    accepted = sorted(PROGRAMS.glob("*.py"))
    expected = {(named(path), line) for path in REFUSED for line in to_be_refused(path)}

    assert accepted
    assert expected
    assert checker(*accepted, *REFUSED) == expected
