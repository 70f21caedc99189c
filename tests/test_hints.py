"""Annotations can be evaluated at run time, as typeguard, cattrs and documentation tools do."""

import inspect
import typing
from collections.abc import Callable, Iterator

import pytest

from intercede import contract, discovery, registry
from intercede.plugin import Plugin


def _list_functions(module: object) -> Iterator[tuple[str, Callable[..., object]]]:
    """Yield the functions of a module and the methods of its classes, private ones included."""
    for name, value in vars(module).items():
        if getattr(value, "__module__", "").startswith("intercede."):
            if inspect.isfunction(value) or inspect.ismethod(value):
                yield name, value
            elif inspect.isclass(value):
                yield from ((f"{name}.{each}", of) for each, of in vars(value).items() if inspect.isfunction(of))


@pytest.mark.parametrize("module", [contract, discovery, registry], ids=lambda module: module.__name__)
def test_every_annotation_can_be_evaluated(module: object) -> None:
    """Annotations can be evaluated even if their types are imported only at use."""
    for name, function in _list_functions(module):
        assert typing.get_type_hints(function).keys() <= {*inspect.signature(function).parameters, "return"}, name


def test_the_return_types_are_those_of_the_contract() -> None:
    """The types in the annotations of the registry are those of the contract, not stand-ins."""
    assert typing.get_type_hints(registry.backend)["return"] is contract.JobBackend
    assert typing.get_type_hints(registry.transport)["credentials"] == contract.CredentialProvider | None
    assert typing.get_type_hints(Plugin.with_status)["return"] is Plugin
