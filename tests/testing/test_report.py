"""A verdict for programs, and the clauses for people."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.testing.clauses import CLAUSES
from intercede.testing.report import as_json, explained, listed, redacted, write
from intercede.testing.verdict import Facts, Report, Result, State, judge

STARTED = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
FACTS = Facts(id="cern", config={"host": "h", "password": "hunter2"}, name="cern", capabilities=frozenset({"kill"}))


def _report(facts: Facts = FACTS) -> Report:
    first = next(iter(CLAUSES))
    return judge(facts, CLAUSES, {first: Result(first, State.FAILED, 0.12345, "expected a; observed b")})


def test_the_keys_are_the_documented_ones() -> None:
    """Outsiders read them, so they are fixed; every clause is listed, also what did not run."""
    data = json.loads(json.dumps(as_json(_report(), STARTED)))

    assert list(data) == (
        ["contract", "kit", "python", "started", "profile", "verdict", "selected", "subject", "clauses", "totals"]
    )
    assert list(data["subject"]) == ["name", "group", "distribution", "version", "config", "capabilities"]
    assert [each["id"] for each in data["clauses"]] == list(CLAUSES)
    assert data["clauses"][0] == {
        "id": next(iter(CLAUSES)),
        "level": "MUST",
        "capability": None,
        "title": next(iter(CLAUSES.values())).title,
        "outcome": "FAILED",
        "seconds": 0.123,
        "message": "expected a; observed b",
    }
    assert data["verdict"] == "NOT CONFORMANT"
    assert data["started"] == "2026-05-04T03:02:01+00:00"
    assert data["subject"]["config"] == {"host": "h", "password": "***"}
    assert sum(data["totals"].values()) == len(CLAUSES)


def test_each_of_several_has_a_file(tmp_path: Path) -> None:
    """One is conformance.json; several are told apart by their ids."""
    second = Facts(id="fake#2", config="fake", name="fake#2")

    assert [path.name for path in write([_report()], tmp_path, STARTED)] == ["conformance.json"]
    several = write([_report(), _report(second)], tmp_path, STARTED)

    assert [path.name for path in several] == ["conformance-cern.json", "conformance-fake#2.json"]
    assert json.loads(several[1].read_text())["subject"]["name"] == "fake#2"


SECRET_KEYS = st.sampled_from(
    ["password", "Passphrase", "api_key", "AUTH", "access-token", "client_secret", "credentials", "private", "pin"]
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abcxyz/ ?@", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz", max_size=5), inner, max_size=3),
)


@given(st.dictionaries(st.text("abcxyz", max_size=5), PLAIN, max_size=3), SECRET_KEYS)
def test_no_secret_is_written(config: dict[str, object], key: str) -> None:
    """What a key or a URL gives away is hidden at every depth."""
    secret = "hunter2"  # noqa: S105 -- that is what it is for
    hidden = {**config, "deep": [{key: {"inner": secret}}], "url": f"https://me:{secret}@site.example/x"}

    text = json.dumps(redacted(hidden))

    assert secret not in text
    assert "site.example/x" in text


@given(st.dictionaries(st.text("abcxyz", max_size=5), PLAIN, max_size=3))
def test_plain_data_stays(config: dict[str, object]) -> None:
    """A configuration without secrets is written as it is."""
    assert redacted(config) == config


def test_what_is_not_plain_is_named_by_its_type() -> None:
    """An object may hold anything, so its repr is not written."""
    assert redacted({"when": STARTED, "blob": b"x"}) == {"when": "<datetime>", "blob": "<bytes>"}


def test_every_clause_is_listed_and_explained() -> None:
    """A line each; and for one: text, level, what is done, what to look at."""
    assert [line.split()[0] for line in listed(CLAUSES).splitlines()] == list(CLAUSES)
    for clause in CLAUSES.values():
        text = explained(CLAUSES, clause.id.lower())
        assert clause.title in text
        assert f"({clause.level}" in text
        assert clause.look_at in text


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("IC-SUBMIT-4", "; did you mean IC-SUBMIT-04?"),
        ("ic-submit-004", "; did you mean IC-SUBMIT-04?"),
        ("IC-SUBMT-01", "; did you mean IC-SUBMIT-01, "),
        ("IC-HANDLE", "; did you mean IC-HANDLE-01, IC-HANDLE-02, IC-HANDLE-03, IC-HANDLE-04?"),
        ("ic-handle-", "; did you mean IC-HANDLE-01, IC-HANDLE-02, IC-HANDLE-03, IC-HANDLE-04?"),
        ("???", "; all of them"),
        ("", "; all of them"),
        ("-", "; all of them"),
    ],
)
def test_a_clause_that_is_not_there_brings_those_that_may_be_meant(word: str, meant: str) -> None:
    """Numbers are compared as numbers, a family is listed whole, and where all of them stand is always said."""
    with pytest.raises(LookupError) as caught:
        explained(CLAUSES, word)

    assert str(caught.value.args[0]).startswith(f"there is no clause {word!r}{meant}")
    assert str(caught.value.args[0]).endswith("; all of them: pytest --intercede-list")


@pytest.mark.parametrize(
    "config",
    [
        {"password": "hunter2"},
        {"pwd": "hunter2"},
        {"options": {"api_key": "hunter2"}},
        {"submit_arguments": ["--password=hunter2"]},
        {"endpoint": "https://h/x?sig=hunter2"},
        {"url": "https://user:p/hunter2@h/"},
        {"header": "Bearer hunter2"},
        {"thing": b"hunter2"},
    ],
)
def test_a_report_shows_no_secret_of_the_configuration(config: dict[str, object]) -> None:
    """What may be secret by its key, its words or its place in a URL is not written."""
    assert "hunter2" not in json.dumps(redacted(config))
