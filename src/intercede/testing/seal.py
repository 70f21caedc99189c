"""Whether the kit is what it was: a subject lives in the same process, and could replace what judges it.

No sandbox: who wants to can do this where nobody looks. It is for what happens by a careless patch, and for plain lies.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType

__all__ = ["Seal"]

_OURS = ("intercede.testing", "intercede.contract", "intercede.forkserver")
_OTHERS = "intercede.testing.gallery"
_METHODS = (FunctionType, BuiltinFunctionType, classmethod, staticmethod, property)
_INSIDE = ("__code__", "__defaults__", "__kwdefaults__")
"""What makes a function do something else, and leaves it the same object."""


class Seal:
    """Remembers what the modules of the kit and the contract hold, and the methods of their classes, as they are now.

    Args:
        besides: Other objects of ours whose attributes are to stay, by their names.
    """

    def __init__(self, besides: Mapping[str, object]) -> None:
        modules = {name: module for name, module in sys.modules.items() if _is_ours(name)}
        classes = dict(_classes(modules))
        whole = [*modules.items(), *besides.items()]
        self._kept = [(label, owner, *each) for label, owner in whole for each in list(vars(owner).items())]
        self._kept += [(label, owner, *each) for label, owner in classes.items() for each in _methods(owner)]
        functions = [(f"{label}.{name}", each) for label, _, name, each in self._kept if isinstance(each, FunctionType)]
        self._kept += [(label, each, name, getattr(each, name)) for label, each in functions for name in _INSIDE]
        self._classes = {label: (owner, {name for name, _ in _methods(owner)}) for label, owner in classes.items()}

    def mend(self) -> list[str]:
        """Put back what was replaced since, take out methods that were added, and return the names of both."""
        broken = [each for each in self._kept if _held(each[1], each[2]) is not each[3]]
        for _, owner, name, value in broken:
            put = (
                setattr if isinstance(owner, type | ModuleType | FunctionType) else object.__setattr__
            )  # it may be frozen
            put(owner, name, value)
        return [*(f"{label}.{name}" for label, _, name, _ in broken), *self._taken_out()]

    def _taken_out(self) -> Iterable[str]:
        for label, (owner, names) in self._classes.items():
            for name in {name for name, _ in _methods(owner)} - names:
                delattr(owner, name)
                yield f"{label}.{name}"


def _held(owner: object, name: str) -> object:
    return getattr(owner, name, None) if isinstance(owner, FunctionType) else vars(owner).get(name)


def _methods(owner: type) -> list[tuple[str, object]]:
    return [(name, value) for name, value in list(vars(owner).items()) if isinstance(value, _METHODS)]


def _classes(modules: Mapping[str, object]) -> Iterator[tuple[str, type]]:
    for name, module in modules.items():
        for value in list(vars(module).values()):
            if isinstance(value, type) and value.__module__ == name:
                yield f"{name}.{value.__qualname__}", value


def _is_ours(name: str) -> bool:
    return name.startswith(_OURS) and not name.startswith(_OTHERS)
