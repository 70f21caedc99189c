"""Detection of changes to the kit: a subject runs in the same process, and could replace the code that judges it.

This is not a sandbox: a determined subject can hide its changes. It detects careless patches and simple cheating.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter, is_not  # import the functions: a subject may replace attributes of operator
from types import BuiltinFunctionType, FunctionType, ModuleType

__all__ = ["KitSnapshot"]

_KIT = ("intercede.testing", "intercede.contract", "intercede.forkserver")
_GALLERY = "intercede.testing.gallery"
_METHODS = (FunctionType, BuiltinFunctionType, classmethod, staticmethod, property, cached_property)
_INSIDE = ("__code__", "__defaults__", "__kwdefaults__", "__module__", "__qualname__")
"""Attributes of a function that change what it does, although the function stays the same object. A child process finds
its function by module and name."""
_inside = attrgetter(*_INSIDE)


@dataclass(frozen=True)
class _SavedObject:
    """An object of the kit and its former attributes.

    All attributes are compared after each check, so comparing must be fast.
    """

    label: str
    owner: object
    values: Mapping[str, object]

    def is_broken(self) -> bool:
        """Return whether any attribute was replaced or removed."""
        return any(map(is_not, map(vars(self.owner).get, self.values), self.values.values()))

    def find_replaced(self) -> list[str]:
        """Return the names of the attributes that were replaced or removed."""
        return [name for name, value in self.values.items() if vars(self.owner).get(name) is not value]


class KitSnapshot:
    """Remembers the contents of the kit's and the contract's modules and the methods of their classes.

    Args:
        besides: Further objects of the kit whose attributes must not change, by name.
    """

    def __init__(self, besides: Mapping[str, object]) -> None:
        modules = {name: module for name, module in sys.modules.items() if _is_kit_module(name)}
        classes = dict(_list_classes(modules))
        whole = [*modules.items(), *besides.items()]
        self._saved = [_SavedObject(label, owner, vars(owner).copy()) for label, owner in whole]
        self._saved += [_SavedObject(label, owner, dict(_list_methods(owner))) for label, owner in classes.items()]
        self._functions = [
            (f"{saved.label}.{name}", each, _inside(each))
            for saved in self._saved
            for name, each in saved.values.items()
            if isinstance(each, FunctionType)
        ]
        self._classes = {label: (owner, {name for name, _ in _list_methods(owner)}) for label, owner in classes.items()}

    def restore(self) -> list[str]:
        """Restore what was replaced and remove methods that were added. Return the names of both kinds."""
        return [*self._restore_attributes(), *self._restore_functions(), *self._remove_added_methods()]

    def _restore_attributes(self) -> list[str]:
        broken = [(saved, name) for saved in self._saved if saved.is_broken() for name in saved.find_replaced()]
        for saved, name in broken:
            # setattr works on a module and on a class. Any other object may be a frozen dataclass, which refuses it.
            put = setattr if isinstance(saved.owner, type | ModuleType) else object.__setattr__
            put(saved.owner, name, saved.values[name])
        return [f"{saved.label}.{name}" for saved, name in broken]

    def _restore_functions(self) -> list[str]:
        broken = [
            (label, function, name, value)
            for label, function, values in self._functions
            if any(map(is_not, _inside(function), values))
            for name, now, value in zip(_INSIDE, _inside(function), values, strict=True)
            if now is not value
        ]
        for _, function, name, value in broken:
            setattr(function, name, value)
        return [f"{label}.{name}" for label, _, name, _ in broken]

    def _remove_added_methods(self) -> Iterable[str]:
        for label, (owner, names) in self._classes.items():
            for name in {name for name, _ in _list_methods(owner)} - names:
                delattr(owner, name)
                yield f"{label}.{name}"


def _list_methods(owner: type) -> list[tuple[str, object]]:
    return [(name, value) for name, value in list(vars(owner).items()) if isinstance(value, _METHODS)]


def _list_classes(modules: Mapping[str, object]) -> Iterator[tuple[str, type]]:
    for name, module in modules.items():
        for value in list(vars(module).values()):
            if isinstance(value, type) and value.__module__ == name:
                yield f"{name}.{value.__qualname__}", value


def _is_kit_module(name: str) -> bool:
    return name.startswith(_KIT) and not name.startswith(_GALLERY)
