"""The rule of precedence: pins, the policy, and which candidate a name means."""

import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.registry.sites import Site, statuses

from intercede.config import load
from intercede.contract.errors import (
    ConfigError,
    PluginAmbiguousError,
    PluginDeniedError,
    PluginNotFoundError,
    PluginPinError,
)
from intercede.registry import PluginShadowWarning, Registry
from intercede.registry.precedence import Pin, parse_pins, parse_policy


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
