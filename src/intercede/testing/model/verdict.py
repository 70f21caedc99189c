"""From what became of each check to one word. Pure: no I/O, no clock, no pytest.

Any red MUST: NOT CONFORMANT. Else, if a MUST of the profile did not run, of those that the command line chose if it did
so: INCOMPLETE. Else, where the command line itself selected: PARTIAL. Else CONFORMANT.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, Self, cast

from intercede.contract import VERSION
from intercede.contract.backend import CAPABILITIES, Capability
from intercede.redaction import HIDDEN
from intercede.testing.model.calls import Call
from intercede.testing.model.clause import Clause, Level
from intercede.testing.model.role import Role

__all__ = [
    "Profile",
    "Report",
    "Result",
    "State",
    "SubjectInfo",
    "Verdict",
    "decide_without_check",
    "is_in_profile",
    "judge",
    "list_dependencies",
]

GATES: Mapping[Role, str] = {
    "backend": "IC-SHAPE-01",
    "transport": "IC-TRANSPORT-10",
    "scheduler": "IC-SCHEDULER-08",
}
"""The clause that is red where a subject of that role does not load or the registry's gate refuses it."""
Profile = Literal["core", "full"]
"""core: the clauses of the essential verbs. full: those of every claimed capability as well."""


class State(StrEnum):
    """The outcome of a check."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    """The subject does not do what the clause says."""
    UNEXPECTED_PASS = "UNEXPECTED_PASS"  # noqa: S105 -- no password
    """A known failure that is none any more."""
    ERROR = "ERROR"
    """The check itself broke: the kit's own fault."""
    KNOWN = "KNOWN"
    """Failed as it was known to."""
    NOT_APPLICABLE = "NOT_APPLICABLE"
    """The subject does not claim the clause's capability."""
    BLOCKED = "BLOCKED"
    """Says nothing while a clause that it depends on is red."""
    NOT_RUN = "NOT_RUN"

    @property
    def is_red(self) -> bool:
        """Whether it speaks against the subject."""
        return self in _RED

    @property
    def good(self) -> bool:
        """Whether what the clause asks for was seen, or its absence was known."""
        return self in _GOOD

    @property
    def blocks(self) -> bool:
        """Whether a red clause that depends on it says nothing of its own. What passes unexpectedly does pass."""
        return self in _BLOCKS


_BLOCKS = frozenset({State.FAILED, State.ERROR})
_RED = _BLOCKS | {State.UNEXPECTED_PASS}
_GOOD = frozenset({State.PASSED, State.KNOWN})
_RAN = _GOOD | _RED


class Verdict(StrEnum):
    """Whether a run counts as conformant."""

    CONFORMANT = "CONFORMANT"
    NOT_CONFORMANT = "NOT CONFORMANT"
    PARTIAL = "PARTIAL"
    INCOMPLETE = "INCOMPLETE"

    @property
    def good(self) -> bool:
        """Whether nothing speaks against the subject: exit code 0."""
        return self in {Verdict.CONFORMANT, Verdict.PARTIAL}


@dataclass(frozen=True)
class Result:
    """The outcome of one check of one subject, in basic types only."""

    clause: str
    state: State = State.NOT_RUN
    seconds: float = 0.0
    """The check's own time."""
    message: str = ""
    """One line: expected and observed, or the reason."""
    detail: str = ""
    """Everything there is to say about a red one, but for the command that checks it again."""
    again: str = ""
    """That command; where something in it is hidden, it is to be put in."""
    blocker: str | None = None
    """The red clause that blocks this one."""
    expected: str = ""
    """The requirement of the clause, if it is red."""
    observed: str = ""
    """The observation that contradicts it."""
    calls: tuple[Call, ...] = ()
    """The calls that the check made."""
    runs: int = 1
    """How often it was checked."""
    reds: int = 0
    """How often it was red, where it was checked more than once."""

    @property
    def symptom(self) -> str:
        """What a failure is known by: ``observed UNKNOWN``, the first line of what was seen. Empty: it says nothing."""
        seen = " ".join(self.observed.strip().partition("\n")[0].split())
        return f"observed {seen}" if seen else ""

    @property
    def text(self) -> str:
        """Everything there is to say, as it is printed."""
        hidden = f" (put in what {HIDDEN} stands for)" if HIDDEN in self.again else ""
        return "\n".join(filter(None, [self.detail, f"again: {self.again}{hidden}" if self.again else ""]))

    @classmethod
    def of(cls, data: Mapping[str, object]) -> Self:
        """Make it anew from what ``dataclasses.asdict`` made of one, also after a journey as JSON."""
        given = dict(data)
        calls = cast("Iterable[dict[str, Any]]", given.pop("calls"))
        state = State(str(given.pop("state")))
        return cls(state=state, calls=tuple(Call(**each) for each in calls), **cast("dict[str, Any]", given))


@dataclass(frozen=True)
class SubjectInfo:
    """The facts about a subject, in basic types only."""

    id: str
    config: Mapping[str, object] | str
    name: str
    role: Role = "backend"
    origins: tuple[tuple[str, str], ...] = ()
    """The distributions and versions that it is made of: the transport's before the scheduler's."""
    capabilities: frozenset[Capability] = frozenset()
    refusal: str | None = None
    """Why it did not load, or what the gate said."""
    warnings: tuple[str, ...] = ()
    """The registry's warnings."""

    @property
    def group(self) -> str:
        """The entry point group: ``backends``."""
        return f"{self.role}s"

    @property
    def gate(self) -> str:
        """The clause that is red where it was refused."""
        return GATES[self.role]

    @property
    def roles(self) -> frozenset[Role]:
        """What the clauses that apply to it are about: over a transport, those of a backend are checked as well."""
        return frozenset({"transport", "backend"}) if self.role == "transport" else frozenset({self.role})

    def explain_not_applicable(self, clause: Clause) -> str:
        """Tell why a clause does not apply to it; empty: it does."""
        if clause.role not in self.roles:
            return f"{clause.role} clause, and {self.id} is a {self.role}"
        absent = clause.needs - self.capabilities
        if absent and self.refusal is None:
            return f"{self.id} does not claim {' and '.join(sorted(absent))}"
        return ""

    @property
    def title(self) -> str:
        """``fake 0.1 (intercede-fake)``, or ``ssh+lsf (intercede 1.0, acme-lsf 0.1)``, as far as it is known."""
        if len(self.origins) == 1:
            return f"{self.id} {self.version} ({self.distribution})"
        pairs = ", ".join(f"{distribution} {version}" for distribution, version in self.origins)
        return f"{self.id} ({pairs})" if pairs else self.id

    @property
    def distribution(self) -> str | None:
        """``intercede-fake``; those of a composed backend as ``intercede+acme-lsf``."""
        return "+".join(distribution for distribution, _ in self.origins) or None

    @property
    def version(self) -> str | None:
        """Their versions, in the same order."""
        return "+".join(version for _, version in self.origins) or None


@dataclass(frozen=True)
class Report:
    """The verdict on one subject, and what it stands on."""

    facts: SubjectInfo
    clauses: Mapping[str, Clause]
    """Every clause of the contract."""
    results: Mapping[str, Result]
    """The result of each clause, in the contract's order."""
    profile: Profile = "full"
    selected: bool = False
    """Whether the command line chose among the checks."""
    required: frozenset[Capability] = frozenset()
    lost_because_of: str = ""
    """The reason why the missing checks did not run, if it is known."""
    none_selected: bool = False
    """Whether the selection left none of its MUST."""
    unmatched_known: tuple[str, ...] = ()
    """Known failures that match nothing, a sentence each."""
    chosen: frozenset[str] = frozenset()
    """The clauses that the command line selected, if it selected any."""
    verdict: Verdict = field(init=False)
    line: str = field(init=False)
    """The verdict in a sentence."""

    def __post_init__(self) -> None:
        verdict = self._decide_verdict()
        object.__setattr__(self, "verdict", verdict)
        object.__setattr__(self, "line", f"intercede: {self._sentence(verdict)}")

    @property
    def red(self) -> tuple[str, ...]:
        """The clauses that are red, in the contract's order."""
        return tuple(each.clause for each in self.results.values() if each.state.is_red)

    @property
    def first(self) -> str | None:
        """The clause to mend first, of those that decide: the one that blocks most, then in the contract's order."""
        return next(iter(self._reds_by_priority), None)

    @property
    def _reds_by_priority(self) -> tuple[str, ...]:
        return tuple(sorted(self._decisive, key=lambda each: -self.blocks[each]))  # as many: in the contract's order

    def list_counted(self, level: Level) -> tuple[str, ...]:
        """Return the clauses of that level which the verdict is about."""
        claimed = self.facts.capabilities
        return tuple(
            each.id
            for each in self.clauses.values()
            if each.level is level
            and each.role in self.facts.roles
            and is_in_profile(each, self.profile)
            and each.needs <= claimed
        )

    def good(self, level: Level) -> tuple[str, ...]:
        """Return those of them that passed, or failed as known."""
        return tuple(each for each in self.list_counted(level) if self.results[each].state.good)

    def _decide_verdict(self) -> Verdict:
        if self._missing_capabilities or (self.unmatched_known and not self.selected) or self._decisive:
            return Verdict.NOT_CONFORMANT
        if self.lost:
            return Verdict.INCOMPLETE
        return Verdict.PARTIAL if self.selected else Verdict.CONFORMANT

    @property
    def _decisive(self) -> tuple[str, ...]:
        """The red ones that decide: a SHOULD does not by failing, but a known failure that passes must go."""
        return tuple(
            each
            for each in self.red
            if self.clauses[each].level is Level.MUST or self.results[each].state is not State.FAILED
        )

    @property
    def _missing_capabilities(self) -> tuple[str, ...]:
        return () if self.facts.refusal else tuple(sorted(self.required - self.facts.capabilities))

    @property
    def missing(self) -> tuple[str, ...]:
        """The MUST that the verdict is about and that did not run."""
        return tuple(each for each in self.list_counted(Level.MUST) if self.results[each].state not in _RAN)

    @property
    def lost(self) -> tuple[str, ...]:
        """Those of them that were to run."""
        return tuple(each for each in self.missing if each in self.chosen or not self.selected)

    @property
    def _known(self) -> tuple[str, ...]:
        return tuple(each.clause for each in self.results.values() if each.state is State.KNOWN)

    def _sentence(self, verdict: Verdict) -> str:
        musts = len(self.list_counted(Level.MUST))
        match verdict:
            case Verdict.CONFORMANT:
                return f"{self.facts.title} is CONFORMANT to contract {VERSION}, {self.profile}: {self._tally()}"
            case Verdict.NOT_CONFORMANT:
                return f"{self.facts.title} is NOT CONFORMANT: {self._what_to_fix()}"
            case Verdict.PARTIAL:
                if self.none_selected:
                    return f"{self.facts.id}: PARTIAL, none of its {musts} MUST was selected"
                ran = musts - len(self.missing)
                known = f" or are known to fail: {', '.join(self._known)}" if self._known else ""
                return f"{self.facts.id}: PARTIAL, {ran} of {musts} MUST ran{f', all passed{known}' if ran else ''}{self._weak}"
            case Verdict.INCOMPLETE:
                lost = f" (lost to {self.lost_because_of})" if self.lost_because_of else ""
                missing = self.lost
                return f"{self.facts.id}: INCOMPLETE, {len(missing)} MUST did not run: {_join_ids(missing)}{lost}"

    @property
    def _weak(self) -> str:
        """The red SHOULD, in parentheses: they decide nothing, and are to be seen."""
        weak = [each for each in self.red if self.clauses[each].level is Level.SHOULD]
        return f" (red SHOULD: {', '.join(weak)})" if weak else ""

    def _tally(self) -> str:
        parts = [f"{len(self.good(each))}/{len(self.list_counted(each))} {each}" for each in Level]
        parts[-1] += self._weak
        if self._known:
            parts.append(f"known to fail: {', '.join(self._known)}")
        absent = [each for each in CAPABILITIES if each not in self.facts.capabilities]
        if absent and self.profile == "full" and "backend" in self.facts.roles:
            parts.append(f"not applicable: {', '.join(absent)}")
        return ", ".join(parts)

    def _what_to_fix(self) -> str:
        if self.unmatched_known and not self.selected:
            return self.unmatched_known[0]
        if self._missing_capabilities:
            return f"it must claim {', '.join(self._missing_capabilities)}, and does not"
        first, *others = self._reds_by_priority
        blocked = self.blocks[first]
        told = f"fix {first}{' first' if others or blocked else ''}"
        told += f", it blocks {blocked} more" if blocked else ""
        return told + (f"; red as well: {_join_ids(tuple(others), 3)}" if others else "")

    @cached_property
    def blocks(self) -> Counter[str]:
        """How many of the others could not be checked because of a clause. What ran before it was seen red did run."""
        return Counter(each.blocker for each in self.results.values() if each.blocker is not None)


def judge(
    facts: SubjectInfo,
    clauses: Mapping[str, Clause],
    results: Mapping[str, Result],
    *,
    profile: Profile = "full",
    selected: bool = False,
    required: frozenset[Capability] = frozenset(),
    lost_to: str = "",
    unchosen: bool = False,
    stale: tuple[str, ...] = (),
    chosen: frozenset[str] = frozenset(),
) -> Report:
    """Give the verdict on a subject.

    Args:
        facts: The facts about it.
        clauses: Every clause of the contract, in its order.
        results: The results of the checks that reported.
        profile: The scope of the verdict.
        selected: Whether the command line chose among the checks.
        required: Capabilities that it must claim.
        lost_to: The reason why missing checks did not run.
        unchosen: Whether the selection left none of its MUST.
        stale: Known failures that match nothing.
        chosen: The clauses that the command line selected, if it selected any.
    """
    needed = {each.id: list_dependencies(each, clauses) for each in clauses.values()}
    settled: dict[str, Result] = {}
    for each in _dependencies_first(clauses, needed):
        ran = not selected or each.id in results
        dependencies = [settled[it] for it in needed[each.id] if it in settled] if ran else []
        decided = decide_without_check(each, facts, dependencies)
        settled[each.id] = _replace_unsaid(results.get(each.id, Result(each.id)), decided)
    ordered = {each: settled[each] for each in clauses}
    return Report(facts, clauses, ordered, profile, selected, required, lost_to, unchosen, stale, chosen)


def is_in_profile(clause: Clause, profile: Profile) -> bool:
    """Tell whether a verdict of that profile is about the clause."""
    return profile == "full" or not clause.needs


def list_dependencies(clause: Clause, clauses: Mapping[str, Clause]) -> tuple[str, ...]:
    """Return what a clause depends on, and what that depends on, which comes before it.

    What a backend does says nothing of its own over a transport that is red.
    """
    found: dict[str, None] = {}
    if clause.role == "backend":
        below = (each.id for each in clauses.values() if each.role == "transport" and each.level is Level.MUST)
        _add(below, clauses, found)
    _add(clause.depends, clauses, found)
    return tuple(found)


def _add(ids: Iterable[str], clauses: Mapping[str, Clause], found: dict[str, None]) -> None:
    for each in ids:
        if each not in found:
            _add(clauses[each].depends if each in clauses else (), clauses, found)
            found[each] = None


def decide_without_check(clause: Clause, facts: SubjectInfo, dependencies: Iterable[Result]) -> Result | None:
    """Return the result that a clause has without its check, or None if only the check can decide.

    A clause that does not apply to the subject is NOT_APPLICABLE. If the registry refused the subject, the clause of its
    gate is FAILED, and that blocks all others. A clause is BLOCKED if one that it depends on failed, is an error or is
    blocked itself. This is asked before a check, after one that is red, and once more at the end of the run: a
    dependency may have been checked in another process.

    Args:
        clause: The clause.
        facts: The facts about the subject.
        dependencies: The results of the clauses that the clause depends on, as ``list_dependencies`` orders them. They
            are read only if they matter.
    """
    if reason := facts.explain_not_applicable(clause):
        return Result(clause.id, State.NOT_APPLICABLE, message=reason)
    if facts.refusal is not None and clause.id == facts.gate:
        return Result(clause.id, State.FAILED, message=facts.refusal, observed=facts.refusal)
    blocker = _find_blocker(dependencies) if facts.refusal is None else facts.gate
    if blocker is None:
        return None
    return Result(clause.id, State.BLOCKED, message=f"{blocker} is red", blocker=blocker)


def _find_blocker(dependencies: Iterable[Result]) -> str | None:
    blockers = (each.clause if each.state.blocks else each.blocker for each in dependencies)
    return next((each for each in blockers if each is not None), None)


def _replace_unsaid(result: Result, decided: Result | None) -> Result:
    """Return the result with the state that was decided without the check, if the check says nothing of its own.

    A check that did not run says nothing, and neither does a red one that is blocked.
    """
    if decided is None or decided.state is result.state:
        return result
    if decided.state is State.NOT_APPLICABLE or result.state is State.NOT_RUN or result.state.blocks:
        seen = decided.observed or result.observed
        return replace(result, state=decided.state, message=decided.message, blocker=decided.blocker, observed=seen)
    return result


def _dependencies_first(clauses: Mapping[str, Clause], needed: Mapping[str, Iterable[str]]) -> tuple[Clause, ...]:
    """Order the clauses so that each comes after those it depends on, which may lie anywhere in the contract."""
    ids = (each for clause, before in needed.items() for each in (*before, clause))
    return tuple(clauses[each] for each in dict.fromkeys(ids) if each in clauses)


def _join_ids(ids: tuple[str, ...], most: int = 8) -> str:
    return ", ".join(ids[:most]) + (f" and {len(ids) - most} more" if len(ids) > most else "")
