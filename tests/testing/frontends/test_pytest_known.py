"""Known failures are excused in pytest, and each entry that does not match is red."""

import re
from pathlib import Path

import pytest
from tests.testing.frontends.pytest_runs import TINY, Pytest, make_red_option

KNOWN = """\
# what people wrote stays
[[known]]
clause = "{clause}"
reason = "the site is old"
symptom = "{symptom}"
until = {until}
"""


def write_known(
    tmp_path: Path, clause: str = "IC-SUBMIT-01", symptom: str = "red as asked", until: str = "2999-01-01"
) -> str:
    """Write a file with one entry, and return the option that names it."""
    file = tmp_path / "known.toml"
    file.write_text(KNOWN.format(clause=clause, symptom=symptom, until=until))
    return f"--intercede-known={file}"


@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n", "2")], ids=str)
def test_a_known_failure_is_green(run: Pytest, tmp_path: Path, options: tuple[str, ...]) -> None:
    """A check that fails as known is xfailed, the verdict is CONFORMANT, and the last line names the clause."""
    outcome = run(make_red_option("IC-SUBMIT-01"), write_known(tmp_path), "-ra", *options)

    assert outcome.code == 0, outcome
    assert "known to fail: IC-SUBMIT-01" in outcome.last
    assert re.search(r"XFAIL .*the site is old", outcome.text)


@pytest.mark.parametrize(
    ("subject", "entry", "words"),
    [
        (TINY, {}, "IC-SUBMIT-01 is known to fail (the site is old), and passes: remove the entry"),
        (make_red_option("IC-SUBMIT-01"), {"symptom": "green as asked"}, "and failed otherwise"),
        (make_red_option("IC-SUBMIT-01"), {"until": "2020-01-01"}, "known until 2020-01-01, expired"),
        (TINY, {"clause": "IC-SUBMIT-99"}, "matches nothing: there is no clause 'IC-SUBMIT-99'"),
        (TINY, {"clause": "IC-OUTPUT-01"}, "matches nothing: tiny does not claim output"),
    ],
    ids=["passing", "another symptom", "expired", "unmatched_known", "not claimed"],
)
def test_known_failures_are_strict(
    run: Pytest, tmp_path: Path, subject: str, entry: dict[str, str], words: str
) -> None:
    """A known failure that passes, fails otherwise, has expired or matches nothing makes the run red."""
    outcome = run(subject, write_known(tmp_path, **entry))

    assert outcome.code == 1, outcome
    assert "NOT CONFORMANT" in outcome.last
    assert words in outcome.text


def test_the_known_failures_are_rewritten(run: Pytest, tmp_path: Path) -> None:
    """The option --intercede-update-known removes entries that pass and adds new failures."""
    option = write_known(tmp_path, clause="IC-SHAPE-01")

    first = run(make_red_option("IC-SUBMIT-02"), option, "--intercede-update-known")
    second = run(make_red_option("IC-SUBMIT-02"), option)

    assert first.code == 1, first
    assert "known.toml was rewritten" in first.text
    assert second.code == 0, second
    assert "known to fail: IC-SUBMIT-02" in second.last
