"""``intercede plugins``: every candidate, which one counts, and why."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Install = Callable[..., Path]
Command = Callable[..., CompletedProcess[str]]

KEYS = ["builtin", "distribution", "group", "location", "name", "reason", "status", "target", "version"]


@pytest.fixture
def install(tmp_path: Path, environment: dict[str, str]) -> Install:
    """Return a function that puts a distribution on the path: its metadata, and a module of the same name."""
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
    """Programs get exactly the fields of a Plugin."""
    listed = json.loads(intercede("plugins", "schedulers", "--json").stdout)

    assert all(sorted(each) == KEYS for each in listed)
    assert [each["name"] for each in listed] == ["direct", "slurm"]
    assert listed[0]["builtin"] is True


def test_the_table_shows_who_shadows_whom(intercede: Command, install: Install) -> None:
    """A candidate that shadows a built-in is active, and the built-in is shown as shadowed, with the pin."""
    install("acme-local", "transports", "local")

    lines = intercede("plugins", "transports").stdout.splitlines()

    assert [line.split()[:4] for line in lines if line.startswith("transports")] == [
        ["transports", "local", "active", "acme-local"],
        ["transports", "local", "shadowed", "intercede"],
        ["transports", "ssh", "active", "intercede"],
    ]
    assert "INTERCEDE_PREFER=transports:local=intercede" in lines[4]


def test_why_prints_the_steps_of_the_rule(intercede: Command, install: Install) -> None:
    """The step that fired stands last, and a pin fires first."""
    install("acme-local", "transports", "local")
    pin = "transports:local=intercede"

    assert "2. the one distribution other than intercede" in intercede("plugins", "--why", "transports", "local").stdout
    pinned = intercede("plugins", "--why", "transports", "local", INTERCEDE_PREFER=pin).stdout
    assert "1. a pin" in pinned
    assert "2." not in pinned


def test_why_of_a_qualified_name(intercede: Command) -> None:
    """A name with its distribution means that distribution's entry."""
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
def test_what_is_not_there_is_answered_with_what_is(
    intercede: Command, arguments: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """An unknown group or name gets the ones there are and the nearest, and the code 2."""
    ended = intercede("plugins", *arguments)

    assert ended.returncode == 2
    assert [word for word in words if word not in ended.stderr] == []
    assert "Traceback" not in ended.stderr


def test_check_finds_no_fault_with_the_built_ins(intercede: Command) -> None:
    """What comes with intercede loads and passes the gate."""
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
def test_check_names_what_is_wrong_a_line_each(intercede: Command, install: Install, code: str, word: str) -> None:
    """A plugin that raises, exits or returns the wrong thing is a line with distribution, version and cause."""
    install("acme", "transports", "near", code)

    ended = intercede("plugins", "transports", "--check")

    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    assert [line for line in lines if not line.startswith("transports near (acme 1.0): ")] == []
    assert any(word in line for line in lines)
    assert "Traceback" not in ended.stdout + ended.stderr


def test_check_names_what_cannot_be_decided(intercede: Command, install: Install) -> None:
    """Two that provide one name are a problem of that name, and the line holds both pins."""
    for distribution in ("acme", "rival"):
        install(distribution, "transports", "near", "def make(): ...")

    first = intercede("plugins", "transports", "--check").stdout.splitlines()[0]

    assert first.startswith("transports near: ")
    assert "INTERCEDE_PREFER=transports:near=acme" in first
    assert "INTERCEDE_PREFER=transports:near=rival" in first


def test_a_malformed_candidate_is_shown_and_spoils_nothing(intercede: Command, install: Install) -> None:
    """An entry that no name can be is listed as malformed beside the others, and is a problem to --check."""
    install("acme", "transports", "near/by")

    listed = json.loads(intercede("plugins", "transports", "--json").stdout)
    checked = intercede("plugins", "transports", "--check")

    assert {each["distribution"]: each["status"] for each in listed} == {"acme": "malformed", "intercede": "active"}
    assert checked.returncode == 1
    assert "near/by" in checked.stdout


def test_a_misspelt_group_is_warned_of_and_a_problem(intercede: Command, install: Install) -> None:
    """What stands in a group that is none is told by the list, by --check, and where it is then not found."""
    install("mist", "transport", "wronggroup")
    told = "mist 1.0 declares wronggroup in 'intercede.transport', which is not a group; did you mean 'intercede.transports'?"

    listed, checked = intercede("plugins"), intercede("plugins", "transports", "--check")

    assert listed.returncode == 0
    assert f"warning: {told}\n" in listed.stderr
    assert (checked.returncode, checked.stdout) == (1, f"{told}\n")
    for name in ("wronggroup", "mist:wronggroup"):
        assert told in intercede("plugins", "--why", "transports", name).stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--json", "--check"), "--json and --check do not go together: give --json or --check"),
        (("--json", "--why", "transports", "local"), "--json and --why do not go together"),
        (("--check", "--why", "transports", "local"), "--check and --why do not go together"),
        (("transports", "--why", "transports", "local"), "GROUP and --why do not go together"),
    ],
)
def test_no_option_is_dropped_without_a_word(intercede: Command, arguments: tuple[str, ...], says: str) -> None:
    """What cannot be had together is refused."""
    ended = intercede("plugins", *arguments)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert says in ended.stderr


def test_a_wrong_pin_is_told_with_where_it_stands(intercede: Command) -> None:
    """Whoever set a variable long ago reads which one it is."""
    ended = intercede("plugins", INTERCEDE_PREFER="transport:local=mysite")

    assert ended.returncode == 2
    assert "INTERCEDE_PREFER: 'transport:local=mysite': there is no group 'transport'" in ended.stderr


def test_strangers_names_do_not_drive_the_terminal(intercede: Command, install: Install) -> None:
    """What does not print, in a version for instance, is shown as an escape; programs get it as JSON."""
    metadata = install("odd", "transports", "odd")
    odd = metadata.rename(metadata.with_name("odd.dist-info"))
    (odd / "METADATA").write_text("Name: odd\nVersion: 1.0\x1b]0;owned\x07\n")
    install("worse", "transports", "worse").rename(odd.with_name("worse-1.0\x1b]0;owned\x07\udcff.dist-info"))

    for arguments in (["plugins"], ["plugins", "--why", "transports", "odd"], ["plugins", "--json"]):
        done = intercede(*arguments)

        assert done.returncode == 0, done.stderr
        assert "owned" in done.stdout
        assert all(each.isprintable() or each == "\n" for each in done.stdout + done.stderr)


def test_another_project_of_our_name_is_told(intercede: Command, install: Install) -> None:
    """The public index has an ``intercede`` that is another project's, without entries: a plugin may have brought it in."""
    metadata = install("intercede", "transports", "x")
    (metadata / "entry_points.txt").unlink()
    metadata.with_name("intercede.py").unlink()  # else Python finds that one

    checked, listed = intercede("plugins", "--check"), intercede("plugins")

    assert (checked.returncode, listed.returncode) == (1, 0)
    for told in (checked.stdout, listed.stderr):
        assert f"intercede 1.0 in {metadata} is another project of that name" in told
        assert 'pip install "intercede @ file:///path/to/intercede"' in told
