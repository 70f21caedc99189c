"""The files of a report are the summary, the badge, the page and the document. They are written as a whole."""

import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.testing.report.reports import FACTS, MARKDOWN, RUN, list_names, make_red_report, make_report, make_reports

from intercede.testing.clauses import CLAUSES
from intercede.testing.model.verdict import Result, State, judge
from intercede.testing.report import write_reports


def test_the_summary_shows_the_red_clauses(tmp_path: Path) -> None:
    """The summary holds the verdict, a row for each area, and the finding and the command of each red clause."""
    result = Result("IC-STATUS-01", State.FAILED, 1, "m", "d", "pytest x", expected="a | b", observed="c ``` d")
    report = judge(FACTS, CLAUSES, {"IC-STATUS-01": result})
    text = next(path for path in write_reports([report], tmp_path, RUN) if path.suffix == ".md").read_text()

    tokens = MARKDOWN.parse(text)
    cells = [tokens[n + 1].content for n, each in enumerate(tokens) if each.type == "td_open"]
    fences = [each.content for each in tokens if each.type == "fence"]

    assert "NOT CONFORMANT" in tokens[1].content
    numbers = sum(int(each.strip("*")) for n, each in enumerate(cells) if n % 6)
    assert numbers == sum(each.role == "backend" for each in CLAUSES.values())
    assert fences[:2] == ["a | b\n", "c ``` d\n"]
    assert fences[-1] == "pytest x\n"
    assert len(text) < 100_000


def test_a_badge_says_the_verdict(tmp_path: Path) -> None:
    """The badge has the keys that shields.io reads, and is green only for CONFORMANT."""
    passed = {each: Result(each, State.PASSED) for each in CLAUSES}
    reports = [
        judge(FACTS, CLAUSES, passed),
        make_report(),
        judge(FACTS, CLAUSES, passed, is_partial=True),
        judge(FACTS, CLAUSES, {}),
    ]

    badges = [json.loads(write_reports([each], tmp_path, RUN)[1].read_text()) for each in reports]

    assert [each["message"] for each in badges] == ["conformant 1.0 full", "not conformant", "partial", "incomplete"]
    assert [each["color"] for each in badges] == ["brightgreen", "red", "yellow", "orange"]
    assert {(each["schemaVersion"], each["label"]) for each in badges} == {(1, "intercede")}


def test_each_of_several_subjects_has_files(tmp_path: Path) -> None:
    """Each of several subjects has files named by its id, and all subjects share one summary."""
    one, several = tmp_path / "one", tmp_path / "several"
    one.mkdir()
    several.mkdir()

    written = write_reports(make_reports("cern"), one, RUN)
    write_reports(make_reports("cern", "fake#2"), several, RUN)

    assert written[0].name == "conformance.json"
    assert list_names(one) == ["badge.json", "conformance.html", "conformance.json", "conformance.md"]
    assert list_names(several) == sorted(
        ["conformance.md"]
        + [f"{name}-{of}.{kind}" for of in ("cern", "fake#2") for name, kind in
           (("badge", "json"), ("conformance", "json"), ("conformance", "html"))]
    )  # fmt: skip
    assert json.loads((several / "conformance-fake#2.json").read_text())["subject"]["name"] == "fake#2"
    assert (several / "conformance.md").read_text().count("## ") >= 2


@given(
    st.lists(
        st.text(max_size=300) | st.sampled_from(["../../x", "A", "a", "a/b", "a_b", "", "."]), min_size=2, max_size=3
    )
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_id_makes_file_names(tmp_path: Path, ids: list[str]) -> None:
    """Each subject has files of its own in the directory, whatever its id is."""
    written = write_reports(make_reports(*ids), tmp_path, RUN)

    assert {path.parent for path in written} == {tmp_path}
    assert len({path.name.lower() for path in written}) == 3 * len(ids) + 1
    assert all(re.fullmatch(r"[\w.+#=@-]{1,140}", path.name, re.ASCII) for path in written)


def test_a_file_is_written_whole_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves the old files as they were, and a symbolic link is replaced and not followed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    directory = tmp_path / "reports"
    directory.mkdir()
    (directory / "conformance.json").symlink_to(elsewhere)
    write_reports([make_report()], directory, RUN)
    before = {path: path.read_bytes() for path in directory.iterdir()}

    def full(self: Path, text: str, **_: object) -> int:
        self.write_bytes(text.encode()[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write_reports([make_red_report()], directory, RUN)

    assert elsewhere.read_text() == "mine"
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


def test_without_jinja_the_other_files_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document, the badge and the summary are written if jinja2 is missing, and the error says what to install."""
    monkeypatch.setitem(sys.modules, "jinja2", None)

    with pytest.raises(ImportError, match=r'pip install "intercede\[testing\] @ '):
        write_reports([make_report()], tmp_path, RUN)

    assert list_names(tmp_path) == ["badge.json", "conformance.json", "conformance.md"]
