"""A broken plugin breaks its own name: the error has the distribution, the version and the reason."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, TypedDict

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Environment

MADE = """
import json, sys
from intercede import registry
from intercede.contract import IntercedeError

def told(name):
    try:
        return {"error": "", "message": type(registry.backend(name)).__name__, "attributes": {}}
    except IntercedeError as error:
        facts = {key: str(value) for key, value in vars(error).items()}
        facts["cause"] = type(error.__cause__).__name__
        return {"error": type(error).__name__, "message": str(error), "attributes": facts}

print(json.dumps({name: told(name) for name in sys.argv[1:]}))
"""

CAUSES = {
    "broken-import": ("PluginLoadError", "a_library_that_nobody_installed"),
    "exits-on-import": ("PluginLoadError", "this module is a script"),
    "not-callable": ("PluginLoadError", "int"),
    "wrong-shape": ("PluginContractError", "status"),
    "sync-verb": ("PluginContractError", "async def"),
    "wrong-signature": ("PluginContractError", "handles"),
    "half-capability": ("PluginContractError", "dest"),
}


class Told(TypedDict):
    """The result of making one backend."""

    error: str
    message: str
    attributes: dict[str, str]


@pytest.fixture(scope="module")
def made(environment: Callable[[str], Environment]) -> dict[str, Told]:
    """Make all of them in one process, one after the other, with the fake before and after."""
    done = environment("broken").run("-c", MADE, "fake", *CAUSES, "needs-options")
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, Told] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("name", CAUSES)
def test_a_broken_plugin_gets_one_clear_error(made: dict[str, Told], name: str) -> None:
    """The error names distribution, version, target and cause, in words and as attributes."""
    error, word = CAUSES[name]
    told = made[name]
    assert told["error"] == error
    for expected in (f"intercede-{name}", "0.1", f"intercede_{name.replace('-', '_')}:", word):
        assert expected in told["message"]
    facts = told["attributes"]
    assert (facts["group"], facts["name"]) == ("backends", name)
    assert (facts["distribution"], facts["version"]) == (f"intercede-{name}", "0.1")


def test_an_error_while_loading_has_its_cause(made: dict[str, Told]) -> None:
    """The exception of the plugin is the cause of the error."""
    causes = [made[name]["attributes"]["cause"] for name in ("broken-import", "exits-on-import")]
    assert causes == ["ModuleNotFoundError", "SystemExit"]


def test_all_violations_are_listed_at_once(made: dict[str, Told]) -> None:
    """One error lists the violations of both incomplete capabilities."""
    violations = made["half-capability"]["attributes"]["violations"]
    assert "fetch_output" in violations
    assert "kill" in violations


def test_other_plugins_work(made: dict[str, Told]) -> None:
    """A right plugin works in the process that has loaded all broken ones."""
    assert (made["fake"]["error"], made["fake"]["message"]) == ("", "FakeBackend")


def test_a_missing_option_is_named(made: dict[str, Told]) -> None:
    """A plugin that needs an option is not broken without it: the error names the field."""
    told = made["needs-options"]
    assert (told["error"], told["attributes"]["field"]) == ("ConfigError", "endpoint")


OPTIONS = """
import json, sys
from intercede import registry
from intercede.contract import ConfigError
try:
    made = registry.backend({"type": "needs-options", **json.loads(sys.argv[1])})
    told = [made.endpoint, made.port]
except ConfigError as error:
    told = [error.field, str(error)]
print(json.dumps(told))
"""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"endpoint": "ce.example.org"}, ["ce.example.org", 443]),
        ({"endpoint": "ce.example.org", "port": "8443"}, ["ce.example.org", 8443]),
    ],
)
def test_options_reach_the_plugin(broken: Environment, options: dict[str, object], expected: list[object]) -> None:
    """Options are passed in the types of their annotations, even if they were given as text."""
    done = broken.run("-c", OPTIONS, json.dumps(options))
    assert json.loads(done.stdout) == expected, done.stderr


@pytest.mark.parametrize(
    ("options", "field", "word"),
    [
        ({"endpoint": "e", "port": "abc"}, "port", "abc"),
        ({"endpoint": "e", "port": True}, "port", "True"),
        ({"endpiont": "e"}, "endpiont", "endpoint"),
        ({"endpoint": "e", "credentials": "k"}, "credentials", "credentials"),
    ],
)
def test_wrong_options_are_named(broken: Environment, options: dict[str, object], field: str, word: str) -> None:
    """The error for a wrong or misspelt option has the field, the value, and what is valid."""
    done = broken.run("-c", OPTIONS, json.dumps(options))
    told = json.loads(done.stdout)
    assert told[0] == field
    assert word in told[1]


def test_malformed_entries_are_listed_and_do_no_harm(broken: Environment) -> None:
    """Entries that cannot be parsed are listed as malformed with the reason, and the valid one works."""
    candidates = [each for each in broken.plugins() if each["distribution"] == "intercede-malformed-metadata"]
    statuses = {each["name"]: each["status"] for each in candidates}
    names = {"two words", "-dash", "bad-target", "no-target"}
    assert statuses == {"well": "active"} | dict.fromkeys(names, "malformed")
    assert all(each["reason"] for each in candidates if each["status"] == "malformed")
    program = (
        "import json; from intercede import registry; print(json.dumps(type(registry.transport('well')).__name__))"
    )
    assert broken.read_json(program) == "LocalTransport"


CHECKED = """
import json, sys
from intercede import registry
plugins = {plugin.name: plugin for plugin in registry.plugins("backends")}
print(json.dumps([registry.check(plugins[name], seconds=float(sys.argv[1])) for name in sys.argv[2:]]))
"""


def test_a_hang_at_import_times_out_in_a_child(broken: Environment) -> None:
    """A plugin whose import never ends is reported after the time limit."""
    began = time.monotonic()
    done = broken.run("-c", CHECKED, "2", "hangs-on-import")
    ((problem,),) = json.loads(done.stdout)
    assert time.monotonic() - began < 20
    assert "2" in problem


def test_a_check_in_a_child_finds_the_same_problems(broken: Environment) -> None:
    """In a child process, a right plugin and one that needs options have no problems; the others have."""
    done = broken.run("-c", CHECKED, "20", "fake", "needs-options", "wrong-shape", "exits-on-import")
    fake, options, shape, exits = json.loads(done.stdout)
    assert (fake, options) == ([], [])
    assert "status" in " ".join(shape)
    assert "this module is a script" in " ".join(exits)
