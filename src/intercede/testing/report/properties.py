"""The properties of a check in JUnit XML and similar reports."""

from intercede.testing.model.clause import Clause
from intercede.testing.model.verdict import Result, SubjectInfo
from intercede.testing.report.escape import escape_text

__all__ = ["list_properties"]


def list_properties(facts: SubjectInfo, clause: Clause, result: Result) -> list[tuple[str, str]]:
    """Return the properties of a check as pairs of a name and a text that XML can contain."""
    pairs = {
        "clause": clause.id,
        "level": clause.level.value,
        "capability": clause.capability or "",
        "role": clause.role,
        "outcome": result.state.value,
        "blocker": result.blocker or "",
        "subject": facts.id,
    }
    return [(f"intercede.{name}", escape_text(value, 500)) for name, value in pairs.items() if value]
