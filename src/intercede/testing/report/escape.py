"""Escape text that comes from a subject, so that a terminal, a file or a browser only shows it."""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import cast

__all__ = ["escape_data", "escape_text"]

_KEPT = frozenset("\n\t")
_UNFIT = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories to escape: control, format (changes the direction), surrogate, private, unassigned, separators."""
_LONG = 8_000
"""The largest number of characters of a text, unless another number is given."""
_BITS = 1024
"""The largest integer that is written, in bits. Python cannot convert much larger integers to decimal."""


def escape_text(text: str, most: int = _LONG) -> str:
    r"""Escape characters that are unsafe for a terminal, a file or a browser: ESC becomes ``\x1b``.

    Args:
        text: Any text.
        most: The number of characters to keep. If there are more, a note gives their number.
    """
    kept = text[:most]
    shown = kept if kept.isascii() and kept.isprintable() else "".join(map(_escape_character, kept))
    return shown if len(text) <= most else f"{shown} [... {len(text) - most} more characters]"


def _escape_character(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _UNFIT:
        return character
    return character.encode("unicode_escape").decode()


def escape_data(value: object, most: int = _LONG) -> object:
    """Copy plain data so that it can be written as JSON and shown anywhere, with all texts and keys escaped."""
    if isinstance(value, str):
        return escape_text(value, most)
    if isinstance(value, Mapping):
        return {
            escape_text(str(key), most): escape_data(each, most)
            for key, each in cast("Mapping[object, object]", value).items()
        }
    if isinstance(value, list | tuple):
        return [escape_data(each, most) for each in cast("Sequence[object]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and value.bit_length() > _BITS:
        return f"<a number of {value.bit_length()} bits>"
    return value
