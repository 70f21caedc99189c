"""The registry of clauses: ids, order and dependencies."""

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


def test_they_stand_in_the_contract_s_order() -> None:
    """By area, then by number, without a gap."""
    numbers: dict[str, list[int]] = {}
    for clause_id in CLAUSES:
        _, area, number = clause_id.split("-")
        numbers.setdefault(area, []).append(int(number))

    assert list(numbers) == [area for area in AREAS if area in numbers]
    for found in numbers.values():
        assert found == list(range(1, len(found) + 1))


@pytest.mark.parametrize("each", CLAUSES.values(), ids=CLAUSES)
def test_each_says_what_an_author_needs(each: Clause) -> None:
    """A sentence, what is done, what to look at, and a check that is a coroutine function of one argument."""
    assert each.title.endswith(".")
    assert each.hint
    assert inspect.getdoc(each.check)
    assert inspect.iscoroutinefunction(each.check)
    assert len(inspect.signature(each.check).parameters) == 1
    assert each.capability is None or each.capability in CAPABILITIES


def test_dependencies_exist_and_have_no_cycle() -> None:
    """A dependency is in the registry, and does not depend on its clause in turn."""

    def reachable(clause_id: str, path: tuple[str, ...] = ()) -> None:
        assert clause_id not in path, f"a cycle: {path}"
        for each in CLAUSES[clause_id].depends:
            assert each in CLAUSES
            reachable(each, (*path, clause_id))

    for clause_id in CLAUSES:
        reachable(clause_id)


def test_a_must_depends_on_no_should() -> None:
    """Else a SHOULD that is red would leave a MUST undecided."""
    for each in CLAUSES.values():
        if each.level is MUST:
            assert all(CLAUSES[dependency].level is MUST for dependency in each.depends)


@pytest.mark.parametrize("clause_id", ["IC-SHAPE-1", "IC-NONE-01", "SHAPE-01", "IC-SHAPE-01"])
def test_an_id_of_another_form_or_one_that_is_taken_is_refused(clause_id: str) -> None:
    """Two checks of one clause would hide each other."""
    with pytest.raises(ValueError, match=clause_id):
        clause(clause_id, title="", level=MUST)


def test_the_module_has_no_other_hidden_names() -> None:
    """Only the clauses are loaded at use."""
    with pytest.raises(AttributeError, match="CLAUSEZ"):
        _ = clauses.CLAUSEZ  # pyright: ignore[reportAttributeAccessIssue] -- that is the test
