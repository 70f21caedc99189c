"""Make the verdict on a subject from the results of all checks, without I/O, a clock or pytest.

A red MUST clause makes the subject NOT CONFORMANT. Otherwise the verdict is INCOMPLETE if a MUST clause that was to run
did not run, PARTIAL if the user selected some of the checks, and else CONFORMANT.
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
"""The id of a clause for each role. The clause is red if the subject does not load or if the registry's gate refuses
the subject."""
Profile = Literal["core", "full"]
"""The scope of a verdict. ``core`` has the clauses of the essential verbs. ``full`` has the clauses of all capabilities
as well."""


class State(StrEnum):
    """The state of a result, which says how a check ended."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    """The subject does not do what the clause says."""
    UNEXPECTED_PASS = "UNEXPECTED_PASS"  # noqa: S105 -- no password
    """The file of known failures says that the check fails, but it passes."""
    ERROR = "ERROR"
    """The check itself broke, which is a fault of the kit."""
    KNOWN = "KNOWN"
    """The check failed, and the file of known failures excuses the failure."""
    NOT_APPLICABLE = "NOT_APPLICABLE"
    """The subject does not claim the capability of the clause, or the clause is about another role."""
    BLOCKED = "BLOCKED"
    """The result says nothing about the clause, because a clause that it depends on is red."""
    NOT_RUN = "NOT_RUN"

    @property
    def is_red(self) -> bool:
        """Whether the state is FAILED, ERROR or UNEXPECTED_PASS."""
        return self in _RED

    @property
    def is_good(self) -> bool:
        """Whether the state is PASSED or KNOWN."""
        return self in _GOOD

    @property
    def is_blocking(self) -> bool:
        """Whether a clause in this state blocks the clauses that depend on it. UNEXPECTED_PASS does not block."""
        return self in _BLOCKING


_BLOCKING = frozenset({State.FAILED, State.ERROR})
_RED = _BLOCKING | {State.UNEXPECTED_PASS}
_GOOD = frozenset({State.PASSED, State.KNOWN})
_RAN = _GOOD | _RED


class Verdict(StrEnum):
    """The verdict on a subject."""

    CONFORMANT = "CONFORMANT"
    NOT_CONFORMANT = "NOT CONFORMANT"
    PARTIAL = "PARTIAL"
    INCOMPLETE = "INCOMPLETE"

    @property
    def is_good(self) -> bool:
        """Whether the verdict counts as a success, so that the exit code is 0."""
        return self in {Verdict.CONFORMANT, Verdict.PARTIAL}


@dataclass(frozen=True)
class Result:
    """The result of one check of one subject, in basic types only."""

    clause: str
    state: State = State.NOT_RUN
    seconds: float = 0.0
    """The duration of the check."""
    message: str = ""
    """One line: the expectation and the observation, or the reason for the state."""
    detail: str = ""
    """The text about a red check, except for the command that runs the check again."""
    rerun_command: str = ""
    """The command that runs the check again. Placeholders replace the secrets in the command, and the reader must fill
    in the secrets."""
    blocker: str | None = None
    """The id of the red clause that blocks this clause, or None."""
    expected: str = ""
    """The requirement of the clause, if the clause is red."""
    observed: str = ""
    """The observation that contradicts the requirement."""
    calls: tuple[Call, ...] = ()
    """The calls that the check made."""
    runs: int = 1
    """The number of times that the check ran."""
    reds: int = 0
    """The number of times that the check was red, if it ran more than once."""

    @property
    def symptom(self) -> str:
        """The text that identifies a failure: the word ``observed`` and the first line of the observation.

        The text is empty if there is no observation.
        """
        seen = " ".join(self.observed.strip().partition("\n")[0].split())
        return f"observed {seen}" if seen else ""

    @property
    def text(self) -> str:
        """The whole text about a red check, as it is printed."""
        command = self.rerun_command
        hidden = f" (put in what {HIDDEN} stands for)" if HIDDEN in command else ""
        return "\n".join(filter(None, [self.detail, f"again: {command}{hidden}" if command else ""]))

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Make a result from the dictionary that ``dataclasses.asdict`` returned, or from its JSON form."""
        given = dict(data)
        calls = cast("Iterable[dict[str, Any]]", given.pop("calls"))
        state = State(str(given.pop("state")))
        return cls(state=state, calls=tuple(Call(**each) for each in calls), **cast("dict[str, Any]", given))


@dataclass(frozen=True)
class SubjectInfo:
    """The facts about a subject that are known before any check runs, in basic types only."""

    id: str
    config: Mapping[str, object] | str
    name: str
    role: Role = "backend"
    origins: tuple[tuple[str, str], ...] = ()
    """Each distribution that the subject comes from, with its version. The distribution of a transport is before the
    distribution of a scheduler."""
    capabilities: frozenset[Capability] = frozenset()
    refusal: str | None = None
    """The reason why the subject did not load or why the gate refused it, or None."""
    warnings: tuple[str, ...] = ()
    """The warnings of the registry about the subject."""

    @property
    def group(self) -> str:
        """The entry point group of the subject, such as ``backends``."""
        return f"{self.role}s"

    @property
    def gate(self) -> str:
        """The clause that is red if the subject was refused."""
        return GATES[self.role]

    @property
    def roles(self) -> frozenset[Role]:
        """The roles whose clauses apply to the subject.

        For a transport, the clauses of backends apply as well, because the transport is also checked as part of a
        backend.
        """
        return frozenset({"transport", "backend"}) if self.role == "transport" else frozenset({self.role})

    def explain_not_applicable(self, clause: Clause) -> str:
        """Return why a clause does not apply to the subject, or an empty text if the clause applies."""
        if clause.role not in self.roles:
            return f"{clause.role} clause, and {self.id} is a {self.role}"
        absent = clause.needs - self.capabilities
        if absent and self.refusal is None:
            return f"{self.id} does not claim {' and '.join(sorted(absent))}"
        return ""

    @property
    def title(self) -> str:
        """The subject with its distributions: ``fake 0.1 (acme-fake)`` or ``ssh+lsf (intercede 1.0, acme-lsf 0.1)``."""
        if len(self.origins) == 1:
            return f"{self.id} {self.version} ({self.distribution})"
        pairs = ", ".join(f"{distribution} {version}" for distribution, version in self.origins)
        return f"{self.id} ({pairs})" if pairs else self.id

    @property
    def distribution(self) -> str | None:
        """The names of the subject's distributions, joined by ``+``: ``intercede-fake`` or ``intercede+acme-lsf``."""
        return "+".join(distribution for distribution, _ in self.origins) or None

    @property
    def version(self) -> str | None:
        """The versions of the subject's distributions, in the order of ``distribution``: ``0.1``, or ``1.0+0.1``."""
        return "+".join(version for _, version in self.origins) or None


@dataclass(frozen=True)
class Report:
    """The verdict on one subject, with the results that it is made from."""

    facts: SubjectInfo
    clauses: Mapping[str, Clause]
    """Every clause of the contract."""
    results: Mapping[str, Result]
    """The result of each clause, in the contract's order."""
    profile: Profile = "full"
    is_partial: bool = False
    """Whether the user selected some of the checks, so that the verdict is PARTIAL at best."""
    required: frozenset[Capability] = frozenset()
    """The capabilities that the subject has to claim."""
    lost_because_of: str = ""
    """The reason why planned checks did not run, if the reason is known."""
    none_selected: bool = False
    """Whether the user selected no MUST clause."""
    unmatched_known: tuple[str, ...] = ()
    """A sentence for each known failure that matches no clause or subject of the run."""
    selection: frozenset[str] = frozenset()
    """The ids of the clauses that the user selected. The selection is used only if the run is partial."""
    verdict: Verdict = field(init=False)
    line: str = field(init=False)
    """The verdict in one sentence, as it is printed."""

    def __post_init__(self) -> None:
        verdict = self._decide_verdict()
        object.__setattr__(self, "verdict", verdict)
        object.__setattr__(self, "line", f"intercede: {self._format_line(verdict)}")

    @property
    def red(self) -> tuple[str, ...]:
        """The clauses that are red, in the contract's order."""
        return tuple(each.clause for each in self.results.values() if each.state.is_red)

    @property
    def first_to_fix(self) -> str | None:
        """The id of the clause to fix first, or None if no red clause decides the verdict.

        Of the red clauses that decide the verdict, this clause blocks the most other clauses.
        """
        return next(iter(self._reds_by_priority), None)

    @property
    def _reds_by_priority(self) -> tuple[str, ...]:
        # The sort is stable, so clauses that block equally many others stay in the contract's order.
        return tuple(sorted(self._decisive, key=lambda each: -self.blocked_counts[each]))

    def list_counted(self, level: Level) -> tuple[str, ...]:
        """Return the clauses of a level that count for the verdict."""
        claimed = self.facts.capabilities
        return tuple(
            each.id
            for each in self.clauses.values()
            if each.level is level
            and each.role in self.facts.roles
            and is_in_profile(each, self.profile)
            and each.needs <= claimed
        )

    def list_good(self, level: Level) -> tuple[str, ...]:
        """Return the clauses of a level that count for the verdict and whose state is PASSED or KNOWN."""
        return tuple(each for each in self.list_counted(level) if self.results[each].state.is_good)

    def _decide_verdict(self) -> Verdict:
        if self._missing_capabilities or (self.unmatched_known and not self.is_partial) or self._decisive:
            return Verdict.NOT_CONFORMANT
        if self.lost_clauses:
            return Verdict.INCOMPLETE
        return Verdict.PARTIAL if self.is_partial else Verdict.CONFORMANT

    @property
    def _decisive(self) -> tuple[str, ...]:
        """The red clauses that decide the verdict: every red MUST, and each SHOULD that is UNEXPECTED_PASS or ERROR."""
        return tuple(
            each
            for each in self.red
            if self.clauses[each].level is Level.MUST or self.results[each].state is not State.FAILED
        )

    @property
    def _missing_capabilities(self) -> tuple[str, ...]:
        return () if self.facts.refusal else tuple(sorted(self.required - self.facts.capabilities))

    @property
    def missing_clauses(self) -> tuple[str, ...]:
        """The MUST clauses that count for the verdict and did not run."""
        return tuple(each for each in self.list_counted(Level.MUST) if self.results[each].state not in _RAN)

    @property
    def lost_clauses(self) -> tuple[str, ...]:
        """The MUST clauses that count for the verdict and were planned, but did not run."""
        return tuple(each for each in self.missing_clauses if each in self.selection or not self.is_partial)

    @property
    def _known(self) -> tuple[str, ...]:
        return tuple(each.clause for each in self.results.values() if each.state is State.KNOWN)

    def _format_line(self, verdict: Verdict) -> str:
        musts = len(self.list_counted(Level.MUST))
        match verdict:
            case Verdict.CONFORMANT:
                return (
                    f"{self.facts.title} is CONFORMANT to contract {VERSION}, {self.profile}: {self._format_counts()}"
                )
            case Verdict.NOT_CONFORMANT:
                return f"{self.facts.title} is NOT CONFORMANT: {self._format_advice()}"
            case Verdict.PARTIAL:
                if self.none_selected:
                    return f"{self.facts.id}: PARTIAL, none of its {musts} MUST was selected"
                ran = musts - len(self.missing_clauses)
                known = f" or are known to fail: {', '.join(self._known)}" if self._known else ""
                passed = f", all passed{known}" if ran else ""
                return f"{self.facts.id}: PARTIAL, {ran} of {musts} MUST ran{passed}{self._red_shoulds}"
            case Verdict.INCOMPLETE:
                lost = f" (lost to {self.lost_because_of})" if self.lost_because_of else ""
                missing = self.lost_clauses
                return f"{self.facts.id}: INCOMPLETE, {len(missing)} MUST did not run: {_join_ids(missing)}{lost}"

    @property
    def _red_shoulds(self) -> str:
        """A text in parentheses that names the red SHOULD clauses, or an empty text.

        Red SHOULD clauses in this text do not change the verdict.
        """
        ids = [each for each in self.red if self.clauses[each].level is Level.SHOULD]
        return f" (red SHOULD: {', '.join(ids)})" if ids else ""

    def _format_counts(self) -> str:
        parts = [f"{len(self.list_good(each))}/{len(self.list_counted(each))} {each}" for each in Level]
        parts[-1] += self._red_shoulds
        if self._known:
            parts.append(f"known to fail: {', '.join(self._known)}")
        absent = [each for each in CAPABILITIES if each not in self.facts.capabilities]
        if absent and self.profile == "full" and "backend" in self.facts.roles:
            parts.append(f"not applicable: {', '.join(absent)}")
        return ", ".join(parts)

    def _format_advice(self) -> str:
        if self.unmatched_known and not self.is_partial:
            return self.unmatched_known[0]
        if self._missing_capabilities:
            return f"it must claim {', '.join(self._missing_capabilities)}, and does not"
        first, *others = self._reds_by_priority
        blocked = self.blocked_counts[first]
        text = f"fix {first}{' first' if others or blocked else ''}"
        text += f", it blocks {blocked} more" if blocked else ""
        return text + (f"; red as well: {_join_ids(tuple(others), 3)}" if others else "")

    @cached_property
    def blocked_counts(self) -> Counter[str]:
        """A mapping from the id of a red clause to the number of clauses that it blocks."""
        return Counter(each.blocker for each in self.results.values() if each.blocker is not None)


def judge(
    facts: SubjectInfo,
    clauses: Mapping[str, Clause],
    results: Mapping[str, Result],
    *,
    profile: Profile = "full",
    is_partial: bool = False,
    required: frozenset[Capability] = frozenset(),
    lost_because_of: str = "",
    none_selected: bool = False,
    unmatched_known: tuple[str, ...] = (),
    selection: frozenset[str] = frozenset(),
) -> Report:
    """Make the verdict on a subject from the results, and return it in a ``Report``.

    Args:
        facts: The facts about the subject.
        clauses: Every clause of the contract, in its order.
        results: The results so far, by the ids of the clauses. A clause without a result counts as NOT_RUN.
        profile: The scope of the verdict.
        is_partial: Whether the user selected some of the checks.
        required: The capabilities that the subject has to claim.
        lost_because_of: The reason why planned checks did not run, if the reason is known.
        none_selected: Whether the user selected no MUST clause.
        unmatched_known: A sentence for each known failure that matches no clause or subject of the run.
        selection: The ids of the clauses that the user selected.
    """
    needed = {each.id: list_dependencies(each, clauses) for each in clauses.values()}
    settled: dict[str, Result] = {}
    for each in _sort_by_dependency(clauses, needed):
        ran = not is_partial or each.id in results
        dependencies = [settled[it] for it in needed[each.id] if it in settled] if ran else []
        decided = decide_without_check(each, facts, dependencies)
        settled[each.id] = _replace_unsaid(results.get(each.id, Result(each.id)), decided)
    ordered = {each: settled[each] for each in clauses}
    return Report(
        facts,
        clauses,
        ordered,
        profile,
        is_partial,
        required,
        lost_because_of,
        none_selected,
        unmatched_known,
        selection,
    )


def is_in_profile(clause: Clause, profile: Profile) -> bool:
    """Return whether the clause counts for verdicts of a profile."""
    return profile == "full" or not clause.needs


def list_dependencies(clause: Clause, clauses: Mapping[str, Clause]) -> tuple[str, ...]:
    """Return the ids of all clauses that a clause depends on, directly or indirectly.

    The id of a clause comes after the ids of the clauses that it depends on. A clause of a backend also depends on
    every MUST of a transport, because a result over a red transport says nothing.
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
    """Return the result of a clause if it can be decided without the check. Return None if only the check can decide.

    A clause that does not apply to the subject is NOT_APPLICABLE. If the registry refused the subject, the clause about
    the gate is FAILED, and this clause blocks all other clauses. A clause is BLOCKED if a clause that it depends on is
    FAILED, ERROR or BLOCKED. The caller asks before a check, after a red check, and once more at the end of the run,
    because a dependency may have been checked in another process.

    Args:
        clause: The clause.
        facts: The facts about the subject.
        dependencies: The results of the clauses that the clause depends on, in the order of ``list_dependencies``. The
            results are read only if they matter.
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
    blockers = (each.clause if each.state.is_blocking else each.blocker for each in dependencies)
    return next((each for each in blockers if each is not None), None)


def _replace_unsaid(result: Result, decided: Result | None) -> Result:
    """Return ``result``, or a copy with the state of ``decided`` if ``result`` says nothing about the subject.

    ``decided`` is the result that was decided without the check, or None. ``result`` says nothing if the check did not
    run, if the clause does not apply, or if the result is red and the clause is blocked.
    """
    if decided is None or decided.state is result.state:
        return result
    if decided.state is State.NOT_APPLICABLE or result.state is State.NOT_RUN or result.state.is_blocking:
        seen = decided.observed or result.observed
        return replace(result, state=decided.state, message=decided.message, blocker=decided.blocker, observed=seen)
    return result


def _sort_by_dependency(clauses: Mapping[str, Clause], needed: Mapping[str, Iterable[str]]) -> tuple[Clause, ...]:
    """Return the clauses in an order in which every clause comes after its dependencies."""
    ids = (each for clause, before in needed.items() for each in (*before, clause))
    return tuple(clauses[each] for each in dict.fromkeys(ids) if each in clauses)


def _join_ids(ids: tuple[str, ...], most: int = 8) -> str:
    return ", ".join(ids[:most]) + (f" and {len(ids) - most} more" if len(ids) > most else "")
