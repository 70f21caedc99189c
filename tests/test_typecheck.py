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


def mypy(*paths: Path) -> set[tuple[str, int]]:
    """Return file and line of every error that mypy reports."""
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", *map(str, paths)]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return {
        (Path(name).name, int(line)) for name, line in re.findall(r"^(.+?):(\d+)(?::\d+)?: error", output, re.MULTILINE)
    }


def pyright(*paths: Path) -> set[tuple[str, int]]:
    """Return file and line of every error that pyright reports."""
    (project,) = {path.parent for path in paths}  # refused/ has a project of its own: the house's excludes it
    which = ["--project", str(project)] if project.name == "refused" else [str(path) for path in paths]
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *which]
    output = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout)
    found = [each for each in output["generalDiagnostics"] if each["severity"] == "error"]
    return {(Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in found}


@pytest.mark.parametrize("checker", [mypy, pyright], ids=["mypy", "pyright"])
def test_wrong_programs_are_refused_where_they_are_wrong(checker: Checker) -> None:
    """Each line that says it is refused is, and no other line of these programs."""
    expected = {(path.name, line) for path in REFUSED for line in to_be_refused(path)}

    assert expected
    assert checker(*REFUSED) == expected


@pytest.mark.parametrize("checker", [mypy, pyright], ids=["mypy", "pyright"])
def test_right_programs_are_accepted(checker: Checker) -> None:
    """What users write passes strict checking without a cast."""
    accepted = sorted(PROGRAMS.glob("*.py"))

    assert accepted
    assert checker(*accepted) == set()
