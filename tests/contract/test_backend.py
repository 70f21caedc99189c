"""Which capabilities an object claims, and what the protocols ask for."""

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
    """Claims one capability, withdraws another."""

    find = None

    async def kill(self, handles: object) -> object:
        """Exist."""
        return handles


def test_a_capability_is_claimed_by_having_its_verb() -> None:
    """A verb that is there claims; one that is None, or absent, does not; and isinstance agrees."""
    assert capabilities(OnlyKill()) == {"kill"}
    assert isinstance(OnlyKill(), Cancellable)
    assert not isinstance(OnlyKill(), Findable)


def test_an_instance_can_withdraw_a_capability() -> None:
    """None on the object counts as much as None on its class."""
    backend = OnlyKill()
    backend.kill = None  # type: ignore[method-assign, assignment]  # as a configured backend does

    assert capabilities(backend) == frozenset()


def test_the_protocols_own_function_claims_nothing() -> None:
    """Inheriting a capability's protocol is no implementation of it."""

    class Heir(Cancellable):
        pass

    assert capabilities(Heir) == frozenset()


def test_nothing_of_the_object_runs() -> None:
    """Members are looked up statically, so a proxy that answers for everything claims nothing."""

    class Proxy:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(name)

    assert capabilities(Proxy()) == frozenset()
    assert capabilities(Mock()) == frozenset()


def test_the_capabilities_are_those_of_the_contract() -> None:
    """Six names, each with its protocol, in the order of reports."""
    assert list(CAPABILITIES) == ["output", "kill", "purge", "load", "find", "diagnostics"]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.__name__)
def test_protocols_hold_abstract_methods_with_a_promise_each(protocol: type) -> None:
    """A protocol has methods only, all abstract, each with a docstring."""
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
def test_the_gates_can_be_asked_of_an_object(protocol: type) -> None:
    """The three roles are runtime-checkable, and an arbitrary object is none of them."""
    assert not isinstance(OnlyKill(), protocol)
