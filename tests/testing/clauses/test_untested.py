"""Sentences of the contract that no check can observe are listed with their reasons."""

import re

import pytest

from intercede.testing.clauses import CLAUSES
from intercede.testing.clauses.untested import UNTESTED
from intercede.testing.frontends.reference import render


@pytest.mark.parametrize("sentence", UNTESTED)
def test_each_untested_sentence_is_in_the_reference(sentence: str) -> None:
    """The reference lists each sentence that has no check, with its reason."""
    why = UNTESTED[sentence]

    assert sentence.endswith(".")
    assert why.endswith(".")
    shown = " ".join(render().partition("## Sentences that no check can test")[2].split())
    assert f"- {sentence} {why}" in shown


def test_clauses_that_a_reason_names_exist() -> None:
    """Each clause that is named by the reason of an untested sentence exists."""
    named = set(re.findall(r"IC-[A-Z]+-\d\d", " ".join(UNTESTED.values())))

    assert named <= CLAUSES.keys()


def test_no_clause_has_the_words_of_an_untested_sentence() -> None:
    """A sentence is not listed as untested if it is the title of a clause."""
    assert not {clause.title for clause in CLAUSES.values()} & UNTESTED.keys()
