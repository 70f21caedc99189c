"""Clauses are registered with their ids, order and dependencies."""

import inspect

import pytest

from intercede.contract.backend import CAPABILITIES
from intercede.testing import clauses
from intercede.testing.clauses import CLAUSES, clause
from intercede.testing.model.clause import MUST, Clause

AREAS = [
    "SHAPE",
    "LIFE",
    "SUBMIT",
    "HANDLE",
    "STATUS",
    "OUTPUT",
    "KILL",
    "PURGE",
    "LOAD",
    "FIND",
    "DIAG",
    "TRANSPORT",
    "SCHEDULER",
]


def test_clauses_are_in_the_order_of_the_contract() -> None:
    """Clauses are ordered by area and number, without a gap."""
    numbers: dict[str, list[int]] = {}
    for clause_id in CLAUSES:
        _, area, number = clause_id.split("-")
        numbers.setdefault(area, []).append(int(number))

    assert list(numbers) == [area for area in AREAS if area in numbers]
    for found in numbers.values():
        assert found == list(range(1, len(found) + 1))


@pytest.mark.parametrize("each", CLAUSES.values(), ids=CLAUSES)
def test_each_clause_has_a_title_a_hint_and_a_check(each: Clause) -> None:
    """A clause has a sentence, a hint, and a check with a docstring that takes one argument."""
    assert each.title.endswith(".")
    assert each.hint
    assert inspect.getdoc(each.check)
    assert inspect.iscoroutinefunction(each.check)
    assert len(inspect.signature(each.check).parameters) == 1
    assert each.capability is None or each.capability in CAPABILITIES


def test_dependencies_exist_and_have_no_cycle() -> None:
    """Each dependency of a clause is registered, and no clause depends on itself through others."""

    def reachable(clause_id: str, path: tuple[str, ...] = ()) -> None:
        assert clause_id not in path, f"a cycle: {path}"
        for each in CLAUSES[clause_id].depends:
            assert each in CLAUSES
            reachable(each, (*path, clause_id))

    for clause_id in CLAUSES:
        reachable(clause_id)


def test_a_must_depends_on_no_should() -> None:
    """A MUST depends on no SHOULD, since a red SHOULD would leave it undecided."""
    for each in CLAUSES.values():
        if each.level is MUST:
            assert all(CLAUSES[dependency].level is MUST for dependency in each.depends)


@pytest.mark.parametrize("clause_id", ["IC-SHAPE-1", "IC-NONE-01", "SHAPE-01", "IC-SHAPE-01"])
def test_an_invalid_or_taken_id_is_refused(clause_id: str) -> None:
    """A clause with an invalid id, or the id of another clause, is refused."""
    with pytest.raises(ValueError, match=clause_id):
        clause(clause_id, title="", level=MUST)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """An unknown attribute of the module is an AttributeError."""
    with pytest.raises(AttributeError, match="CLAUSEZ"):
        _ = clauses.CLAUSEZ  # pyright: ignore[reportAttributeAccessIssue] -- the access is the test
