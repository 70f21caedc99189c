"""The clauses of the contract, each with the check that tells whether a subject keeps it. Checks are data.

::

    @clause("IC-STATUS-02", title="None asked, none answered.", level=MUST, look_at="an early return for no handles")
    async def check_nothing(context: Context) -> None:
        async with context.opened() as backend:
            answer = await context.status(backend, [])
            context.expect(not answer, expected="an empty mapping", observed=answer)
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from intercede.contract.backend import Capability
from intercede.testing.context import Context
from intercede.testing.subjects import Role

__all__ = ["CLAUSES", "MUST", "SHOULD", "Check", "Clause", "Level", "clause"]

CLAUSES: Mapping[str, "Clause"]
"""Every clause by its id, in the contract's order. The checks are imported when it is first asked for."""

Check = Callable[[Context], Awaitable[None]]
"""What a check is: it returns where the clause is kept, and raises where it is not."""


class Level(StrEnum):
    """How binding a clause is."""

    MUST = "MUST"
    """One that is red makes the subject NOT CONFORMANT."""
    SHOULD = "SHOULD"
    """Shown when red; does not change the verdict."""


MUST, SHOULD = Level.MUST, Level.SHOULD

_BACKEND = ("SHAPE", "LIFE", "SUBMIT", "HANDLE", "STATUS", "OUTPUT", "KILL", "PURGE", "LOAD", "FIND", "DIAG")
_AREAS = (*_BACKEND, "TRANSPORT", "SCHEDULER")
_ROOMS = ("backend", "transport", "scheduler")
"""The packages beside this file that hold checks: one for each role."""
_ROLES: Mapping[str, Role] = {"transport": "transport", "scheduler": "scheduler"}
"""Areas that are about something else than a backend."""
_ID = re.compile(rf"IC-({'|'.join(_AREAS)})-\d\d")


@dataclass(frozen=True, kw_only=True)
class Clause:
    """One sentence of the contract and its check."""

    id: str
    """``IC-SUBMIT-04``. Never renumbered."""
    title: str
    """The sentence."""
    level: Level
    check: Check
    capability: Capability | None = None
    """Applies only where this is claimed; None: always."""
    depends: tuple[str, ...] = ()
    """While one of these is red, a red here says nothing of its own: BLOCKED."""
    alone: bool = False
    """Must have the process for itself, so that what leaks or blocks can be attributed."""
    look_at: str = ""
    """Where an author looks first when it is red."""
    since: str = "1.0"
    """The version of the contract that brought it."""
    seconds: float = 60
    """How long the check may take before it is given up."""
    jobs: int = 4
    """How many jobs it may have out at once."""

    @cached_property
    def role(self) -> Role:
        """What it is about: a backend, a transport or a scheduler."""
        return _ROLES.get(self.area, "backend")

    @property
    def done(self) -> str:
        """What its check says of itself."""
        return " ".join((self.check.__doc__ or "").split())

    @cached_property
    def area(self) -> str:
        """``submit`` for IC-SUBMIT-04."""
        return self.id.split("-")[1].lower()


_registered: dict[str, Clause] = {}


def clause(
    clause_id: str,
    *,
    title: str,
    level: Level,
    capability: Capability | None = None,
    depends: Iterable[str] = (),
    alone: bool = False,
    look_at: str = "",
    since: str = "1.0",
    seconds: float = 60,
    jobs: int = 4,
) -> Callable[[Check], Check]:
    """Register a coroutine function as the check of one clause.

    Raises:
        ValueError: The id is not one of the contract's form, or has a check already.
    """
    if not _ID.fullmatch(clause_id) or clause_id in _registered:
        raise ValueError(f"{clause_id!r} must match {_ID.pattern} and have one check only")

    def register(check: Check) -> Check:
        _registered[clause_id] = Clause(
            id=clause_id,
            title=title,
            level=level,
            check=check,
            capability=capability,
            depends=tuple(depends),
            alone=alone,
            look_at=look_at,
            since=since,
            seconds=seconds,
            jobs=jobs,
        )
        return check

    return register


def __getattr__(name: str) -> object:
    """Load the checks when the clauses are first asked for."""
    if name != "CLAUSES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for room in _ROOMS:
        package = import_module(f"intercede.testing.{room}")
        for module in iter_modules(package.__path__):
            import_module(f"{package.__name__}.{module.name}")
    ordered = sorted(_registered.values(), key=lambda each: (_AREAS.index(each.area.upper()), each.id))
    globals()["CLAUSES"] = loaded = MappingProxyType({each.id: each for each in ordered})
    return loaded
