"""A known failure and the results of a run: what it makes of a result, and entries that match none."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testing.known.entries import CLAUSES, SEEN, TODAY, make_facts, make_failure, make_known

from intercede.testing.known import Known
from intercede.testing.model.verdict import Result, State


def test_a_failure_as_known_is_known() -> None:
    """Up to the last day, and with its symptom; the message keeps reason, link, date and what was seen."""
    result = make_known(link="https://forge.example.org/7").judge("site", "IC-KILL-01", make_failure(), TODAY)

    assert result.state is State.KNOWN
    for part in ("the gateway forgets", "https://forge.example.org/7", "2026-06-15", SEEN):
        assert part in result.message


def test_passing_is_red() -> None:
    """A known failure that is none any more must leave the file, also after its date."""
    for today in (TODAY, TODAY + timedelta(days=1)):
        result = make_known().judge("site", "IC-KILL-01", Result("IC-KILL-01", State.PASSED), today)

        assert result.state is State.UNEXPECTED_PASS
        assert result.message == "is known to fail (the gateway forgets), and passes: remove the entry"
        assert "known.toml, entry 1 (IC-KILL-01)" in result.detail


def test_another_symptom_is_red() -> None:
    """A failure that looks otherwise is a failure; the message tells what was known and what was seen."""
    result = make_known().judge("site", "IC-KILL-01", make_failure("expected KILLED; observed RUNNING"), TODAY)

    assert result.state is State.FAILED
    assert "known to fail with 'observed UNKNOWN'" in result.message
    assert "observed RUNNING" in result.message
    assert "everything there is to say" in result.detail
    assert "failed otherwise" in result.detail


def test_what_is_expected_is_no_symptom() -> None:
    """It stands in every failure of the clause, whatever was seen; so does the word before that."""
    for symptom in ("expected KILLED", "KILLED; observed", "KILLED"):
        assert make_known(symptom=symptom).judge("site", "IC-KILL-01", make_failure(), TODAY).state is State.FAILED


def test_expired_is_red() -> None:
    """From the day after its date on, an entry excuses nothing."""
    result = make_known().judge("site", "IC-KILL-01", make_failure(), TODAY + timedelta(days=1))

    assert result.state is State.FAILED
    assert result.message == f"known until 2026-06-15, expired (the gateway forgets): {SEEN}"


@pytest.mark.parametrize("state", sorted(set(State) - {State.PASSED, State.FAILED}))
def test_what_says_nothing_of_the_subject_is_left_alone(state: State) -> None:
    """An error of the kit is never known; what was blocked, did not run or does not apply stays so."""
    result = Result("IC-KILL-01", state, message=SEEN)

    assert make_known().judge("site", "IC-KILL-01", result, TODAY) == result


def test_an_entry_for_one_subject_is_for_no_other() -> None:
    """Neither is one for a clause for another."""
    known = make_known(subject="site")

    assert known.judge("site", "IC-KILL-01", make_failure(), TODAY).state is State.KNOWN
    assert known.judge("other", "IC-KILL-01", make_failure(), TODAY).state is State.FAILED
    assert known.judge("site", "IC-OUTPUT-01", make_failure(clause="IC-OUTPUT-01"), TODAY).state is State.FAILED


def test_one_failure_of_several_runs_is_known() -> None:
    """Where a check was repeated, it has passed only if it never failed."""
    flaky = replace(make_failure(), runs=10, reds=1)

    assert make_known().judge("site", "IC-KILL-01", flaky, TODAY).state is State.KNOWN


MESSAGES = st.text(st.characters(exclude_categories=[])) | st.sampled_from([SEEN, "observed UNKNOWN", "x"])


@given(MESSAGES, st.sampled_from(sorted(State)), st.integers(-1, 1))
def test_to_judge_twice_is_to_judge_once(message: str, state: State, days: int) -> None:
    """A worker and the controller may both judge: a note about a symptom is no symptom."""
    known, today = make_known(), TODAY + timedelta(days=days)

    once = known.judge("site", "IC-KILL-01", Result("IC-KILL-01", state, message=message, observed=message), today)

    assert known.judge("site", "IC-KILL-01", once, today) == once


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"clause": "IC-KIL-01"}, "there is no clause 'IC-KIL-01', did you mean 'IC-KILL-01'?"),
        ({"subject": "other"}, "there is no subject 'other' in this run, only site"),
        ({"clause": "IC-OUTPUT-01"}, "site does not claim output"),
        ({"clause": "IC-OUTPUT-01", "subject": "site"}, "site does not claim output"),
    ],
)
def test_an_entry_that_matches_nothing_is_told(fields: dict[str, str], why: str) -> None:
    """No such clause, no such subject, not claimed: each is told with file and entry."""
    known = make_known(**fields)

    assert known.find_unmatched(CLAUSES, [make_facts()]) == (
        f"known.toml: {known.entries[0].title} matches nothing: {why}",
    )


def test_an_entry_that_matches_is_not_told() -> None:
    """One subject that it applies to is enough."""
    assert make_known().find_unmatched(CLAUSES, [make_facts(), make_facts("poor", frozenset())]) == ()


def test_an_entry_that_others_cover_matches_nothing() -> None:
    """Where each subject has an entry of its own, that for all of them is one too many."""
    (general,) = make_known().entries
    known = Known(Path("known.toml"), (general, replace(general, subject="site", number=2)))

    (told,) = known.find_unmatched(CLAUSES, [make_facts()])

    assert told.startswith("known.toml: entry 1 (IC-KILL-01) matches nothing: every subject")
