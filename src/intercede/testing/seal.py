"""Whether the kit is what it was: a subject lives in the same process, and could replace what judges it.

No sandbox: who wants to can do this where nobody looks. It is for what happens by a careless patch, and for plain lies.
"""

import sys
from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType

__all__ = ["Seal"]

_OURS = ("intercede.testing", "intercede.contract")
_OTHERS = "intercede.testing.gallery"
_KINDS = (FunctionType, BuiltinFunctionType, classmethod, staticmethod, property, type)


class Seal:
    """Remembers the functions, classes and methods of the kit and the contract, as they are now.

    Args:
        besides: Other objects of ours whose attributes are to stay, by their names.
    """

    def __init__(self, besides: Mapping[str, object]) -> None:
        owners = [*_modules_and_classes(), *besides.items()]
        self._kept = [
            (label, owner, name, value)
            for label, owner in owners
            for name, value in list(vars(owner).items())
            if isinstance(value, _KINDS)
        ]

    def mend(self) -> list[str]:
        """Put back what was replaced since, and return the names of that."""
        broken = [each for each in self._kept if vars(each[1]).get(each[2]) is not each[3]]
        for _, owner, name, value in broken:
            put = setattr if isinstance(owner, type | ModuleType) else object.__setattr__  # one may be frozen
            put(owner, name, value)
        return [f"{label}.{name}" for label, _, name, _ in broken]


def _modules_and_classes() -> Iterator[tuple[str, object]]:
    for name, module in [each for each in sys.modules.items() if _is_ours(each[0])]:
        yield name, module
        for value in list(vars(module).values()):
            if isinstance(value, type) and value.__module__ == name:
                yield f"{name}.{value.__qualname__}", value


def _is_ours(name: str) -> bool:
    return name.startswith(_OURS) and not name.startswith(_OTHERS)
