"""Options: their types, their owners, and the errors about them."""
# ruff: noqa: D102 -- the verbs of test doubles say what they do in the contract

from collections.abc import Callable
from typing import Self, cast

import pytest
from tests.registry.sites import SCHEDULER, TRANSPORT, Site, given_to

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


def test_a_misspelt_option_gets_one_piece_of_advice() -> None:
    """The nearest option, and all that there are: not a place for what is no option."""
    with pytest.raises(ConfigError) as caught:
        Registry().backend({"transport": "ssh", "scheduler": "direct", "hots": "login.example.org"})

    assert str(caught.value).startswith("hots is not an option in the configuration; the options are: ")
    assert "the scheduler: slots" in str(caught.value)
    assert str(caught.value).endswith("; did you mean 'host'?")
    assert "credentials" not in str(caught.value)  # they are no data
    assert "write" not in str(caught.value)
