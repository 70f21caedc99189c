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

`make docs` writes this page from the clauses. [types.md](types.md) describes the data and the verbs, and
[kit.md](kit.md) the states and verdicts of a run.

MUST decides the verdict. SHOULD is only shown. A clause with a capability applies if the backend claims it. While a
clause that another one depends on is red, the other is BLOCKED: fix the first one first. An id is never renumbered or
used again.

[The last section](#sentences-that-no-check-can-test) has the sentences of the contract that no check can test.
"""

_UNTESTED = """\
## Sentences that no check can test

The kit cannot test these sentences of the contract from outside. Test them in the tests of your plugin.
"""


def render() -> str:
    """Return the page: every clause, by area and in the contract's order, and then the untested sentences.

    An untested sentence is a sentence of the contract that no check can test.
    """
    areas = groupby(CLAUSES.values(), key=lambda clause: clause.area)
    lines = [line for area, clauses in areas for line in _area(area, list(clauses))]
    untested = [f"{_wrap(f'- {sentence}')}\n{_wrap(f'  {why}')}" for sentence, why in UNTESTED.items()]
    return "\n".join([_OPENING, *lines, _UNTESTED, *untested]) + "\n"


def _area(area: str, clauses: list[Clause]) -> Iterator[str]:
    capability = clauses[0].capability
    yield f"## IC-{area.upper()}{f': if `{capability}` is claimed' if capability else ''}\n"
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
    """Fold a line. If the line is part of a list item, indent its continuation lines."""
    indent = "  " if text.startswith(("- ", "  ")) else ""
    return textwrap.fill(text, _COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
