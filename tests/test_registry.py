"""The registry: what a name means, by which rule, and what is made of it."""
# ruff: noqa: D102 -- the verbs of test doubles say what they do in the contract

import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import invalidate_caches
from pathlib import Path
from typing import Self, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intercede.config import load
from intercede.contract.credentials import CredentialProvider
from intercede.contract.errors import (
    ConfigError,
    PluginAmbiguousError,
    PluginContractError,
    PluginDeniedError,
    PluginError,
    PluginLoadError,
    PluginNotFoundError,
    PluginPinError,
)
from intercede.registry import Plugin, PluginShadowWarning, Registry, resolver
from intercede.registry.precedence import Pin, parse_pins, parse_policy

TRANSPORT = '''
import typing

class Site:
    """A transport that keeps what it was made with."""

    def __init__(self, host="here", port: int = 22, *, user: "str | None" = None, strict: bool = True,
                 names: typing.Sequence[str] = (), odd: "NoSuchType" = None):
        self.given = {"host": host, "port": port, "user": user, "strict": strict, "names": names, "odd": odd}

    async def __aenter__(self): return self
    async def __aexit__(self, *_): return None
    async def run(self, argv, *, stdin=None, stdout=None): raise NotImplementedError

class Keyed(Site):
    def __init__(self, credentials=None): self.credentials = credentials

class Demanding(Site):
    def __init__(self, credentials): self.credentials = credentials

class Greedy(Site):
    def __init__(self, **options): self.given = options

class Named(Site):
    def __init__(self, host: str): self.host = host
'''
SCHEDULER = """
class Queue:
    def __init__(self, partition: str = "all", user="nobody", **more):
        self.given = {"partition": partition, "user": user, **more}

    def stages_own_files(self): return False
    def submit_script(self, batch): return ""
    def parse_submit(self, batch, result): return None
    def status_script(self): return ""
    def parse_status(self, ids, result): return {}
    def kill_script(self): return ""
    def parse_kill(self, ids, result): return {}
    def list_script(self, stamp): return ""
    def parse_list(self, result): return {}
"""
BACKEND = """
class Grid:
    def __init__(self, endpoint: str = "nowhere"): self.endpoint = endpoint
    async def __aenter__(self): return self
    async def __aexit__(self, *_): return None
    async def submit(self, spec, copies=1): raise NotImplementedError
    async def status(self, handles): return {}

class Mute(Grid):
    status = None
"""


class Site:
    """A directory on the path that distributions are installed into."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def install(self, distribution: str, version: str = "1.0", /, code: str = "", **entries: str) -> Path:
        """Install a distribution whose module has its name; ``entries``: ``group__name`` -> attribute or target."""
        stem = distribution.replace("-", "_")
        module = f"mod_{stem}"
        metadata = self.path / f"{stem}-{version}.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines: list[str] = []
        for key, target in entries.items():
            group, _, name = key.partition("__")
            lines.append(f"[intercede.{group}]\n{name} = {target if ':' in target else f'{module}:{target}'}\n")
        (metadata / "entry_points.txt").write_text("".join(lines))
        (self.path / f"{module}.py").write_text(code)
        invalidate_caches()  # a directory that changes twice within a tick of its clock is else not looked at again
        return metadata


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A directory at the front of the path, a process that was never warned, and no settings from outside."""
    for variable in ("INTERCEDE_PREFER", "INTERCEDE_PLUGINS", "INTERCEDE_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(resolver, "_warned", set[tuple[str, str]]())
    monkeypatch.setattr(resolver, "_running", dict[tuple[str, str], str]())
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    before = set(sys.modules)
    yield Site(tmp_path / "site")
    for module in set(sys.modules) - before:
        if module.startswith("mod_"):
            del sys.modules[module]


def statuses(registry: Registry, group: str, name: str) -> dict[str, str]:
    """Tell distribution -> status of a name's candidates."""
    return {each.distribution: each.status for each in registry.plugins(group) if each.name == name}


def given_to(made: object) -> dict[str, object]:
    """Return what one of the doubles above was made with."""
    return cast("dict[str, object]", vars(made)["given"])


# The rule


def test_the_built_in_is_meant_if_nothing_shadows_it(site: Site) -> None:
    """Step 3 of the rule."""
    registry = Registry()

    assert registry.resolve("transports", "local").builtin
    assert statuses(registry, "transports", "local") == {"intercede": "active"}
    assert "3. the built-in: it applies" in str(registry.explain("transports", "local"))


def test_the_one_other_distribution_is_meant(site: Site) -> None:
    """Step 2 of the rule, without a built-in of that name: no warning, nothing to say."""
    site.install("acme", transports__rsh="T")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Registry().resolve("transports", "rsh").distribution == "acme"


def test_shadowing_a_built_in_is_warned_of_once_a_name_and_process(site: Site) -> None:
    """Step 2 of the rule: the warning says who, which version, where, and the line that restores the built-in."""
    metadata = site.install("acme-intercede", "0.3", transports__local="T", schedulers__direct="S")
    registry = Registry()

    with pytest.warns(PluginShadowWarning) as caught:  # noqa: PT031 -- once for all three
        assert registry.resolve("transports", "local").distribution == "acme-intercede"
        assert registry.resolve("transports", "local").distribution == "acme-intercede"
        assert Registry().resolve("transports", "local").distribution == "acme-intercede"

    (warning,) = caught
    message = str(warning.message)
    assert f"acme-intercede 0.3 in {metadata}" in message
    assert "INTERCEDE_PREFER=transports:local=acme-intercede" in message
    assert message.endswith("to restore the built-in: INTERCEDE_PREFER=transports:local=intercede")
    assert warning.filename == __file__
    assert statuses(registry, "transports", "local") == {"acme-intercede": "active", "intercede": "shadowed"}
    with pytest.warns(PluginShadowWarning, match="schedulers:direct"):
        registry.resolve("schedulers", "direct")


def test_enumerating_and_explaining_warn_of_nothing(site: Site) -> None:
    """Whoever looks is told by status and reason."""
    site.install("acme", transports__local="T")
    registry = Registry()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reasons = {each.distribution: each.reason for each in registry.plugins() if each.name == "local"}
        explained = str(registry.explain("transports", "local"))

    assert "shadows the built-in, which INTERCEDE_PREFER=transports:local=intercede restores" in reasons["acme"]
    assert "by acme 1.0 in " in reasons["intercede"]
    assert "2. the one distribution other than intercede: acme applies" in explained
    assert "So it means mod_acme:T of acme 1.0" in explained


def test_several_others_are_ambiguous_for_that_name_only(site: Site) -> None:
    """The error lists every candidate with the exact pin for it; other names keep working."""
    site.install("acme", transports__rsh="T", transports__gsi="T")
    site.install("beta", "2", transports__rsh="T")
    registry = Registry()

    with pytest.raises(PluginAmbiguousError) as caught:
        registry.resolve("transports", "rsh")

    assert caught.value.pins == ("transports:rsh=acme", "transports:rsh=beta")
    assert (caught.value.group, caught.value.name) == ("transports", "rsh")
    assert "INTERCEDE_PREFER=transports:rsh=beta  (mod_beta:T of beta 2 in " in str(caught.value)
    assert registry.resolve("transports", "gsi").distribution == "acme"
    assert statuses(registry, "transports", "rsh") == {"acme": "ambiguous", "beta": "ambiguous"}
    assert "there are several, acme and beta" in str(registry.explain("transports", "rsh"))
    assert "So it cannot be resolved." in str(registry.explain("transports", "rsh"))


def test_ambiguity_over_a_built_in_offers_the_built_in_too(site: Site) -> None:
    """Every candidate is a way out."""
    site.install("acme", transports__local="T")
    site.install("beta", transports__local="T")

    with pytest.raises(PluginAmbiguousError) as caught:
        Registry().resolve("transports", "local")

    assert caught.value.pins == ("transports:local=acme", "transports:local=beta", "transports:local=intercede")


def test_identical_targets_are_no_conflict(site: Site) -> None:
    """Two distributions that declare the same object, or that of the built-in, decide nothing."""
    builtin = Registry().resolve("transports", "local").target
    site.install("acme", transports__rsh="common:T", transports__local=builtin)
    site.install("beta", transports__rsh="common:T")
    registry = Registry()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert registry.resolve("transports", "rsh").distribution == "acme"
        assert registry.resolve("transports", "local").builtin

    assert statuses(registry, "transports", "rsh") == {"acme": "active", "beta": "shadowed"}
    assert statuses(registry, "transports", "local") == {"acme": "shadowed", "intercede": "active"}


def test_malformed_and_ignored_candidates_do_not_count(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are shown, and decide nothing; a name that only they provide is not found, with the reason."""
    site.install("acme", transports__local="not a path:!", transports__odd="not a path:!")
    registry = Registry()

    assert registry.resolve("transports", "local").builtin
    assert statuses(registry, "transports", "local") == {"acme": "malformed", "intercede": "active"}
    with pytest.raises(PluginNotFoundError, match="declares it, but is malformed: the target") as caught:
        registry.resolve("transports", "odd")
    assert (caught.value.distribution, caught.value.version) == ("acme", "1.0")

    monkeypatch.chdir(site.path)
    registry.refresh()
    assert statuses(registry, "transports", "local") == {"acme": "malformed", "intercede": "active"}


def test_what_lies_in_the_working_directory_never_shadows_a_built_in(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even pinned; it may add a name."""
    site.install("here", transports__local="T", transports__fresh="T")
    monkeypatch.chdir(site.path)
    registry = Registry()

    assert registry.resolve("transports", "local").builtin
    assert registry.resolve("transports", "fresh").distribution == "here"
    assert statuses(registry, "transports", "local") == {"here": "ignored", "intercede": "active"}
    registry.prefer("transports", "local", "here")
    with pytest.raises(PluginPinError, match="is ignored: found in the working directory only"):
        registry.resolve("transports", "local")


# Pins


@pytest.mark.parametrize("source", ["code", "environment", "file", "environment's file"])
def test_each_kind_of_pin_decides_and_silences_the_warning(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Step 1 of the rule, from code, from the environment and from the file that was named."""
    site.install("Acme-Intercede", transports__local="T")
    site.install("beta", transports__local="T")
    file = tmp_path / "intercede.toml"
    file.write_text('[prefer]\ntransports.local = "acme_intercede"\n')
    registry = Registry(file if source == "file" else None)
    if source == "code":
        registry.prefer("transports", "local", "ACME.intercede")
    if source == "environment":
        monkeypatch.setenv("INTERCEDE_PREFER", " transports:local = acme-intercede , schedulers:direct=intercede,")
    if source == "environment's file":
        monkeypatch.setenv("INTERCEDE_CONFIG", str(file))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plugin = registry.resolve("transports", "local")

    assert (plugin.distribution, plugin.status) == ("acme-intercede", "pinned")
    assert statuses(registry, "transports", "local") == {
        "acme-intercede": "pinned",
        "beta": "shadowed",
        "intercede": "shadowed",
    }
    assert str(registry.explain("transports", "local")).splitlines()[1].endswith("applies")


def test_code_counts_before_the_environment_and_that_before_the_file(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest decision wins, and the environment is read when it changes."""
    for name in ("one", "two", "three"):
        site.install(name, transports__rsh="T")
    file = tmp_path / "intercede.toml"
    file.write_text('[prefer]\n"transports:rsh" = "one"\n')
    registry = Registry(load(file))

    assert registry.resolve("transports", "rsh").distribution == "one"
    monkeypatch.setenv("INTERCEDE_PREFER", "transports:rsh=two")
    assert registry.resolve("transports", "rsh").distribution == "two"
    registry.prefer("transports", "rsh", "three")
    assert registry.resolve("transports", "rsh").distribution == "three"
    assert Registry().resolve("transports", "rsh").distribution == "two"


def test_a_pin_to_intercede_means_the_built_in(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that every warning shows restores the built-in."""
    site.install("acme", transports__local="T")
    monkeypatch.setenv("INTERCEDE_PREFER", "transports:local=intercede")

    assert Registry().resolve("transports", "local").builtin


def test_a_pin_that_matches_nothing_is_an_error_for_that_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never ignored, says what would do, and leaves other names alone."""
    site.install("acme", transports__rsh="T")
    monkeypatch.setenv("INTERCEDE_PREFER", "transports:rsh=nobody,transports:nothing=acme")
    registry = Registry()

    with pytest.raises(PluginPinError) as caught:
        registry.resolve("transports", "rsh")
    assert caught.value.pin == "transports:rsh=nobody (INTERCEDE_PREFER)"
    assert caught.value.distribution == "nobody"
    assert str(caught.value).endswith("To choose another: INTERCEDE_PREFER=transports:rsh=acme")
    assert statuses(registry, "transports", "rsh") == {"acme": "shadowed"}
    with pytest.raises(PluginPinError, match="remove the pin"):
        registry.resolve("transports", "nothing")
    assert registry.resolve("transports", "local").builtin


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("transports:rsh", "is invalid; expected GROUP:NAME=DISTRIBUTION"),
        ("rsh=acme", "is invalid; expected GROUP:NAME=DISTRIBUTION"),
        (
            "transport:rsh=acme",
            "INTERCEDE_PREFER: 'transport:rsh=acme': there is no group 'transport'; the groups are backends, ",
        ),
        ("transports:s h=acme", "'s h' is not a valid name in INTERCEDE_PREFER"),
        ("transports:rsh=", "'' is not a valid distribution"),
        ("transports:rsh=a,transports:rsh=b", "contradicts transports:rsh=a"),
    ],
)
def test_pins_that_cannot_be_read_are_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    """A typing error in a pin is told, whatever name is asked for."""
    monkeypatch.setenv("INTERCEDE_PREFER", text)

    with pytest.raises(ConfigError, match=r"INTERCEDE_PREFER|transports") as caught:
        Registry().resolve("transports", "local")

    assert says in str(caught.value)
    with pytest.raises(ConfigError):
        Registry().plugins()


def test_prefer_refuses_what_can_be_no_pin(site: Site) -> None:
    """Code that pins is told at once."""
    with pytest.raises(ConfigError, match="no group 'nothing'; the groups are backends, schedulers, transports"):
        Registry().prefer("nothing", "rsh", "acme")
    with pytest.raises(ConfigError, match="not a valid distribution"):
        Registry().prefer("transports", "rsh", "acme:rsh")


WORDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,6}", fullmatch=True)


@settings(deadline=None)  # a loaded machine is slow, not wrong
@given(st.dictionaries(st.tuples(st.sampled_from(["backends", "schedulers", "transports"]), WORDS), WORDS))
def test_pins_read_as_they_are_written(written: dict[tuple[str, str], str]) -> None:
    """What a person may write is read as it is meant."""
    text = ",".join(f"{group}:{name}={distribution}" for (group, name), distribution in written.items())

    assert {key: each.distribution for key, each in parse_pins(text).items()} == {
        (group, name): Pin(group, name, distribution, "").distribution
        for (group, name), distribution in written.items()
    }


@settings(deadline=None)  # a loaded machine is slow, not wrong
@given(st.text(max_size=30) | st.text("transports:=, ab", max_size=30))
def test_no_text_makes_reading_pins_or_the_policy_raise_anything_else(text: str) -> None:
    """Any text is read, or refused with a ConfigError that names the variable or the part."""
    for read in (parse_pins, parse_policy):
        try:
            read(text)
        except ConfigError as error:
            assert error.field  # noqa: PT017 -- most texts are refused, some are not


# Policy and qualified names


def test_the_policy_lets_in_what_it_lists_and_the_built_ins(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is denied stays visible, with the line that lets it in."""
    site.install("acme", transports__local="T", transports__rsh="T")
    site.install("beta", transports__rsh="T")
    registry = Registry()
    monkeypatch.setenv("INTERCEDE_PLUGINS", "allow:Beta")

    assert registry.resolve("transports", "local").builtin
    assert registry.resolve("transports", "rsh").distribution == "beta"
    assert statuses(registry, "transports", "local") == {"acme": "denied", "intercede": "active"}
    with pytest.raises(PluginDeniedError, match="INTERCEDE_PLUGINS=allow:acme,beta"):
        registry.resolve("transports", "acme:rsh")
    monkeypatch.setenv("INTERCEDE_PLUGINS", "allow:")
    with pytest.raises(PluginDeniedError, match="the policy does not list it") as caught:
        registry.resolve("transports", "rsh")
    assert caught.value.distribution == "acme"


@pytest.mark.parametrize("text", ["acme", "deny:acme", "allow", "allow:a b"])
def test_a_policy_that_is_not_understood_lets_nothing_in(
    site: Site, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A typing error must not open what was meant to be shut."""
    monkeypatch.setenv("INTERCEDE_PLUGINS", text)

    with pytest.raises(ConfigError, match="INTERCEDE_PLUGINS=allow:acme-intercede,other") as caught:
        Registry().resolve("transports", "local")
    assert caught.value.field == "INTERCEDE_PLUGINS"


def test_a_qualified_name_means_that_distributions_entry(site: Site) -> None:
    """In code and in data, without warning, whatever else is installed; so a plugin can wrap what it shadows."""
    site.install("acme", code=TRANSPORT, transports__local="Site")
    site.install("beta", code=TRANSPORT, transports__local="Site")
    registry = Registry()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert registry.resolve("transports", "intercede:local").builtin
        assert registry.resolve("transports", "ACME:local").distribution == "acme"
        made = registry.transport({"type": "beta:local", "host": "h"})
    assert given_to(made)["host"] == "h"
    assert "a qualified name means the entry of beta" in str(registry.explain("transports", "beta:local"))
    with pytest.raises(PluginNotFoundError, match="gamma does not provide transports:local; it is provided by acme"):
        registry.resolve("transports", "gamma:local")
    with pytest.raises(PluginNotFoundError, match="no other does; did you mean 'local'"):
        registry.resolve("transports", "intercede:lokal")


# Not found


def test_an_unknown_name_is_answered_with_the_names_there_are(site: Site) -> None:
    """The nearest first, then all, then where else the name exists."""
    site.install("acme", backends__grid="T", transports__only="T")
    registry = Registry()

    with pytest.raises(PluginNotFoundError) as caught:
        registry.resolve("transports", "lokal")
    assert "did you mean 'local'?" in str(caught.value)
    assert {"local", "only"} <= set(caught.value.available)
    with pytest.raises(PluginNotFoundError, match="the group transports has that name"):
        registry.resolve("backends", "only")
    with pytest.raises(ConfigError, match=r"no group 'transport'; the groups are .*; did you mean 'transports'"):
        registry.resolve("transport", "local")
    with pytest.raises(ConfigError):
        registry.plugins("nothing")


def test_dotted_paths_are_no_names(site: Site) -> None:
    """Data never chooses code by its import path."""
    with pytest.raises(PluginNotFoundError):
        Registry().transport({"type": "intercede.transports.local:LocalTransport"})


# Snapshot and refresh


def test_one_snapshot_until_refresh(site: Site) -> None:
    """What is installed or removed meanwhile is seen after refresh(), pins stay."""
    registry = Registry()
    registry.prefer("transports", "rsh", "acme")
    registry.plugins()
    metadata = site.install("acme", transports__rsh="T")
    with pytest.raises(PluginError):
        registry.resolve("transports", "rsh")

    registry.refresh()
    assert registry.resolve("transports", "rsh").status == "pinned"

    (metadata / "entry_points.txt").unlink()
    assert registry.resolve("transports", "rsh").status == "pinned"
    registry.refresh()
    with pytest.raises(PluginPinError):
        registry.resolve("transports", "rsh")


def test_an_upgrade_under_a_running_process_needs_a_restart(site: Site) -> None:
    """The new version is enumerated, with a word on the code that is still the old one's."""
    metadata = site.install("acme", "1.0", code=TRANSPORT, transports__rsh="Site")
    registry = Registry()
    registry.transport("rsh")
    metadata.rename(site.path / "acme-2.0.dist-info")
    registry.refresh()

    (plugin,) = [each for each in registry.plugins("transports") if each.name == "rsh"]

    assert plugin.version == "2.0"
    assert plugin.reason.endswith("; restart needed: the code of 1.0 is loaded, 2.0 is installed")
    assert registry.resolve("transports", "rsh") == registry.explain("transports", "rsh").winner == plugin


def test_enumerating_imports_nothing(site: Site) -> None:
    """Not the plugins, and nothing of pydantic."""
    site.install("loud", code="raise SystemExit('imported')", transports__loud="T")
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; from intercede import registry; found = registry.plugins();"
        "registry.explain('transports', 'loud'); registry.resolve('transports', 'loud');"
        "print(any(p.name == 'loud' for p in found), 'mod_loud' in sys.modules, 'pydantic' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["True", "False", "False"]


def test_problems_of_the_environment_are_told(site: Site) -> None:
    """What could not be read is a sentence, and in the way of nothing."""
    metadata = site.install("acme", transports__rsh="T")
    (metadata / "entry_points.txt").unlink()
    (metadata / "entry_points.txt").mkdir()
    registry = Registry()

    (problem,) = registry.problems()

    assert "acme-1.0.dist-info/entry_points.txt cannot be read" in problem
    with pytest.raises(PluginNotFoundError, match="cannot be read"):
        registry.resolve("transports", "rsh")


# Loading


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import no_such_module_at_all", ModuleNotFoundError),
        ("raise SystemExit(3)", SystemExit),
        ("class Own(BaseException): pass\nraise Own('x')", BaseException),
        ("x = 1", AttributeError),
        ("T = 42", TypeError),
        ("def T(): raise SystemExit(3)", SystemExit),
        ("def T(): raise ValueError('x')", ValueError),
    ],
)
def test_a_broken_plugin_spoils_its_own_name_only(site: Site, code: str, cause: type[BaseException]) -> None:
    """Whatever it raises becomes one error with distribution, version, target and cause."""
    site.install("bad", "0.9", code=code, transports__bad="T")
    registry = Registry()

    with pytest.raises(PluginLoadError) as caught:
        registry.transport("bad")

    error = caught.value
    assert (error.group, error.name, error.distribution, error.version, error.target) == (
        "transports",
        "bad",
        "bad",
        "0.9",
        "mod_bad:T",
    )
    assert isinstance(error.__cause__, cause)
    assert type(error.__cause__).__name__ in str(error)
    assert "repair or uninstall bad" in str(error)
    registry.transport("local")


def test_ctrl_c_is_nobodys_failure(site: Site) -> None:
    """A person who interrupts is not told that a plugin is broken."""
    site.install("slow", code="raise KeyboardInterrupt", transports__slow="T")
    site.install("late", code="def T(): raise KeyboardInterrupt", transports__late="T")

    for name in ("slow", "late"):
        with pytest.raises(KeyboardInterrupt):
            Registry().transport(name)


def test_a_failed_import_is_remembered_until_refresh(site: Site) -> None:
    """The second try would meet a half-imported module; after a repair, refresh() tries again."""
    site.install("bad", code="raise OSError('broken')", transports__bad="Site")
    registry = Registry()
    with pytest.raises(PluginLoadError):
        registry.transport("bad")
    (site.path / "mod_bad.py").write_text(TRANSPORT + "# repaired")

    with pytest.raises(PluginLoadError, match="OSError: broken"):
        registry.transport("bad")
    registry.refresh()
    assert given_to(registry.transport("bad"))["host"] == "here"


def test_a_broken_winner_never_falls_back(site: Site) -> None:
    """Its error names the pin that restores the built-in; nothing is chosen silently."""
    site.install("bad", code="raise OSError", transports__local="T")

    with pytest.warns(PluginShadowWarning), pytest.raises(PluginLoadError) as caught:
        Registry().transport("local")

    assert str(caught.value).endswith("choose another: INTERCEDE_PREFER=transports:local=intercede")


def test_the_gate_refuses_with_everything_that_is_wrong(site: Site) -> None:
    """Distribution, version, target, and each violation."""
    site.install("half", "2.1", code=BACKEND, backends__half="Mute", transports__half="Mute")

    with pytest.raises(PluginContractError) as caught:
        Registry().backend("half")
    error = caught.value
    assert error.violations == ("status is missing: the contract has async def status(self, handles)",)
    assert (error.distribution, error.version, error.target) == ("half", "2.1", "mod_half:Mute")
    assert "half 2.1 in " in str(error)
    assert error.violations[0] in str(error)
    with pytest.raises(PluginContractError, match="run is missing"):
        Registry().transport("half")


def test_a_class_that_python_will_not_make_is_the_gates_affair(site: Site) -> None:
    """A class that inherits the protocol and lacks a verb gets the gate's words, not Python's."""
    code = "from intercede.contract import Transport\nclass T(Transport):\n    async def run(self, argv): ..."
    site.install("abstract", code=code, transports__abstract="T")

    with pytest.raises(PluginContractError) as caught:
        Registry().transport("abstract")

    assert [each.split()[0] for each in caught.value.violations] == ["__aenter__", "__aexit__", "run(argv)"]


# Configuration


def test_a_whole_backend_is_made_from_a_mapping_or_a_name(site: Site) -> None:
    """A name will do where there is nothing to configure."""
    site.install("grid", code=BACKEND, backends__grid="Grid")
    registry = Registry()

    assert vars(registry.backend({"type": "grid", "endpoint": "https://ce"})) == {"endpoint": "https://ce"}
    assert vars(registry.backend("grid")) == {"endpoint": "nowhere"}


@pytest.mark.parametrize(
    ("config", "field", "says"),
    [
        ({}, "type", 'expected {"type": NAME, ...} or {"transport": NAME, "scheduler": NAME, ...}'),
        ({"typ": "grid"}, "type", "type is missing in the configuration; expected"),
        ({"typ": "grid"}, "type", "; did you mean 'typ'?"),
        ({"transport": "local"}, "scheduler", "scheduler is missing beside transport"),
        ({"scheduler": "direct"}, "transport", "transport is missing beside scheduler"),
        (
            {"type": "grid", "transport": "local"},
            "type",
            "type cannot be combined with transport in the configuration; expected",
        ),
        ({"type": 3}, "type", "type must be a name, not 3"),
        ({"transport": 3, "scheduler": "direct"}, "transport", "transport must be a name or a table, not 3"),
        ({"transport": {}, "scheduler": "direct"}, "transport.type", "transport.type is missing"),
        ({"type": "grid", "endpont": "x"}, "endpont", "the options are: endpoint; did you mean 'endpoint'?"),
        ({"type": "grid", "endpoint": 3}, "endpoint", "endpoint = 3 is invalid"),
        (
            {"type": "grid", "credentials": "x"},
            "credentials",
            "credentials must not be given in the configuration; pass a provider in code: registry.backend(",
        ),
        ({3: 4}, "backends", "must be a name or a table"),
    ],
)
def test_wrong_data_is_told_by_field(site: Site, config: dict[str, object], field: str, says: str) -> None:
    """What was given, what would do, where."""
    site.install("grid", code=BACKEND, backends__grid="Grid")

    with pytest.raises(ConfigError) as caught:
        Registry().backend(config)

    assert says in str(caught.value)
    assert caught.value.field == field
    assert caught.value.where == "the configuration"
    assert "in the configuration" in str(caught.value)


@pytest.mark.parametrize(
    ("option", "value", "made"),
    [
        ("port", "22", 22),
        ("port", 22, 22),
        ("user", None, None),
        ("strict", "no", False),
        ("strict", True, True),
        ("names", ["a"], ["a"]),
        ("odd", {"any": "thing"}, {"any": "thing"}),
        ("host", 3, 3),
    ],
)
def test_options_take_their_annotations_type(site: Site, option: str, value: object, made: object) -> None:
    """Text from a file becomes a number; what has no annotation, or none that can be resolved, is not validated."""
    site.install("acme", code=TRANSPORT, transports__rsh="Site")

    assert given_to(Registry().transport({"type": "rsh", option: value}))[option] == made


@pytest.mark.parametrize(
    ("option", "value"), [("port", "abc"), ("port", True), ("user", 3), ("names", "abc"), ("names", [3])]
)
def test_a_value_of_another_type_is_refused_by_name(site: Site, option: str, value: object) -> None:
    """A bool is no int, a text is no list of texts."""
    site.install("acme", code=TRANSPORT, transports__rsh="Site")

    with pytest.raises(ConfigError) as caught:
        Registry().transport({"type": "rsh", option: value})

    assert (caught.value.field, caught.value.value) == (option, value)
    assert str(caught.value.expected) in str(caught.value)


def test_a_missing_option_is_told(site: Site) -> None:
    """Instead of Python's words on missing arguments."""
    site.install("acme", code=TRANSPORT, transports__rsh="Named")

    with pytest.raises(ConfigError, match="host is missing in the configuration; Named needs it"):
        Registry().transport("rsh")


class Composed:
    """A BatchBackend that keeps what it was made with."""

    def __init__(self, transport: object, scheduler: object, *, root: str | None = None, max_files: int = 5) -> None:
        self.transport = transport
        self.scheduler = scheduler
        self.options = (root, max_files)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...
    async def submit(self, spec: object, copies: object = 1) -> None: ...
    async def status(self, handles: object) -> None: ...


@pytest.fixture
def composing(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, object]], Composed]:
    """Compose with a double in BatchBackend's place; return what was made of a configuration."""
    monkeypatch.setattr("intercede.batch.BatchBackend", Composed, raising=False)
    site.install("acme", code=TRANSPORT + SCHEDULER, transports__rsh="Site", schedulers__pbs="Queue")
    site.install("greedy", code=TRANSPORT, transports__greedy="Greedy")
    registry = Registry()
    return lambda config: cast("Composed", registry.backend(config))


def test_flat_options_go_to_whichever_has_a_parameter_of_that_name(
    composing: Callable[[dict[str, object]], Composed],
) -> None:
    """The short form, with names alone."""
    made = composing(
        {"transport": "rsh", "scheduler": "pbs", "host": "h", "partition": "p", "batch": {"max_files": "7"}}
    )

    assert given_to(made.transport)["host"] == "h"
    assert given_to(made.scheduler) == {"partition": "p", "user": "nobody"}
    assert made.options == (None, 7)


def test_nested_options_belong_to_their_table(composing: Callable[[dict[str, object]], Composed]) -> None:
    """The form for files; what takes any option takes it here."""
    made = composing(
        {
            "transport": {"type": "rsh", "user": "me"},
            "scheduler": {"type": "acme:pbs", "user": "you", "anything": 1},
            "port": "2222",
        }
    )

    assert (given_to(made.transport)["user"], given_to(made.transport)["port"]) == ("me", 2222)
    assert given_to(made.scheduler) == {"partition": "all", "user": "you", "anything": 1}


@pytest.mark.parametrize(
    ("more", "field", "says"),
    [
        (
            {"user": "me"},
            "user",
            "user is ambiguous in the configuration; both the transport and the scheduler have it: write",
        ),
        ({"user": "me"}, "user", 'have it: write "transport": {"type": ..., "user": ...}'),
        (
            {"anything": 1},
            "anything",
            "anything is not an option in the configuration; the options are: the transport: ",
        ),
        (
            {"max_files": 1},
            "max_files",
            'misplaced in the configuration; it belongs to BatchBackend: write "batch": {"max_files": 1}',
        ),
        ({"max_file": 1}, "max_file", "max_file is not an option in the configuration; the options are: "),
        ({"max_file": 1}, "max_file", "; did you mean 'max_files'?"),
        ({"prot": 1}, "prot", "did you mean 'port'?"),
        ({"port": "x"}, "port", "port = 'x' is invalid"),
        (
            {"credentials": 1},
            "credentials",
            "credentials must not be given in the configuration; pass a provider in code: registry.backend(",
        ),
        ({"batch": {"rot": 1}}, "batch.rot", "the options are: root, max_files; did you mean 'root'?"),
        ({"batch": {"transport": "x"}}, "batch.transport", "is not an option"),
        ({"batch": 3}, "batch", "must be a name or a table"),
        ({"transport": {"type": "rsh", "port": "x"}}, "transport.port", "transport.port = 'x' is invalid"),
        (
            {"transport": {"type": "rsh", "port": 1}, "port": 2},
            "port",
            "port is given twice in the configuration; keep this one or transport.port",
        ),
        (
            {"transport": {"type": "rsh", "credentials": 1}},
            "transport.credentials",
            "credentials must not be given in the configuration; pass a provider in code: registry.backend(",
        ),
        ({"transport": "greedy", "colour": 1}, "colour", 'under "batch": root, max_files'),
    ],
)
def test_options_without_one_owner_are_refused_with_the_nested_form(
    composing: Callable[[dict[str, object]], Composed], more: dict[str, object], field: str, says: str
) -> None:
    """Both or neither: nothing is guessed, and ``**kwargs`` takes nothing in the flat form."""
    with pytest.raises(ConfigError) as caught:
        composing({"transport": "rsh", "scheduler": "pbs", **more})

    assert caught.value.field == field
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("config", "field", "says"),
    [
        ({"scheduler": {"type": "direct", "slots": 0}}, "scheduler.slots", "scheduler.slots = 0 is invalid"),
        ({"scheduler": "direct", "slots": 0}, "slots", "slots = 0 is invalid"),
        ({"scheduler": "direct", "batch": {"max_files": -1}}, "batch.max_files", "batch.max_files = -1 is invalid"),
    ],
)
def test_what_a_constructor_refuses_is_told_with_its_place(config: dict[str, object], field: str, says: str) -> None:
    """A value that its annotation lets through and its class does not is the user's affair, and nobody is broken."""
    with pytest.raises(ConfigError) as caught:
        Registry().backend({"transport": "local", **config})

    assert str(caught.value).startswith(f"{says} in the configuration: ")
    assert (caught.value.field, caught.value.where) == (field, "the configuration")
    assert str(caught.value.expected) in str(caught.value)


def test_a_refusal_without_a_field_or_with_its_own_place_is_passed_on(site: Site) -> None:
    """A factory may judge several options at once, or ask the registry itself."""
    code = (
        "from intercede import registry\nfrom intercede.contract import ConfigError\n"
        "def either(**options): raise ConfigError('host or alias is needed')\n"
        "def wraps(): return registry.Registry().scheduler({'type': 'direct', 'slots': 0})\n"
    )
    site.install("acme", code=code, transports__either="either", schedulers__wraps="wraps")
    registry = Registry()

    with pytest.raises(ConfigError, match=r"^the table is invalid in the configuration: host or alias is needed$"):
        registry.transport("either")
    with pytest.raises(ConfigError, match=r"^slots = 0 is invalid in the configuration: slots must be"):
        registry.scheduler("wraps")
    (plugin,) = [each for each in registry.plugins("transports") if each.name == "either"]
    assert registry.check(plugin) == ()


@pytest.mark.parametrize(
    ("group", "name", "says"),
    [
        (
            "backends",
            "nope",
            'a transport and a scheduler make a backend: {"transport": "local", "scheduler": "direct"}',
        ),
        ("backends", "", "no plugin provides backends:'' (the name is empty); the names are: "),
        ("transports", "", "no plugin provides transports:'' (the name is empty); the names are: local"),
        ("transports", "intercede:", "intercede does not provide transports:'' (the name is empty)"),
        ("backends", "rsh", 'has that name: write {"transport": "rsh", "scheduler": "direct"}'),
        ("transports", "direct", 'has that name: write {"transport": "local", "scheduler": "direct"}'),
        ("schedulers", "grid", 'the group backends has that name: write {"type": "grid"}'),
    ],
)
def test_a_name_that_is_not_there_is_no_dead_end(site: Site, group: str, name: str, says: str) -> None:
    """The error says what to write instead."""
    site.install("acme", transports__rsh="T", backends__grid="B")

    with pytest.raises(PluginNotFoundError) as caught:
        Registry().resolve(group, name)

    assert says in str(caught.value)


def test_the_built_ins_compose() -> None:
    """The embedded default is made from data by the real BatchBackend."""
    made = Registry().backend({"transport": "local", "scheduler": "direct", "batch": {"max_files": 10}})

    assert type(made).__name__ == "BatchBackend"


def test_names_are_first_tables_of_the_configuration(site: Site, tmp_path: Path) -> None:
    """A table's name, then a registered name; in a composed backend as well. Errors name the file and the table."""
    site.install("acme", code=TRANSPORT + SCHEDULER + BACKEND, transports__rsh="Site", backends__grid="Grid")
    file = tmp_path / "intercede.toml"
    file.write_text(
        '[backends.cern]\ntype = "grid"\nendpoint = "e"\n[backends.grid]\ntype = "grid"\nendpoint = "mine"\n'
        '[backends.bad]\ntype = "grid"\nendpoint = 3\n[transports.rsh]\ntype = "rsh"\nport = "23"\n'
        '[transports.worse]\ntype = "rsh"\nport = "x"\n[backends.both]\ntransport = "worse"\nscheduler = "direct"\n'
    )
    registry = Registry(file)

    assert vars(registry.backend("cern"))["endpoint"] == "e"
    assert vars(registry.backend("grid"))["endpoint"] == "mine"
    assert vars(registry.backend({"type": "grid"}))["endpoint"] == "nowhere"
    assert given_to(registry.transport("rsh"))["port"] == 23
    with pytest.raises(
        PluginNotFoundError, match=r"the tables of .* are: bad, both, cern, grid.*; did you mean 'cern'"
    ):
        registry.backend("cerm")
    with pytest.raises(ConfigError) as caught:
        registry.backend("bad")
    assert caught.value.where == f"{file} [backends.bad]"
    with pytest.raises(ConfigError) as caught:
        registry.backend("both")
    assert caught.value.where == f"{file} [transports.worse]"


def test_a_scheduler_is_made_alone_and_takes_any_option_where_it_says_so(site: Site) -> None:
    """Its own table, validated where it is annotated."""
    site.install("acme", code=SCHEDULER, schedulers__pbs="Queue")

    made = Registry().scheduler({"type": "pbs", "partition": "p", "anything": [1]})

    assert given_to(made) == {"partition": "p", "user": "nobody", "anything": [1]}


def test_a_partial_and_a_dataclass_are_targets_too(site: Site) -> None:
    """Any callable that takes its options as keywords; annotations count wherever they were written."""
    code = TRANSPORT + (
        "import functools, dataclasses\n"
        "near = functools.partial(Site, 'near')\n"
        "@dataclasses.dataclass\nclass Data(Site):\n    host: str\n    port: 'int' = 1\n"
        "    @property\n    def given(self): return {'port': self.port}\n"
        "def wild(port: Missing['x'] = 1): return Site(port=port)\n"
    ).replace("Missing['x']", "'Missing'")
    site.install("acme", code=code, transports__near="near", transports__data="Data", transports__wild="wild")
    registry = Registry()

    made = given_to(registry.transport({"type": "near", "port": "3"}))
    assert (made["host"], made["port"]) == ("near", 3)
    assert vars(registry.transport({"type": "data", "host": "h", "port": "3"})) == {"host": "h", "port": 3}
    assert given_to(registry.transport({"type": "wild", "port": "3"}))["port"] == "3"
    with pytest.raises(ConfigError, match="host is missing"):
        registry.transport({"type": "data"})
    with pytest.raises(ConfigError, match="port = 'x' is invalid"):
        registry.transport({"type": "near", "port": "x"})


def test_a_target_whose_signature_cannot_be_read_is_called_with_what_is_given(site: Site) -> None:
    """What is written in C often has none; what it makes of the options is its own affair."""
    code = TRANSPORT + "class Opaque(Greedy): __signature__ = 'none'"
    site.install("acme", code=code, transports__x="Opaque")

    assert given_to(Registry().transport({"type": "x", "any": 1})) == {"any": 1}


# Credentials


class Provider:
    """A provider that nobody asks."""


PROVIDER = cast("CredentialProvider", Provider())


def test_credentials_are_handed_to_a_parameter_of_that_name(site: Site) -> None:
    """And to nothing else; a target that must have them says so in words."""
    site.install("acme", code=TRANSPORT, transports__a="Keyed", transports__b="Demanding", transports__c="Greedy")
    registry = Registry()

    assert vars(registry.transport("a", PROVIDER))["credentials"] is PROVIDER
    assert vars(registry.transport("a"))["credentials"] is None
    assert vars(registry.transport("b", PROVIDER))["credentials"] is PROVIDER
    assert given_to(registry.transport("c", PROVIDER)) == {}
    with pytest.raises(ConfigError, match=r"b needs them.*registry.transport\(config, credentials=provider\)"):
        registry.transport("b")


@pytest.mark.filterwarnings("ignore::intercede.registry.PluginShadowWarning")
def test_nobody_gets_credentials_by_being_installed(site: Site) -> None:
    """What shadows a built-in gets them only when a person said so: by a pin, or by its qualified name."""
    site.install("acme", code=TRANSPORT, transports__local="Keyed")
    registry = Registry()

    with pytest.raises(PluginDeniedError) as caught:
        registry.transport("local", PROVIDER)
    assert caught.value.distribution == "acme"
    assert "INTERCEDE_PREFER=transports:local=acme" in str(caught.value)
    assert vars(registry.transport("local"))["credentials"] is None
    assert vars(registry.transport("acme:local", PROVIDER))["credentials"] is PROVIDER
    registry.prefer("transports", "local", "acme")
    assert vars(registry.transport("local", PROVIDER))["credentials"] is PROVIDER


# In a child process


def checked(site: Site, code: str, attribute: str = "T", seconds: float = 20) -> tuple[str, ...]:
    """Check the only transport ``x``."""
    site.install("sub", "4.2", code=code, transports__x=attribute)
    registry = Registry()
    (plugin,) = [each for each in registry.plugins("transports") if each.name == "x"]
    return registry.check(plugin, seconds)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("print('noise'); raise ImportError('missing thing')", "could not be imported: ImportError: missing thing"),
        ("raise SystemExit(3)", "could not be imported: SystemExit: 3"),
        ("raise KeyboardInterrupt", "could not be imported: KeyboardInterrupt"),
        ("import os; os._exit(7)", "loading it ended the process, with exit code 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "loading it ended the process, with signal 9"),
        ("T = 3", "mod_sub:T is not callable, it is int"),
        ("def T(): raise ValueError('x')", "could not be made: ValueError: x"),
        ("def T(): return 3", "run is missing: the contract has async def run(self, argv, *, stdin=None, stdout=None)"),
    ],
)
def test_a_broken_candidate_is_told_from_a_child_process(site: Site, code: str, says: str) -> None:
    """One clear sentence each; this process loads nothing of it."""
    assert says in checked(site, code)[-1]
    assert "mod_sub" not in sys.modules


def test_a_candidate_that_hangs_is_given_up(site: Site, tmp_path: Path) -> None:
    """In bounded time, and with everything that it started."""
    pid = tmp_path / "pid"
    code = (
        "import subprocess, time, pathlib\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)"
    )

    assert checked(site, code, seconds=5) == ("it was not loaded within 5 s: importing or making it hangs",)
    deadline = time.monotonic() + 30
    while running(int(pid.read_text())):
        assert time.monotonic() < deadline, "what it started is still there"
        time.sleep(0.01)


def running(pid: int) -> bool:
    """Tell whether a process is there, and not merely dead and waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("attribute", ["Site", "Named", "Demanding", "factory"])
def test_a_good_candidate_has_no_problems(site: Site, attribute: str) -> None:
    """What needs options is judged by its class, or where it is a factory, is let be."""
    code = TRANSPORT + "def factory(host): raise OSError\nimport atexit, time; atexit.register(time.sleep, 600)"

    assert checked(site, code, attribute) == ()


def test_a_class_that_needs_options_is_gated_by_the_class(site: Site) -> None:
    """It cannot be made here, but what it lacks can be seen."""
    assert checked(site, TRANSPORT + "class T(Named): run = None")[0].startswith("run is missing")


def test_what_may_not_or_cannot_be_loaded_is_not(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A denied candidate is no problem, and a malformed one has its reason."""
    site.install("acme", code="raise OSError", transports__rsh="T")
    site.install("beta", transports__odd="!:")
    monkeypatch.setenv("INTERCEDE_PLUGINS", "allow:beta")
    registry = Registry()
    by_name = {each.name: each for each in registry.plugins("transports")}

    assert registry.check(by_name["rsh"]) == ()
    assert registry.check(by_name["odd"]) == (by_name["odd"].reason,)


# Everything at once


@pytest.mark.parametrize("seed", ["1", "2"])
def test_hash_seeds_decide_nothing(site: Site, seed: str) -> None:
    """Another interpreter enumerates the same, in the same order, with the same reasons."""
    for letter in "cab":
        site.install(letter, transports__rsh="T", schedulers__direct="S", backends__same="common:B")
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; from intercede import registry; print(*registry.plugins(), sep='\\n')"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )

    assert done.stdout.splitlines() == [repr(each) for each in Registry().plugins()]


def test_the_module_is_one_registry(site: Site) -> None:
    """The functions of the module share a snapshot, and a refresh."""
    from intercede import registry  # noqa: PLC0415 -- as users do

    site.install("acme", transports__fresh="T")
    registry.refresh()

    assert isinstance(registry.resolve("transports", "fresh"), Plugin)
    assert "fresh" in {each.name for each in registry.plugins("transports")}
    assert registry.problems() == ()
    assert registry.check(registry.resolve("transports", "local")) == ()
    site.path.rename(site.path.with_name("gone"))
    registry.refresh()
    assert "fresh" not in {each.name for each in registry.plugins("transports")}


# Secrets

HUSH = "Tr0ub4dor&3"


@pytest.mark.parametrize(
    ("config", "field", "says"),
    [
        ({"password": HUSH}, "password", "a secret is never an option; pass a provider in code: registry.backend("),
        ({"api_token": HUSH}, "api_token", "a secret is never an option"),
        ({"pasword": HUSH}, "pasword", "pasword is not an option"),
        ({"transport": {"type": "local", "password": HUSH}}, "transport.password", "a secret is never an option"),
        ({"batch": {"secret": HUSH}}, "batch.secret", "a secret is never an option"),
        ({"slots": {"password": HUSH}}, "slots", "slots = {'password': '***'} is invalid"),
        ({"slots": f"https://me:{HUSH}@host"}, "slots", "slots = 'https://***@host' is invalid"),
        ({"transport": {"type": {"password": HUSH}}}, "transport.type", "transport.type must be a name"),
        ({"transport": [{"password": HUSH}]}, "transport", "transport must be a name or a table"),
    ],
)
def test_no_error_repeats_a_secret(config: dict[str, object], field: str, says: str) -> None:
    """A password is no option, in whatever place; neither the message nor an attribute shows it, and no advice writes it down."""
    with pytest.raises(ConfigError) as caught:
        Registry().backend({"transport": "local", "scheduler": "direct", **config})

    assert says in str(caught.value)
    assert caught.value.field == field
    assert HUSH not in f"{caught.value!r} {vars(caught.value)}"
    assert "write it where it belongs" not in str(caught.value)


def test_a_plugin_s_own_words_are_told_without_its_secrets(site: Site) -> None:
    """A stranger's plugin may have a secret for an option, and cite it; what is ours repeats it nowhere."""
    code = (
        "from intercede.contract import ConfigError\n"
        "def refuses(*, password): raise ConfigError(f'{password!r} is short', field='password', value=password)\n"
        "def breaks(*, password): raise ValueError(f'{password!r} is short')\n"
        "def typed(*, pin: int): pass\n"
    )
    site.install(
        "acme", code=code, transports__refuses="refuses", transports__breaks="breaks", transports__typed="typed"
    )

    for options in (
        {"type": "refuses", "password": HUSH},
        {"type": "breaks", "password": HUSH},
        {"type": "typed", "pin": "0x1"},
    ):
        with pytest.raises((ConfigError, PluginLoadError)) as caught:
            Registry().transport(options)
        shown = f"{caught.value!r} {vars(caught.value)}"
        assert HUSH not in shown
        assert "0x1" not in shown


def test_a_misspelt_option_gets_one_piece_of_advice() -> None:
    """The nearest option, and all that there are: not a place for what is no option."""
    with pytest.raises(ConfigError) as caught:
        Registry().backend({"transport": "ssh", "scheduler": "direct", "hots": "login.example.org"})

    assert str(caught.value).startswith("hots is not an option in the configuration; the options are: ")
    assert "the scheduler: slots" in str(caught.value)
    assert str(caught.value).endswith("; did you mean 'host'?")
    assert "credentials" not in str(caught.value)  # they are no data
    assert "write" not in str(caught.value)


def test_a_name_with_a_telling_word_stays_in_the_message() -> None:
    """Only values of a configuration are hidden, names of plugins never."""
    with pytest.raises(PluginNotFoundError, match="transports:token-ring"):
        Registry().transport("token-ring")
