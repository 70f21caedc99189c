"""Run checks, without pytest: ``run_checks(MyBackend).verdict``."""

import tempfile
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from intercede.contract.backend import capabilities
from intercede.testing import bounded
from intercede.testing.clauses import CLAUSES, Clause
from intercede.testing.cleaning import Remains, clean_up
from intercede.testing.context import Context, shown
from intercede.testing.finding import Finding, finding_of, red_text
from intercede.testing.journal import Call
from intercede.testing.subjects import FactorySubject, Role, Subject
from intercede.testing.verdict import Facts, Report, Result, State, judge, needs

__all__ = ["Inspection", "run_checks"]

_LOAD_SECONDS = 20.0


def run_checks(
    factory: Callable[[], object],
    ids: Iterable[str] | None = None,
    *,
    role: Role = "backend",
    scale: float = 1.0,
    clauses: Mapping[str, Clause] = CLAUSES,
) -> Report:
    """Check what a callable makes, in this process and without a registry.

    Args:
        factory: Makes a fresh object, not entered, at each call.
        ids: The clauses or areas (``IC-SUBMIT-04``, ``submit``) to check; None: all.
        role: What it makes. Over a transport the clauses of a backend are checked as well, with jobs run by ``direct``.
        scale: Multiplies every bound in time.
        clauses: What there is to check.

    Returns:
        The verdict and what became of each clause; PARTIAL at best where ids are given.

    Raises:
        LookupError: An id is neither a clause nor an area.
    """
    wanted = _chosen(clauses, ids)
    subject = FactorySubject(factory, role)
    inspection = Inspection(subject, _facts_of(subject), scale=scale)
    inspection.planned = {each.id: each for each in wanted}
    for each in wanted:
        inspection.run(each)
    return judge(inspection.facts, clauses, inspection.results, selected=ids is not None)


def _chosen(clauses: Mapping[str, Clause], ids: Iterable[str] | None) -> list[Clause]:
    if ids is None:
        return list(clauses.values())
    words = set(ids)
    known = {word for each in clauses.values() for word in (each.id, each.area)}
    if not words <= known:
        raise LookupError(
            f"neither clause nor area: {', '.join(sorted(words - known))}; there are {', '.join(clauses)}"
        )
    return [each for each in clauses.values() if words & {each.id, each.area}]


def _facts_of(subject: FactorySubject) -> Facts:
    async def build() -> object:
        return subject.part() if subject.role == "scheduler" else subject.build()

    ending = bounded.run(build, _LOAD_SECONDS)
    facts = Facts(id=subject.id, config=subject.id, name=subject.id, role=subject.role)
    if ending.raised is not None:
        return replace(facts, refusal=f"constructing it raised {shown(ending.raised)}")
    return replace(facts, capabilities=capabilities(ending.value))


def _red(
    clause: Clause,
    finding: Finding,
    seconds: float = 0.0,
    *,
    journal: Sequence[Call] = (),
    remains: Remains | None = None,
    again: str = "",
) -> Result:
    found = remains or Remains()
    text = red_text(clause, finding, journal=journal, outputs=found.outputs, left=found.left, again=again)
    return Result(
        clause.id,
        finding.state,
        seconds,
        finding.message,
        text,
        expected=finding.expected,
        observed=finding.observed,
        calls=tuple(journal),
    )


class Inspection:
    """The checks of one subject in one process.

    Args:
        subject: What is inspected.
        facts: What is known of it.
        scale: Multiplies every bound in time.
        again: Returns the command that does a check once more, for the text of a red one.
    """

    def __init__(
        self, subject: Subject, facts: Facts, *, scale: float = 1.0, again: Callable[[Clause], str] = lambda _: ""
    ) -> None:
        self.subject, self.facts, self.scale, self._again = subject, facts, scale, again
        self.planned: Mapping[str, Clause] = {}
        """What the whole run is to check, here or in another process. Before one is told red, those among them that it
        depends on are checked, whatever the order: one of them may be red, and then this one says nothing of its own."""
        self.results: dict[str, Result] = {}
        self._ahead: dict[str, Result] = {}
        self.left: list[str] = []
        """What could not be cleaned up, a text for each check."""

    def run(self, clause: Clause) -> Result:
        """Check one clause, unless it is known already what must come of it.

        Raises:
            KeyboardInterrupt: The user's own; what the check started is ended first.
        """
        result = self._ahead.pop(clause.id, None) or self._foregone(clause) or self._checked(clause)
        if result.state.red and self.facts.refusal is None:
            result = self._blocked(clause, map(self._known, needs(clause, self.planned))) or result
        self.results[clause.id] = result
        return result

    def _known(self, clause_id: str) -> Result:
        if clause_id not in self.results and clause_id in self.planned:
            self._ahead[clause_id] = self.run(self.planned[clause_id])
        return self.results.get(clause_id, Result(clause_id))

    def _foregone(self, clause: Clause) -> Result | None:
        if foreign := self.facts.foreign(clause):
            return Result(clause.id, State.NOT_APPLICABLE, message=foreign)
        gate = self.facts.gate
        if self.facts.refusal is not None:
            if clause.id != gate:
                return Result(clause.id, State.BLOCKED, message=f"{gate} is red", blocker=gate)
            finding = Finding(
                State.FAILED, f"a {self.facts.role} that the registry loads and its gate lets in", self.facts.refusal
            )
            return _red(replace(clause, look_at=self._at_the_gate), finding, again=self._again(clause))
        return self._blocked(clause, (self.results.get(each, Result(each)) for each in needs(clause, self.planned)))

    @property
    def _at_the_gate(self) -> str:
        again = "`intercede plugins --check` shows it again" if self.facts.origins else "no check can run before that"
        return f"The sentence above: it says what kept the subject out; {again}."

    @staticmethod
    def _blocked(clause: Clause, dependencies: Iterable[Result]) -> Result | None:
        for each in dependencies:
            blocker = each.clause if each.state.red else each.blocker
            if blocker is not None:
                return Result(clause.id, State.BLOCKED, message=f"{blocker} is red", blocker=blocker)
        return None

    def _checked(self, clause: Clause) -> Result:
        with tempfile.TemporaryDirectory(prefix="intercede-", ignore_cleanup_errors=True) as directory:
            tmp, aside = Path(directory, "check"), Path(directory, "aside")
            tmp.mkdir()
            context = Context(self.subject, tmp, capabilities=self.facts.capabilities, scale=self.scale)
            finding, seconds = None, 0.0
            with _ordinary_warnings():
                try:
                    finding, seconds = _timed(clause, context)
                finally:
                    remains = clean_up(context, aside, evidence=finding is not None)
                    self.left += [f"{clause.id}: {remains.left}"] if remains.left else []
        if finding is None:
            return Result(clause.id, State.PASSED, seconds, detail=remains.left, calls=tuple(context.journal))
        return _red(clause, finding, seconds, journal=context.journal, remains=remains, again=self._again(clause))


def _timed(clause: Clause, context: Context) -> tuple[Finding | None, float]:
    began = time.monotonic()
    stall = max(bounded.STALL * context.scale, 1.0)  # below a second, a busy machine stalls by itself
    ending = bounded.run(lambda: clause.check(context), clause.seconds * context.scale, stall)
    return finding_of(clause, ending.raised), time.monotonic() - began


@contextmanager
def _ordinary_warnings() -> Generator[None]:
    """Let nothing that a subject warns of become an exception: `-W error` is about the user's tests, not a contract."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        yield
