"""A sentence of the contract, as data."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Never

from intercede.contract.backend import Capability
from intercede.testing.model.role import Role

__all__ = ["MUST", "SHOULD", "Clause", "Level"]


class Level(StrEnum):
    """The level of a clause, which says how binding the clause is."""

    MUST = "MUST"
    """If a clause of this level is red, the subject is NOT CONFORMANT."""
    SHOULD = "SHOULD"
    """If a clause of this level is red, the report shows it, and the verdict does not change."""


MUST, SHOULD = Level.MUST, Level.SHOULD

_ROLES: Mapping[str, Role] = {"transport": "transport", "scheduler": "scheduler"}
"""The role of each area whose clauses are not about backends."""


@dataclass(frozen=True, kw_only=True)
class Clause:
    """One sentence of the contract and its check."""

    id: str
    """The clause's name, such as ``IC-SUBMIT-04``. A clause is never renumbered."""
    title: str
    """The sentence of the contract."""
    level: Level
    check: Callable[[Never], Awaitable[None]]
    """The check: it returns if the subject keeps the clause, and raises if not. Its argument is a ``Context``."""
    capability: Capability | None = None
    """The capability that the clause is about, or None if it is about the verbs that every backend has."""
    also_needs: tuple[Capability, ...] = ()
    """Further capabilities whose verbs the check calls."""
    depends: tuple[str, ...] = ()
    """The ids of other clauses. While one of them is red, this clause is BLOCKED."""
    exclusive: bool = False
    """Whether the check must run alone. Then a leak or a blocked event loop is certainly the fault of this check."""
    hint: str = ""
    """The likely mistakes of a plugin that does not keep the clause."""
    since: str = "1.0"
    """The first version of the contract that contains the clause."""
    seconds: float = 60
    """The time limit of the check."""
    jobs: int = 4
    """The largest number of jobs that the check has at once."""

    @property
    def role(self) -> Role:
        """The role of the plugins that the clause is about."""
        return _ROLES.get(self.area, "backend")

    @property
    def needs(self) -> frozenset[Capability]:
        """The capabilities that a subject must claim for the clause to apply to it."""
        return frozenset({*self.also_needs, *([self.capability] if self.capability else [])})

    @property
    def procedure(self) -> str:
        """The docstring of the check in one line. Reports show it as the description of the check."""
        return " ".join((self.check.__doc__ or "").split())

    @property
    def area(self) -> str:
        """The part of the contract that the clause belongs to: ``submit`` for IC-SUBMIT-04."""
        return self.id.split("-")[1].lower()
