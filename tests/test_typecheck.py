"""Type checkers of users accept right programs and refuse wrong ones."""

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


def list_refused_lines(path: Path) -> set[int]:
    """Return the numbers of the lines with a comment ``# refused: ...``."""
    return {number for number, line in enumerate(path.read_text().splitlines(), 1) if "# refused:" in line}


def get_place(path: Path) -> str:
    """Return the path of a program, relative to the programs."""
    return str(path.relative_to(PROGRAMS))


def run_mypy(*paths: Path) -> set[tuple[str, int]]:
    """Return the file and line of each error of mypy."""
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--hide-error-context", *map(str, paths)]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    found = re.findall(r"^(.+?):(\d+)(?::\d+)?: error", output, re.MULTILINE)
    return {(get_place(ROOT / name), int(line)) for name, line in found}


def run_pyright(*paths: Path) -> set[tuple[str, int]]:
    """Return the file and line of each error of pyright, with the project file of the programs."""
    project = ["--project", str(PROGRAMS)]
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *project]
    output = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout)
    assert output["summary"]["filesAnalyzed"] == len(paths)
    found = [each for each in output["generalDiagnostics"] if each["severity"] == "error"]
    return {(get_place(Path(each["file"])), each["range"]["start"]["line"] + 1) for each in found}


@pytest.mark.parametrize("checker", [run_mypy, run_pyright], ids=["mypy", "pyright"])
def test_type_checkers_refuse_exactly_the_marked_lines(checker: Checker) -> None:
    """Strict checking accepts programs of users without a cast, and refuses exactly the lines that are marked."""
    accepted = sorted(PROGRAMS.glob("*.py"))
    expected = {(get_place(path), line) for path in REFUSED for line in list_refused_lines(path)}

    assert accepted
    assert expected
    assert checker(*accepted, *REFUSED) == expected
