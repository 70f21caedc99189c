"""The scripts of findings/ have one form. They are run by hand, since they are about other projects."""

import re
from pathlib import Path

import pytest

FINDINGS = Path(__file__).parents[1] / "findings"
SCRIPTS = sorted(set(FINDINGS.glob("*.sh")) - {FINDINGS / "common.sh"})


@pytest.fixture(params=SCRIPTS, ids=lambda path: path.stem)
def script(request: pytest.FixtureRequest) -> Path:
    """Return a script of a finding."""
    path = request.param
    assert isinstance(path, Path)
    return path


def test_a_finding_can_be_run(script: Path) -> None:
    """The script of a finding is executable, runs in bash, and has the limits that common.sh sets."""
    assert script.stat().st_mode & 0o111 == 0o111
    first, *rest = script.read_text().splitlines()
    assert first == "#!/bin/bash"
    assert '. "$(dirname "$0")/common.sh"' in rest


def test_a_finding_begins_with_the_expectation(script: Path) -> None:
    """The header of a finding has five to ten lines with the expectation, which the script prints as well."""
    lines = script.read_text().splitlines()[1:]
    header = lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))]
    assert 5 <= len(header) <= 10
    assert any("Expected:" in line for line in header)
    assert any("Why it matters:" in line for line in header)
    assert all(re.search(rf"^ *{verb} ", script.read_text(), re.MULTILINE) for verb in ("version", "expected", "seen"))


def test_a_finding_pins_its_packages(script: Path) -> None:
    """A finding installs packages, and the first of each installation has a version."""
    installed = re.findall(r"^ *with_(pip|debian \S+) (\S+)", script.read_text(), re.MULTILINE)
    assert installed
    assert all("=" in pin for _, pin in installed)


def test_a_finding_names_no_place_of_one_machine(script: Path) -> None:
    """A finding names no package index and no home directory."""
    assert not re.search(r"https?://|/home/|/root/\.(?!ssh)|deb\.debian|pypi\.org", script.read_text())


def test_every_finding_is_in_the_index() -> None:
    """The table of the README links each finding once."""
    linked = re.findall(r"\]\((\S+?\.sh)\)", (FINDINGS / "README.md").read_text())
    assert sorted(linked) == [path.name for path in SCRIPTS]
