"""The file of known failures is read, and refused if it is invalid."""

from datetime import date
from pathlib import Path

import pytest
from tests.testing.known.entries import ENTRY, write_file

from intercede.contract.errors import ConfigError
from intercede.testing.known import load


def test_a_file_lists_known_failures(tmp_path: Path) -> None:
    """Each key of an entry is read, and the keys link and subject are optional."""
    more = 'clause = "IC-KILL-01"\nreason = "r"\nsymptom = "stays"\nuntil = 2026-01-02\nlink = "l"\nsubject = "site"\n'
    known = load(write_file(tmp_path, f"{ENTRY}[[known]]\n{more}"))

    general, special = known.entries
    assert (general.clause, general.symptom, general.subject, general.link) == (
        "IC-KILL-01",
        "observed UNKNOWN",
        None,
        "",
    )
    assert (special.until, special.link, special.subject) == (date(2026, 1, 2), "l", "site")
    assert known.find_entry("site", "IC-KILL-01") is special
    assert known.find_entry("other", "IC-KILL-01") is general


@pytest.mark.parametrize("text", ["", "# nothing is known any more\n", "known = []\n"])
def test_a_file_may_be_empty(tmp_path: Path, text: str) -> None:
    """A file without entries is a valid file of known failures."""
    assert load(write_file(tmp_path, text)).entries == ()


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        (('clause = "IC-KILL-01"', ""), "known.1.clause", "clause is missing"),
        (('reason = "the gateway forgets"', ""), "known.1.reason", "reason is missing"),
        (('symptom = "observed UNKNOWN"', ""), "known.1.symptom", "symptom is missing"),
        (("until = 2026-06-15", ""), "known.1.until", "until is missing"),
        (('"the gateway forgets"', '" "'), "known.1.reason", "must be a text that is not empty"),
        (('"observed UNKNOWN"', '""'), "known.1.symptom", "must be a text that is not empty"),
        (('"observed UNKNOWN"', '"e"'), "known.1.symptom", "says too little"),
        (('"observed UNKNOWN"', '"DON"'), "known.1.symptom", "says too little"),
        (('"observed UNKNOWN"', '"observed "'), "known.1.symptom", "says too little"),
        (('"observed UNKNOWN"', '"serve"'), "known.1.symptom", "says too little"),
        (('"observed UNKNOWN"', '"observed raised"'), "known.1.symptom", "says too little"),
        (('"observed UNKNOWN"', "7"), "known.1.symptom", "must be a text that is not empty"),
        (("2026-06-15", '"2026-06-15"'), "known.1.until", "must be a date"),
        (("2026-06-15", "2026-06-15T00:00:00"), "known.1.until", "must be a date"),
        (("until", "link = []\nuntil"), "known.1.link", "must be a text that is not empty"),
        (("until", "subject = ''\nuntil"), "known.1.subject", "must be a text that is not empty"),
        (("symptom", "symptoms"), "known.1.symptoms", "did you mean 'symptom'?"),
        (("[[known]]", "[known]"), "known", "must be written [[known]]"),
        (("[[known]]", "[[knwon]]"), "knwon", "does not belong there"),
        (("[[known]]\n", "known = [1]\n[other]\n"), "other", "does not belong there"),
    ],
)
def test_an_invalid_file_is_refused(tmp_path: Path, change: tuple[str, str], field: str, words: str) -> None:
    """A key that is missing, unknown or of a wrong type is an error that names the file, the entry and the key."""
    path = write_file(tmp_path, ENTRY.replace(*change, 1))

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert (caught.value.field, caught.value.where) == (field, str(path))
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "." not in field or "entry 1" in str(caught.value)


def test_an_entry_that_is_no_table_is_refused(tmp_path: Path) -> None:
    """An entry that is a number is refused."""
    with pytest.raises(ConfigError, match="entry 1: must be a table"):
        load(write_file(tmp_path, "known = [1]"))


def test_two_entries_for_one_clause_and_subject_are_refused(tmp_path: Path) -> None:
    """Two entries for one clause and one subject are refused, since either could count."""
    with pytest.raises(ConfigError, match=r"entry 2: clause is that of entry 1 \(IC-KILL-01\) already"):
        load(write_file(tmp_path, ENTRY + ENTRY))


@pytest.mark.parametrize(("content", "words"), [(b"known = [", "is not TOML"), (b"# \xff", "is not UTF-8")])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """A file that is not TOML or not UTF-8 is an error that says so."""
    path = tmp_path / "known.toml"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=words):
        load(path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    """A run with a missing file of known failures is an error, and not a run without known failures."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "known.toml")
