"""The rule of precedence: pins, the policy, and which candidate a name means."""

import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.registry.sites import Site, list_statuses

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


def test_a_name_means_the_built_in_if_nothing_shadows_it(site: Site) -> None:
    """Step 3 of the rule: a name means the built-in if no other distribution provides it."""
    registry = Registry()

    assert registry.resolve("transports", "local").builtin
    assert list_statuses(registry, "transports", "local") == {"intercede": "active"}
    assert "3. the built-in: it applies" in str(registry.explain("transports", "local"))


def test_a_name_means_the_only_other_distribution(site: Site) -> None:
    """Step 2 of the rule: without a built-in of that name, the only distribution wins, and there is no warning."""
    site.install("acme", transports__rsh="T")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Registry().resolve("transports", "rsh").distribution == "acme"


def test_shadowing_a_built_in_warns_once_for_a_name_in_a_process(site: Site) -> None:
    """A warning names the distribution, its version, its path, and the line that restores the built-in."""
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
    assert list_statuses(registry, "transports", "local") == {"acme-intercede": "active", "intercede": "shadowed"}
    with pytest.warns(PluginShadowWarning, match="schedulers:direct"):
        registry.resolve("schedulers", "direct")


def test_listing_and_explaining_do_not_warn(site: Site) -> None:
    """plugins() and explain() report shadowing by status and reason, without a warning."""
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
    """If several distributions provide a name, the error lists the pin for each, and other names still resolve."""
    site.install("acme", transports__rsh="T", transports__gsi="T")
    site.install("beta", "2", transports__rsh="T")
    registry = Registry()

    with pytest.raises(PluginAmbiguousError) as caught:
        registry.resolve("transports", "rsh")

    assert caught.value.pins == ("transports:rsh=acme", "transports:rsh=beta")
    assert (caught.value.group, caught.value.name) == ("transports", "rsh")
    assert "INTERCEDE_PREFER=transports:rsh=beta  (mod_beta:T of beta 2 in " in str(caught.value)
    assert registry.resolve("transports", "gsi").distribution == "acme"
    assert list_statuses(registry, "transports", "rsh") == {"acme": "ambiguous", "beta": "ambiguous"}
    assert "there are several, acme and beta" in str(registry.explain("transports", "rsh"))
    assert "So it cannot be resolved." in str(registry.explain("transports", "rsh"))


def test_ambiguity_over_a_built_in_offers_the_built_in_too(site: Site) -> None:
    """The error about an ambiguous name offers the pin for the built-in as well."""
    site.install("acme", transports__local="T")
    site.install("beta", transports__local="T")

    with pytest.raises(PluginAmbiguousError) as caught:
        Registry().resolve("transports", "local")

    assert caught.value.pins == ("transports:local=acme", "transports:local=beta", "transports:local=intercede")


def test_identical_targets_are_no_conflict(site: Site) -> None:
    """Two distributions with the same target, or with that of the built-in, do not conflict."""
    builtin = Registry().resolve("transports", "local").target
    site.install("acme", transports__rsh="common:T", transports__local=builtin)
    site.install("beta", transports__rsh="common:T")
    registry = Registry()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert registry.resolve("transports", "rsh").distribution == "acme"
        assert registry.resolve("transports", "local").builtin

    assert list_statuses(registry, "transports", "rsh") == {"acme": "active", "beta": "shadowed"}
    assert list_statuses(registry, "transports", "local") == {"acme": "shadowed", "intercede": "active"}


def test_malformed_and_ignored_candidates_are_not_eligible(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Malformed and ignored candidates are listed, and a name that has no others is not found, with the reason."""
    site.install("acme", transports__local="not a path:!", transports__odd="not a path:!")
    registry = Registry()

    assert registry.resolve("transports", "local").builtin
    assert list_statuses(registry, "transports", "local") == {"acme": "malformed", "intercede": "active"}
    with pytest.raises(PluginNotFoundError, match="declares it, but is malformed: the target") as caught:
        registry.resolve("transports", "odd")
    assert (caught.value.distribution, caught.value.version) == ("acme", "1.0")

    monkeypatch.chdir(site.path)
    registry.refresh()
    assert list_statuses(registry, "transports", "local") == {"acme": "malformed", "intercede": "active"}


def test_the_working_directory_never_shadows_a_built_in(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin in the working directory may add a name, but never shadows a built-in, even if it is pinned."""
    site.install("here", transports__local="T", transports__fresh="T")
    monkeypatch.chdir(site.path)
    registry = Registry()

    assert registry.resolve("transports", "local").builtin
    assert registry.resolve("transports", "fresh").distribution == "here"
    assert list_statuses(registry, "transports", "local") == {"here": "ignored", "intercede": "active"}
    registry.prefer("transports", "local", "here")
    with pytest.raises(PluginPinError, match="is ignored: found in the working directory only"):
        registry.resolve("transports", "local")


@pytest.mark.parametrize("source", ["code", "environment", "file", "environment's file"])
def test_each_kind_of_pin_decides_and_silences_the_warning(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Step 1 of the rule: a pin in code, in the environment or in the configuration file decides without a warning."""
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
    assert list_statuses(registry, "transports", "local") == {
        "acme-intercede": "pinned",
        "beta": "shadowed",
        "intercede": "shadowed",
    }
    assert str(registry.explain("transports", "local")).splitlines()[1].endswith("applies")


def test_pins_in_code_go_before_the_environment_and_the_file(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pin in code wins over one in the environment, and that over one in the file; changes are seen at once."""
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
    """The pin in every warning restores the built-in."""
    site.install("acme", transports__local="T")
    monkeypatch.setenv("INTERCEDE_PREFER", "transports:local=intercede")

    assert Registry().resolve("transports", "local").builtin


def test_a_pin_that_matches_nothing_is_an_error_for_that_name(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pin that matches nothing is an error that lists the valid pins; other names still resolve."""
    site.install("acme", transports__rsh="T")
    monkeypatch.setenv("INTERCEDE_PREFER", "transports:rsh=nobody,transports:nothing=acme")
    registry = Registry()

    with pytest.raises(PluginPinError) as caught:
        registry.resolve("transports", "rsh")
    assert caught.value.pin == "transports:rsh=nobody (INTERCEDE_PREFER)"
    assert caught.value.distribution == "nobody"
    assert str(caught.value).endswith("To choose another: INTERCEDE_PREFER=transports:rsh=acme")
    assert list_statuses(registry, "transports", "rsh") == {"acme": "shadowed"}
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
def test_invalid_pins_are_refused(site: Site, monkeypatch: pytest.MonkeyPatch, text: str, says: str) -> None:
    """An invalid pin in the environment is an error for every name."""
    monkeypatch.setenv("INTERCEDE_PREFER", text)

    with pytest.raises(ConfigError, match=r"INTERCEDE_PREFER|transports") as caught:
        Registry().resolve("transports", "local")

    assert says in str(caught.value)
    with pytest.raises(ConfigError):
        Registry().plugins()


def test_prefer_refuses_an_invalid_pin(site: Site) -> None:
    """prefer() refuses an unknown group and an invalid distribution at once."""
    with pytest.raises(ConfigError, match="no group 'nothing'; the groups are backends, schedulers, transports"):
        Registry().prefer("nothing", "rsh", "acme")
    with pytest.raises(ConfigError, match="not a valid distribution"):
        Registry().prefer("transports", "rsh", "acme:rsh")


WORDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,6}", fullmatch=True)


@settings(deadline=None)  # a loaded machine is slow, not wrong
@given(st.dictionaries(st.tuples(st.sampled_from(["backends", "schedulers", "transports"]), WORDS), WORDS))
def test_pins_are_parsed_as_they_are_written(written: dict[tuple[str, str], str]) -> None:
    """Every valid list of pins is parsed into the same groups, names and distributions."""
    text = ",".join(f"{group}:{name}={distribution}" for (group, name), distribution in written.items())

    assert {key: each.distribution for key, each in parse_pins(text).items()} == {
        (group, name): Pin(group, name, distribution, "").distribution
        for (group, name), distribution in written.items()
    }


@settings(deadline=None)  # a loaded machine is slow, not wrong
@given(st.text(max_size=30) | st.text("transports:=, ab", max_size=30))
def test_parsing_pins_and_policies_raises_config_errors_only(text: str) -> None:
    """Any text is parsed or refused with a ConfigError that has a field."""
    for read in (parse_pins, parse_policy):
        try:
            read(text)
        except ConfigError as error:
            assert error.field  # noqa: PT017 -- most texts are refused, some are not


def test_the_policy_allows_the_built_ins_and_the_distributions_in_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Denied candidates are listed, with the line that allows them."""
    site.install("acme", transports__local="T", transports__rsh="T")
    site.install("beta", transports__rsh="T")
    registry = Registry()
    monkeypatch.setenv("INTERCEDE_PLUGINS", "allow:Beta")

    assert registry.resolve("transports", "local").builtin
    assert registry.resolve("transports", "rsh").distribution == "beta"
    assert list_statuses(registry, "transports", "local") == {"acme": "denied", "intercede": "active"}
    with pytest.raises(PluginDeniedError, match="INTERCEDE_PLUGINS=allow:acme,beta"):
        registry.resolve("transports", "acme:rsh")
    monkeypatch.setenv("INTERCEDE_PLUGINS", "allow:")
    with pytest.raises(PluginDeniedError, match="the policy does not list it") as caught:
        registry.resolve("transports", "rsh")
    assert caught.value.distribution == "acme"


@pytest.mark.parametrize("text", ["acme", "deny:acme", "allow", "allow:a b"])
def test_an_invalid_policy_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A typing error in the policy is an error, and does not allow all plugins."""
    monkeypatch.setenv("INTERCEDE_PLUGINS", text)

    with pytest.raises(ConfigError, match="INTERCEDE_PLUGINS=allow:acme-intercede,other") as caught:
        Registry().resolve("transports", "local")
    assert caught.value.field == "INTERCEDE_PLUGINS"
