"""One function decides which clauses need no check, while checks run and at the end."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.testing.clauses import CLAUSES
from intercede.testing.gallery.fake import FakeBackend
from intercede.testing.model.clause import MUST, Clause
from intercede.testing.model.verdict import (
    Result,
    State,
    SubjectInfo,
    decide_without_check,
    judge,
    list_dependencies,
)
from intercede.testing.run.context import Context
from intercede.testing.run.inspection import Inspection
from intercede.testing.subjects.subject import FactorySubject

FACTS = SubjectInfo(id="x", config="x", name="x")
REFUSED = SubjectInfo(id="x", config="x", name="x", refusal="it does not load")


async def _check(_: Context) -> None: ...


def make_clause(number: int, *depends: str) -> Clause:
    """Make a clause that depends on others."""
    return Clause(id=f"IC-SUBMIT-{number:02}", title="", level=MUST, check=_check, depends=depends)


@pytest.mark.parametrize(
    ("facts", "clause", "dependencies", "state", "blocker"),
    [
        (FACTS, "IC-KILL-01", [], State.NOT_APPLICABLE, None),
        (FACTS, "IC-TRANSPORT-01", [], State.NOT_APPLICABLE, None),
        (REFUSED, "IC-TRANSPORT-01", [], State.NOT_APPLICABLE, None),
        (REFUSED, "IC-SHAPE-01", [], State.FAILED, None),
        (REFUSED, "IC-SUBMIT-01", [], State.BLOCKED, "IC-SHAPE-01"),
        (FACTS, "IC-SUBMIT-02", [Result("a", State.PASSED), Result("b", State.FAILED)], State.BLOCKED, "b"),
        (FACTS, "IC-SUBMIT-02", [Result("b", State.ERROR)], State.BLOCKED, "b"),
        (FACTS, "IC-SUBMIT-02", [Result("b", State.BLOCKED, blocker="c")], State.BLOCKED, "c"),
        (FACTS, "IC-SUBMIT-02", [Result("b", State.KNOWN), Result("c", State.UNEXPECTED_PASS)], None, None),
        (FACTS, "IC-SUBMIT-02", [Result("b")], None, None),
    ],
)
def test_a_clause_is_decided_by_the_facts_and_its_dependencies(
    facts: SubjectInfo, clause: str, dependencies: list[Result], state: State | None, blocker: str | None
) -> None:
    """A clause that does not apply comes first, then a refused subject, then a dependency that is red or blocked."""
    decided = decide_without_check(CLAUSES[clause], facts, dependencies)

    assert (decided and decided.state, decided and decided.blocker) == (state, blocker)


def test_dependencies_are_read_only_if_they_matter() -> None:
    """The dependencies of a clause may run checks as they are read, so a clause that does not apply reads none."""

    def run_dependencies() -> Iterator[Result]:
        pytest.fail("a dependency was read")
        yield Result("x")

    assert decide_without_check(CLAUSES["IC-KILL-01"], FACTS, run_dependencies())
    assert decide_without_check(CLAUSES["IC-SUBMIT-02"], REFUSED, run_dependencies())


@given(st.lists(st.sampled_from([State.PASSED, State.FAILED, State.ERROR, State.KNOWN, State.NOT_RUN]), max_size=6))
def test_a_verdict_blocks_what_the_decision_blocks(states: list[State]) -> None:
    """In a chain of clauses, a report has the state that the decision gives from the report's own results."""
    ids = [f"IC-SUBMIT-{number:02}" for number in range(len(states))]
    clauses = {each: make_clause(number, *ids[max(0, number - 1) : number]) for number, each in enumerate(ids)}
    results = {each: Result(each, state) for each, state in zip(ids, states, strict=True)}

    report = judge(FACTS, clauses, results)

    for each, result in report.results.items():
        dependencies = [report.results[it] for it in list_dependencies(clauses[each], clauses)]
        decided = decide_without_check(clauses[each], FACTS, dependencies)
        says_nothing = results[each].state in {State.FAILED, State.ERROR, State.NOT_RUN}
        assert (result.state is State.BLOCKED) == (decided is not None and says_nothing)
        assert result.blocker == (decided.blocker if decided and says_nothing else None)


def test_a_refused_subject_has_the_same_states_while_checks_run_and_at_the_end() -> None:
    """An inspection of a refused subject and a verdict without any result agree on every clause."""
    some = {each: CLAUSES[each] for each in ("IC-SHAPE-01", "IC-SUBMIT-01", "IC-KILL-01", "IC-TRANSPORT-01")}
    with Inspection(FactorySubject(FakeBackend), REFUSED, some) as inspection:
        running = {each: inspection.run(clause) for each, clause in some.items()}

    ended = judge(REFUSED, some, {}).results

    assert {each: (it.state, it.blocker) for each, it in running.items()} == {
        each: (it.state, it.blocker) for each, it in ended.items()
    }
