"""Reports to render, and readers of the files that are made of them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from markdown_it import MarkdownIt

from intercede.testing.clauses import CLAUSES
from intercede.testing.model.calls import Call
from intercede.testing.model.clause import Clause
from intercede.testing.model.verdict import Report, Result, State, SubjectInfo, judge
from intercede.testing.report import Run, make_document
from intercede.testing.report.schema import load_schema

STARTED = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
RUN = Run(
    started=STARTED,
    seconds=12.34,
    scales={"cern": 2.5},
    jobs=64,
    repeat=3,
    pytest="9.1",
    plugins={"pytest-xdist": "3.8"},
)
MARKDOWN = MarkdownIt("gfm-like", {"linkify": False})
FEW = {each: CLAUSES[each] for each in ("IC-SUBMIT-01", "IC-KILL-01")}
VALIDATOR: Any = Draft202012Validator(load_schema(), format_checker=FormatChecker())  # its stubs are not complete
FACTS = SubjectInfo(
    id="cern", config={"host": "h", "password": "hunter2"}, name="cern", capabilities=frozenset({"kill"})
)


def make_report(facts: SubjectInfo = FACTS, clauses: Mapping[str, Clause] = CLAUSES) -> Report:
    """Return a report of a run in which only the first clause has a result, and it failed."""
    first = next(iter(clauses))
    return judge(facts, clauses, {first: Result(first, State.FAILED, 0.12345, "expected a; observed b")})


def read_document(report: Report) -> dict[str, Any]:
    """Return the document of a report as a program reads it, after checking it against the schema."""
    data: dict[str, Any] = json.loads(json.dumps(make_document(report, RUN), allow_nan=False))
    assert find_errors(data) == []
    return data


def find_errors(data: Any) -> list[str]:
    """Return the errors of a document by the schema."""
    return [str(each.message) for each in VALIDATOR.iter_errors(data)]


NASTY = [
    "</script><script>alert(1)</script>",
    "\x1b[31mred\x1b[0m \x00\x07\x9b1m \r",
    "\ud800 lone \udfff",
    "a | b `c` ```\n```` <b onclick=x>bold</b> [x](https://evil.example) ![y](z) @somebody #1 www.evil.example $x$",
    "\u202egnp.exe \u2028 \ufeff",
    "{{ 7 * 7 }} {% raw %} {# #}",
    "'\"><img src=x onerror=alert(1)>",
    "--> <!-- ]]> &lt; &#0;",
]
TEXTS = st.sampled_from(NASTY) | st.text(st.characters(exclude_categories=()), max_size=40)


class Page(HTMLParser):
    """A parser that keeps the tags, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag and its attributes."""
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        """Keep a text."""
        self.texts.append(data)

    def values(self, name: str) -> list[str]:
        """Return the values of all attributes of one name."""
        return [value or "" for each, value in self.attributes if each == name]


def make_red_report() -> Report:
    """Return a report with red, blocked, known and other clauses, of both levels."""
    states = [State.FAILED, State.PASSED, State.KNOWN, State.ERROR, State.UNEXPECTED_PASS, State.NOT_RUN]
    called = (Call("submit", "spec", 0.0, 0.5, "a handle"), Call("status", "[h]", 0.5))
    results = {
        each: Result(
            each, states[n % 6], 1.0, "m", "d", expected="e", observed="o", calls=called, runs=2, reds=1
        )
        for n, each in enumerate(CLAUSES)
    }  # fmt: skip
    return judge(FACTS, CLAUSES, results)


def make_reports(*ids: str) -> list[Report]:
    """Return a report for each id of a subject."""
    return [make_report(SubjectInfo(id=each, config="x", name=each), FEW) for each in ids]


def list_names(directory: Path) -> list[str]:
    """Return the names of the files of a directory, sorted."""
    return sorted(path.name for path in directory.iterdir())
