"""The CI files of the documents are valid, and their steps do what the page says.

A step runs as the page shows it, in a fresh repository with a plugin in it, under the shell that the forge would use.
Two commands are replaced: ``pip`` writes down its arguments, since everything is installed already, and ``pytest`` runs
one area of the suite, which takes a second instead of a minute.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/how-to/test-a-plugin-in-ci.md").read_text()
GITHUB, GITLAB, KNOWN = ".github/workflows/conformance.yml", ".gitlab-ci.yml", "known.toml"
GOOD = "from intercede.testing.gallery.fake import FakeBackend as Backend\n"
POOR = "from intercede.testing.gallery.fake import FakeBackend\n\n\nclass Backend(FakeBackend):\n    purge = None\n"
BROKEN = "raise RuntimeError('half of a merge')\n"


def read_block(name: str) -> str:
    """Return the file with this name on the page."""
    found = re.search(rf"<!-- file: {re.escape(name)} -->\n```\w+\n(.*?\n)```\n", PAGE, re.DOTALL)
    assert found, f"the page shows no file {name}"
    return found[1]


def parse_yaml(name: str) -> Mapping[str, Any]:
    """Return the parsed content of a CI file."""
    return cast("Mapping[str, Any]", YAML(typ="safe").load(read_block(name)))  # pyright: ignore[reportUnknownMemberType] -- ruamel leaves its stream untyped


@dataclass
class Repository:
    """A plugin's repository, checked out by the runner of a forge."""

    path: Path
    aside: Path

    def run(self, shell: Sequence[str], script: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the forge in the repository."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("INTERCEDE_", "PY", "COV"))}
        return subprocess.run(
            [*shell, script],
            cwd=self.path,
            env=ours
            | {
                "HOME": str(self.aside),
                "XDG_STATE_HOME": str(self.aside / "state"),
                "PATH": os.pathsep.join([str(self.aside / "bin"), os.environ["PATH"]]),
                "PYTHONPATH": str(self.aside / "site"),
                "GITHUB_STEP_SUMMARY": str(self.summary),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # of this environment; a forge has none
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )

    @property
    def summary(self) -> Path:
        """The summary that GitHub shows on the page of the job."""
        return self.aside / "summary.md"

    @property
    def installed(self) -> str:
        """The words that pip got."""
        return (self.aside / "pip.log").read_text()

    @property
    def report(self) -> set[str]:
        """The files of the artifact."""
        return {each.name for each in self.path.glob("report/*")}


def make_repository(directory: Path, plugin: str) -> Repository:
    """Make a repository with this plugin, as if it was installed, and with the files of the page."""
    made = Repository(directory / "repository", directory / "aside")
    site, programs = made.aside / "site", made.aside / "bin"
    metadata = site / "intercede_mine-0.1.dist-info"
    for each in (made.path, metadata, programs):
        each.mkdir(parents=True)
    (made.path / KNOWN).write_text(read_block(KNOWN))
    (site / "intercede_mine.py").write_text(plugin)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: intercede-mine\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text("[intercede.backends]\nmine = intercede_mine:Backend\n")
    python, log = shlex.quote(sys.executable), shlex.quote(str(made.aside / "pip.log"))
    stand_ins = {
        "pip": f'#!/bin/sh\nprintf "%s\\n" "$@" >> {log}\n',
        "pytest": f'#!/bin/sh\nexec {python} -m pytest -p intercede_pytest -p no:cacheprovider "$@" -k IC-SHAPE\n',
    }
    for name, source in stand_ins.items():
        (programs / name).write_text(source)
        (programs / name).chmod(0o755)
    return made


def follow_github(repository: Repository) -> tuple[list[int], str]:
    """Run the steps as GitHub does: each in its own shell, and after a red step only those that always run."""
    codes: list[int] = []
    printed = ""
    for step in parse_yaml(GITHUB)["jobs"]["conformance"]["steps"]:
        if "run" in step and (not any(codes) or step.get("if") == "always()"):
            assert "${{" not in step["run"], "what the forge puts into a script is not quoted"
            ended = repository.run(["bash", "-e", "-c"], step["run"])
            codes.append(ended.returncode)
            printed += ended.stdout
    return codes, printed


def follow_gitlab(repository: Repository) -> tuple[list[int], str]:
    """Run the script as GitLab does: all lines in one shell, which ends at the first red line."""
    ended = repository.run(
        ["bash", "-e", "-o", "pipefail", "-c"], "\n".join(parse_yaml(GITLAB)["conformance"]["script"])
    )
    return [ended.returncode], ended.stdout


@pytest.mark.parametrize(("name", "schema"), [(GITHUB, "vendor.github-workflows"), (GITLAB, "vendor.gitlab-ci")])
def test_the_forges_schema_accepts_a_file(tmp_path: Path, name: str, schema: str) -> None:
    """A CI file of the page is valid by the schema that its forge publishes."""
    path = tmp_path / "file.yml"
    path.write_text(read_block(name))

    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, path],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": str(tmp_path)},
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_both_forges_run_the_same_commands() -> None:
    """The files for both forges run the same commands."""
    steps = parse_yaml(GITHUB)["jobs"]["conformance"]["steps"]
    install, gate, _ = (step["run"] for step in steps if "run" in step)

    assert parse_yaml(GITLAB)["conformance"]["script"] == [install, gate]


@pytest.mark.parametrize("follow", [follow_github, follow_gitlab])
def test_a_good_plugin_passes_the_gate(tmp_path: Path, follow: Any) -> None:
    """A right plugin passes each step, which leaves the report and the summary."""
    repository = make_repository(tmp_path, GOOD)

    codes, printed = follow(repository)

    assert not any(codes), printed
    assert "intercede: mine: PARTIAL" in printed
    assert repository.report >= {"conformance.json", "conformance.html", "conformance.md", "badge.json", "junit.xml"}
    assert "intercede[testing] @ git+" in repository.installed


def test_the_summary_shows_the_verdict_of_a_red_run(tmp_path: Path) -> None:
    """A required capability that the plugin lacks makes the run red, and later steps still show the report."""
    repository = make_repository(tmp_path, POOR)

    codes, printed = follow_github(repository)

    assert codes == [0, 1, 0], printed
    assert "mine is NOT CONFORMANT: it must claim purge, and does not" in printed.replace(" 0.1 (intercede-mine)", "")
    assert "NOT CONFORMANT" in repository.summary.read_text()


def test_a_plugin_that_does_not_load_is_red(tmp_path: Path) -> None:
    """A plugin that does not load is NOT CONFORMANT with a report, and no usage error."""
    repository = make_repository(tmp_path, BROKEN)

    codes, printed = follow_gitlab(repository)

    assert codes == [1], printed
    assert "half of a merge" in printed
    assert "conformance.json" in repository.report


def test_a_lost_file_is_a_usage_error(tmp_path: Path) -> None:
    """A missing file of known failures is a usage error, and the step for the summary prints nothing."""
    repository = make_repository(tmp_path, GOOD)
    (repository.path / KNOWN).unlink()

    codes, printed = follow_github(repository)

    assert codes == [0, 4, 0], printed
    assert "known.toml: cannot be read" in printed
