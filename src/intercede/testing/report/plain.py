"""Text of a stranger's, made harmless: whatever shows it, shows it, and does nothing else."""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import cast

__all__ = ["plain", "plain_text"]

_KEPT = frozenset("\n\t")
_UNFIT = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories: control (ESC), format (turns the direction of writing), surrogates, private, unassigned, separators."""
_LONG = 8_000
"""The most characters of a text, unless another number is given."""
_BITS = 1024
"""Of the largest whole number that is written: far larger ones cannot even be put into decimals."""


def plain_text(text: str, most: int = _LONG) -> str:
    r"""Write what no terminal, file or browser should be given as it is by its number: ESC as ``\x1b``.

    Args:
        text: Anything.
        most: How many characters are kept; of the rest, how many there are is told.
    """
    kept = text[:most]
    shown = kept if kept.isascii() and kept.isprintable() else "".join(map(_visible, kept))
    return shown if len(text) <= most else f"{shown} [... {len(text) - most} more characters]"


def _visible(character: str) -> str:
    if character in _KEPT or unicodedata.category(character) not in _UNFIT:
        return character
    return character.encode("unicode_escape").decode()


def plain(value: object, most: int = _LONG) -> object:
    """Copy plain data so that it can be written as JSON and shown anywhere: keys, texts and numbers."""
    if isinstance(value, str):
        return plain_text(value, most)
    if isinstance(value, Mapping):
        return {
            plain_text(str(key), most): plain(each, most)
            for key, each in cast("Mapping[object, object]", value).items()
        }
    if isinstance(value, list | tuple):
        return [plain(each, most) for each in cast("Sequence[object]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and value.bit_length() > _BITS:
        return f"<a number of {value.bit_length()} bits>"
    return value
