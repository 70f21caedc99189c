"""The console command in an environment that has it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Environment

KEYS = {"group", "name", "target", "distribution", "version", "location", "builtin", "status", "reason"}
CLI = ("-m", "intercede")


def test_the_console_script_is_installed(plain: Environment) -> None:
    """The wheel has the command, which lists the plugins."""
    script = Path(plain.python).with_name("intercede")
    done = subprocess.run(
        [script, "plugins"], env=plain.variables, cwd=plain.directory, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "intercede-fake" in done.stdout


def test_without_its_libraries_it_says_what_to_install(plain: Environment) -> None:
    """Without the cli extra, the command exits with 2 and reports what to install, without a traceback."""
    program = "import sys; sys.modules['typer'] = None; from intercede.__main__ import main; sys.exit(main())"
    done = plain.run("-c", program)
    assert (done.returncode, done.stdout) == (2, "")
    assert "intercede[cli]" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_has_exactly_the_promised_keys(shadowed: Environment) -> None:
    """--json prints a list of objects with exactly the documented keys, and the shadowed candidates."""
    done = shadowed.run(*CLI, "plugins", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert all(set(each) == KEYS for each in told)
    statuses = {each["distribution"]: each["status"] for each in told if each["name"] == "local"}
    assert statuses == {"intercede": "shadowed", "intercede-site-local": "active"}


def test_the_list_can_be_limited_to_a_group(plain: Environment) -> None:
    """GROUP limits the list to one group; an unknown group is a usage error that lists them."""
    told = json.loads(plain.run(*CLI, "plugins", "backends", "--json").stdout)
    assert {each["group"] for each in told} == {"backends"}
    done = plain.run(*CLI, "plugins", "backend")
    assert done.returncode == 2
    assert "backends" in done.stderr
    assert "Traceback" not in done.stderr


def test_listing_imports_no_plugin(plain: Environment, tmp_path: Path) -> None:
    """The table, JSON and --why import no plugin."""
    variables = {"INTERCEDE_TRACER": str(tmp_path / "trace")}
    for options in ((), ("--json",), ("--why", "transports", "tracer")):
        assert plain.run(*CLI, "plugins", *options, **variables).returncode == 0
    assert not (tmp_path / "trace").exists()


def test_why_prints_the_step_that_decided(shadowed: Environment, rivals: Environment) -> None:
    """--why prints the steps of the rule for a name: a pin, the only other distribution, or an ambiguity."""
    assert "intercede-site-local" in shadowed.run(*CLI, "plugins", "--why", "transports", "local").stdout
    pin = {"INTERCEDE_PREFER": "transports:local=intercede"}
    assert "transports:local=intercede" in shadowed.run(*CLI, "plugins", "--why", "transports", "local", **pin).stdout
    told = rivals.run(*CLI, "plugins", "--why", "transports", "local")
    assert "intercede-rival-local" in told.stdout
    assert "intercede-site-local" in told.stdout


def test_check_prints_a_line_for_each_problem(broken: Environment, tmp_path: Path) -> None:
    """--check loads each plugin in a child, prints one line for each problem, exits 1, and shows no traceback."""
    names = "broken-import exits-on-import half-capability malformed-metadata needs-options not-callable sync-verb"
    allowed = [f"intercede-{name}" for name in f"fake tracer {names} wrong-shape wrong-signature".split()]
    variables = {"INTERCEDE_PLUGINS": f"allow:{','.join(allowed)}", "INTERCEDE_TRACER": str(tmp_path / "trace")}
    done = broken.run(*CLI, "plugins", "--check", **variables)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    for name in (*names.split(), "wrong-shape", "wrong-signature"):
        told = [line for line in lines if f"intercede-{name} " in line]
        assert bool(told) == (name != "needs-options"), (name, lines)
    assert not [line for line in lines if "intercede-fake " in line or "hangs-on-import" in line]
    assert "Traceback" not in done.stdout + done.stderr


def test_check_accepts_working_plugins(plain: Environment, tmp_path: Path) -> None:
    """If every plugin loads and passes the gate, --check exits 0."""
    done = plain.run(*CLI, "plugins", "--check", INTERCEDE_TRACER=str(tmp_path / "trace"))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("code", "expected"), [("exit 0", 0), ("exit 7", 7)])
def test_run_ends_with_the_payloads_exit_code(plain: Environment, tmp_path: Path, code: str, expected: int) -> None:
    """A command runs through an installed plugin, its output is kept, and its exit code is returned."""
    options = ("--backend", "fake", "--output", str(tmp_path / "out"))
    done = plain.run(*CLI, "run", *options, "--", "sh", "-c", f"echo it ran; {code}")
    assert done.returncode == expected, done.stderr
    assert [path.read_text() for path in (tmp_path / "out").rglob("stdout")] == ["it ran\n"]
