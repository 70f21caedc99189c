"""The gallery: wrong implementations, which a clause must catch, and right ones, which every clause must pass.

::

    from intercede.testing import gallery, run_checks

    print(run_checks(gallery.wrong()["TellsOfAll"]).line)  # intercede: TellsOfAll is NOT CONFORMANT: fix IC-STATUS-01

Each class is as short as its mistake, and its docstring says what it does wrong. ``caught_by`` names the clauses that
must be red because of it, and ``message_contains`` words of their messages: several, if the mistake shows in one of
several ways. If it shows in other clauses as well, ``also_red`` names those. A class is made without arguments, any
number of times.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from intercede.testing.model.role import Role

__all__ = ["also_red", "caught_by", "has_expected_message", "hostile", "right", "role_of", "wrong"]

_HOSTILE = frozenset({"hostile", "attacks"})
_OTHERS = _HOSTILE | {"right"}
"""The files that hold no implementations which one clause catches."""


def wrong() -> Mapping[str, type]:
    """Return the wrong implementations by name; if two roles share a name, the second is ``transport:NAME``."""
    return _of({name for name in _modules() if name.rpartition(".")[2] not in _OTHERS})


def right() -> Mapping[str, type]:
    """Return right implementations that differ: slow, jittery, threaded, with other mappings, with more parameters."""
    return _of({name for name in _modules() if name.endswith(".right")})


def hostile() -> Mapping[str, type]:
    """Return those that answer with types unknown to the contract, or attack the process that checks them."""
    return _of({name for name in _modules() if name.rpartition(".")[2] in _HOSTILE})


def caught_by(implementation: type) -> tuple[str, ...]:
    """Return the clauses that must be red because of a wrong implementation."""
    return _words(implementation, "caught_by")


def also_red(implementation: type) -> tuple[str, ...]:
    """Return the clauses that may be red as well, because the same mistake shows there."""
    return _words(implementation, "also_red")


def has_expected_message(implementation: type, message: str) -> bool:
    """Return whether the message of a red clause shows the mistake of a wrong implementation."""
    return any(each in message for each in _words(implementation, "message_contains"))


def role_of(implementation: type) -> Role:
    """Return the role of an implementation."""
    roles: dict[str, Role] = {"backends": "backend", "transports": "transport", "schedulers": "scheduler"}
    return roles[implementation.__module__.split(".")[-2]]


def _words(implementation: type, name: str) -> tuple[str, ...]:
    told: str | tuple[str, ...] = getattr(implementation, name, ())
    return (told,) if isinstance(told, str) else told


@cache
def _modules() -> tuple[str, ...]:
    rooms = [import_module(f"{__name__}.{each}") for each in ("backends", "transports", "schedulers")]
    return tuple(f"{room.__name__}.{each.name}" for room in rooms for each in iter_modules(room.__path__))


def _of(modules: set[str]) -> Mapping[str, type]:
    found: dict[str, type] = {}
    for each in (each for name in _modules() if name in modules for each in _classes(name)):
        taken = each.__name__ in found
        found[f"{role_of(each)}:{each.__name__}" if taken else each.__name__] = each
    return MappingProxyType(found)


def _classes(module: str) -> Iterator[type]:
    """Yield the public classes that a file defines, in its order."""
    for name, value in vars(import_module(module)).items():
        if isinstance(value, type) and value.__module__ == module and not name.startswith("_"):
            yield value
