"""The file of known failures is rewritten after a run."""

import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testing.known.entries import CLAUSES, ENTRY, TODAY, make_failure, make_results, write_file

from intercede.contract.errors import ConfigError
from intercede.testing.known import Entry, Known, load, load_for_update, update_text, write
from intercede.testing.known.file import flatten
from intercede.testing.model.verdict import Result, State

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


def _update(path: Path, results: Mapping[str, Mapping[str, Result]]) -> str:
    return update_text(load_for_update(path), results, CLAUSES, TODAY)


def test_an_entry_that_still_fails_is_not_changed(tmp_path: Path) -> None:
    """An entry that still matches keeps its comments, order, reason and date, even if the date has passed."""
    results = make_results(make_failure(), make_failure("observed nothing", "IC-OUTPUT-01"))

    assert _update(write_file(tmp_path, TWO), {"site": results}) == TWO


def test_an_entry_that_passes_is_removed_with_its_comment(tmp_path: Path) -> None:
    """An entry is removed together with the comment directly above it; other comments stay."""
    first = _update(write_file(tmp_path, TWO), {"site": make_results(make_failure())})
    second = _update(
        write_file(tmp_path, TWO), {"site": make_results(make_failure("observed nothing", "IC-OUTPUT-01"))}
    )

    assert first == TWO[: TWO.index("# the second")]
    assert second == "# what we live with\n\n" + TWO[TWO.index("# the second") :]


def test_an_entry_that_matches_nothing_is_removed(tmp_path: Path) -> None:
    """An entry is removed if its clause does not apply or its subject is unknown."""
    absent = Result("IC-KILL-01", State.NOT_APPLICABLE)

    assert _update(write_file(tmp_path, ENTRY), {"site": make_results(absent)}) == ""
    assert _update(write_file(tmp_path, f'{ENTRY}subject = "other"\n'), {"site": make_results()}) == ""


@pytest.mark.parametrize("state", [State.NOT_RUN, State.BLOCKED, State.ERROR])
def test_an_entry_without_a_finding_stays(tmp_path: Path, state: State) -> None:
    """An entry stays if its check did not run, was blocked or had an error."""
    path = write_file(tmp_path, ENTRY)

    assert _update(path, {"site": make_results(Result("IC-KILL-01", state))}) == ENTRY


def test_a_selection_removes_nothing(tmp_path: Path) -> None:
    """An entry stays if its clause or its subject has no result in a run of selected checks."""
    text = ENTRY + "\n" + ENTRY.replace("IC-KILL-01", "IC-OUTPUT-01") + 'subject = "other"\n'

    assert _update(write_file(tmp_path, text), {"site": {}}) == text


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_another_symptom_is_written_down(tmp_path: Path, newline: str) -> None:
    """A new symptom replaces the old one in its place, and everything else in the file stays."""
    path = write_file(tmp_path, TWO.replace("\n", newline))
    raw = make_failure("expected KILLED; observed RUNNING")
    judged = load(path).judge("site", "IC-KILL-01", raw, TODAY)
    kept = make_failure("observed nothing", "IC-OUTPUT-01")

    for result in (raw, judged):
        text = _update(path, {"site": make_results(result, kept)})
        assert text.replace("\r", "") == TWO.replace("observed UNKNOWN", "observed RUNNING")


def test_a_new_failure_is_added_for_thirty_days(tmp_path: Path) -> None:
    """A new failure of a MUST is added for thirty days, with the reason that it was not looked into.

    A SHOULD is not added.
    """
    path = tmp_path / "known.toml"
    should = make_failure("expected order; observed none", "IC-SUBMIT-02")

    text = _update(path, {"site": make_results(make_failure(), should)})

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
    """An entry for all subjects becomes one for each subject that still fails, with the same reason.

    A new entry names its subject.
    """
    path = write_file(tmp_path, ENTRY)
    other = make_results(
        make_failure("expected KILLED; observed RUNNING"), make_failure("expected output", "IC-OUTPUT-01")
    )
    text = _update(path, {"good": make_results(), "site": make_results(make_failure()), "other": other})

    entries = load(write_file(tmp_path, text)).entries

    assert [(each.clause, each.subject, each.symptom, each.reason) for each in entries] == [
        ("IC-KILL-01", "site", "observed UNKNOWN", "the gateway forgets"),
        ("IC-KILL-01", "other", "observed RUNNING", "the gateway forgets"),
        ("IC-OUTPUT-01", "other", "observed expected output", "not looked into yet"),
    ]


def test_an_entry_for_all_stays_while_all_fail_alike(tmp_path: Path) -> None:
    """An entry for all subjects is not split if all of them still fail with its symptom."""
    path = write_file(tmp_path, ENTRY)

    assert _update(path, {"site": make_results(make_failure()), "other": make_results(make_failure())}) == ENTRY


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
def test_a_symptom_is_the_repeatable_part_of_a_finding(tmp_path: Path, message: str, symptom: str) -> None:
    """A new symptom leaves out times, paths and random words, unless nothing else is left."""
    text = _update(tmp_path / "known.toml", {"site": make_results(make_failure(message))})

    assert tomllib.loads(text)["known"][0]["symptom"] == symptom


def test_entries_in_an_array_are_not_rewritten(tmp_path: Path) -> None:
    """A file whose entries are written as an inline array is refused before the run if it is to be rewritten."""
    path = write_file(tmp_path, 'known = [{clause = "c", reason = "r", symptom = "stays", until = 2026-01-01}]\n')
    assert len(load(path).entries) == 1

    with pytest.raises(ConfigError, match="cannot be rewritten"):
        load_for_update(path)


def test_a_file_in_no_directory_is_refused_before_the_run(tmp_path: Path) -> None:
    """A file in a directory that does not exist is refused before the run if it is to be rewritten."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_for_update(tmp_path / "nowhere" / "known.toml")


HOSTILE = st.text(st.characters(exclude_categories=[])) | st.sampled_from(
    ['"""', "'''", "\\", "[[known]]", "\n[[known]]\n# x", "\x00\x7f\x85\u2028\r", "\ud800", "#", "= ="]
)


@given(before=HOSTILE.filter(str.strip), after=HOSTILE.filter(str.strip), both=st.booleans())
def test_any_symptom_can_be_written_and_read(before: str, after: str, *, both: bool) -> None:
    """A failure with any text is KNOWN after the file was rewritten, for a new entry and for a changed symptom."""
    known = Known(Path("known.toml"))
    for message in (before, after):
        results = {"site": make_results(make_failure(f"observed {message}"))} | (
            {"other": make_results()} if both else {}
        )

        known = _read_entry(update_text(known, results, CLAUSES, TODAY))

        assert known.judge("site", "IC-KILL-01", results["site"]["IC-KILL-01"], TODAY).state is State.KNOWN


def test_a_subject_id_that_is_not_text_is_escaped(tmp_path: Path) -> None:
    """A subject's id with undecodable bytes is escaped in the file."""
    path = write_file(tmp_path, ENTRY)
    odd = make_results(make_failure(), make_failure("seen", "IC-OUTPUT-01"))

    text = _update(path, {"good": make_results(), 'a"\udcff': odd})

    assert [each.subject for each in load(write_file(tmp_path, text)).entries] == ['a"\\udcff'] * 2


def _read_entry(text: str) -> Known:
    (table,) = tomllib.loads(text)["known"]
    return Known(Path("known.toml"), (Entry(number=1, **table),), text)


@given(st.lists(HOSTILE.map(flatten).filter(bool), min_size=1, max_size=3), st.data())
def test_removing_an_entry_changes_no_other(comments: list[str], data: st.DataObject) -> None:
    """Each entry is removed or kept as a whole, whatever the comments and reasons in the file say."""
    clauses = ["IC-SUBMIT-01", "IC-KILL-01", "IC-OUTPUT-01"][: len(comments)]
    blocks = [_write_entry(clause, comment) for clause, comment in zip(clauses, comments, strict=True)]
    fails = data.draw(st.lists(st.booleans(), min_size=len(clauses), max_size=len(clauses)))
    entries = tuple(Entry(number=n, **_parse_entry(each)) for n, each in enumerate(blocks, 1))
    known = Known(Path("known.toml"), entries, "# head\n\n" + "".join(blocks))
    results = make_results(*(make_failure("seen", clause) for clause, fail in zip(clauses, fails, strict=True) if fail))

    text = update_text(known, {"site": results}, CLAUSES, TODAY)

    assert text == "# head\n\n" + "".join(block for block, fail in zip(blocks, fails, strict=True) if fail)


def _parse_entry(block: str) -> dict[str, Any]:
    (table,) = tomllib.loads(block)["known"]
    return dict(table)


def _write_entry(clause: str, words: str) -> str:
    letters = "".join(each for each in words if each.isprintable())
    reason = letters.replace("'", "")
    return (
        f"# {letters}\n[[known]]\nclause = '{clause}'\nsymptom = 'seen'\nuntil = 2026-12-31 # {letters}\n"
        f"reason = '''\n[[known]]\n# {reason}'''\n"
    )


def test_the_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """The rewritten file keeps its mode, a symbolic link stays a link, and no other file appears."""
    path, link = write_file(tmp_path, ENTRY), tmp_path / "link.toml"
    path.chmod(0o640)
    link.symlink_to(path)

    write(load_for_update(link), "# none\n")

    assert link.is_symlink()
    assert path.read_text() == "# none\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in tmp_path.iterdir()) == ["known.toml", "link.toml"]


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    """A write that fails leaves no temporary file."""
    known = Known(tmp_path / "known.toml")
    known.path.mkdir()

    with pytest.raises(OSError, match=r"known\.toml"):
        write(known, "# none\n")

    assert [each.name for each in tmp_path.iterdir()] == ["known.toml"]


def test_thirty_days_are_from_the_day_that_is_given(tmp_path: Path) -> None:
    """The date of a new entry is counted from the day that the caller passes, and not from the clock."""
    known = load_for_update(tmp_path / "known.toml")
    long_ago = datetime(1999, 12, 31, tzinfo=UTC).date()

    text = update_text(known, {"site": make_results(make_failure())}, CLAUSES, long_ago)

    assert tomllib.loads(text)["known"][0]["until"] == date(2000, 1, 30)
