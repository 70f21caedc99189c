"""The summary for the page of a CI job, on GitHub and others: ``conformance.md``."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import cast

from intercede.testing.report.document import RED, Data, describe_run, group_missing, list_relevant_clauses

__all__ = ["format_summary"]

_SIGNS = {"CONFORMANT": "✅", "NOT CONFORMANT": "❌", "PARTIAL": "⚠️", "INCOMPLETE": "⚠️"}
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "$": "&#36;"}
_ADDRESS = re.compile(r"(https?|ftp)(:)|(www)(\.)", re.IGNORECASE)
_DESCRIBED, _LISTED = 20, 100
"""The number of red clauses that are described at length, and of the further red clauses that get a line each."""
_LONGEST = 1500
"""The largest number of characters of a text. CI systems limit the whole page to about a megabyte."""


def format_summary(documents: Sequence[Data]) -> str:
    """Return the summary, as Markdown: one section for each document that ``make_document`` returned."""
    return "\n".join(line for each in documents for line in _format_section(each))


def _format_section(document: Data) -> Iterator[str]:
    subject = cast("Data", document["subject"])
    verdict = str(document["verdict"])
    yield f"## {_SIGNS[verdict]} {_escape(subject['title'])}: {verdict}\n"
    yield f"{_escape(document['line'])}\n"
    yield from _format_table(document)
    reds = sorted(
        (each for each in list_relevant_clauses(document) if each["outcome"] in RED),
        key=lambda each: str(each["level"]),
    )
    for each in reds[:_DESCRIBED]:
        yield from _format_red(each)
    yield from (f"- {each['id']}: {_escape(each['message'])}" for each in reds[_DESCRIBED : _DESCRIBED + _LISTED])
    yield from _list_missing(document)
    yield f"\n{_escape(describe_run(document))}"
    yield ""


def _list_missing(document: Data) -> Iterator[str]:
    reasons = group_missing(document)
    yield f"\n{sum(map(len, reasons.values()))} MUST could not be checked:\n" if reasons else ""
    for why, ids in reasons.items():
        more = f" and {len(ids) - _DESCRIBED} more" if len(ids) > _DESCRIBED else ""
        yield f"- {_escape(why)}: {', '.join(ids[:_DESCRIBED])}{more}"


def _format_table(document: Data) -> Iterator[str]:
    yield "| area | passed | red | blocked | did not run | not applicable |"
    yield "|---|--:|--:|--:|--:|--:|"
    for area, clauses in groupby(list_relevant_clauses(document), lambda each: str(each["id"])[3:-3]):
        outcomes = [str(each["outcome"]) for each in clauses]
        known = f" and {outcomes.count('KNOWN')} known" if "KNOWN" in outcomes else ""
        red = sum(map(outcomes.count, RED))
        rest = [outcomes.count(each) for each in ("BLOCKED", "NOT_RUN", "NOT_APPLICABLE")]
        cells = [f"{outcomes.count('PASSED')}{known}", f"**{red}**" if red else "0", *map(str, rest)]
        yield f"| {area} | {' | '.join(cells)} |"
    yield ""


def _format_red(clause: Data) -> Iterator[str]:
    yield f"### {clause['id']} ({clause['level']}): {_escape(clause['title'])}\n"
    for name in ("expected", "observed", "hint", "again"):
        text = str(clause[name])
        if text:
            yield f"{name.replace('_', ' ')}:\n"
            yield f"{_format_block(text, 'sh' if name == 'again' else 'text')}\n"


def _escape(text: object) -> str:
    """Put a text into one line and escape Markdown, HTML, mentions, formulas and web addresses."""
    line = _shorten(" ".join(str(text).split()))
    line = "".join(_ENTITIES.get(each, each) for each in line)
    line = re.sub(r"(?<!&)#|[\\`*_\[\]~|!]", r"\\\g<0>", line)
    return _ADDRESS.sub(lambda found: f"{found[1] or found[3]}{'&#58;' if found[2] else '&#46;'}", line)


def _format_block(text: str, language: str) -> str:
    """Put a text into a code block. Its delimiters have more backticks than any run of backticks in the text."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{_shorten(text)}\n{fence}"


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} [...]"
