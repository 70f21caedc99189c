"""Run checks, without pytest: ``run_checks(MyBackend).verdict``."""

import tempfile
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from intercede.contract.backend import JobBackend, capabilities
from intercede.testing import bounded
from intercede.testing.clauses import CLAUSES, Clause
from intercede.testing.cleaning import Remains, clean_up
from intercede.testing.context import Call, Context, shown
from intercede.testing.finding import Finding, finding_of, red_text
from intercede.testing.subjects import FactorySubject, Subject
from intercede.testing.verdict import GATE, Facts, Report, Result, State, judge

__all__ = ["Inspection", "run_checks"]

_LOAD_SECONDS = 20.0


def run_checks(
    factory: Callable[[], JobBackend],
    ids: Iterable[str] | None = None,
    *,
    scale: float = 1.0,
    clauses: Mapping[str, Clause] = CLAUSES,
) -> Report:
    """Check what a callable makes, in this process and without a registry.

    Args:
        factory: Makes a fresh backend, not entered, at each call.
        ids: The clauses or areas (``IC-SUBMIT-04``, ``submit``) to check; None: all.
        scale: Multiplies every bound in time.
        clauses: What there is to check.

    Returns:
        The verdict and what became of each clause; PARTIAL at best where ids are given.

    Raises:
        LookupError: An id is neither a clause nor an area.
    """
    wanted = _chosen(clauses, ids)
    subject = FactorySubject(factory)
    inspection = Inspection(subject, _facts_of(subject), scale=scale)
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
    async def build() -> JobBackend:
        return subject.build()

    ending = bounded.run(build, _LOAD_SECONDS)
    facts = Facts(id=subject.id, config=subject.id, name=subject.id)
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
    return Result(clause.id, finding.state, seconds, finding.message, text)


class Inspection:
    """The checks of one subject in one process."""

    def __init__(self, subject: Subject, facts: Facts, *, scale: float = 1.0) -> None:
        self.subject, self.facts, self.scale = subject, facts, scale
        self.results: dict[str, Result] = {}
        self.left: list[str] = []
        """What could not be cleaned up, a text for each check."""

    def run(self, clause: Clause, again: str = "") -> Result:
        """Check one clause, unless it is known already what must come of it.

        Args:
            clause: The clause.
            again: The command that does the same once more, for the text of a red one.

        Raises:
            KeyboardInterrupt: The user's own; what the check started is ended first.
        """
        result = self._foregone(clause, again) or self._checked(clause, again)
        self.results[clause.id] = result
        return result

    def _foregone(self, clause: Clause, again: str) -> Result | None:
        if self.facts.refusal is not None:
            if clause.id != GATE:
                return Result(clause.id, State.BLOCKED, message=f"{GATE} is red", blocker=GATE)
            finding = Finding(
                State.FAILED, "a backend that the registry loads and its gate lets in", self.facts.refusal
            )
            return _red(clause, finding, again=again)
        if clause.capability is not None and clause.capability not in self.facts.capabilities:
            message = f"{self.facts.id} does not claim {clause.capability}"
            return Result(clause.id, State.NOT_APPLICABLE, message=message)
        for each in clause.depends:
            dependency = self.results.get(each, Result(each))
            blocker = each if dependency.state.red else dependency.blocker
            if blocker is not None:
                return Result(clause.id, State.BLOCKED, message=f"{blocker} is red", blocker=blocker)
        return None

    def _checked(self, clause: Clause, again: str) -> Result:
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
            return Result(clause.id, State.PASSED, seconds, detail=remains.left)
        return _red(clause, finding, seconds, journal=context.journal, remains=remains, again=again)


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
