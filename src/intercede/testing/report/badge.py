"""A badge in the format that shields.io reads from an endpoint."""

from collections.abc import Mapping

__all__ = ["make_badge"]

_COLORS = {"CONFORMANT": "brightgreen", "NOT CONFORMANT": "red", "PARTIAL": "yellow", "INCOMPLETE": "orange"}


def make_badge(document: Mapping[str, object]) -> dict[str, object]:
    """Return a badge, as data, for a document that ``make_document`` returned."""
    verdict = str(document["verdict"])
    of = f" {document['contract']} {document['profile']}" if verdict == "CONFORMANT" else ""
    return {
        "schemaVersion": 1,
        "label": "intercede",
        "message": f"{verdict.lower()}{of}",
        "color": _COLORS[verdict],
    }
