"""The kit checks an installed backend from an empty directory."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    from tests.integration.conftest import Environment

PAGE = Path(__file__).parents[2] / "docs/how-to/write-tests-of-your-own.md"
ONE = "intercede/submit::IC-SUBMIT-01[fake]"
REPORT_KEYS = {
    "contract",
    "kit",
    "python",
    "started",
    "profile",
    "verdict",
    "selected",
    "subject",
    "clauses",
    "totals",
}


def run_kit(environment: Environment, *options: str, **variables: str) -> tuple[CompletedProcess[str], str]:
    """Run pytest with these options in the environment's directory; return the result and its last line."""
    done = environment.run("-m", "pytest", "-p", "no:cacheprovider", *options, **variables)
    return done, (done.stdout.strip().splitlines() or [""])[-1]


@pytest.mark.slow
def test_the_whole_suite_from_an_empty_directory(plain: Environment, tmp_path: Path) -> None:
    """The fake is CONFORMANT with one option and no files, and the report agrees."""
    options = ("--intercede-backend=fake", "--intercede-report=report", "-W", "error", "--strict-markers")
    done, last = run_kit(plain, *options)
    assert done.returncode == 0, done.stdout
    assert last.startswith("intercede: fake 0.1 (intercede-fake) is CONFORMANT to contract 1.0, full: ")
    report = json.loads((tmp_path / "report" / "conformance.json").read_text())
    assert set(report) >= REPORT_KEYS
    assert report["verdict"] == "CONFORMANT"
    assert report["subject"]["distribution"] == "intercede-fake"


@pytest.mark.slow
def test_the_whole_suite_in_several_workers(plain: Environment) -> None:
    """The verdict is the same with -n 4, and on the last line."""
    done, last = run_kit(plain, "--intercede-backend=fake", "-n", "4", "-q", "-p", "no:asyncio")
    assert done.returncode == 0, done.stdout
    assert "is CONFORMANT to contract 1.0, full: " in last


def test_a_copied_id_runs_alone(plain: Environment) -> None:
    """A run of one id passes, exits 0, and reports that it was partial."""
    done, last = run_kit(plain, "--intercede-backend=fake", ONE)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    assert "PARTIAL" in last


@pytest.mark.slow
def test_pytests_cache_works_with_the_ids(plain: Environment) -> None:
    """New-first, stop-at-first and last-failed work with the ids of the suite as with any others."""
    for options in (("--nf", "-x"), ("--lf",), ("--ff", "--sw")):
        done = plain.run("-m", "pytest", "--intercede-backend=fake", ONE, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 passed" in done.stdout
        assert "PARTIAL" in done.stdout.splitlines()[-1]


def test_an_unknown_name_is_a_usage_error(plain: Environment) -> None:
    """An unknown name is a usage error, exit 4, that lists the names and suggests the nearest."""
    done, _ = run_kit(plain, "--intercede-backend=fak")
    assert done.returncode == 4
    assert "fake" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_the_backend_is_reached_through_the_registry(plain: Environment) -> None:
    """A denied backend ends the run with 4 before any check, although its module could be imported."""
    done, _ = run_kit(plain, "--intercede-backend=fake", INTERCEDE_PLUGINS="allow:")
    assert done.returncode == 4
    assert "intercede-fake" in done.stderr


def test_the_configuration_file_names_the_subject(plain: Environment, tmp_path: Path) -> None:
    """A table of the configuration file is a subject with its own name."""
    (tmp_path / "intercede.toml").write_text('[backends.here]\ntype = "fake"\nstate = "jobs"\n')
    options = ("--intercede-backend=here", "--intercede-config=intercede.toml")
    done, last = run_kit(plain, *options, ONE.replace("[fake]", "[here]"))
    assert done.returncode == 0, done.stdout
    assert "here" in last


def test_a_refused_backend_gets_a_verdict(broken: Environment) -> None:
    """A backend that the gate refuses is NOT CONFORMANT, with the gate's message, and the run exits 1."""
    done, last = run_kit(broken, "--intercede-backend=wrong-shape")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "wrong-shape" in last
    assert "NOT CONFORMANT" in last
    assert "status" in done.stdout


def test_a_backend_that_cannot_be_imported_gets_a_verdict(broken: Environment) -> None:
    """A backend that fails to load is NOT CONFORMANT, with the cause, and the run exits 1."""
    done, last = run_kit(broken, "--intercede-backend=broken-import")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "NOT CONFORMANT" in last
    assert "a_library_that_nobody_installed" in done.stdout


def test_a_shadow_warning_is_shown_and_never_raised(shadowed: Environment) -> None:
    """A shadowing plugin is named in the header with -W error, and the check runs through it."""
    subject = '{"transport": "local", "scheduler": "direct"}'
    one = ONE.replace("[fake]", "[local+direct]")
    done, last = run_kit(shadowed, f"--intercede-backend={subject}", "-W", "error", one)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "intercede-site-local" in done.stdout
    assert "PARTIAL" in last


def test_without_an_option_the_kit_stays_out(plain: Environment, tmp_path: Path) -> None:
    """Without any of its options no part of the kit is loaded, and pytest runs as usual."""
    (tmp_path / "test_own.py").write_text(
        "import sys\n\n\ndef test_own():\n"
        "    assert not [name for name in sys.modules if name.startswith('intercede.')]\n"
    )
    done, last = run_kit(plain)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in last


@pytest.mark.parametrize("plugin", ["pytest-asyncio", "anyio", "neither"])
def test_an_authors_own_tests_use_the_fixtures(
    plain: Environment, tmp_path: Path, link: Callable[..., Path], plugin: str
) -> None:
    """The example of the page works with one plugin for coroutines or none; with a path, the suite runs as well."""
    name = f"test_with_{plugin.replace('-', '_')}.py"
    for each in (name, "pytest.ini") if plugin == "pytest-asyncio" else (name,):
        found = re.search(rf"<!-- file: {re.escape(each)} -->\n```\w+\n(.*?\n)```\n", PAGE.read_text(), re.DOTALL)
        assert found, each
        (tmp_path / each).write_text(found[1])
    plugins = "" if plugin == "neither" else str(link(plugin))

    options = ("--intercede-backend=fake", "-W", "error", "-v", name, "-k", "can_be_purged")
    done, last = run_kit(plain, *options, PYTHONPATH=plugins)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert "PARTIAL" in last
    loaded = {each for each in ("anyio", "asyncio") if re.search(rf"^plugins: .*\b{each}-", done.stdout, re.MULTILINE)}
    assert loaded == {plugin.removeprefix("pytest-")} - {"neither"}
