"""The schema of ``conformance.json``: ``python -m intercede.testing schema`` prints it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import cast

__all__ = ["format_keys", "load_schema", "main", "read_schema"]

Data = Mapping[str, object]


def read_schema() -> str:
    """Return the text of the schema, which is a JSON Schema, draft 2020-12."""
    return files("intercede.testing.report").joinpath("conformance.schema.json").read_text(encoding="utf-8")


@cache
def load_schema() -> Data:
    """Return the schema as data."""
    return cast("Data", json.loads(read_schema()))


def format_keys() -> str:
    """Return a Markdown table of all keys of the document: each key, the type of its value, and its meaning."""
    rows = [f"| `{name}` | {kind} | {meaning} |" for name, kind, meaning in _list_rows(load_schema(), "")]
    return "\n".join(["| key | holds | meaning |", "|---|---|---|", *rows])


def _list_rows(of: Data, prefix: str) -> Iterator[tuple[str, str, str]]:
    for name, value in cast("Mapping[str, Data]", of.get("properties", {})).items():
        each = _follow_reference(value)
        yield f"{prefix}{name}", _name_type(each), str(each["description"])
        yield from _list_rows(each, f"{prefix}{name}.")
        yield from _list_rows(_follow_reference(cast("Data", each.get("items", {}))), f"{prefix}{name}[].")


def _follow_reference(part: Data) -> Data:
    """Replace a ``$ref`` by the definition that it names. Keys beside the ``$ref`` override the definition's."""
    reference = str(part.get("$ref", ""))
    if not reference:
        return part
    target = cast("Mapping[str, Data]", load_schema()["$defs"])[reference.rpartition("/")[2]]
    return {**target, **part}


def _name_type(part: Data) -> str:
    if "const" in part:
        return f"`{json.dumps(part['const'])}`"
    if "enum" in part:
        return ", ".join(f"`{each}`" for each in cast("list[str]", part["enum"]))
    if "anyOf" in part:
        return " or ".join(_name_type(_follow_reference(each)) for each in cast("list[Data]", part["anyOf"]))
    kinds = part["type"]
    return " or ".join(cast("list[str]", kinds)) if isinstance(kinds, list) else str(kinds)


def main(_arguments: Sequence[str]) -> int:
    """Print the schema of ``conformance.json``."""
    print(read_schema(), end="")  # noqa: T201 -- a command prints
    return 0
