"""Options: their types, their owners, and the errors about them."""
# ruff: noqa: D102 -- the verbs of test doubles say what they do in the contract

from collections.abc import Callable
from typing import Self, cast

import pytest
from tests.registry.sites import SCHEDULER, TRANSPORT, Site, get_options

from intercede.contract.errors import (
    ConfigError,
)
from intercede.registry import Registry


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
def test_options_get_the_types_of_their_annotations(site: Site, option: str, value: object, made: object) -> None:
    """Text becomes a number if the annotation says so; without a usable annotation a value is passed as it is."""
    site.install("acme", code=TRANSPORT, transports__rsh="Site")

    assert get_options(Registry().transport({"type": "rsh", option: value}))[option] == made


@pytest.mark.parametrize(
    ("option", "value"), [("port", "abc"), ("port", True), ("user", 3), ("names", "abc"), ("names", [3])]
)
def test_a_value_of_another_type_is_refused_by_name(site: Site, option: str, value: object) -> None:
    """A value of another type is refused with its name: a bool is not an int, and a text is not a list of texts."""
    site.install("acme", code=TRANSPORT, transports__rsh="Site")

    with pytest.raises(ConfigError) as caught:
        Registry().transport({"type": "rsh", option: value})

    assert (caught.value.field, caught.value.value) == (option, value)
    assert str(caught.value.expected) in str(caught.value)


def test_a_missing_option_is_reported(site: Site) -> None:
    """The error for a missing option is our own, not Python's about missing arguments."""
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
    """Return a function that makes a Composed from a configuration, in the place of a BatchBackend."""
    monkeypatch.setattr("intercede.batch.BatchBackend", Composed, raising=False)
    site.install("acme", code=TRANSPORT + SCHEDULER, transports__rsh="Site", schedulers__pbs="Queue")
    site.install("greedy", code=TRANSPORT, transports__greedy="Greedy")
    registry = Registry()
    return lambda config: cast("Composed", registry.backend(config))


def test_flat_options_go_to_the_part_with_a_parameter_of_that_name(
    composing: Callable[[dict[str, object]], Composed],
) -> None:
    """A flat option goes to the part that has a parameter of its name."""
    made = composing(
        {"transport": "rsh", "scheduler": "pbs", "host": "h", "partition": "p", "batch": {"max_files": "7"}}
    )

    assert get_options(made.transport)["host"] == "h"
    assert get_options(made.scheduler) == {"partition": "p", "user": "nobody"}
    assert made.options == (None, 7)


def test_nested_options_belong_to_their_table(composing: Callable[[dict[str, object]], Composed]) -> None:
    """Nested options go to their own table, and a target with ``**kwargs`` takes any of them."""
    made = composing(
        {
            "transport": {"type": "rsh", "user": "me"},
            "scheduler": {"type": "acme:pbs", "user": "you", "anything": 1},
            "port": "2222",
        }
    )

    assert (get_options(made.transport)["user"], get_options(made.transport)["port"]) == ("me", 2222)
    assert get_options(made.scheduler) == {"partition": "all", "user": "you", "anything": 1}


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
    """A flat option that both parts have, or neither, is refused; ``**kwargs`` takes none in this form."""
    with pytest.raises(ConfigError) as caught:
        composing({"transport": "rsh", "scheduler": "pbs", **more})

    assert caught.value.field == field
    assert says in str(caught.value)


def test_a_partial_and_a_dataclass_are_targets_too(site: Site) -> None:
    """Any callable with keyword parameters is a target, and its annotations are resolved in its own module."""
    code = TRANSPORT + (
        "import functools, dataclasses\n"
        "near = functools.partial(Site, 'near')\n"
        "@dataclasses.dataclass\nclass Data(Site):\n    host: str\n    port: 'int' = 1\n"
        "    @property\n    def given(self): return {'port': self.port}\n"
        "def wild(port: Missing['x'] = 1): return Site(port=port)\n"
    ).replace("Missing['x']", "'Missing'")
    site.install("acme", code=code, transports__near="near", transports__data="Data", transports__wild="wild")
    registry = Registry()

    made = get_options(registry.transport({"type": "near", "port": "3"}))
    assert (made["host"], made["port"]) == ("near", 3)
    assert vars(registry.transport({"type": "data", "host": "h", "port": "3"})) == {"host": "h", "port": 3}
    assert get_options(registry.transport({"type": "wild", "port": "3"}))["port"] == "3"
    with pytest.raises(ConfigError, match="host is missing"):
        registry.transport({"type": "data"})
    with pytest.raises(ConfigError, match="port = 'x' is invalid"):
        registry.transport({"type": "near", "port": "x"})


def test_a_target_without_a_readable_signature_gets_all_options(site: Site) -> None:
    """A target whose signature cannot be read, such as C code, is called with the options as they are."""
    code = TRANSPORT + "class Opaque(Greedy): __signature__ = 'none'"
    site.install("acme", code=code, transports__x="Opaque")

    assert get_options(Registry().transport({"type": "x", "any": 1})) == {"any": 1}


def test_a_misspelt_option_gets_one_piece_of_advice() -> None:
    """The error for a misspelt option lists all options and suggests the nearest, and gives no other advice."""
    with pytest.raises(ConfigError) as caught:
        Registry().backend({"transport": "ssh", "scheduler": "direct", "hots": "login.example.org"})

    assert str(caught.value).startswith("hots is not an option in the configuration; the options are: ")
    assert "the scheduler: slots" in str(caught.value)
    assert str(caught.value).endswith("; did you mean 'host'?")
    assert "credentials" not in str(caught.value)  # they are no data
    assert "write" not in str(caught.value)
