"""A badge: what the endpoint of shields.io reads."""

from collections.abc import Mapping

__all__ = ["badge"]

_COLORS = {"CONFORMANT": "brightgreen", "NOT CONFORMANT": "red", "PARTIAL": "yellow", "INCOMPLETE": "orange"}


def badge(document: Mapping[str, object]) -> dict[str, object]:
    """Make a badge of what ``as_json`` made."""
    verdict = str(document["verdict"])
    of = f" {document['contract']} {document['profile']}" if verdict == "CONFORMANT" else ""
    return {
        "schemaVersion": 1,
        "label": "intercede",
        "message": f"{verdict.lower()}{of}",
        "color": _COLORS[verdict],
    }
