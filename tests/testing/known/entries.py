"""Entries of a file of known failures, and results to judge by them."""

from datetime import date
from pathlib import Path
from typing import Any

from intercede.contract.backend import Capability
from intercede.testing.known import Entry, Known
from intercede.testing.model.clause import MUST, SHOULD, Clause
from intercede.testing.model.verdict import Result, State, SubjectInfo
from intercede.testing.run.context import Context

TODAY = date(2026, 6, 15)
ENTRY = """[[known]]
clause = "IC-KILL-01"
reason = "the gateway forgets"
symptom = "observed UNKNOWN"
until = 2026-06-15
"""
SEEN = "expected KILLED; observed UNKNOWN"


async def _check(_: Context) -> None: ...


def _make_clause(clause_id: str, capability: Capability | None = None, *, should: bool = False) -> Clause:
    return Clause(id=clause_id, title="", level=SHOULD if should else MUST, check=_check, capability=capability)


CLAUSES = {
    each.id: each
    for each in (
        _make_clause("IC-SUBMIT-01"),
        _make_clause("IC-SUBMIT-02", should=True),
        _make_clause("IC-KILL-01", "kill"),
        _make_clause("IC-OUTPUT-01", "output"),
    )
}


def write_file(directory: Path, text: str) -> Path:
    """Write a file of known failures into a directory."""
    path = directory / "known.toml"
    path.write_bytes(text.encode())
    return path


def make_known(**fields: Any) -> Known:  # the fields of an entry, of whatever types
    """Return a file of one entry; the fields differ from a valid entry's as given."""
    given: dict[str, Any] = {"number": 1, "clause": "IC-KILL-01", "reason": "the gateway forgets"}
    given |= {"symptom": "observed UNKNOWN", "until": TODAY, **fields}
    return Known(Path("known.toml"), (Entry(**given),))


def make_failure(message: str = SEEN, clause: str = "IC-KILL-01") -> Result:
    """Return a failure of a check with a message."""
    observed = message.partition("observed ")[2] or message
    return Result(clause, State.FAILED, message=message, detail="everything there is to say", observed=observed)


def make_facts(subject: str = "site", capabilities: frozenset[Capability] = frozenset({"kill"})) -> SubjectInfo:
    """Return the facts of a subject."""
    return SubjectInfo(id=subject, config=subject, name=subject, capabilities=capabilities)


def make_results(*results: Result) -> dict[str, Result]:
    """Return a result for each clause: those given, and otherwise PASSED."""
    return {each: Result(each, State.PASSED) for each in CLAUSES} | {each.clause: each for each in results}
