"""What a run of the suite is to do: which checks, of which subjects, for which verdict. Settled before any runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import cast

from intercede.contract.backend import CAPABILITIES, Capability
from intercede.contract.errors import ConfigError
from intercede.testing.clauses import CLAUSES, Clause
from intercede.testing.resolving import examine, resolve
from intercede.testing.subjects import RegistrySubject, Role
from intercede.testing.verdict import Facts, Profile, in_profile

__all__ = ["ROOT", "Plan", "node_id", "selects", "settle"]

ROOT = "intercede"
"""What every node id of the suite begins with."""


@dataclass(frozen=True)
class Plan:
    """What the controller settles and its workers are told."""

    subjects: tuple[RegistrySubject, ...]
    facts: tuple[Facts, ...]
    """What is known of each."""
    profile: Profile
    required: frozenset[Capability]
    wanted: frozenset[str]
    """The node ids of the checks to run."""
    narrowed: bool
    """Whether node ids chose among the checks."""
    scale: float


def node_id(clause: Clause, subject_id: str) -> str:
    """Return ``intercede/submit::IC-SUBMIT-04[fake]``."""
    return f"{ROOT}/{clause.area}::{clause.id}[{subject_id}]"


def settle(
    asked: Sequence[tuple[Role, str]],
    *,
    file: str | None = None,
    profile: Profile = "full",
    require: Iterable[str] = (),
    ids: Sequence[str] = (),
    scale: float = 1.0,
) -> Plan:
    """Settle what a run is to do.

    Args:
        asked: The subjects, as the command line has them, each with its role.
        file: The configuration file.
        profile: What the verdict is about.
        require: Capabilities that must be claimed, separated by commas.
        ids: Node ids, or beginnings of some, that choose among the checks; none: all.
        scale: Multiplies every bound in time.

    Raises:
        IntercedeError: A name, a configuration, a capability or an id is wrong.
    """
    if not scale > 0:
        raise ConfigError(f"--intercede-timeout-scale must be above 0, not {scale:g}", value=scale)
    required = _capabilities(require)
    subjects = resolve(asked, file)
    facts = examine(subjects, scale)
    inside = [each for each in CLAUSES.values() if in_profile(each, profile)]
    every = [node_id(each, of.id) for each in inside for of in facts if each.role in of.roles]
    wanted = frozenset(node for each in ids for node in _matching(each, every)) if ids else frozenset(every)
    return Plan(subjects, facts, profile, required, wanted, len(wanted) < len(every), scale)


def _capabilities(require: Iterable[str]) -> frozenset[Capability]:
    words = [word.strip() for each in require for word in each.split(",") if word.strip()]
    unknown = [word for word in words if word not in CAPABILITIES]
    if unknown:
        known = ", ".join(CAPABILITIES)
        raise ConfigError(f"--intercede-require: {unknown[0]!r} is no capability; there are {known}", value=unknown[0])
    return frozenset(cast("list[Capability]", words))


def _matching(wanted: str, every: Iterable[str]) -> list[str]:
    stem = wanted.rstrip("/")
    found = [each for each in every if each == stem or each.startswith((f"{stem}/", f"{stem}::", f"{stem}["))]
    if not found:
        near = get_close_matches(wanted, every, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"no check of intercede matches {wanted}{hint}", value=wanted)
    return found


_SELECTING = (
    *("--deselect", "--last-failed", "--lf", "--stepwise", "--stepwise-skip", "--sw", "--sw-skip"),
    *("--stepwise-reset", "--sw-reset"),
)


def selects(arguments: Iterable[str]) -> bool:
    """Tell whether options on a command line choose among the tests: -k, -m, --lf, --sw, --deselect."""
    return any(each.partition("=")[0] in _SELECTING or _short_selects(each) for each in arguments)


def _short_selects(argument: str) -> bool:
    """Look into a cluster of short options: ``-xk submit`` selects, ``-rk`` does not."""
    if not argument.startswith("-") or argument.startswith("--"):
        return False
    rest = argument[1:].lstrip("qvsxlhV")
    return rest[:1] in {"k", "m"}
