"""A report as plain data: what ``conformance.json`` holds, and what everything else is made of."""

import json
import platform
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import cast

import intercede
from intercede.contract import VERSION
from intercede.testing.clauses import Clause, Level
from intercede.testing.journal import Call
from intercede.testing.report.plain import plain, plain_text
from intercede.testing.report.redaction import redacted, scrubber
from intercede.testing.report.words import what_is_done
from intercede.testing.untested import UNTESTED
from intercede.testing.verdict import Facts, Report, Result, State

__all__ = ["RED", "SCHEMA", "Data", "about", "as_json"]

Data = Mapping[str, object]
"""What ``as_json`` makes, or a part of it."""

SCHEMA = "1.0"
"""The version of the document: the second number grows when keys are added, the first when others change."""

RED = frozenset(each.value for each in State if each.red)
"""The outcomes that speak against a subject."""

_BRIEF, _LONG, _WHOLE = 500, 8_000, 40_000
"""The most characters of a line, of a finding, and of all there is to say."""
_CALLS = 200
_AGAIN = "again: "


def as_json(report: Report, started: datetime) -> dict[str, object]:
    """Put a report into plain data: one verdict on one subject, without secrets, harmless to show."""
    scrub = scrubber(report.facts.config)

    def tell(text: str, most: int = _LONG) -> str:
        return plain_text(scrub(text), most)

    return {
        "schema": SCHEMA,
        "contract": VERSION,
        "kit": intercede.__version__,
        "python": platform.python_version(),
        "started": started.isoformat(timespec="seconds"),
        "profile": report.profile,
        "verdict": report.verdict.value,
        "line": tell(report.line),
        **_wholeness(report, tell),
        "subject": _subject(report.facts, tell),
        "clauses": [_Clause(report, each, tell).as_json() for each in report.clauses.values()],
        "untested": [{"sentence": sentence, "why": why} for sentence, why in UNTESTED.items()],
        "totals": {
            state.value: count
            for state, count in sorted(Counter(each.state for each in report.results.values()).items())
        },
    }


def about(document: Data) -> Sequence[Data]:
    """Return the clauses that are about what the subject is: none of a scheduler, where it is a backend."""
    role = cast("Data", document["subject"])["role"]
    roles = {role, "backend"} if role == "transport" else {role}
    return [each for each in cast("Sequence[Data]", document["clauses"]) if each["role"] in roles]


def _wholeness(report: Report, tell: Callable[[str], str]) -> dict[str, object]:
    """Tell whether everything that the verdict is about ran, and what did not."""
    return {
        "whole": not report.missing,
        "selected": report.selected,
        "unchosen": report.unchosen,
        "lost_to": tell(report.lost_to),
        "left_out": [{"id": each, "why": tell(_why(report, report.results[each]))} for each in report.missing],
        "required": sorted(report.required),
        "stale": [tell(each) for each in report.stale],
        "counted": {
            level.value: {"clauses": len(report.counted(level)), "good": len(report.good(level))} for level in Level
        },
    }


def _why(report: Report, result: Result) -> str:
    if result.message:
        return result.message
    if report.selected:
        return "it was not selected"
    return f"lost to {report.lost_to}" if report.lost_to else "nobody reported on it"


def _subject(facts: Facts, tell: Callable[[str], str]) -> dict[str, object]:
    return {
        "name": tell(facts.id),
        "title": tell(facts.title),
        "role": facts.role,
        "group": facts.group,
        "distribution": facts.distribution and tell(facts.distribution),
        "version": facts.version and tell(facts.version),
        "config": plain(redacted(facts.config), _LONG),
        "capabilities": sorted(facts.capabilities),
        "refusal": None if facts.refusal is None else tell(facts.refusal),
        "warnings": [tell(each) for each in facts.warnings],
    }


class _Clause:
    """What became of one clause."""

    def __init__(self, report: Report, clause: Clause, tell: Callable[[str, int], str]) -> None:
        self.report, self.clause, self.tell = report, clause, tell
        self.result = report.results[clause.id]

    def as_json(self) -> dict[str, object]:
        """Everything that is known of it, and what an author may do."""
        clause, result = self.clause, self.result
        detail, again = _parted(result.detail)
        return {
            "id": clause.id,
            "level": clause.level.value,
            "capability": clause.capability,
            "role": clause.role,
            "since": clause.since,
            "depends": list(clause.depends),
            "counted": clause.id in self.report.counted(clause.level),
            "title": clause.title,
            "done": what_is_done(clause),
            "look_at": clause.look_at,
            "outcome": result.state.value,
            "seconds": round(result.seconds, 3),
            "runs": result.runs,
            "reds": result.reds,
            "message": self._text(result.message, _BRIEF),
            "expected": self._text(result.expected),
            "observed": self._text(result.observed),
            "blocker": result.blocker,
            "blocks": self.report.blocks[clause.id],
            "known": self._text(result.message) if result.state is State.KNOWN else None,
            "calls": [self._call(each) for each in result.calls[-_CALLS:]],
            "earlier_calls": max(0, len(result.calls) - _CALLS),
            "detail": self._text(detail, _WHOLE),
            "again": self._text(_without_secrets(again)),
        }

    def _call(self, call: Call) -> dict[str, object]:
        return {
            "verb": self._text(call.verb, _BRIEF),
            "arguments": self._text(call.arguments, _BRIEF),
            "start": round(call.start, 3),
            "seconds": None if call.seconds is None else round(call.seconds, 3),
            "outcome": self._text(call.outcome, _BRIEF),
        }

    def _text(self, text: str, most: int = _LONG) -> str:
        return self.tell(text, most)


def _parted(detail: str) -> tuple[str, str]:
    """Part all there is to say from its last line: the command that does the check once more."""
    before, _, last = detail.rpartition("\n")
    return (before, last.removeprefix(_AGAIN)) if last.startswith(_AGAIN) else (detail, "")


def _without_secrets(command: str) -> str:
    """Redact the configurations in a command: JSON may spell a secret in many ways. Empty: it is none of the kit's."""
    try:
        return shlex.join(_redacted_argument(each) for each in shlex.split(command))
    except ValueError:  # a quotation without an end, or braces that are no JSON
        return ""


def _redacted_argument(argument: str) -> str:
    option, _, value = argument.partition("=")
    if not value.startswith("{"):
        return argument
    return f"{option}={json.dumps(redacted(cast('Mapping[str, object]', json.loads(value))))}"
