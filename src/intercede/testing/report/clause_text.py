"""Describe clauses to people at a terminal."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from intercede.testing.model.clause import Clause

__all__ = ["explain_clause", "list_clauses"]


def list_clauses(clauses: Mapping[str, Clause]) -> str:
    """Return a text with one line for each clause: id, level, capability and sentence."""
    return "\n".join(
        f"{each.id:<13} {each.level:<6} {each.capability or '-':<11} {each.title}" for each in clauses.values()
    )


def explain_clause(clauses: Mapping[str, Clause], clause_id: str, list_command: str = "") -> str:
    """Return a text about one clause: its sentence, level, procedure and hint.

    Raises:
        LookupError: There is no clause with this id. The message suggests similar ids.
    """
    clause = clauses.get(clause_id.upper())
    if clause is None:
        meant = _suggest_ids(clauses, clause_id.upper())
        hint = f"; did you mean {', '.join(meant)}?" if meant else ""
        more = f"; all of them: {list_command}" if list_command else ""
        raise LookupError(f"there is no clause {clause_id!r}{hint}{more}")
    verb = "is" if len(clause.needs) == 1 else "are"
    applies = f"if {' and '.join(sorted(clause.needs))} {verb} claimed" if clause.needs else "always"
    lines = [
        f"{clause.id} ({clause.level}, since contract {clause.since}, applies {applies})",
        f"{clause.title}\n",
        f"procedure: {clause.procedure or 'see the check'}",
        f"hint: {clause.hint}" if clause.hint else "",
        f"depends on: {', '.join(clause.depends)}" if clause.depends else "",
        "runs alone, so that a leak or a blocked event loop is blamed on it" if clause.exclusive else "",
    ]
    return "\n".join(line for line in lines if line)


def _suggest_ids(clauses: Mapping[str, Clause], word: str) -> Sequence[str]:
    """Return the ids that the user may have meant by a wrong id, in capital letters.

    ``IC-LIFE-7`` means ``IC-LIFE-07``. ``IC-LIFE`` means every id of the area. Any other text means the similar ids.
    """
    family, _, number = word.rstrip("-").rpartition("-")
    if number.isdecimal():
        same = f"{family}-{int(number):02}"
        return [same] if same in clauses else get_close_matches(word, clauses, n=3)
    members = [each for each in clauses if each.startswith(f"{word.rstrip('-')}-")]
    return members or get_close_matches(word, clauses, n=3)
