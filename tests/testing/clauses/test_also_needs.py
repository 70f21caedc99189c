"""A clause over two capabilities applies to subjects that claim both."""

import ast
from pathlib import Path

import pytest

from intercede.contract.backend import Capability
from intercede.testing import clauses
from intercede.testing.clauses import CLAUSES
from intercede.testing.model.clause import MUST, Clause
from intercede.testing.model.verdict import Result, State, SubjectInfo, judge
from intercede.testing.report.clause_text import explain_clause
from intercede.testing.run.context import Context

CHECKS = sorted(Path(clauses.__file__).parent.rglob("*.py"))


async def _check(_: Context) -> None:
    """Do nothing."""


ONE = Clause(id="IC-FIND-01", title="", level=MUST, check=_check, capability="find")
TWO = Clause(id="IC-FIND-04", title="", level=MUST, check=_check, capability="find", also_needs=("purge",))


@pytest.mark.parametrize(
    ("claimed", "reason"),
    [
        ({"find", "purge"}, ""),
        ({"find"}, "x does not claim purge"),
        ({"purge"}, "x does not claim find"),
        (set[Capability](), "x does not claim find and purge"),
    ],
)
def test_a_clause_over_two_capabilities_applies_if_both_are_claimed(claimed: set[Capability], reason: str) -> None:
    """A clause over two capabilities does not apply if one is not claimed, and the reason names it."""
    facts = SubjectInfo(id="x", config="x", name="x", capabilities=frozenset(claimed))

    assert facts.explain_not_applicable(TWO) == reason


def test_a_verdict_does_not_count_a_clause_that_does_not_apply() -> None:
    """A subject that finds jobs and cannot purge them is judged by the clauses about find alone."""
    facts = SubjectInfo(id="x", config="x", name="x", capabilities=frozenset({"find"}))
    results = {ONE.id: Result(ONE.id, State.PASSED)}

    report = judge(facts, {each.id: each for each in (ONE, TWO)}, results)

    assert report.results[TWO.id].state is State.NOT_APPLICABLE
    assert "1/1 MUST" in report.line


def test_the_explanation_of_a_clause_names_both_capabilities() -> None:
    """The explanation of a clause names each capability that it needs."""
    assert "applies if find and purge are claimed" in explain_clause(CLAUSES, "IC-FIND-04")
    assert "applies if find is claimed" in explain_clause(CLAUSES, "IC-FIND-01")


@pytest.mark.parametrize("path", CHECKS, ids=lambda path: path.name)
def test_no_check_returns_because_a_capability_is_not_claimed(path: Path) -> None:
    """No check returns early if a capability is not claimed, since that would count as PASSED."""
    early = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.If)
        and "not in context.capabilities" in ast.unparse(node.test)
        and isinstance(node.body[-1], ast.Return)
    ]

    assert early == []
