"""A verdict for programs, a page and a summary for people, and the clauses at a terminal."""

import json
import platform
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from markdown_it import MarkdownIt

from intercede.testing import gallery, run_checks
from intercede.testing.clauses import CLAUSES
from intercede.testing.model.calls import Call
from intercede.testing.model.clause import MUST, Clause
from intercede.testing.model.verdict import Report, Result, State, SubjectInfo, judge
from intercede.testing.report import Run, as_json, explain_clause, list_clauses, properties, write
from intercede.testing.report.document import how_made
from intercede.testing.report.schema import schema
from intercede.testing.report.schema import text as schema_text

DOC = Path(__file__).parents[3] / "docs" / "reference" / "report.md"
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
VALIDATOR: Any = Draft202012Validator(schema(), format_checker=FormatChecker())  # its stubs are not complete
FACTS = SubjectInfo(
    id="cern", config={"host": "h", "password": "hunter2"}, name="cern", capabilities=frozenset({"kill"})
)


def _report(facts: SubjectInfo = FACTS, clauses: Mapping[str, Clause] = CLAUSES) -> Report:
    first = next(iter(clauses))
    return judge(facts, clauses, {first: Result(first, State.FAILED, 0.12345, "expected a; observed b")})


def _data(report: Report) -> dict[str, Any]:
    """Return the document as a program reads it: it keeps the schema."""
    data: dict[str, Any] = json.loads(json.dumps(as_json(report, RUN), allow_nan=False))
    assert _errors(data) == []
    return data


def _errors(data: Any) -> list[str]:
    return [str(each.message) for each in VALIDATOR.iter_errors(data)]


def test_every_clause_is_in_the_document() -> None:
    """Every clause is listed, also what did not run, and the numbers agree with them."""
    data = _data(_report())

    assert [each["id"] for each in data["clauses"]] == list(CLAUSES)
    first = data["clauses"][0]
    assert (first["outcome"], first["seconds"], first["message"]) == ("FAILED", 0.123, "expected a; observed b")
    assert first["title"] == CLAUSES[first["id"]].title
    assert data["verdict"] == "NOT CONFORMANT"
    assert data["started"] == "2026-05-04T03:02:01+00:00"
    assert data["subject"]["config"] == {"host": "h", "password": "***"}
    assert sum(data["totals"].values()) == len(CLAUSES)


def test_the_document_alone_says_what_was_left_out() -> None:
    """Of a run that lost checks, each MUST of the profile that did not run is named, with the reason."""
    musts = [each for each in CLAUSES.values() if each.level is MUST and each.role == "backend"]
    musts = [each for each in musts if each.capability in {None, "kill"}]
    results = {each.id: Result(each.id, State.PASSED) for each in musts[1:]}

    whole = _data(judge(FACTS, CLAUSES, {**results, musts[0].id: Result(musts[0].id, State.PASSED)}))
    lost = _data(judge(FACTS, CLAUSES, results, lost_to="conftest.py"))
    chosen = _data(judge(FACTS, CLAUSES, results, selected=True))

    assert (whole["whole"], whole["left_out"], whole["verdict"]) == (True, [], "CONFORMANT")
    assert (lost["whole"], lost["lost_because_of"], lost["verdict"]) == (False, "conftest.py", "INCOMPLETE")
    assert lost["left_out"] == [{"id": musts[0].id, "why": "lost to conftest.py"}]
    assert chosen["left_out"] == [{"id": musts[0].id, "why": "it was not selected"}]
    assert lost["counted"]["MUST"] == {"clauses": len(musts), "good": len(musts) - 1}


def test_what_a_check_did_is_in_the_document() -> None:
    """The calls with their times, the last of many; and the command, apart from all that was printed besides."""
    calls = (*(Call("status", "[1]", n / 10, 0.05, "{}") for n in range(203)), Call("kill", "[1]", 21.0))
    again = "pytest --intercede-backend=fake intercede/kill::IC-KILL-01[fake]"
    result = Result("IC-KILL-01", State.FAILED, 21.5, "m", "all\nof it", again, calls=calls)

    data = _data(judge(FACTS, {"IC-KILL-01": CLAUSES["IC-KILL-01"]}, {"IC-KILL-01": result}))["clauses"][0]

    assert (data["detail"], data["again"]) == ("all\nof it", again)
    assert (len(data["calls"]), data["earlier_calls"]) == (200, 4)
    assert data["calls"][-1] == (
        {"verb": "kill", "arguments": "[1]", "start": 21.0, "seconds": None, "outcome": "has not returned"}
    )


def _shown_texts(text: str) -> Report:
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
    return judge(facts, {clause.id: clause}, {clause.id: result}, lost_to=text, stale=(text,))


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


def test_much_text_is_cut_and_says_so(tmp_path: Path) -> None:
    """A subject that talks without end fills neither the files nor the page of a forge."""
    sizes = {path.suffix: path.stat().st_size for path in write([_shown_texts("\x1b" * 500_000)], tmp_path, RUN)}

    assert max(sizes.values()) < 2_000_000
    assert sizes[".md"] < 100_000
    assert "[... 492000 more characters]" in (tmp_path / "conformance.json").read_text()


class _Page(HTMLParser):
    """Reads a page as a browser does, as far as it matters here."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def values(self, name: str) -> list[str]:
        return [value or "" for each, value in self.attributes if each == name]


def _is_harmless(text: str) -> bool:
    return all(each in "\n\t" or unicodedata.category(each) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for each in text)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS)
def test_hostile_text_stays_text(text: str, tmp_path: Path) -> None:
    """Whatever a subject says breaks no file, is no element, link or mention, and reaches no terminal as a command."""
    written = {path.name: path.read_bytes().decode() for path in write([_shown_texts(text)], tmp_path, RUN)}

    assert all(map(_is_harmless, written.values()))
    assert _errors(json.loads(written["conformance.json"])) == []
    page = _Page(written["conformance.html"])
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


def _broken() -> Report:
    """Return a report with red, blocked and other clauses; SHOULD, known and unexpected ones among them."""
    states = [State.FAILED, State.PASSED, State.KNOWN, State.ERROR, State.UNEXPECTED_PASS, State.NOT_RUN]
    called = (Call("submit", "spec", 0.0, 0.5, "a handle"), Call("status", "[h]", 0.5))
    results = {
        each: Result(
            each, states[n % 6], 1.0, "m", "d", expected="e", observed="o", calls=called, runs=2, reds=1
        )
        for n, each in enumerate(CLAUSES)
    }  # fmt: skip
    return judge(FACTS, CLAUSES, results)


@pytest.mark.parametrize("subject", ["StatusIsText", "CannotSubmit"])
def test_real_reports_keep_the_schema(subject: str, tmp_path: Path) -> None:
    """What checks of a wrong backend leave is valid, and so is what is left where none ran."""
    factory = {**gallery.wrong(), **gallery.hostile()}[subject]
    report = run_checks(factory, ["shape", "IC-SUBMIT-01", "IC-STATUS-01"])

    path = write([report], tmp_path, RUN)[0]

    assert _errors(json.loads(path.read_text())) == []
    assert report.red
    assert _errors(as_json(_broken(), RUN)) == []
    assert _errors(as_json(judge(replace(FACTS, refusal="no"), CLAUSES, {}), RUN)) == []


def test_the_schema_is_a_schema_and_refuses_what_is_none_of_ours() -> None:
    """It is valid itself; a key more, a key less, or an unknown word is an error."""
    Draft202012Validator.check_schema(schema())
    data = _data(_report(clauses=FEW))

    for change in ({"more": 1}, {"verdict": "FINE"}, {"totals": {"GOOD": 1}}, {"schema": "2.0"}):
        assert _errors({**data, **change})
    assert all(_errors({name: value for name, value in data.items() if name != each}) for each in data)


def test_the_documented_keys_are_those_of_the_schema() -> None:
    """docs/reference/report.md links the schema; `make docs` makes its table, and another test holds that it is current."""
    page = DOC.read_text()

    assert (DOC.parent / re.findall(r"\]\((\S+conformance\.schema\.json)\)", page)[0]).read_text() == schema_text()


@pytest.mark.parametrize("report", [_report(), _broken()], ids=["lost", "broken"])
def test_the_page_reads_without_eyes(report: Report, tmp_path: Path) -> None:
    """Landmarks, headings in order, header cells with scope, names that exist once, links that lead somewhere."""
    text = next(path for path in write([report], tmp_path, RUN) if path.suffix == ".html").read_text()
    page = _Page(text)

    assert {"header", "nav", "main", "footer", "h1"} <= set(page.tags)
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    assert len(page.values("scope")) == page.tags.count("th")
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {each[1:] for each in page.values("href")} <= set(ids)
    assert {word for each in page.values("aria-labelledby") for word in each.split()} <= set(ids)
    assert page.tags.count("details") >= sum(each.role == "backend" for each in CLAUSES.values())
    assert page.values("lang") == ["en"]
    assert page.attributes[page.attributes.index(("class", "skip")) + 1] == ("href", "#content")


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    """No address stands in it, and its own policy forbids to load or to run anything but what is in it."""
    text = next(path for path in write([_broken()], tmp_path, RUN) if path.suffix == ".html").read_text()

    assert re.findall(r"(?:https?:)?//[a-z]|url\(|@import|src=", text.partition("</style>")[0]) == []
    assert {"src", "style", "action"}.isdisjoint(name for name, _ in _Page(text).attributes)
    assert "default-src 'none'" in text


def test_a_state_is_not_told_by_its_colour_alone(tmp_path: Path) -> None:
    """Each cell of the matrix names its clause and says in words what became of it."""
    report = _broken()
    text = next(path for path in write([report], tmp_path, RUN) if path.suffix == ".html").read_text()
    spoken = dict(re.findall(r'class="spoken">(IC-\S+) ([^<]+)</span></a>', text))

    assert set(spoken) == {each.id for each in CLAUSES.values() if each.role == "backend"}
    words = {(report.results[each].state, CLAUSES[each].level): word for each, word in spoken.items()}
    assert words[State.PASSED, MUST] == "passed"
    assert words[State.FAILED, MUST] == "failed"
    assert len({words[each, MUST] for each in State if (each, MUST) in words}) == len(
        {each for each, level in words if level is MUST}
    )


def _palettes() -> Iterator[Mapping[str, str]]:
    css = files("intercede.testing.report").joinpath("page.css").read_text()
    light = dict(re.findall(r"--([\w-]+): (#\w{6});", css.partition("@media")[0]))
    yield light
    yield light | dict(re.findall(r"--([\w-]+): (#\w{6});", css.partition("scheme: dark)")[2].partition("\n}\n")[0]))
    yield light | dict(re.findall(r"--([\w-]+): (#\w{6});", css.partition("@media print")[2]))


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _contrast(one: str, other: str) -> float:
    darker, lighter = sorted(map(_luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("palette", list(_palettes()), ids=["light", "dark", "print"])
def test_the_page_can_be_read(palette: Mapping[str, str]) -> None:
    """Text has a contrast of 4.5 to 1 on what it stands on, and what is no text but says something has 3 to 1."""
    tones = [(each, f"{each}-paper") for each in ("good", "bad", "warn", "dim")]
    texts = [(ink, paper) for ink in ("ink", "soft", "link") for paper in ("paper", "panel")] + tones
    marks = [("bar", "panel"), ("bad", "panel"), ("focus", "paper"), ("focus", "panel"), ("control", "paper")]

    assert {pair: _contrast(*(palette[each] for each in pair)) for pair in texts if _low(palette, pair, 4.5)} == {}
    assert {pair: _contrast(*(palette[each] for each in pair)) for pair in marks if _low(palette, pair, 3.0)} == {}


def _low(palette: Mapping[str, str], pair: tuple[str, str], least: float) -> bool:
    return _contrast(palette[pair[0]], palette[pair[1]]) < least


def test_the_summary_tells_the_red_ones(tmp_path: Path) -> None:
    """Verdict, a row for each area whose numbers add up, and of each red clause what was seen and how to run it."""
    result = Result("IC-STATUS-01", State.FAILED, 1, "m", "d", "pytest x", expected="a | b", observed="c ``` d")
    report = judge(FACTS, CLAUSES, {"IC-STATUS-01": result})
    text = next(path for path in write([report], tmp_path, RUN) if path.suffix == ".md").read_text()

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
    """It is what the endpoint of shields.io reads: these keys, and a colour that is green for one verdict only."""
    passed = {each: Result(each, State.PASSED) for each in CLAUSES}
    reports = [
        judge(FACTS, CLAUSES, passed),
        _report(),
        judge(FACTS, CLAUSES, passed, selected=True),
        judge(FACTS, CLAUSES, {}),
    ]

    badges = [json.loads(write([each], tmp_path, RUN)[1].read_text()) for each in reports]

    assert [each["message"] for each in badges] == ["conformant 1.0 full", "not conformant", "partial", "incomplete"]
    assert [each["color"] for each in badges] == ["brightgreen", "red", "yellow", "orange"]
    assert {(each["schemaVersion"], each["label"]) for each in badges} == {(1, "intercede")}


def _named(*ids: str) -> list[Report]:
    return [_report(SubjectInfo(id=each, config="x", name=each), FEW) for each in ids]


def test_each_of_several_has_files(tmp_path: Path) -> None:
    """One is conformance.json; several are told apart by their ids; the summary is one for all."""
    one, several = tmp_path / "one", tmp_path / "several"
    one.mkdir()
    several.mkdir()

    written = write(_named("cern"), one, RUN)
    write(_named("cern", "fake#2"), several, RUN)

    assert written[0].name == "conformance.json"
    assert _names(one) == ["badge.json", "conformance.html", "conformance.json", "conformance.md"]
    assert _names(several) == sorted(
        ["conformance.md"]
        + [f"{name}-{of}.{kind}" for of in ("cern", "fake#2") for name, kind in
           (("badge", "json"), ("conformance", "json"), ("conformance", "html"))]
    )  # fmt: skip
    assert json.loads((several / "conformance-fake#2.json").read_text())["subject"]["name"] == "fake#2"
    assert (several / "conformance.md").read_text().count("## ") >= 2


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@given(
    st.lists(
        st.text(max_size=300) | st.sampled_from(["../../x", "A", "a", "a/b", "a_b", "", "."]), min_size=2, max_size=3
    )
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_id_makes_file_names(tmp_path: Path, ids: list[str]) -> None:
    """Every subject has files of its own, in that directory, whatever it is called."""
    written = write(_named(*ids), tmp_path, RUN)

    assert {path.parent for path in written} == {tmp_path}
    assert len({path.name.lower() for path in written}) == 3 * len(ids) + 1
    assert all(re.fullmatch(r"[\w.+#=@-]{1,140}", path.name, re.ASCII) for path in written)


def test_a_file_is_written_whole_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there stays as it is when writing fails, and nothing lies beside it; a link is replaced, not followed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    directory = tmp_path / "reports"
    directory.mkdir()
    (directory / "conformance.json").symlink_to(elsewhere)
    write([_report()], directory, RUN)
    before = {path: path.read_bytes() for path in directory.iterdir()}

    def full(self: Path, text: str, **_: object) -> int:
        self.write_bytes(text.encode()[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        write([_broken()], directory, RUN)

    assert elsewhere.read_text() == "mine"
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


def test_without_the_template_engine_the_rest_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install, and a run of an hour has left what programs read."""
    monkeypatch.setitem(sys.modules, "jinja2", None)

    with pytest.raises(ImportError, match=r'pip install "intercede\[testing\] @ '):
        write([_report()], tmp_path, RUN)

    assert _names(tmp_path) == ["badge.json", "conformance.json", "conformance.md"]


@given(TEXTS)
def test_properties_are_what_xml_can_hold(text: str) -> None:
    """Reports like junit's hold names and texts of what was checked; properties without a value are left out."""
    clause = CLAUSES["IC-KILL-01"]
    pairs = properties(SubjectInfo(id=text, config="x", name="x"), clause, Result(clause.id, State.FAILED))

    assert dict(pairs[:5]) == {
        "intercede.clause": "IC-KILL-01",
        "intercede.level": clause.level.value,
        "intercede.capability": "kill",
        "intercede.role": "backend",
        "intercede.outcome": "FAILED",
    }
    document = ET.Element("properties")
    for name, value in pairs:
        ET.SubElement(document, "property", name=name, value=value)
    assert [each.get("value") for each in ET.fromstring(ET.tostring(document))] == [value for _, value in pairs]  # noqa: S314 -- our own


def test_every_clause_is_listed_and_explained() -> None:
    """A line each; and for one: text, level, what is done, what to look at."""
    assert [line.split()[0] for line in list_clauses(CLAUSES).splitlines()] == list(CLAUSES)
    for clause in CLAUSES.values():
        text = explain_clause(CLAUSES, clause.id.lower())
        assert clause.title in text
        assert f"({clause.level}" in text
        assert clause.hint in text


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("IC-SUBMIT-4", "; did you mean IC-SUBMIT-04?"),
        ("ic-submit-004", "; did you mean IC-SUBMIT-04?"),
        ("IC-SUBMT-01", "; did you mean IC-SUBMIT-01, "),
        ("IC-HANDLE", f"; did you mean {', '.join(each for each in CLAUSES if 'HANDLE' in each)}?"),
        ("ic-handle-", f"; did you mean {', '.join(each for each in CLAUSES if 'HANDLE' in each)}?"),
        ("???", "; all of them"),
        ("", "; all of them"),
        ("-", "; all of them"),
    ],
)
def test_a_clause_that_is_not_there_brings_those_that_may_be_meant(word: str, meant: str) -> None:
    """Numbers are compared as numbers, a family is listed whole, and where all of them stand is always said."""
    with pytest.raises(LookupError) as caught:
        explain_clause(CLAUSES, word)

    assert str(caught.value.args[0]).startswith(f"there is no clause {word!r}{meant}")
    assert str(caught.value.args[0]).endswith("; all of them: pytest --intercede-list")


def test_a_report_says_how_its_run_was_made() -> None:
    """Scale, jobs, repetition, time, platform and versions: in the document, on the page and in the summary; no host, no user."""
    data = _data(_report())

    assert {**data["run"], "platform": ""} == {
        "scale": 2.5,
        "jobs": 64,
        "repeat": 3,
        "seconds": 12.3,
        "platform": "",
        "pytest": "9.1",
        "plugins": {"pytest-xdist": "3.8"},
    }
    assert data["run"]["platform"].split()[0] == platform.system()
    assert platform.node() not in json.dumps(data["run"])
    sentence = "Each check was done 3 times, with bounds in time times 2.5, 64 jobs at once at most: 12.3 s in all."
    assert how_made(data).startswith(sentence)
    assert how_made(data).endswith(", pytest 9.1, pytest-xdist 3.8.")
    assert how_made(_data(_report(replace(FACTS, id="other")))).startswith(
        "Each check was done 3 times, with bounds in time times 1,"
    )


def test_the_page_and_the_summary_say_how_the_run_was_made(tmp_path: Path) -> None:
    """In a sentence, beside what was inspected."""
    for path in write([_report()], tmp_path, RUN):
        if path.suffix in {".html", ".md"}:
            assert "bounds in time times 2.5, 64 jobs at once at most: 12.3 s in all." in path.read_text("utf-8")
