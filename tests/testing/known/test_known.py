"""Known failures: what the file may say, what it makes of a result, and how it is rewritten."""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.contract.backend import Capability
from intercede.contract.errors import ConfigError
from intercede.testing.known import Entry, Known, load, load_for_update, update_text, write
from intercede.testing.known.file import plain
from intercede.testing.model.clause import MUST, SHOULD, Clause
from intercede.testing.model.verdict import Result, State, SubjectInfo
from intercede.testing.run.context import Context

TODAY = date(2026, 6, 15)
ENTRY = """[[known]]
clause = "IC-KILL-01"
reason = "the gateway forgets"
symptom = "observed UNKNOWN"
until = 2026-06-15
"""
SEEN = "expected KILLED; observed UNKNOWN"


async def _check(_: Context) -> None: ...


def _clause(clause_id: str, capability: Capability | None = None, *, should: bool = False) -> Clause:
    return Clause(id=clause_id, title="", level=SHOULD if should else MUST, check=_check, capability=capability)


CLAUSES = {
    each.id: each
    for each in (
        _clause("IC-SUBMIT-01"),
        _clause("IC-SUBMIT-02", should=True),
        _clause("IC-KILL-01", "kill"),
        _clause("IC-OUTPUT-01", "output"),
    )
}


def _file(directory: Path, text: str) -> Path:
    path = directory / "known.toml"
    path.write_bytes(text.encode())
    return path


def _known(**fields: Any) -> Known:  # the fields of an entry, of whatever types
    given: dict[str, Any] = {"number": 1, "clause": "IC-KILL-01", "reason": "the gateway forgets"}
    given |= {"symptom": "observed UNKNOWN", "until": TODAY, **fields}
    return Known(Path("known.toml"), (Entry(**given),))


def _failed(message: str = SEEN, clause: str = "IC-KILL-01") -> Result:
    observed = message.partition("observed ")[2] or message
    return Result(clause, State.FAILED, message=message, detail="everything there is to say", observed=observed)


def _facts(subject: str = "site", capabilities: frozenset[Capability] = frozenset({"kill"})) -> SubjectInfo:
    return SubjectInfo(id=subject, config=subject, name=subject, capabilities=capabilities)


# The file


def test_a_file_says_what_is_known(tmp_path: Path) -> None:
    """Every key is read; a link and a subject may be left out."""
    more = 'clause = "IC-KILL-01"\nreason = "r"\nsymptom = "stays"\nuntil = 2026-01-02\nlink = "l"\nsubject = "site"\n'
    known = load(_file(tmp_path, f"{ENTRY}[[known]]\n{more}"))

    general, special = known.entries
    assert (general.clause, general.symptom, general.subject, general.link) == (
        "IC-KILL-01",
        "observed UNKNOWN",
        None,
        "",
    )
    assert (special.until, special.link, special.subject) == (date(2026, 1, 2), "l", "site")
    assert known.entry("site", "IC-KILL-01") is special
    assert known.entry("other", "IC-KILL-01") is general


@pytest.mark.parametrize("text", ["", "# nothing is known any more\n", "known = []\n"])
def test_a_file_may_be_empty(tmp_path: Path, text: str) -> None:
    """A file whose last entry went is still a file of known failures."""
    assert load(_file(tmp_path, text)).entries == ()


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
def test_a_wrong_file_is_refused(tmp_path: Path, change: tuple[str, str], field: str, words: str) -> None:
    """What is missing, strange or of a wrong type is told with file, entry and key."""
    path = _file(tmp_path, ENTRY.replace(*change, 1))

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert (caught.value.field, caught.value.where) == (field, str(path))
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "." not in field or "entry 1" in str(caught.value)


def test_an_entry_that_is_no_table_is_refused(tmp_path: Path) -> None:
    """Neither is a number an entry."""
    with pytest.raises(ConfigError, match="entry 1: must be a table"):
        load(_file(tmp_path, "known = [1]"))


def test_two_entries_for_one_clause_and_subject_are_refused(tmp_path: Path) -> None:
    """Which of them counts could not be told."""
    with pytest.raises(ConfigError, match=r"entry 2: clause is that of entry 1 \(IC-KILL-01\) already"):
        load(_file(tmp_path, ENTRY + ENTRY))


@pytest.mark.parametrize(("content", "words"), [(b"known = [", "is not TOML"), (b"# \xff", "is not UTF-8")])
def test_what_is_no_toml_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    """A file that cannot be read as TOML is told as such."""
    path = tmp_path / "known.toml"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=words):
        load(path)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A gate that has lost its file does not pass for one without known failures."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "known.toml")


# A result in its light


def test_a_failure_as_known_is_known() -> None:
    """Up to the last day, and with its symptom; the message keeps reason, link, date and what was seen."""
    result = _known(link="https://forge.example.org/7").judge("site", "IC-KILL-01", _failed(), TODAY)

    assert result.state is State.KNOWN
    for part in ("the gateway forgets", "https://forge.example.org/7", "2026-06-15", SEEN):
        assert part in result.message


def test_passing_is_red() -> None:
    """A known failure that is none any more must leave the file, also after its date."""
    for today in (TODAY, TODAY + timedelta(days=1)):
        result = _known().judge("site", "IC-KILL-01", Result("IC-KILL-01", State.PASSED), today)

        assert result.state is State.UNEXPECTED_PASS
        assert result.message == "is known to fail (the gateway forgets), and passes: remove the entry"
        assert "known.toml, entry 1 (IC-KILL-01)" in result.detail


def test_another_symptom_is_red() -> None:
    """A failure that looks otherwise is a failure; the message tells what was known and what was seen."""
    result = _known().judge("site", "IC-KILL-01", _failed("expected KILLED; observed RUNNING"), TODAY)

    assert result.state is State.FAILED
    assert "known to fail with 'observed UNKNOWN'" in result.message
    assert "observed RUNNING" in result.message
    assert "everything there is to say" in result.detail
    assert "failed otherwise" in result.detail


def test_what_is_expected_is_no_symptom() -> None:
    """It stands in every failure of the clause, whatever was seen; so does the word before that."""
    for symptom in ("expected KILLED", "KILLED; observed", "KILLED"):
        assert _known(symptom=symptom).judge("site", "IC-KILL-01", _failed(), TODAY).state is State.FAILED


def test_expired_is_red() -> None:
    """From the day after its date on, an entry excuses nothing."""
    result = _known().judge("site", "IC-KILL-01", _failed(), TODAY + timedelta(days=1))

    assert result.state is State.FAILED
    assert result.message == f"known until 2026-06-15, expired (the gateway forgets): {SEEN}"


@pytest.mark.parametrize("state", sorted(set(State) - {State.PASSED, State.FAILED}))
def test_what_says_nothing_of_the_subject_is_left_alone(state: State) -> None:
    """An error of the kit is never known; what was blocked, did not run or does not apply stays so."""
    result = Result("IC-KILL-01", state, message=SEEN)

    assert _known().judge("site", "IC-KILL-01", result, TODAY) == result


def test_an_entry_for_one_subject_is_for_no_other() -> None:
    """Neither is one for a clause for another."""
    known = _known(subject="site")

    assert known.judge("site", "IC-KILL-01", _failed(), TODAY).state is State.KNOWN
    assert known.judge("other", "IC-KILL-01", _failed(), TODAY).state is State.FAILED
    assert known.judge("site", "IC-OUTPUT-01", _failed(clause="IC-OUTPUT-01"), TODAY).state is State.FAILED


def test_one_failure_of_several_runs_is_known() -> None:
    """Where a check was repeated, it has passed only if it never failed."""
    flaky = replace(_failed(), runs=10, reds=1)

    assert _known().judge("site", "IC-KILL-01", flaky, TODAY).state is State.KNOWN


MESSAGES = st.text(st.characters(exclude_categories=[])) | st.sampled_from([SEEN, "observed UNKNOWN", "x"])


@given(MESSAGES, st.sampled_from(sorted(State)), st.integers(-1, 1))
def test_to_judge_twice_is_to_judge_once(message: str, state: State, days: int) -> None:
    """A worker and the controller may both judge: a note about a symptom is no symptom."""
    known, today = _known(), TODAY + timedelta(days=days)

    once = known.judge("site", "IC-KILL-01", Result("IC-KILL-01", state, message=message, observed=message), today)

    assert known.judge("site", "IC-KILL-01", once, today) == once


# What matches nothing


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
    known = _known(**fields)

    assert known.find_unmatched(CLAUSES, [_facts()]) == (
        f"known.toml: {known.entries[0].title} matches nothing: {why}",
    )


def test_an_entry_that_matches_is_not_told() -> None:
    """One subject that it applies to is enough."""
    assert _known().find_unmatched(CLAUSES, [_facts(), _facts("poor", frozenset())]) == ()


def test_an_entry_that_others_cover_matches_nothing() -> None:
    """Where each subject has an entry of its own, that for all of them is one too many."""
    (general,) = _known().entries
    known = Known(Path("known.toml"), (general, replace(general, subject="site", number=2)))

    (told,) = known.find_unmatched(CLAUSES, [_facts()])

    assert told.startswith("known.toml: entry 1 (IC-KILL-01) matches nothing: every subject")


# The file anew

TWO = """# what we live with

# seen since the last upgrade
[[known]]
clause = "IC-KILL-01"  # kill
reason = '''
the gateway
[[known]]
# forgets'''
symptom = "observed UNKNOWN" # sic
until = 2026-06-15

# the second
[[ known ]]
symptom = "observed nothing"
reason = "r"
clause = "IC-OUTPUT-01"
until = 2026-06-01
"""


def _updated(path: Path, results: Mapping[str, Mapping[str, Result]]) -> str:
    return update_text(load_for_update(path), results, CLAUSES, TODAY)


def _results(*results: Result) -> dict[str, Result]:
    return {each: Result(each, State.PASSED) for each in CLAUSES} | {each.clause: each for each in results}


def test_what_still_fails_stays_as_people_wrote_it(tmp_path: Path) -> None:
    """Comments, order, reasons and dates stay; an expired date is not extended."""
    results = _results(_failed(), _failed("observed nothing", "IC-OUTPUT-01"))

    assert _updated(_file(tmp_path, TWO), {"site": results}) == TWO


def test_what_passes_goes_with_its_comment(tmp_path: Path) -> None:
    """The comment directly above an entry is part of it; those of the others stay."""
    first = _updated(_file(tmp_path, TWO), {"site": _results(_failed())})
    second = _updated(_file(tmp_path, TWO), {"site": _results(_failed("observed nothing", "IC-OUTPUT-01"))})

    assert first == TWO[: TWO.index("# the second")]
    assert second == "# what we live with\n\n" + TWO[TWO.index("# the second") :]


def test_what_does_not_apply_or_is_of_nobody_goes(tmp_path: Path) -> None:
    """An entry that matches nothing is removed."""
    absent = Result("IC-KILL-01", State.NOT_APPLICABLE)

    assert _updated(_file(tmp_path, ENTRY), {"site": _results(absent)}) == ""
    assert _updated(_file(tmp_path, f'{ENTRY}subject = "other"\n'), {"site": _results()}) == ""


@pytest.mark.parametrize("state", [State.NOT_RUN, State.BLOCKED, State.ERROR])
def test_what_was_not_seen_stays(tmp_path: Path, state: State) -> None:
    """A selection, a blocked check or a fault of the kit removes no entry."""
    path = _file(tmp_path, ENTRY)

    assert _updated(path, {"site": _results(Result("IC-KILL-01", state))}) == ENTRY


def test_a_selection_removes_nothing(tmp_path: Path) -> None:
    """What has no result did not run, and subjects that are not there may have been left out on purpose."""
    text = ENTRY + "\n" + ENTRY.replace("IC-KILL-01", "IC-OUTPUT-01") + 'subject = "other"\n'

    assert _updated(_file(tmp_path, text), {"site": {}}) == text


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_another_symptom_is_written_down(tmp_path: Path, newline: str) -> None:
    """Its place, the comment beside it and everything else stay; also where the result was judged already."""
    path = _file(tmp_path, TWO.replace("\n", newline))
    raw = _failed("expected KILLED; observed RUNNING")
    judged = load(path).judge("site", "IC-KILL-01", raw, TODAY)
    kept = _failed("observed nothing", "IC-OUTPUT-01")

    for result in (raw, judged):
        text = _updated(path, {"site": _results(result, kept)})
        assert text.replace("\r", "") == TWO.replace("observed UNKNOWN", "observed RUNNING")


def test_a_new_failure_needs_a_person(tmp_path: Path) -> None:
    """It is added with a reason that says that nobody has looked, and with thirty days; a SHOULD is not added."""
    path = tmp_path / "known.toml"
    should = _failed("expected order; observed none", "IC-SUBMIT-02")

    text = _updated(path, {"site": _results(_failed(), should)})

    assert tomllib.loads(text) == {
        "known": [
            {
                "clause": "IC-KILL-01",
                "reason": "not looked into yet",
                "symptom": "observed UNKNOWN",
                "until": TODAY + timedelta(days=30),
            }
        ]
    }


def test_several_subjects_get_entries_of_their_own(tmp_path: Path) -> None:
    """An entry for all becomes one for each that still fails, with its reason; a new one names its subject."""
    path = _file(tmp_path, ENTRY)
    other = _results(_failed("expected KILLED; observed RUNNING"), _failed("expected output", "IC-OUTPUT-01"))
    text = _updated(path, {"good": _results(), "site": _results(_failed()), "other": other})

    entries = load(_file(tmp_path, text)).entries

    assert [(each.clause, each.subject, each.symptom, each.reason) for each in entries] == [
        ("IC-KILL-01", "site", "observed UNKNOWN", "the gateway forgets"),
        ("IC-KILL-01", "other", "observed RUNNING", "the gateway forgets"),
        ("IC-OUTPUT-01", "other", "observed expected output", "not looked into yet"),
    ]


def test_an_entry_for_all_stays_while_all_fail_alike(tmp_path: Path) -> None:
    """Nothing is split that need not be."""
    path = _file(tmp_path, ENTRY)

    assert _updated(path, {"site": _results(_failed()), "other": _results(_failed())}) == ENTRY


@pytest.mark.parametrize(
    ("message", "symptom"),
    [
        ("expected the file to be whole; observed /tmp/x-1/out is empty", "is empty"),
        ("expected a file; observed /tmp/x-1/out is empty but for a newline", "is empty but for a newline"),
        ("expected an answer within 2.5 s; observed none after 2.512 s", "observed none after"),
        ("expected exit code 0; observed 1", "observed 1"),
        ("expected it to be found; observed lost a1b2c3d4e5f6", "observed lost"),
        ("expected every job to be answered; observed that of 12 some were lo...", "observed that of 12 some were"),
        ("expected no exception; observed raised E404aError: gateway/x1 said no", "said no"),
        ("expected no exception; observed raised E404aError: gw/x1", "observed raised E404aError: gw/x1"),
    ],
)
def test_a_symptom_is_what_another_run_will_repeat(tmp_path: Path, message: str, symptom: str) -> None:
    """Times, paths and random words are left out, unless there is nothing else."""
    text = _updated(tmp_path / "known.toml", {"site": _results(_failed(message))})

    assert tomllib.loads(text)["known"][0]["symptom"] == symptom


def test_entries_in_an_array_are_not_rewritten(tmp_path: Path) -> None:
    """That is told before the run, not after it."""
    path = _file(tmp_path, 'known = [{clause = "c", reason = "r", symptom = "stays", until = 2026-01-01}]\n')
    assert len(load(path).entries) == 1

    with pytest.raises(ConfigError, match="cannot be rewritten"):
        load_for_update(path)


def test_a_file_in_no_directory_is_refused_before_the_run(tmp_path: Path) -> None:
    """The new file could not be written."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_for_update(tmp_path / "nowhere" / "known.toml")


HOSTILE = st.text(st.characters(exclude_categories=[])) | st.sampled_from(
    ['"""', "'''", "\\", "[[known]]", "\n[[known]]\n# x", "\x00\x7f\x85\u2028\r", "\ud800", "#", "= ="]
)


@given(before=HOSTILE.filter(str.strip), after=HOSTILE.filter(str.strip), both=st.booleans())
def test_whatever_a_subject_says_can_be_written_and_read(before: str, after: str, *, both: bool) -> None:
    """What was written is known in the next run, a new entry as well as one whose symptom is adapted."""
    known = Known(Path("known.toml"))
    for message in (before, after):
        results = {"site": _results(_failed(f"observed {message}"))} | ({"other": _results()} if both else {})

        known = _read(update_text(known, results, CLAUSES, TODAY))

        assert known.judge("site", "IC-KILL-01", results["site"]["IC-KILL-01"], TODAY).state is State.KNOWN


def test_an_id_of_a_subject_may_be_anything(tmp_path: Path) -> None:
    """What a command line gave need not be text: it is escaped, and the file can be written."""
    path = _file(tmp_path, ENTRY)
    odd = _results(_failed(), _failed("seen", "IC-OUTPUT-01"))

    text = _updated(path, {"good": _results(), 'a"\udcff': odd})

    assert [each.subject for each in load(_file(tmp_path, text)).entries] == ['a"\\udcff'] * 2


def _read(text: str) -> Known:
    (table,) = tomllib.loads(text)["known"]
    return Known(Path("known.toml"), (Entry(number=1, **table),), text)


@given(st.lists(HOSTILE.map(plain).filter(bool), min_size=1, max_size=3), st.data())
def test_what_surrounds_an_entry_never_changes(comments: list[str], data: st.DataObject) -> None:
    """Whatever the comments and reasons say, an entry goes or stays whole, and the others stay to the letter."""
    clauses = ["IC-SUBMIT-01", "IC-KILL-01", "IC-OUTPUT-01"][: len(comments)]
    blocks = [_block(clause, comment) for clause, comment in zip(clauses, comments, strict=True)]
    fails = data.draw(st.lists(st.booleans(), min_size=len(clauses), max_size=len(clauses)))
    entries = tuple(Entry(number=n, **_table(each)) for n, each in enumerate(blocks, 1))
    known = Known(Path("known.toml"), entries, "# head\n\n" + "".join(blocks))
    results = _results(*(_failed("seen", clause) for clause, fail in zip(clauses, fails, strict=True) if fail))

    text = update_text(known, {"site": results}, CLAUSES, TODAY)

    assert text == "# head\n\n" + "".join(block for block, fail in zip(blocks, fails, strict=True) if fail)


def _table(block: str) -> dict[str, Any]:
    (table,) = tomllib.loads(block)["known"]
    return dict(table)


def _block(clause: str, words: str) -> str:
    letters = "".join(each for each in words if each.isprintable())
    reason = letters.replace("'", "")
    return (
        f"# {letters}\n[[known]]\nclause = '{clause}'\nsymptom = 'seen'\nuntil = 2026-12-31 # {letters}\n"
        f"reason = '''\n[[known]]\n# {reason}'''\n"
    )


# Written whole


def test_the_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Its mode stays, a link stays a link, and nothing is left beside it."""
    path, link = _file(tmp_path, ENTRY), tmp_path / "link.toml"
    path.chmod(0o640)
    link.symlink_to(path)

    write(load_for_update(link), "# none\n")

    assert link.is_symlink()
    assert path.read_text() == "# none\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in tmp_path.iterdir()) == ["known.toml", "link.toml"]


def test_a_file_that_cannot_be_written_stays(tmp_path: Path) -> None:
    """Nothing of the attempt is left."""
    known = Known(tmp_path / "known.toml")
    known.path.mkdir()

    with pytest.raises(OSError, match=r"known\.toml"):
        write(known, "# none\n")

    assert [each.name for each in tmp_path.iterdir()] == ["known.toml"]


def test_thirty_days_are_from_the_day_that_is_given(tmp_path: Path) -> None:
    """There is no clock in it: what the caller calls today is today."""
    known = load_for_update(tmp_path / "known.toml")
    long_ago = datetime(1999, 12, 31, tzinfo=UTC).date()

    text = update_text(known, {"site": _results(_failed())}, CLAUSES, long_ago)

    assert tomllib.loads(text)["known"][0]["until"] == date(2000, 1, 30)
