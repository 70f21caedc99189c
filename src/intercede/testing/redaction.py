"""What may be secret is not told: in a configuration by its key and its looks, elsewhere by its value, whole or in part."""

import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import cast
from urllib.parse import quote, quote_plus

__all__ = ["HIDDEN", "redacted", "redacted_json", "scrubber"]

HIDDEN = "***"
"""What stands where something was hidden."""
_SECRET = re.compile(
    r"pass|pwd?\b|secret|token|key|cred|auth|bearer|private|cookie|header|session|jwt|saml|(?:pin|otp|psk|sas|sig)\b",
    re.IGNORECASE,
)
_LOOKS_SECRET = re.compile(r"-----BEGIN |\beyJ[\w-]{8,}\.|^(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9+_-][\w+/=-]{23,}$")
"""A PEM; a JSON Web Token; a long word of small and capital letters and digits that is no path."""
_IN_URL = re.compile(r"(?<=://)\S+(?=@)|(?<=\?)\S+")
_VALUES = re.compile(r"(?<=[:=])[^&]+")
"""Of `user:password` and `key=value&key=value`."""
_USER_IN_URL = re.compile(r"(?<=://)[^\s/@]{1,400}(?=@)")
"""In running text, where a question mark says nothing."""
_SHORT_OPTION = re.compile(r"-[pPw]")
"""What sshpass, curl and their kind take a password by."""
_NAMES = frozenset({"type", "transport", "scheduler"})
"""The keys under which a name of a plugin stands, whatever word it is made of."""
_NAMING = frozenset({"name", "key", "variable", "option", "field", "kind", "header"})
"""The keys that say what the value beside them is: ``{"name": "PASSWORD", "value": "..."}``."""
_SHORTEST = 4
"""Shorter values stand in any text by chance."""
_PART = 8
"""So many characters of a secret in a row are taken for it: texts are cut, wrapped and flattened."""
_DIFFERENT = 4
"""A part of fewer different characters is a line of dashes, or blanks."""


def redacted(config: object) -> object:
    """Copy a configuration without what may be secret: by its key, by its own words, in a URL, or not plain data.

    A name of a plugin, given instead of a table or in one, is none.
    """
    return config if isinstance(config, str) else _Copy().of(config)


def redacted_json(text: str) -> str:
    """Return a name as it is, and a configuration in JSON without what may be secret, and as it is where there is nothing."""
    try:
        config: object = json.loads(text)
    except ValueError:
        return text
    shown = redacted(config)
    return text if shown == config else json.dumps(shown)


def scrubber(config: object) -> Callable[[str], str]:
    """Return what takes the secrets of a configuration out of a text, whole or in part: an error may cite them."""
    copy = _Copy()
    if not isinstance(config, str):  # a name is none
        copy.of(config)
    secrets = {spelt for each in copy.secrets if len(each) >= _SHORTEST for spelt in _spellings(each)}
    whole = re.compile("|".join(_patterns(secrets)) or r"(?!)")
    parts = frozenset(part for each in secrets for part in _parts(each) if len(set(part)) >= _DIFFERENT)
    return lambda text: _USER_IN_URL.sub(HIDDEN, _without(parts, whole.sub(HIDDEN, text)))


class _Copy:
    """Copies data, and keeps what it hides."""

    def __init__(self) -> None:
        self.secrets: list[str] = []

    def of(self, value: object) -> object:
        if isinstance(value, Mapping):
            table = cast("Mapping[str, object]", value)
            return {
                key: inner if _is_name(key, inner) else self._one(inner, _tells(key, table))
                for key, inner in table.items()
            }
        if isinstance(value, list | tuple):
            items = cast("Sequence[object]", value)
            return [self._one(each, follows) for each, follows in zip(items, _introduced(items), strict=True)]
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bool | int | float | None):
            return value
        self.secrets += _leaves(value)
        return f"<{type(value).__name__}>"

    def _one(self, value: object, hidden: bool) -> object:  # noqa: FBT001 -- whether it is hidden is what it is about
        if not hidden or isinstance(value, bool | None):
            return self.of(value)
        self.secrets += _leaves(value)
        return HIDDEN

    def _text(self, text: str) -> str:
        if _is_option(text):
            return text
        if _is_secret(text):
            self.secrets += [text, text.partition("=")[2]]
            return HIDDEN
        if "://" not in text:
            return text
        found: list[str] = _IN_URL.findall(text)
        self.secrets += [*found, *(value for each in found for value in _VALUES.findall(each))]
        return _IN_URL.sub(HIDDEN, text)


def _leaves(value: object) -> Iterator[str]:
    """Yield every text in what is hidden, and every number as one."""
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[object, object]", value).items():
            yield from _leaves(key)
            yield from _leaves(inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in cast("Iterable[object]", value):
            yield from _leaves(each)
    elif isinstance(value, bytes | bytearray):
        yield value.decode(errors="replace")
    elif not isinstance(value, bool | None):
        yield str(value)


def _is_name(key: str, value: object) -> bool:
    return key in _NAMES and isinstance(value, str)


def _tells(key: str, table: Mapping[str, object]) -> bool:
    """Whether a key, or what stands beside it, says that its value is secret."""
    return bool(_SECRET.search(key)) or any(_is_word(table.get(each)) for each in _NAMING)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(_SECRET.search(value))


def _is_secret(value: str) -> bool:
    return bool(_SECRET.search(value) or _LOOKS_SECRET.search(value))


def _is_option(text: str) -> bool:
    """Whether it is an option, as ``--password``, whose value is the word after it."""
    return text.startswith("-") and not re.search(r"[=:\s]", text)


def _introduced(items: Sequence[object]) -> Iterator[bool]:
    """Tell of each word of a list whether the one before it says that it is secret."""
    before: object = None
    for each in items:
        yield isinstance(before, str) and bool(_is_word(before) or _SHORT_OPTION.fullmatch(before))
        before = each


def _spellings(secret: str) -> Iterator[str]:
    """Yield it as it is, in one line, as Python, JSON and a shell cite it, and as a URL holds it."""
    cited = {
        secret,
        " ".join(secret.split()),
        repr(secret)[1:-1],
        repr(secret.encode(errors="surrogatepass"))[2:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret, safe="", errors="replace"),
        quote_plus(secret, errors="replace"),
    }
    yield from cited
    yield from (shlex.quote(each)[1:-1] for each in cited if "'" in each)


def _patterns(secrets: set[str]) -> Iterator[str]:
    """Yield what matches each secret, the longest first, and an end of it that was left where a text was cut."""
    for each in sorted(filter(None, secrets), key=len, reverse=True):
        yield re.escape(each)
    for each in secrets:
        for length in range(min(_PART, len(each)) - 1, _SHORTEST - 1, -1):
            yield rf"{re.escape(each[:length])}(?=['\"]? ?\.\.\.)"
            yield rf"(?<=\.\.\.){re.escape(each[-length:])}"


def _parts(secret: str) -> Iterator[str]:
    return (secret[begin : begin + _PART] for begin in range(len(secret) - _PART + 1))


def _without(parts: frozenset[str], text: str) -> str:
    """Hide each stretch of a text that is made of parts of a secret."""
    if not parts:
        return text
    kept: list[str] = []
    end = 0
    for begin in range(len(text) - _PART + 1):
        if text[begin : begin + _PART] in parts:
            if begin > end or not kept:
                kept += [text[end:begin], HIDDEN]
            end = begin + _PART
    return "".join([*kept, text[end:]])
