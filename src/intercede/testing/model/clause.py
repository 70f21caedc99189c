"""A sentence of the contract, as data."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Never

from intercede.contract.backend import Capability
from intercede.testing.model.role import Role

__all__ = ["MUST", "SHOULD", "Clause", "Level"]


class Level(StrEnum):
    """How binding a clause is."""

    MUST = "MUST"
    """One that is red makes the subject NOT CONFORMANT."""
    SHOULD = "SHOULD"
    """Shown when red; does not change the verdict."""


MUST, SHOULD = Level.MUST, Level.SHOULD

_ROLES: Mapping[str, Role] = {"transport": "transport", "scheduler": "scheduler"}
"""Areas that are about something else than a backend."""


@dataclass(frozen=True, kw_only=True)
class Clause:
    """One sentence of the contract and its check."""

    id: str
    """``IC-SUBMIT-04``. Never renumbered."""
    title: str
    """The sentence."""
    level: Level
    check: Callable[[Never], Awaitable[None]]
    """Returns if the clause is kept, and raises if it is not. It takes a Context, of which data knows nothing."""
    capability: Capability | None = None
    """The capability that the clause is about. Without one, the clause is about the essential verbs."""
    also_needs: tuple[Capability, ...] = ()
    """Further capabilities whose verbs the check calls."""
    depends: tuple[str, ...] = ()
    """While one of these is red, a red here says nothing of its own: BLOCKED."""
    exclusive: bool = False
    """Must have the process for itself, so that what leaks or blocks can be attributed."""
    hint: str = ""
    """The place where an author looks first when it is red."""
    since: str = "1.0"
    """The version of the contract that brought it."""
    seconds: float = 60
    """How long the check may take before it is given up."""
    jobs: int = 4
    """How many jobs it may have out at once."""

    @cached_property
    def role(self) -> Role:
        """The role that it is about: a backend, a transport or a scheduler."""
        return _ROLES.get(self.area, "backend")

    @cached_property
    def needs(self) -> frozenset[Capability]:
        """Every capability that a subject must claim for the clause to apply to it."""
        return frozenset({*self.also_needs, *([self.capability] if self.capability else [])})

    @property
    def procedure(self) -> str:
        """The docstring of its check: what the check does, for readers of a report."""
        return " ".join((self.check.__doc__ or "").split())

    @cached_property
    def area(self) -> str:
        """``submit`` for IC-SUBMIT-04."""
        return self.id.split("-")[1].lower()
