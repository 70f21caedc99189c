"""The gallery: wrong plugins, each of which a clause must catch, and right plugins, which must pass every clause.

::

    from intercede.testing import gallery, run_checks

    report = run_checks(gallery.load_wrong()["AnswersForAllJobs"])
    print(report.line)  # intercede: AnswersForAllJobs is NOT CONFORMANT: fix IC-STATUS-01

Each class is as short as its mistake, and its docstring describes the mistake. An object is made without arguments.
These class attributes say what to expect:

- ``caught_by``: the ids of the clauses that must be red because of the mistake.
- ``message_contains``: a text that is in the message of the red clause; several texts, if any one of them is enough.
- ``also_red``: the ids of other clauses that may be red because of the same mistake.
- ``scale``: the factor for the time limits of the clauses that must be red. With 0.1, a check that must time out takes
a
  tenth of its time.
- ``areas``: the areas of clauses that a right or a hostile plugin is checked with. Without it, a right plugin is
checked
  with all areas of its role.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from intercede.testing.model.role import Role

__all__ = [
    "get_also_red",
    "get_caught_by",
    "get_role",
    "has_expected_message",
    "load_hostile",
    "load_right",
    "load_wrong",
]

_HOSTILE = frozenset({"hostile", "attacks"})
_OTHERS = _HOSTILE | {"right"}
"""The files whose classes are not meant for one clause."""


def load_wrong() -> Mapping[str, type]:
    """Return the wrong plugins by name. If two roles have the same name, the second is called ``transport:NAME``."""
    return _collect({name for name in _list_modules() if name.rpartition(".")[2] not in _OTHERS})


def load_right() -> Mapping[str, type]:
    """Return plugins that keep the contract in unusual ways: slow, with threads, with other mappings and so on."""
    return _collect({name for name in _list_modules() if name.endswith(".right")})


def load_hostile() -> Mapping[str, type]:
    """Return plugins that answer with types that the contract does not have, or that attack the process."""
    return _collect({name for name in _list_modules() if name.rpartition(".")[2] in _HOSTILE})


def get_caught_by(implementation: type) -> tuple[str, ...]:
    """Return the ids of the clauses that must be red because of a wrong plugin."""
    return _get_texts(implementation, "caught_by")


def get_also_red(implementation: type) -> tuple[str, ...]:
    """Return the ids of the other clauses that may be red because of a wrong plugin."""
    return _get_texts(implementation, "also_red")


def has_expected_message(implementation: type, message: str) -> bool:
    """Return whether the message of a red clause contains a text that the wrong plugin expects."""
    return any(each in message for each in _get_texts(implementation, "message_contains"))


def get_role(implementation: type) -> Role:
    """Return the role of a plugin in the gallery."""
    roles: dict[str, Role] = {"backends": "backend", "transports": "transport", "schedulers": "scheduler"}
    return roles[implementation.__module__.split(".")[-2]]


def _get_texts(implementation: type, name: str) -> tuple[str, ...]:
    words: str | tuple[str, ...] = getattr(implementation, name, ())
    return (words,) if isinstance(words, str) else words


@cache
def _list_modules() -> tuple[str, ...]:
    packages = [import_module(f"{__name__}.{each}") for each in ("backends", "transports", "schedulers")]
    return tuple(f"{package.__name__}.{each.name}" for package in packages for each in iter_modules(package.__path__))


def _collect(modules: set[str]) -> Mapping[str, type]:
    found: dict[str, type] = {}
    for each in (each for name in _list_modules() if name in modules for each in _list_classes(name)):
        taken = each.__name__ in found
        found[f"{get_role(each)}:{each.__name__}" if taken else each.__name__] = each
    return MappingProxyType(found)


def _list_classes(module: str) -> Iterator[type]:
    """Yield the public classes that a module defines, in order."""
    for name, value in vars(import_module(module)).items():
        if isinstance(value, type) and value.__module__ == module and not name.startswith("_"):
            yield value
