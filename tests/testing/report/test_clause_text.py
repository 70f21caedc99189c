"""Clauses are listed and explained at a terminal."""

import pytest

from intercede.testing.clauses import CLAUSES
from intercede.testing.report import explain_clause, list_clauses


def test_every_clause_is_listed_and_explained() -> None:
    """Each clause has a line in the list, and its explanation holds its title, level and hint."""
    assert [line.split()[0] for line in list_clauses(CLAUSES).splitlines()] == list(CLAUSES)
    for clause in CLAUSES.values():
        text = explain_clause(CLAUSES, clause.id.lower())
        assert clause.title in text
        assert f"({clause.level}" in text
        assert clause.hint in text


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("IC-SUBMIT-4", "; did you mean IC-SUBMIT-04?"),
        ("ic-submit-004", "; did you mean IC-SUBMIT-04?"),
        ("IC-SUBMT-01", "; did you mean IC-SUBMIT-01, "),
        ("IC-HANDLE", f"; did you mean {', '.join(each for each in CLAUSES if 'HANDLE' in each)}?"),
        ("ic-handle-", f"; did you mean {', '.join(each for each in CLAUSES if 'HANDLE' in each)}?"),
        ("???", "; all of them"),
        ("", "; all of them"),
        ("-", "; all of them"),
    ],
)
def test_an_unknown_clause_suggests_similar_ones(word: str, meant: str) -> None:
    """The error about an unknown clause suggests similar ids or the whole area, and names the option that lists all."""
    with pytest.raises(LookupError) as caught:
        explain_clause(CLAUSES, word, "pytest --intercede-list")

    assert str(caught.value.args[0]).startswith(f"there is no clause {word!r}{meant}")
    assert str(caught.value.args[0]).endswith("; all of them: pytest --intercede-list")
