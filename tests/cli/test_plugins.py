"""Tests of ``intercede plugins``, which lists the candidates, the active one, and the reason."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from tests.built_in import ENTRY_POINTS

Install = Callable[..., Path]
Command = Callable[..., CompletedProcess[str]]

KEYS = ["builtin", "distribution", "group", "location", "name", "reason", "status", "target", "version"]


@pytest.fixture
def install(tmp_path: Path, environment: dict[str, str]) -> Install:
    """Return a function that installs a distribution on the path: its metadata and a module of the same name."""
    site = tmp_path / "site"
    site.mkdir()
    environment["PYTHONPATH"] = str(site)

    def add(distribution: str, group: str, name: str, code: str = "") -> Path:
        module = distribution.replace("-", "_")
        metadata = site / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[intercede.{group}]\n{name} = {module}:make\n")
        (site / f"{module}.py").write_text(code)
        return metadata

    return add


def test_json_is_a_list_of_objects_with_the_documented_keys(intercede: Command) -> None:
    """Each object of the JSON list has exactly the fields of a Plugin."""
    listed = json.loads(intercede("plugins", "schedulers", "--json").stdout)

    assert all(sorted(each) == KEYS for each in listed)
    assert [each["name"] for each in listed] == sorted(ENTRY_POINTS)
    assert listed[0]["builtin"] is True


def test_the_table_shows_a_shadowed_built_in(intercede: Command, install: Install) -> None:
    """A plugin that shadows a built-in is active; the built-in is listed as shadowed, with the pin that selects it."""
    install("acme-local", "transports", "local")

    lines = intercede("plugins", "transports").stdout.splitlines()

    assert [line.split()[:4] for line in lines if line.startswith("transports")] == [
        ["transports", "local", "active", "acme-local"],
        ["transports", "local", "shadowed", "intercede"],
        ["transports", "ssh", "active", "intercede"],
    ]
    assert "INTERCEDE_PREFER=transports:local=intercede" in lines[4]


def test_why_prints_the_steps_of_the_rule(intercede: Command, install: Install) -> None:
    """The step that applied is printed last, and a pin applies first."""
    install("acme-local", "transports", "local")
    pin = "transports:local=intercede"

    assert "2. the one distribution other than intercede" in intercede("plugins", "--why", "transports", "local").stdout
    pinned = intercede("plugins", "--why", "transports", "local", INTERCEDE_PREFER=pin).stdout
    assert "1. a pin" in pinned
    assert "2." not in pinned


def test_why_accepts_a_qualified_name(intercede: Command) -> None:
    """A name with its distribution selects the entry of that distribution."""
    assert "LocalTransport of intercede" in intercede("plugins", "--why", "transports", "intercede:local").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("transport",), ("backends, schedulers, transports", "did you mean 'transports'")),
        (("--why", "transport", "local"), ("backends, schedulers, transports", "did you mean 'transports'")),
        (("--why", "transports", "locla"), ("the names are: local", "did you mean 'local'")),
        (("--why", "transports", "intercede:locla"), ("did you mean 'local'",)),
    ],
)
def test_an_unknown_group_or_name_gets_a_suggestion(
    intercede: Command, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """An unknown group or name lists the existing ones with a suggestion; the code is 2."""
    ended = intercede("plugins", *arguments)

    assert ended.returncode == 2
    assert [word for word in words if word not in ended.stderr] == []
    assert "Traceback" not in ended.stderr


def test_check_finds_no_fault_with_the_built_ins(intercede: Command) -> None:
    """Every built-in plugin loads and passes the gate."""
    ended = intercede("plugins", "transports", "--check")

    assert (ended.returncode, ended.stdout) == (0, "no problems\n")


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("raise RuntimeError('no licence')", "no licence"),
        ("import os; os._exit(7)", "7"),
        ("def make():\n    return object()", "run"),
    ],
)
def test_check_reports_each_problem_on_a_line(intercede: Command, install: Install, code: str, word: str) -> None:
    """A plugin that raises, exits or returns a wrong object is one line with distribution, version and cause."""
    install("acme", "transports", "near", code)

    ended = intercede("plugins", "transports", "--check")

    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    assert [line for line in lines if not line.startswith("transports near (acme 1.0): ")] == []
    assert any(word in line for line in lines)
    assert "Traceback" not in ended.stdout + ended.stderr


def test_check_reports_an_ambiguous_name(intercede: Command, install: Install) -> None:
    """Two distributions that provide one name are a problem of that name; the line has both pins."""
    for distribution in ("acme", "rival"):
        install(distribution, "transports", "near", "def make(): ...")

    first = intercede("plugins", "transports", "--check").stdout.splitlines()[0]

    assert first.startswith("transports near: ")
    assert "INTERCEDE_PREFER=transports:near=acme" in first
    assert "INTERCEDE_PREFER=transports:near=rival" in first


def test_a_malformed_candidate_harms_no_other(intercede: Command, install: Install) -> None:
    """An entry with an invalid name is listed as malformed next to the others, and --check reports it."""
    install("acme", "transports", "near/by")

    listed = json.loads(intercede("plugins", "transports", "--json").stdout)
    checked = intercede("plugins", "transports", "--check")

    assert {each["distribution"]: each["status"] for each in listed} == {"acme": "malformed", "intercede": "active"}
    assert checked.returncode == 1
    assert "near/by" in checked.stdout


def test_a_misspelt_group_is_reported(intercede: Command, install: Install) -> None:
    """A plugin in a misspelt group is reported by the list, by --check, and by the error that misses the plugin."""
    install("mist", "transport", "wronggroup")
    warning = (
        "mist 1.0 declares wronggroup in 'intercede.transport', which is not a group; did you mean "
        "'intercede.transports'?"
    )

    listed, checked = intercede("plugins"), intercede("plugins", "transports", "--check")

    assert listed.returncode == 0
    assert f"warning: {warning}\n" in listed.stderr
    assert (checked.returncode, checked.stdout) == (1, f"{warning}\n")
    for name in ("wronggroup", "mist:wronggroup"):
        assert warning in intercede("plugins", "--why", "transports", name).stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--json", "--check"), "--json and --check do not go together: give --json or --check"),
        (("--json", "--why", "transports", "local"), "--json and --why do not go together"),
        (("--check", "--why", "transports", "local"), "--check and --why do not go together"),
        (("transports", "--why", "transports", "local"), "GROUP and --why do not go together"),
    ],
)
def test_options_that_exclude_each_other_are_refused(intercede: Command, arguments: tuple[str, ...], says: str) -> None:
    """Options that exclude each other are an error, and none is ignored."""
    ended = intercede("plugins", *arguments)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert says in ended.stderr


def test_a_wrong_pin_is_reported_with_its_source(intercede: Command) -> None:
    """The error for a wrong pin names the variable that holds it."""
    ended = intercede("plugins", INTERCEDE_PREFER="transport:local=mysite")

    assert ended.returncode == 2
    assert "INTERCEDE_PREFER: 'transport:local=mysite': there is no group 'transport'" in ended.stderr


def test_names_of_plugins_cannot_control_the_terminal(intercede: Command, install: Install) -> None:
    """Unprintable characters, in a version for instance, are escaped; in JSON as well."""
    metadata = install("odd", "transports", "odd")
    odd = metadata.rename(metadata.with_name("odd.dist-info"))
    (odd / "METADATA").write_text("Name: odd\nVersion: 1.0\x1b]0;owned\x07\n")
    install("worse", "transports", "worse").rename(odd.with_name("worse-1.0\x1b]0;owned\x07\udcff.dist-info"))

    for arguments in (["plugins"], ["plugins", "--why", "transports", "odd"], ["plugins", "--json"]):
        done = intercede(*arguments)

        assert done.returncode == 0, done.stderr
        assert "owned" in done.stdout
        assert all(each.isprintable() or each == "\n" for each in done.stdout + done.stderr)


def test_another_project_of_our_name_is_reported(intercede: Command, install: Install) -> None:
    """The public index has another project named ``intercede``; its installation by a plugin is reported."""
    metadata = install("intercede", "transports", "x")
    (metadata / "entry_points.txt").unlink()
    metadata.with_name("intercede.py").unlink()  # otherwise Python would import it

    checked, listed = intercede("plugins", "--check"), intercede("plugins")

    assert (checked.returncode, listed.returncode) == (1, 0)
    for output in (checked.stdout, listed.stderr):
        assert f"intercede 1.0 in {metadata} is another project of that name" in output
        assert 'pip install "intercede @ file:///path/to/intercede"' in output
