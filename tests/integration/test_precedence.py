"""A name means one distribution: by shadowing, pins and the policy. Credentials follow the same rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Environment

# Resolves its arguments, pairs of a group and a name, and prints each result and warning.
RESOLVE = """
import json, sys, warnings
from intercede import registry
from intercede.contract import PluginError

def told(group, name):
    try:
        return registry.resolve(group, name).distribution
    except PluginError as error:
        return [type(error).__name__, str(error), {k: v for k, v in vars(error).items() if k != "__notes__"}]

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    answers = [told(*name.split("/")) for name in sys.argv[1:]]
print(json.dumps([answers, [[w.category.__name__, str(w.message)] for w in caught]]))
"""

MADE = """
import json, sys, warnings
from intercede import registry
warnings.simplefilter("ignore")
print(json.dumps([type(registry.transport(name)).__name__ for name in sys.argv[1:]]))
"""

JOB = """
import asyncio, json, warnings
from intercede import registry
from intercede.contract import SubmissionSpec
warnings.simplefilter("ignore")

async def main():
    batch = {"root": "jobs"}
    async with registry.backend({"transport": "local", "scheduler": "direct", "batch": batch}) as backend:
        handles = (await backend.submit(SubmissionSpec(executable="true"))).handles.values()
        async with asyncio.timeout(30):
            while True:
                (status,) = (await backend.status(handles)).values()
                if status.state.final:
                    return status.state
                await asyncio.sleep(0.02)

print(json.dumps(asyncio.run(main())))
"""


def resolve_names(environment: Environment, *names: str, **variables: str) -> tuple[list[object], list[list[str]]]:
    """Resolve names in one process of the environment, and return the answers and the warnings."""
    done = environment.run("-c", RESOLVE, *names, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    return cast("tuple[list[object], list[list[str]]]", tuple(json.loads(done.stdout)))


def expect_error(answer: object, error: str) -> tuple[str, dict[str, object]]:
    """Check that this error was raised, and return its message and attributes."""
    raised, message, attributes = cast("tuple[str, str, dict[str, object]]", answer)
    assert raised == error
    return message, attributes


# One other distribution


def test_the_only_other_distribution_wins_with_a_warning(shadowed: Environment) -> None:
    """One warning names the distribution, its version, its path, and the line that restores the built-in."""
    answers, warnings = resolve_names(shadowed, "transports/local", "transports/local", "transports/local")
    assert answers == ["intercede-site-local"] * 3
    ((category, message),) = warnings
    assert category == "PluginShadowWarning"
    for word in ("intercede-site-local", "0.1", str(shadowed.site_packages), "transports:local=intercede"):
        assert word in message


def test_a_wrap_counts_what_runs_through_it(shadowed: Environment, tmp_path: Path) -> None:
    """A job over the shadowed name runs through the wrapping plugin and then through the built-in."""
    done = shadowed.run("-c", JOB, INTERCEDE_SITE_LOCAL_COUNT=str(tmp_path / "count"))
    assert json.loads(done.stdout) == "DONE", done.stderr
    assert set((tmp_path / "count").read_text().split()) == {"run"}


def test_a_pinned_built_in_is_not_wrapped(shadowed: Environment, tmp_path: Path) -> None:
    """The built-in runs the job with the pin that the warning shows, and the wrapping plugin is not used."""
    variables = {
        "INTERCEDE_SITE_LOCAL_COUNT": str(tmp_path / "count"),
        "INTERCEDE_PREFER": "transports:local=intercede",
    }
    done = shadowed.run("-c", JOB, **variables)
    assert json.loads(done.stdout) == "DONE", done.stderr
    assert not (tmp_path / "count").exists()


def test_a_qualified_name_means_its_distribution(shadowed: Environment) -> None:
    """DISTRIBUTION:NAME means that distribution's entry, in any spelling, whatever shadows or pins the name."""
    names = ("intercede:local", "intercede-site-local:local", "Intercede_Site.Local:local")
    expected = ["LocalTransport", "CountingTransport", "CountingTransport"]
    for pin in ("", "transports:local=intercede", "transports:local=intercede-site-local"):
        done = shadowed.run("-c", MADE, *names, INTERCEDE_PREFER=pin)
        assert json.loads(done.stdout) == expected, done.stderr


def test_the_shadowed_candidate_is_listed(shadowed: Environment) -> None:
    """The list has the winner and the shadowed candidate, with the reason."""
    told = shadowed.plugins()
    statuses = {each["distribution"]: each["status"] for each in told if each["name"] == "local"}
    assert statuses == {"intercede": "shadowed", "intercede-site-local": "active"}
    (reason,) = [each["reason"] for each in told if each["status"] == "shadowed"]
    assert "intercede-site-local" in reason


# Pins


@pytest.mark.parametrize("distribution", ["intercede", "intercede-site-local", "Intercede.Site_Local"])
def test_a_pin_in_the_environment_decides_without_a_warning(shadowed: Environment, distribution: str) -> None:
    """INTERCEDE_PREFER chooses either distribution, in any spelling, without a warning."""
    answers, warnings = resolve_names(shadowed, "transports/local", INTERCEDE_PREFER=f"transports:local={distribution}")
    assert (answers, warnings) == ([distribution.lower().replace("_", "-").replace(".", "-")], [])


def test_a_pin_in_the_configuration_file_decides(shadowed: Environment, tmp_path: Path) -> None:
    """[prefer] in the file of INTERCEDE_CONFIG decides; no other file is looked for."""
    (tmp_path / "intercede.toml").write_text('[prefer]\ntransports.local = "intercede"\n')
    assert resolve_names(shadowed, "transports/local", INTERCEDE_CONFIG="intercede.toml") == (["intercede"], [])
    assert resolve_names(shadowed, "transports/local")[0] == ["intercede-site-local"]


def test_a_pin_in_code_decides(shadowed: Environment) -> None:
    """registry.prefer decides, even after the name was resolved otherwise."""
    program = RESOLVE.replace(
        "answers =", "told('transports', 'local'); registry.prefer('transports', 'local', 'intercede'); answers ="
    )
    done = shadowed.run("-c", program, "transports/local")
    assert json.loads(done.stdout)[0] == ["intercede"]


def test_a_pin_in_code_wins_over_environment_and_file(shadowed: Environment, tmp_path: Path) -> None:
    """A pin in code wins over the environment variable, and that over the file."""
    (tmp_path / "intercede.toml").write_text('[prefer]\ntransports.local = "intercede"\n')
    variables = {"INTERCEDE_CONFIG": "intercede.toml", "INTERCEDE_PREFER": "transports:local=intercede-site-local"}
    assert resolve_names(shadowed, "transports/local", **variables) == (["intercede-site-local"], [])
    program = RESOLVE.replace("answers =", "registry.prefer('transports', 'local', 'intercede'); answers =")
    done = shadowed.run("-c", program, "transports/local", **variables)
    assert json.loads(done.stdout) == [["intercede"], []]


def test_a_pin_that_matches_nothing_is_an_error_for_its_name_alone(shadowed: Environment) -> None:
    """The error names the pin and the valid ones, and other names still resolve."""
    variables = {"INTERCEDE_PREFER": "transports:local=acme-intercede"}
    answers, warnings = resolve_names(shadowed, "transports/local", "backends/fake", "schedulers/direct", **variables)
    message, attributes = expect_error(answers[0], "PluginPinError")
    for word in (
        "acme-intercede",
        "INTERCEDE_PREFER",
        "transports:local=intercede-site-local",
        "transports:local=intercede",
    ):
        assert word in message
    assert (attributes["group"], attributes["name"]) == ("transports", "local")
    assert (answers[1:], warnings) == (["intercede-fake", "intercede"], [])


# Several other distributions


def test_two_rivals_make_an_error_for_that_name_only(rivals: Environment) -> None:
    """The error about two distributions lists each candidate with its pin; other names still resolve."""
    answers, warnings = resolve_names(rivals, "transports/local", "backends/fake", "schedulers/direct")
    message, attributes = expect_error(answers[0], "PluginAmbiguousError")
    pins = [f"transports:local={name}" for name in ("intercede", "intercede-rival-local", "intercede-site-local")]
    assert attributes["pins"] == pins
    assert all(f"INTERCEDE_PREFER={pin}" in message for pin in pins)
    assert (answers[1:], warnings) == (["intercede-fake", "intercede"], [])


@pytest.mark.parametrize("distribution", ["intercede", "intercede-rival-local", "intercede-site-local"])
def test_any_of_the_rivals_can_be_pinned(rivals: Environment, distribution: str) -> None:
    """The pin that the error shows decides, without a warning; so does a qualified name without any pin."""
    pin = {"INTERCEDE_PREFER": f"transports:local={distribution}"}
    assert resolve_names(rivals, "transports/local", **pin) == ([distribution], [])
    assert resolve_names(rivals, f"transports/{distribution}:local") == ([distribution], [])


# Policy


def test_policy_denies_and_keeps_visible(shadowed: Environment) -> None:
    """INTERCEDE_PLUGINS allows its list and the built-ins; denied candidates are refused and still listed."""
    policy = {"INTERCEDE_PLUGINS": "allow:intercede-fake"}
    names = ("transports/local", "backends/fake", "transports/intercede-site-local:local")
    answers, warnings = resolve_names(shadowed, *names, **policy)
    assert (answers[:2], warnings) == (["intercede", "intercede-fake"], [])
    assert "intercede-site-local" in expect_error(answers[2], "PluginDeniedError")[0]
    told = shadowed.plugins(**policy)
    assert [each["distribution"] for each in told if each["status"] == "denied"] == ["intercede-site-local"]


def test_policy_resolves_an_ambiguity(rivals: Environment) -> None:
    """Denied candidates are not eligible, so if one of two rivals is denied the other wins."""
    answers, _ = resolve_names(rivals, "transports/local", INTERCEDE_PLUGINS="allow:intercede-rival-local")
    assert answers == ["intercede-rival-local"]


def test_a_denied_plugin_cannot_be_pinned(shadowed: Environment) -> None:
    """A pin to a denied distribution matches nothing."""
    variables = {"INTERCEDE_PLUGINS": "allow:", "INTERCEDE_PREFER": "transports:local=intercede-site-local"}
    answers, _ = resolve_names(shadowed, "transports/local", **variables)
    assert "denied" in expect_error(answers[0], "PluginPinError")[0]


# Credentials

CREDENTIALS = """
import json, sys, warnings
from intercede import registry
from intercede.contract import PluginDeniedError
warnings.simplefilter("ignore")

class Provider:
    async def __aenter__(self): return self
    async def __aexit__(self, *exception): pass
    async def get(self, need): raise AssertionError("nobody should ask")

provider = Provider()
try:
    told = registry.transport(sys.argv[1], provider).credentials is provider
except PluginDeniedError as error:
    told = str(error)
print(json.dumps(told))
"""


def test_credentials_are_withheld_from_an_unpinned_winner(shadowed: Environment) -> None:
    """A plugin that shadows a built-in without a pin receives no credentials: the error has the pin."""
    done = shadowed.run("-c", CREDENTIALS, "local")
    told = json.loads(done.stdout)
    assert isinstance(told, str)
    assert "INTERCEDE_PREFER=transports:local=intercede-site-local" in told


def test_a_pinned_winner_gets_the_credentials(shadowed: Environment) -> None:
    """A plugin that is pinned or named with its distribution receives the provider itself."""
    pin = {"INTERCEDE_PREFER": "transports:local=intercede-site-local"}
    assert json.loads(shadowed.run("-c", CREDENTIALS, "local", **pin).stdout) is True
    assert json.loads(shadowed.run("-c", CREDENTIALS, "intercede-site-local:local").stdout) is True
