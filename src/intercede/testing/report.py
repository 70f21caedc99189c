"""A verdict for programs, and the clauses for people."""

import json
import platform
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import cast

import intercede
from intercede.contract import VERSION
from intercede.testing.clauses import Clause
from intercede.testing.verdict import Report

__all__ = ["as_json", "explained", "listed", "redacted", "write"]

_SECRET = re.compile(r"pass|pwd?\b|secret|token|key|credential|auth|bearer|private|cookie|header|pin\b", re.IGNORECASE)
_IN_URL = re.compile(r"(?<=://)\S+(?=@)|(?<=\?)\S+")
_HIDDEN = "***"


def as_json(report: Report, started: datetime) -> dict[str, object]:
    """Put a report into plain data: one verdict on one subject."""
    facts = report.facts
    results = report.results.values()
    return {
        "contract": VERSION,
        "kit": intercede.__version__,
        "python": platform.python_version(),
        "started": started.isoformat(timespec="seconds"),
        "profile": report.profile,
        "verdict": report.verdict.value,
        "selected": report.selected,
        "subject": {
            "name": facts.id,
            "group": facts.group,
            "distribution": facts.distribution,
            "version": facts.version,
            "config": redacted(facts.config),
            "capabilities": sorted(facts.capabilities),
        },
        "clauses": [
            {
                "id": clause.id,
                "level": clause.level.value,
                "capability": clause.capability,
                "title": clause.title,
                "outcome": result.state.value,
                "seconds": round(result.seconds, 3),
                "message": result.message,
            }
            for clause, result in zip(report.clauses.values(), results, strict=True)
        ],
        "totals": {state.value: count for state, count in sorted(Counter(each.state for each in results).items())},
    }


def redacted(value: object) -> object:
    """Copy a configuration without what may be secret: by its key, by its own words, in a URL, or not plain data."""
    if isinstance(value, Mapping):
        table = cast("Mapping[str, object]", value)
        return {key: _HIDDEN if _SECRET.search(key) else redacted(inner) for key, inner in table.items()}
    if isinstance(value, list | tuple):
        return [redacted(each) for each in cast("Sequence[object]", value)]
    if isinstance(value, str):
        return _HIDDEN if _SECRET.search(value) else _IN_URL.sub(_HIDDEN, value) if "://" in value else value
    return value if isinstance(value, bool | int | float | None) else f"<{type(value).__name__}>"


def write(reports: Sequence[Report], directory: Path, started: datetime) -> tuple[Path, ...]:
    """Write ``conformance.json``, or ``conformance-<id>.json`` for each where there are several.

    Raises:
        OSError: The directory is not there or cannot be written.
    """
    written: list[Path] = []
    for report in reports:
        suffix = f"-{report.facts.id}" if len(reports) > 1 else ""
        path = directory / f"conformance{suffix}.json"
        path.write_text(json.dumps(as_json(report, started), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return tuple(written)


def listed(clauses: Mapping[str, Clause]) -> str:
    """List the clauses, a line each."""
    return "\n".join(
        f"{each.id:<13} {each.level:<6} {each.capability or '-':<11} {each.title}" for each in clauses.values()
    )


def explained(clauses: Mapping[str, Clause], clause_id: str) -> str:
    """Explain one clause: text, level, what is done, what to look at when it is red.

    Raises:
        LookupError: There is none of that id; the message names those that may be meant.
    """
    clause = clauses.get(clause_id.upper())
    if clause is None:
        meant = _meant(clauses, clause_id.upper())
        hint = f"; did you mean {', '.join(meant)}?" if meant else ""
        raise LookupError(f"there is no clause {clause_id!r}{hint}; all of them: pytest --intercede-list")
    applies = f"where {clause.capability} is claimed" if clause.capability else "always"
    lines = [
        f"{clause.id} ({clause.level}, since contract {clause.since}, applies {applies})",
        f"{clause.title}\n",
        f"what is done: {_what_is_done(clause)}",
        f"look at: {clause.look_at}" if clause.look_at else "",
        f"depends on: {', '.join(clause.depends)}" if clause.depends else "",
        "has the process for itself: what leaks or blocks is attributed" if clause.alone else "",
    ]
    return "\n".join(line for line in lines if line)


def _meant(clauses: Mapping[str, Clause], word: str) -> Sequence[str]:
    """Return the clause of the same number, those of the family, or the nearest."""
    family, _, number = word.rstrip("-").rpartition("-")
    if number.isdecimal():
        same = f"{family}-{int(number):02}"
        return [same] if same in clauses else get_close_matches(word, clauses, n=3)
    members = [each for each in clauses if each.startswith(f"{word.rstrip('-')}-")]
    return members or get_close_matches(word, clauses, n=3)


def _what_is_done(clause: Clause) -> str:
    return " ".join((clause.check.__doc__ or "see the check").split())
