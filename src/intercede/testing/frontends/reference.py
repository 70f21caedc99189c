"""The reference of the clauses, as Markdown. ``make docs`` writes it to ``docs/reference/contract.md``."""

import textwrap
from collections.abc import Iterator
from itertools import groupby

from intercede.contract import VERSION
from intercede.testing.clauses import CLAUSES
from intercede.testing.clauses.untested import UNTESTED
from intercede.testing.model.clause import Clause

__all__ = ["render"]

_COLUMNS = 120

_OPENING = f"""\
# The clauses of the contract, version {VERSION}

Made of the clauses themselves by `make docs`. The data
and the verbs that they speak of stand in [types.md](types.md), what a run makes of them in [kit.md](kit.md).

MUST decides the verdict. SHOULD is shown when red and decides nothing. A clause with a capability applies where the
backend claims it. While a clause that another one depends on is red, the other is BLOCKED: mend the first one first.
An id is never renumbered or used again.

What the contract asks for and no check can see stands [at the end](#what-cannot-be-tested-from-outside).
"""

_UNTESTED = """\
## What cannot be tested from outside

A run that is CONFORMANT says nothing about these sentences of the contract. A plugin's own tests have to.
"""


def render() -> str:
    """Write every clause, by area, in the contract's order, and what none is about."""
    areas = groupby(CLAUSES.values(), key=lambda clause: clause.area)
    lines = [line for area, clauses in areas for line in _area(area, list(clauses))]
    untested = [f"{_wrap(f'- {sentence}')}\n{_wrap(f'  {why}')}" for sentence, why in UNTESTED.items()]
    return "\n".join([_OPENING, *lines, _UNTESTED, *untested]) + "\n"


def _area(area: str, clauses: list[Clause]) -> Iterator[str]:
    capability = clauses[0].capability
    yield f"## IC-{area.upper()}{f': where `{capability}` is claimed' if capability else ''}\n"
    for clause in clauses:
        yield f"### {clause.id} ({clause.level})\n\n{_wrap(clause.title)}\n"
        yield "\n".join(map(_wrap, _notes(clause))) + "\n"


def _notes(clause: Clause) -> Iterator[str]:
    yield f"- Procedure: {clause.procedure}"
    yield f"- Hint: {clause.hint}"
    if clause.also_needs:
        yield f"- Applies only if {' and '.join(f'`{each}`' for each in clause.also_needs)} is claimed as well."
    if clause.depends:
        yield f"- Depends on: {', '.join(clause.depends)}."
    yield f"- Since: {clause.since}."


def _wrap(text: str) -> str:
    """Fold a line, and indent what follows it as an item of a list needs it."""
    indent = "  " if text.startswith(("- ", "  ")) else ""
    return textwrap.fill(text, _COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
