"""Tests of capabilities and of the protocols of backends, transports and schedulers."""

import inspect
from unittest.mock import Mock

import pytest

from intercede import contract
from intercede.contract import (
    CAPABILITIES,
    Cancellable,
    Findable,
    JobBackend,
    Scheduler,
    Transport,
    capabilities,
)

PROTOCOLS = [
    getattr(contract, name) for name in contract.__all__ if getattr(getattr(contract, name), "_is_protocol", False)
]


class OnlyKill:
    """A backend that claims one capability and withdraws another."""

    find = None

    async def kill(self, handles: object) -> object:
        """Exist, so that the capability is claimed."""
        return handles


def test_a_capability_is_claimed_by_having_its_verb() -> None:
    """An existing verb claims a capability; a verb that is None or absent does not, and isinstance agrees."""
    assert capabilities(OnlyKill()) == {"kill"}
    assert isinstance(OnlyKill(), Cancellable)
    assert not isinstance(OnlyKill(), Findable)


def test_an_instance_can_withdraw_a_capability() -> None:
    """A verb that is None on the object withdraws a capability like None on the class."""
    backend = OnlyKill()
    backend.kill = None  # type: ignore[method-assign, assignment]  # as a configured backend does

    assert capabilities(backend) == frozenset()


def test_the_protocols_own_function_claims_nothing() -> None:
    """Inheriting a capability's protocol does not claim it."""

    class Heir(Cancellable):
        pass

    assert capabilities(Heir) == frozenset()


def test_no_code_of_the_object_runs() -> None:
    """Members are looked up statically, so a proxy for any attribute claims no capability."""

    class Proxy:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(name)

    assert capabilities(Proxy()) == frozenset()
    assert capabilities(Mock()) == frozenset()


def test_the_capabilities_are_those_of_the_contract() -> None:
    """The six capabilities have a name and a protocol each, in the order of reports."""
    assert list(CAPABILITIES) == ["output", "kill", "purge", "load", "find", "diagnostics"]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.__name__)
def test_protocols_have_documented_abstract_methods(protocol: type) -> None:
    """A protocol has only abstract methods, each with a docstring."""
    members = {
        name: value
        for cls in protocol.__mro__
        for name, value in vars(cls).items()
        if cls.__module__.startswith("intercede")
    }
    methods = {name: value for name, value in members.items() if inspect.isfunction(value) and name != "__init__"}
    own = {name for name in methods if name not in ("_proto_hook", "__subclasshook__", "_no_init_or_replace_init")}

    assert own
    assert own == getattr(protocol, "__abstractmethods__", None)
    assert all(inspect.getdoc(methods[name]) for name in own)
    assert not vars(protocol).get("__annotations__")


@pytest.mark.parametrize("protocol", [JobBackend, Transport, Scheduler])
def test_the_protocols_are_runtime_checkable(protocol: type) -> None:
    """The three roles are runtime-checkable, and an arbitrary object satisfies none of them."""
    assert not isinstance(OnlyKill(), protocol)
