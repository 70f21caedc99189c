"""Hostile or very long texts of a subject do no harm in the files of a report."""

import json
import unicodedata
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from tests.testing.report.reports import MARKDOWN, RUN, TEXTS, Page, find_errors

from intercede.testing.clauses import CLAUSES
from intercede.testing.model.calls import Call
from intercede.testing.model.verdict import Report, Result, State, SubjectInfo, judge
from intercede.testing.report import write_reports


def _make_report_of(text: str) -> Report:
    clause = CLAUSES["IC-SUBMIT-01"]
    result = Result(
        clause.id,
        State.FAILED,
        1.0,
        text,
        text,
        f"pytest {text}",
        expected=text,
        observed=text,
        calls=(Call("submit", text, 0.0, 0.5, text), Call(text, "", 0.5)),
    )
    config: dict[str, object] = {"host": text, "number": float("inf"), "large": 10**5000}
    facts = SubjectInfo(id=text, config=config, name=text, origins=((text, text),), warnings=(text,))
    return judge(facts, {clause.id: clause}, {clause.id: result}, lost_because_of=text, unmatched_known=(text,))


def test_long_text_is_cut(tmp_path: Path) -> None:
    """A text of half a million characters is cut in each file, and the cut is marked."""
    sizes = {
        path.suffix: path.stat().st_size for path in write_reports([_make_report_of("\x1b" * 500_000)], tmp_path, RUN)
    }

    assert max(sizes.values()) < 2_000_000
    assert sizes[".md"] < 100_000
    assert "[... 492000 more characters]" in (tmp_path / "conformance.json").read_text()


def _is_harmless(text: str) -> bool:
    return all(each in "\n\t" or unicodedata.category(each) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for each in text)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS)
def test_hostile_text_stays_text(text: str, tmp_path: Path) -> None:
    """A hostile text of a subject adds no element, link, mention or control character to a file of a report."""
    written = {path.name: path.read_bytes().decode() for path in write_reports([_make_report_of(text)], tmp_path, RUN)}

    assert all(map(_is_harmless, written.values()))
    assert find_errors(json.loads(written["conformance.json"])) == []
    page = Page(written["conformance.html"])
    assert page.tags.count("script") == 1
    assert {"img", "b", "iframe", "link"}.isdisjoint(page.tags)
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert all(each.startswith("#") for each in page.values("href"))
    tokens = [
        token for block in MARKDOWN.parse(written["conformance.md"]) for token in [block, *(block.children or [])]
    ]
    assert {each.type for each in tokens}.isdisjoint({"html_block", "html_inline", "link_open", "image", "code_inline"})
    assert [each.tag for each in tokens if each.type == "heading_open"] == ["h2", "h3"]
    assert sum(each.type == "td_open" for each in tokens) == 6
