"""The document of a report, of which all files are made, and its schema."""

import json
import platform
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator
from tests.testing.report.reports import (
    FACTS,
    FEW,
    RUN,
    TEXTS,
    find_errors,
    make_red_report,
    make_report,
    read_document,
)

from intercede.testing import gallery, run_checks
from intercede.testing.clauses import CLAUSES
from intercede.testing.model.calls import Call
from intercede.testing.model.clause import MUST
from intercede.testing.model.verdict import Result, State, SubjectInfo, judge
from intercede.testing.report import list_properties, make_document, write_reports
from intercede.testing.report.document import describe_run
from intercede.testing.report.schema import load_schema, read_schema

DOC = Path(__file__).parents[3] / "docs" / "reference" / "report.md"


def test_every_clause_is_in_the_document() -> None:
    """The document lists each clause, also those that did not run, and its totals agree with the list."""
    data = read_document(make_report())

    assert [each["id"] for each in data["clauses"]] == list(CLAUSES)
    first = data["clauses"][0]
    assert (first["outcome"], first["seconds"], first["message"]) == ("FAILED", 0.123, "expected a; observed b")
    assert first["title"] == CLAUSES[first["id"]].title
    assert data["verdict"] == "NOT CONFORMANT"
    assert data["started"] == "2026-05-04T03:02:01+00:00"
    assert data["subject"]["config"] == {"host": "h", "password": "***"}
    assert sum(data["totals"].values()) == len(CLAUSES)


def test_the_document_lists_each_must_that_did_not_run() -> None:
    """The document names each MUST of the profile that did not run, and why."""
    musts = [each for each in CLAUSES.values() if each.level is MUST and each.role == "backend"]
    musts = [each for each in musts if each.capability in {None, "kill"}]
    results = {each.id: Result(each.id, State.PASSED) for each in musts[1:]}

    whole = read_document(judge(FACTS, CLAUSES, {**results, musts[0].id: Result(musts[0].id, State.PASSED)}))
    lost = read_document(judge(FACTS, CLAUSES, results, lost_because_of="conftest.py"))
    chosen = read_document(judge(FACTS, CLAUSES, results, is_partial=True))

    assert (whole["whole"], whole["left_out"], whole["verdict"]) == (True, [], "CONFORMANT")
    assert (lost["whole"], lost["lost_because_of"], lost["verdict"]) == (False, "conftest.py", "INCOMPLETE")
    assert lost["left_out"] == [{"id": musts[0].id, "why": "lost to conftest.py"}]
    assert chosen["left_out"] == [{"id": musts[0].id, "why": "it was not selected"}]
    assert lost["counted"]["MUST"] == {"clauses": len(musts), "good": len(musts) - 1}


def test_the_document_holds_the_calls_of_a_check() -> None:
    """The document holds the last 200 calls of a check with their times, and the command that runs the check again."""
    calls = (*(Call("status", "[1]", n / 10, 0.05, "{}") for n in range(203)), Call("kill", "[1]", 21.0))
    again = "pytest --intercede-backend=fake intercede/kill::IC-KILL-01[fake]"
    result = Result("IC-KILL-01", State.FAILED, 21.5, "m", "all\nof it", again, calls=calls)

    data = read_document(judge(FACTS, {"IC-KILL-01": CLAUSES["IC-KILL-01"]}, {"IC-KILL-01": result}))["clauses"][0]

    assert (data["detail"], data["again"]) == ("all\nof it", again)
    assert (len(data["calls"]), data["earlier_calls"]) == (200, 4)
    assert data["calls"][-1] == (
        {"verb": "kill", "arguments": "[1]", "start": 21.0, "seconds": None, "outcome": "has not returned"}
    )


@pytest.mark.parametrize("subject", ["StatusIsText", "CannotSubmit"])
def test_reports_of_real_runs_match_the_schema(subject: str, tmp_path: Path) -> None:
    """The document of a real run, of a run without results and of a refused subject matches the schema."""
    factory = {**gallery.load_wrong(), **gallery.load_hostile()}[subject]
    report = run_checks(factory, ["shape", "IC-SUBMIT-01", "IC-STATUS-01"])

    path = write_reports([report], tmp_path, RUN)[0]

    assert find_errors(json.loads(path.read_text())) == []
    assert report.red
    assert find_errors(make_document(make_red_report(), RUN)) == []
    assert find_errors(make_document(judge(replace(FACTS, refusal="no"), CLAUSES, {}), RUN)) == []


def test_the_schema_is_valid_and_refuses_other_documents() -> None:
    """The schema is valid JSON Schema, and refuses a document with an extra key, a missing key or an unknown word."""
    Draft202012Validator.check_schema(load_schema())
    data = read_document(make_report(clauses=FEW))

    for change in ({"more": 1}, {"verdict": "FINE"}, {"totals": {"GOOD": 1}}, {"schema": "2.0"}):
        assert find_errors({**data, **change})
    assert all(find_errors({name: value for name, value in data.items() if name != each}) for each in data)


def test_the_linked_schema_is_the_schema() -> None:
    """The schema that docs/reference/report.md links is the one that the kit writes.

    Another test compares the table of that page.
    """
    page = DOC.read_text()

    assert (DOC.parent / re.findall(r"\]\((\S+conformance\.schema\.json)\)", page)[0]).read_text() == read_schema()


@given(TEXTS)
def test_properties_are_valid_xml(text: str) -> None:
    """The properties of a test report hold any text as valid XML, and leave out those without a value."""
    clause = CLAUSES["IC-KILL-01"]
    pairs = list_properties(SubjectInfo(id=text, config="x", name="x"), clause, Result(clause.id, State.FAILED))

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


def test_a_document_describes_its_run() -> None:
    """The document describes its run: scale, jobs, repetitions, time, platform and versions.

    It names no host and no user.
    """
    data = read_document(make_report())

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
    sentence = "Each check ran 3 times, with time limits multiplied by 2.5, at most 64 jobs at once: 12.3 s in all."
    assert describe_run(data).startswith(sentence)
    assert describe_run(data).endswith(", pytest 9.1, pytest-xdist 3.8.")
    assert describe_run(read_document(make_report(replace(FACTS, id="other")))).startswith(
        "Each check ran 3 times, with time limits multiplied by 1,"
    )


def test_the_page_and_the_summary_describe_the_run(tmp_path: Path) -> None:
    """The page and the summary describe the run in one sentence."""
    for path in write_reports([make_report()], tmp_path, RUN):
        if path.suffix in {".html", ".md"}:
            assert "time limits multiplied by 2.5, at most 64 jobs at once: 12.3 s in all." in path.read_text("utf-8")
