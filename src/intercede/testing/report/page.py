"""The page for people: ``conformance.html``. It is one file, and can be read without a network and without scripts."""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from itertools import groupby
from typing import cast

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup, escape

from intercede.testing.report.document import RED, Data, describe_run, group_missing, list_relevant_clauses

__all__ = ["render_page"]

_STATES: Mapping[str, tuple[str, str, str]] = {
    "PASSED": ("good", "✓", "passed"),
    "FAILED": ("bad", "✗", "failed"),
    "ERROR": ("bad", "!", "the check itself broke"),
    "UNEXPECTED_PASS": ("bad", "U", "passed, though known to fail"),
    "KNOWN": ("warn", "K", "failed, as known"),
    "BLOCKED": ("dim", "B", "blocked"),
    "NOT_APPLICABLE": ("dim", "–", "not applicable"),  # noqa: RUF001 -- a dash is meant
    "NOT_RUN": ("dim", "0", "did not run"),
}
"""The colour, the sign and the name of each state, so that no two states differ by colour alone."""
_SHOULD = ("warn", "✗", "failed, a SHOULD")
_VERDICTS = {"CONFORMANT": ("good", "✓"), "NOT CONFORMANT": ("bad", "✗")}
_OPEN = ("warn", "…")
_NARROWEST = 0.7
"""The smallest width of a call's bar, in percent of the check's time, so that it can be seen."""


def render_page(document: Data) -> str:
    """Return the page, as HTML, for a document that ``make_document`` returned."""
    everything = cast("Sequence[Data]", document["clauses"])
    clauses = [_add_looks(each) for each in list_relevant_clauses(document)]
    tone, glyph = _VERDICTS.get(str(document["verdict"]), _OPEN)
    style, script = _read_resource("page.css"), _read_resource("page.js")
    return _load_template().render(
        document,
        reasons=group_missing(document),
        made=describe_run(document),
        foreign=len(everything) - len(clauses),
        clauses=clauses,
        areas=[_describe_area(name, list(each)) for name, each in groupby(clauses, lambda each: str(each["id"])[3:-3])],
        numbers=sorted({_get_number(each) for each in clauses}),
        reds=sorted((each for each in clauses if each["red"]), key=_get_urgency),
        legend=list(_list_legend(clauses)),
        configuration=json.dumps(cast("Data", document["subject"])["config"], ensure_ascii=False),
        verdict_tone=tone,
        verdict_glyph=glyph,
        style=Markup(style),  # noqa: S704 -- our own file
        script=Markup(script),  # noqa: S704 -- our own file
        style_hash=_hash_text(style),
        script_hash=_hash_text(script),
    )


@cache
def _load_template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["codes"] = _mark_code
    return environment.from_string(_read_resource("page.html"))


def _read_resource(name: str) -> str:
    return files("intercede.testing.report").joinpath(name).read_text(encoding="utf-8")


def _hash_text(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()


def _mark_code(text: str) -> Markup:
    """Mark text between backticks as code."""
    parts = [escape(each) for each in text.split("`")]
    if len(parts) % 2 == 0:
        return escape(text)
    marked = (Markup("<code>{}</code>").format(each) if index % 2 else each for index, each in enumerate(parts))
    return Markup("").join(marked)


def _add_looks(clause: Data) -> Data:
    """Add colours, letters and bars to the data of a clause, for the template."""
    outcome = str(clause["outcome"])
    decides_nothing = outcome == "FAILED" and clause["level"] == "SHOULD"
    tone, glyph, word = _SHOULD if decides_nothing else _STATES[outcome]
    calls = cast("Sequence[Data]", clause["calls"])
    span = max([cast("float", clause["seconds"]), *map(_get_end, calls)])
    return {
        **clause,
        "tone": tone,
        "glyph": glyph,
        "word": word,
        "red": outcome in RED,
        "span": span,
        "calls": [{**each, **_place_bar(each, span)} for each in calls],
    }


def _get_end(call: Data) -> float:
    return cast("float", call["start"]) + cast("float", call["seconds"] or 0.0)


def _place_bar(call: Data, span: float) -> Data:
    """Return the start and the width of a call's bar, in percent. The bar of a running call reaches the end."""
    start = cast("float", call["start"])
    seconds = span - start if call["seconds"] is None else cast("float", call["seconds"])
    width = max(_NARROWEST, 100 * seconds / span if span else 100.0)
    return {"x": round(min(100 * start / span if span else 0.0, 100 - width), 2), "width": round(width, 2)}


def _get_urgency(clause: Data) -> tuple[bool, int]:
    return clause["level"] == "SHOULD", -cast("int", clause["blocks"])


def _get_number(clause: Data) -> str:
    return str(clause["id"])[-2:]


def _describe_area(name: str, clauses: Sequence[Data]) -> Data:
    return {
        "name": name,
        "capability": clauses[0]["capability"],
        "clauses": clauses,
        "cells": {_get_number(each): each for each in clauses},
    }


def _list_legend(clauses: Iterable[Data]) -> Iterator[Data]:
    counts = Counter((str(each["tone"]), str(each["glyph"]), str(each["word"])) for each in clauses)
    for looks in [*_STATES.values(), _SHOULD]:
        if counts[looks]:
            yield {"tone": looks[0], "glyph": looks[1], "word": looks[2], "count": counts[looks]}
