"""The factory: objects from configurations, credentials, and secrets that no error shows."""

from pathlib import Path
from typing import cast

import pytest
from tests.registry.sites import BACKEND, SCHEDULER, TRANSPORT, Site, get_options

from intercede.contract.credentials import CredentialProvider
from intercede.contract.errors import (
    ConfigError,
    PluginDeniedError,
    PluginLoadError,
    PluginNotFoundError,
)
from intercede.registry import Registry


def test_a_whole_backend_is_made_from_a_mapping_or_a_name(site: Site) -> None:
    """A whole backend is made from a mapping, or from a name if it needs no options."""
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
def test_the_error_for_invalid_data_names_the_field(
    site: Site, config: dict[str, object], field: str, says: str
) -> None:
    """The error for invalid data has the field, the valid values and the place."""
    site.install("grid", code=BACKEND, backends__grid="Grid")

    with pytest.raises(ConfigError) as caught:
        Registry().backend(config)

    assert says in str(caught.value)
    assert caught.value.field == field
    assert caught.value.where == "the configuration"
    assert "in the configuration" in str(caught.value)


@pytest.mark.parametrize(
    ("config", "field", "says"),
    [
        ({"scheduler": {"type": "direct", "slots": 0}}, "scheduler.slots", "scheduler.slots = 0 is invalid"),
        ({"scheduler": "direct", "slots": 0}, "slots", "slots = 0 is invalid"),
        ({"scheduler": "direct", "batch": {"max_files": -1}}, "batch.max_files", "batch.max_files = -1 is invalid"),
    ],
)
def test_a_constructor_s_config_error_gets_its_place(config: dict[str, object], field: str, says: str) -> None:
    """A ConfigError that a constructor raises gets the place of the option, and is not a broken plugin."""
    with pytest.raises(ConfigError) as caught:
        Registry().backend({"transport": "local", **config})

    assert str(caught.value).startswith(f"{says} in the configuration: ")
    assert (caught.value.field, caught.value.where) == (field, "the configuration")
    assert str(caught.value.expected) in str(caught.value)


def test_a_config_error_without_a_field_or_with_a_place_is_kept(site: Site) -> None:
    """A ConfigError without a field gets a place, and one that has a place is passed on unchanged."""
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


def test_the_built_ins_compose() -> None:
    """The default configuration makes a real BatchBackend."""
    made = Registry().backend({"transport": "local", "scheduler": "direct", "batch": {"max_files": 10}})

    assert type(made).__name__ == "BatchBackend"


def test_names_are_first_tables_of_the_configuration(site: Site, tmp_path: Path) -> None:
    """A name means a table of the configuration first, in a composed backend as well, and errors name the table."""
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
    assert get_options(registry.transport("rsh"))["port"] == 23
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


def test_a_scheduler_with_kwargs_takes_any_option(site: Site) -> None:
    """A scheduler with ``**kwargs`` takes any option; those with annotations are validated."""
    site.install("acme", code=SCHEDULER, schedulers__pbs="Queue")

    made = Registry().scheduler({"type": "pbs", "partition": "p", "anything": [1]})

    assert get_options(made) == {"partition": "p", "user": "nobody", "anything": [1]}


class Provider:
    """A provider that is never used."""


PROVIDER = cast("CredentialProvider", Provider())


def test_credentials_go_to_a_parameter_of_that_name(site: Site) -> None:
    """Credentials go to a parameter of that name only, and a target that needs them says so."""
    site.install("acme", code=TRANSPORT, transports__a="Keyed", transports__b="Demanding", transports__c="Greedy")
    registry = Registry()

    assert vars(registry.transport("a", PROVIDER))["credentials"] is PROVIDER
    assert vars(registry.transport("a"))["credentials"] is None
    assert vars(registry.transport("b", PROVIDER))["credentials"] is PROVIDER
    assert get_options(registry.transport("c", PROVIDER)) == {}
    with pytest.raises(ConfigError, match=r"b needs them.*registry.transport\(config, credentials=provider\)"):
        registry.transport("b")


@pytest.mark.filterwarnings("ignore::intercede.registry.PluginShadowWarning")
def test_no_plugin_receives_credentials_because_it_is_installed(site: Site) -> None:
    """A plugin that shadows a built-in receives credentials only if it is pinned or named with its distribution."""
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
def test_no_error_shows_a_secret(config: dict[str, object], field: str, says: str) -> None:
    """An error shows no password, neither in its message nor in an attribute."""
    with pytest.raises(ConfigError) as caught:
        Registry().backend({"transport": "local", "scheduler": "direct", **config})

    assert says in str(caught.value)
    assert caught.value.field == field
    assert HUSH not in f"{caught.value!r} {vars(caught.value)}"
    assert "write it where it belongs" not in str(caught.value)


def test_secrets_are_removed_from_a_plugin_s_own_errors(site: Site) -> None:
    """If a plugin quotes a secret in its error, ours shows it without the secret."""
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


def test_a_plugin_s_name_with_a_telling_word_is_shown() -> None:
    """Only values of a configuration are hidden, never the names of plugins."""
    with pytest.raises(PluginNotFoundError, match="transports:token-ring"):
        Registry().transport("token-ring")
