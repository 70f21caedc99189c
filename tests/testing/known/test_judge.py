"""Results are judged by the known failures, and entries that match no result are reported."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testing.known.entries import CLAUSES, SEEN, TODAY, make_facts, make_failure, make_known

from intercede.testing.known import Known
from intercede.testing.model.verdict import Result, State


def test_a_failure_that_matches_an_entry_is_known() -> None:
    """A failure with the symptom of its entry is KNOWN up to the entry's last day.

    The message holds the reason, the link, the date and what was observed.
    """
    result = make_known(link="https://forge.example.org/7").judge("site", "IC-KILL-01", make_failure(), TODAY)

    assert result.state is State.KNOWN
    for part in ("the gateway forgets", "https://forge.example.org/7", "2026-06-15", SEEN):
        assert part in result.message


def test_a_known_failure_that_passes_is_red() -> None:
    """A check that is known to fail and passes is red, also after the date of its entry."""
    for today in (TODAY, TODAY + timedelta(days=1)):
        result = make_known().judge("site", "IC-KILL-01", Result("IC-KILL-01", State.PASSED), today)

        assert result.state is State.UNEXPECTED_PASS
        assert result.message == "is known to fail (the gateway forgets), and passes: remove the entry"
        assert "known.toml, entry 1 (IC-KILL-01)" in result.detail


def test_another_symptom_is_red() -> None:
    """A known failure with another symptom is FAILED, and the message names the known and the observed symptom."""
    result = make_known().judge("site", "IC-KILL-01", make_failure("expected KILLED; observed RUNNING"), TODAY)

    assert result.state is State.FAILED
    assert "known to fail with 'observed UNKNOWN'" in result.message
    assert "observed RUNNING" in result.message
    assert "everything there is to say" in result.detail
    assert "failed otherwise" in result.detail


def test_the_expected_part_of_a_message_is_no_symptom() -> None:
    """A symptom is compared with what was observed, and not with what was expected."""
    for symptom in ("expected KILLED", "KILLED; observed", "KILLED"):
        assert make_known(symptom=symptom).judge("site", "IC-KILL-01", make_failure(), TODAY).state is State.FAILED


def test_an_expired_entry_excuses_nothing() -> None:
    """A known failure is FAILED from the day after the date of its entry."""
    result = make_known().judge("site", "IC-KILL-01", make_failure(), TODAY + timedelta(days=1))

    assert result.state is State.FAILED
    assert result.message == f"known until 2026-06-15, expired (the gateway forgets): {SEEN}"


@pytest.mark.parametrize("state", sorted(set(State) - {State.PASSED, State.FAILED}))
def test_only_passes_and_failures_are_judged(state: State) -> None:
    """A result that is an ERROR, BLOCKED, NOT_RUN or NOT_APPLICABLE is not changed by an entry."""
    result = Result("IC-KILL-01", state, message=SEEN)

    assert make_known().judge("site", "IC-KILL-01", result, TODAY) == result


def test_an_entry_for_one_subject_is_for_no_other() -> None:
    """An entry that names a subject and a clause excuses no other subject and no other clause."""
    known = make_known(subject="site")

    assert known.judge("site", "IC-KILL-01", make_failure(), TODAY).state is State.KNOWN
    assert known.judge("other", "IC-KILL-01", make_failure(), TODAY).state is State.FAILED
    assert known.judge("site", "IC-OUTPUT-01", make_failure(clause="IC-OUTPUT-01"), TODAY).state is State.FAILED


def test_one_failure_of_repeated_checks_is_known() -> None:
    """A repeated check that failed once and matches its entry is KNOWN."""
    flaky = replace(make_failure(), runs=10, reds=1)

    assert make_known().judge("site", "IC-KILL-01", flaky, TODAY).state is State.KNOWN


MESSAGES = st.text(st.characters(exclude_categories=[])) | st.sampled_from([SEEN, "observed UNKNOWN", "x"])


@given(MESSAGES, st.sampled_from(sorted(State)), st.integers(-1, 1))
def test_judging_twice_is_judging_once(message: str, state: State, days: int) -> None:
    """A result that was judged stays the same if it is judged again, as a worker and the controller may do."""
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
def test_an_entry_that_matches_nothing_is_reported(fields: dict[str, str], why: str) -> None:
    """An entry with an unknown clause, an unknown subject or an unclaimed capability is reported with its number."""
    known = make_known(**fields)

    assert known.find_unmatched(CLAUSES, [make_facts()]) == (
        f"known.toml: {known.entries[0].title} matches nothing: {why}",
    )


def test_an_entry_that_matches_one_subject_is_not_reported() -> None:
    """An entry that applies to one of several subjects is not reported."""
    assert make_known().find_unmatched(CLAUSES, [make_facts(), make_facts("poor", frozenset())]) == ()


def test_an_entry_that_others_cover_matches_nothing() -> None:
    """A general entry is reported if each subject has an entry of its own for the clause."""
    (general,) = make_known().entries
    known = Known(Path("known.toml"), (general, replace(general, subject="site", number=2)))

    (told,) = known.find_unmatched(CLAUSES, [make_facts()])

    assert told.startswith("known.toml: entry 1 (IC-KILL-01) matches nothing: every subject")
