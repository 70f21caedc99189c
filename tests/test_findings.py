"""The form of findings/: they are run by hand, since other people's releases are no fault of a change here."""

import re
from pathlib import Path

import pytest

FINDINGS = Path(__file__).parents[1] / "findings"
SCRIPTS = sorted(set(FINDINGS.glob("*.sh")) - {FINDINGS / "common.sh"})


@pytest.fixture(params=SCRIPTS, ids=lambda path: path.stem)
def script(request: pytest.FixtureRequest) -> Path:
    """One finding."""
    path = request.param
    assert isinstance(path, Path)
    return path


def test_a_finding_is_run_as_it_stands(script: Path) -> None:
    """It may be started, in bash, within the bounds that common.sh sets."""
    assert script.stat().st_mode & 0o111 == 0o111
    first, *rest = script.read_text().splitlines()
    assert first == "#!/bin/bash"
    assert '. "$(dirname "$0")/common.sh"' in rest


def test_a_finding_begins_with_what_one_would_guess(script: Path) -> None:
    """What is expected stands in the header, of five to ten lines, and again where it runs."""
    lines = script.read_text().splitlines()[1:]
    header = lines[: next(number for number, line in enumerate(lines) if not line.startswith("#"))]
    assert 5 <= len(header) <= 10
    assert any("Expected:" in line for line in header)
    assert any("Why it matters:" in line for line in header)
    assert all(re.search(rf"^ *{verb} ", script.read_text(), re.MULTILINE) for verb in ("version", "expected", "seen"))


def test_a_finding_pins_what_it_is_about(script: Path) -> None:
    """Each installs something, and the first package of each installation has its version."""
    installed = re.findall(r"^ *with_(pip|debian \S+) (\S+)", script.read_text(), re.MULTILINE)
    assert installed
    assert all("=" in pin for _, pin in installed)


def test_a_finding_names_no_place_of_one_machine(script: Path) -> None:
    """No index, no home directory: packages are named, and clients know where they are from."""
    assert not re.search(r"https?://|/home/|/root/\.(?!ssh)|deb\.debian|pypi\.org", script.read_text())


def test_every_finding_is_in_the_index() -> None:
    """The table of the README links each script, once."""
    linked = re.findall(r"\]\((\S+?\.sh)\)", (FINDINGS / "README.md").read_text())
    assert sorted(linked) == [path.name for path in SCRIPTS]
