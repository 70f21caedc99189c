"""The sentences that no check can see are listed, and rendered with the clauses."""

import re

import pytest

from intercede.testing.clauses import CLAUSES
from intercede.testing.clauses.untested import UNTESTED
from intercede.testing.frontends.reference import render


@pytest.mark.parametrize("sentence", UNTESTED)
def test_each_is_a_sentence_with_a_reason_and_stands_in_the_reference(sentence: str) -> None:
    """A reader of the clauses finds there what none of them is about, and why."""
    why = UNTESTED[sentence]

    assert sentence.endswith(".")
    assert why.endswith(".")
    shown = " ".join(render().partition("## What cannot be tested from outside")[2].split())
    assert f"- {sentence} {why}" in shown


def test_the_clauses_that_they_speak_of_exist() -> None:
    """A reason that names a clause says how far it goes; a clause that is gone would say nothing."""
    named = set(re.findall(r"IC-[A-Z]+-\d\d", " ".join(UNTESTED.values())))

    assert named <= CLAUSES.keys()


def test_no_clause_claims_what_is_said_to_be_untested() -> None:
    """A sentence that has got a check leaves the list."""
    assert not {clause.title for clause in CLAUSES.values()} & UNTESTED.keys()
