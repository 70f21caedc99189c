"""The clauses, for people at a terminal."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from intercede.testing.model.clause import Clause

__all__ = ["explain_clause", "list_clauses"]


def list_clauses(clauses: Mapping[str, Clause]) -> str:
    """List the clauses, a line each."""
    return "\n".join(
        f"{each.id:<13} {each.level:<6} {each.capability or '-':<11} {each.title}" for each in clauses.values()
    )


def explain_clause(clauses: Mapping[str, Clause], clause_id: str) -> str:
    """Explain one clause: its sentence, level, procedure and hint.

    Raises:
        LookupError: There is none of that id; the message names those that may be meant.
    """
    clause = clauses.get(clause_id.upper())
    if clause is None:
        meant = _meant(clauses, clause_id.upper())
        hint = f"; did you mean {', '.join(meant)}?" if meant else ""
        raise LookupError(f"there is no clause {clause_id!r}{hint}; all of them: pytest --intercede-list")
    verb = "is" if len(clause.needs) == 1 else "are"
    applies = f"where {' and '.join(sorted(clause.needs))} {verb} claimed" if clause.needs else "always"
    lines = [
        f"{clause.id} ({clause.level}, since contract {clause.since}, applies {applies})",
        f"{clause.title}\n",
        f"procedure: {clause.procedure or 'see the check'}",
        f"hint: {clause.hint}" if clause.hint else "",
        f"depends on: {', '.join(clause.depends)}" if clause.depends else "",
        "has the process for itself: what leaks or blocks is attributed" if clause.exclusive else "",
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
