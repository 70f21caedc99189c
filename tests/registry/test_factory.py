"""The factory: objects from configurations, credentials, and secrets that no error shows."""

from pathlib import Path
from typing import cast

import pytest
from tests.registry.sites import BACKEND, SCHEDULER, TRANSPORT, Site, given_to

from intercede.contract.credentials import CredentialProvider
from intercede.contract.errors import (
    ConfigError,
    PluginDeniedError,
    PluginLoadError,
    PluginNotFoundError,
)
from intercede.registry import Registry


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


def test_a_name_with_a_telling_word_stays_in_the_message() -> None:
    """Only values of a configuration are hidden, names of plugins never."""
    with pytest.raises(PluginNotFoundError, match="transports:token-ring"):
        Registry().transport("token-ring")
