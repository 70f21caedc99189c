"""A report as plain data: the contents of ``conformance.json``, from which the other files are made."""

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import intercede
from intercede.contract import VERSION
from intercede.redaction import redact
from intercede.testing.clauses.untested import UNTESTED
from intercede.testing.model.calls import Call
from intercede.testing.model.clause import Clause, Level
from intercede.testing.model.verdict import Report, Result, State, SubjectInfo
from intercede.testing.report.escape import escape_data, escape_text
from intercede.testing.report.run import Run

__all__ = ["RED", "SCHEMA", "Data", "describe_run", "group_missing", "list_relevant_clauses", "make_document"]

Data = Mapping[str, object]
"""The document that ``make_document`` returns, or a part of it."""

SCHEMA = "1.1"
"""The version of the document's form. The second number grows if keys are added, the first if keys change or go."""

RED = frozenset(each.value for each in State if each.is_red)
"""The outcomes that count as red."""

_BRIEF, _WHOLE = 500, 40_000
"""The largest number of characters of a line, and of the report of a red check."""
_CALLS = 200


def make_document(report: Report, run: Run) -> dict[str, object]:
    """Convert a report on one subject to plain data, without secrets and without control characters."""
    counted = {each for level in Level for each in report.list_counted(level)}
    clauses = report.clauses.values()
    return {
        "schema": SCHEMA,
        "contract": VERSION,
        "kit": intercede.__version__,
        "python": platform.python_version(),
        "started": run.started.isoformat(timespec="seconds"),
        "run": run.describe(report.facts.id),
        "profile": report.profile,
        "verdict": report.verdict.value,
        "line": escape_text(report.line),
        **_describe_completeness(report),
        "subject": _describe_subject(report.facts),
        "clauses": [
            _describe_clause(report, each, report.results[each.id], counted=each.id in counted) for each in clauses
        ],
        "untested": [{"sentence": sentence, "why": why} for sentence, why in UNTESTED.items()],
        "totals": {
            state.value: count
            for state, count in sorted(Counter(each.state for each in report.results.values()).items())
        },
    }


def list_relevant_clauses(document: Data) -> Sequence[Data]:
    """Return the clauses of a document that are about the subject's role. A transport is also checked as a backend."""
    role = cast("Data", document["subject"])["role"]
    roles = {role, "backend"} if role == "transport" else {role}
    return [each for each in cast("Sequence[Data]", document["clauses"]) if each["role"] in roles]


def group_missing(document: Data) -> Mapping[str, Sequence[str]]:
    """Return the ids of MUST clauses that could not be checked, grouped by the reason."""
    reasons: dict[str, list[str]] = {}
    for each in cast("Sequence[Mapping[str, str]]", document["left_out"]):
        reasons.setdefault(each["why"], []).append(each["id"])
    return reasons


def describe_run(document: Data) -> str:
    """Describe in a sentence how the checks were run: how often, with which time limits, and on which platform."""
    run = cast("Mapping[str, Any]", document["run"])
    jobs = "" if run["jobs"] is None else f", at most {run['jobs']} jobs at once"
    often = "once" if run["repeat"] == 1 else f"{run['repeat']} times"
    by = f"pytest {run['pytest']}" if run["pytest"] else "without pytest"
    plugins = "".join(f", {name} {version}" for name, version in run["plugins"].items())
    return (
        f"Each check ran {often}, with time limits multiplied by {run['scale']:g}{jobs}: {run['seconds']:g} s in all. "
        f"Python {document['python']}, {run['platform']}, {by}{plugins}."
    )


def _describe_completeness(report: Report) -> dict[str, object]:
    """Return the part of the document that says whether all checks for the verdict ran, and which did not."""
    return {
        "whole": not report.missing_clauses,
        "selected": report.is_partial,
        "none_selected": report.none_selected,
        "lost_because_of": escape_text(report.lost_because_of),
        "left_out": [
            {"id": each, "why": escape_text(_explain_missing(report, report.results[each]))}
            for each in report.missing_clauses
        ],
        "required": sorted(report.required),
        "unmatched_known": [escape_text(each) for each in report.unmatched_known],
        "counted": {
            level.value: {"clauses": len(report.list_counted(level)), "good": len(report.list_good(level))}
            for level in Level
        },
    }


def _explain_missing(report: Report, result: Result) -> str:
    if result.message:
        return result.message
    if result.clause not in report.lost_clauses:
        return "it was not selected"
    return f"lost to {report.lost_because_of}" if report.lost_because_of else "its result is missing"


def _describe_subject(facts: SubjectInfo) -> dict[str, object]:
    return {
        "name": escape_text(facts.id),
        "title": escape_text(facts.title),
        "role": facts.role,
        "group": facts.group,
        "distribution": facts.distribution and escape_text(facts.distribution),
        "version": facts.version and escape_text(facts.version),
        "config": escape_data(redact(facts.config)),
        "capabilities": sorted(facts.capabilities),
        "refusal": None if facts.refusal is None else escape_text(facts.refusal),
        "warnings": [escape_text(each) for each in facts.warnings],
    }


def _describe_clause(report: Report, clause: Clause, result: Result, *, counted: bool) -> dict[str, object]:
    """Return the part of the document about one clause: its sentence, its result, and what an author can do."""
    return {
        "id": clause.id,
        "level": clause.level.value,
        "capability": clause.capability,
        "role": clause.role,
        "since": clause.since,
        "depends": list(clause.depends),
        "counted": counted,
        "title": clause.title,
        "procedure": clause.procedure,
        "hint": clause.hint,
        "outcome": result.state.value,
        "seconds": round(result.seconds, 3),
        "runs": result.runs,
        "reds": result.reds,
        "message": escape_text(result.message, _BRIEF),
        "expected": escape_text(result.expected),
        "observed": escape_text(result.observed),
        "blocker": result.blocker,
        "blocks": report.blocked_counts[clause.id],
        "known": escape_text(result.message) if result.state is State.KNOWN else None,
        "calls": [_describe_call(each) for each in result.calls[-_CALLS:]],
        "earlier_calls": max(0, len(result.calls) - _CALLS),
        "detail": escape_text(result.detail, _WHOLE),
        "again": escape_text(result.rerun_command),
    }


def _describe_call(call: Call) -> dict[str, object]:
    return {
        "verb": escape_text(call.verb, _BRIEF),
        "arguments": escape_text(call.arguments, _BRIEF),
        "start": round(call.start, 3),
        "seconds": None if call.seconds is None else round(call.seconds, 3),
        "outcome": escape_text(call.outcome, _BRIEF),
    }
