"""What may be secret is not written: in a configuration by its key and its looks, elsewhere by its value."""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

__all__ = ["redacted", "scrubber"]

_SECRET = re.compile(r"pass|pwd?\b|secret|token|key|credential|auth|bearer|private|cookie|header|pin\b", re.IGNORECASE)
_IN_URL = re.compile(r"(?<=://)\S+(?=@)|(?<=\?)\S+")
_VALUES = re.compile(r"(?<=[:=])[^&]+")
"""Of `user:password` and `key=value&key=value`."""
_USER_IN_URL = re.compile(r"(?<=://)[^\s/@]{1,400}(?=@)")
"""In running text, where a question mark says nothing."""
_HIDDEN = "***"
_SHORTEST = 4
"""Shorter values stand in any text by chance."""


def redacted(value: object) -> object:
    """Copy a configuration without what may be secret: by its key, by its own words, in a URL, or not plain data."""
    if isinstance(value, Mapping):
        table = cast("Mapping[str, object]", value)
        return {key: _HIDDEN if _SECRET.search(key) else redacted(inner) for key, inner in table.items()}
    if isinstance(value, list | tuple):
        return [redacted(each) for each in cast("Sequence[object]", value)]
    if isinstance(value, str):
        return _HIDDEN if _SECRET.search(value) else _IN_URL.sub(_HIDDEN, value) if "://" in value else value
    return value if isinstance(value, bool | int | float | None) else f"<{type(value).__name__}>"


def scrubber(config: object) -> Callable[[str], str]:
    """Return what takes the secrets of a configuration out of a text: an error may cite them, and so may a command."""
    secrets = {spelt for each in _secrets(config) if len(each) >= _SHORTEST for spelt in _spellings(each)}
    either = re.compile("|".join(map(re.escape, sorted(secrets, key=len, reverse=True))) or r"(?!)")
    return lambda text: _USER_IN_URL.sub(_HIDDEN, either.sub(_HIDDEN, text))


def _secrets(value: object, *, hidden: bool = False) -> Iterator[str]:
    """Yield each text that ``redacted`` hides."""
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[str, object]", value).items():
            yield from _secrets(inner, hidden=hidden or bool(_SECRET.search(key)))
    elif isinstance(value, list | tuple):
        for each in cast("Sequence[object]", value):
            yield from _secrets(each, hidden=hidden)
    elif hidden and not isinstance(value, bool | None):
        yield str(value)
    elif isinstance(value, str) and _SECRET.search(value):
        yield value
        yield value.partition("=")[2]
    elif isinstance(value, str) and "://" in value:
        for each in _IN_URL.findall(value):
            yield each
            yield from _VALUES.findall(each)


def _spellings(secret: str) -> Iterator[str]:
    """Yield it as it is, and as Python, JSON and a shell cite it."""
    for cited in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        yield cited
        yield shlex.quote(cited)[1:-1] if "'" in cited else cited
