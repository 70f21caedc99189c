"""Hide secrets. A secret in a configuration is recognized by its key or form, and in any other text by its value."""

import json
import re
import shlex
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import PurePath
from typing import cast
from urllib.parse import quote, quote_plus, unquote

from intercede.contract import job
from intercede.contract.backend import CAPABILITIES
from intercede.contract.errors import IntercedeError

__all__ = ["HIDDEN", "is_secret_key", "make_scrubber", "redact", "redact_json", "remove_secrets"]

HIDDEN = "***"
"""The text that replaces a secret."""
_WORDS = (
    "pass(?:word|wd|phrase|code)?|pwd?|secrets?|tokens?|keys?|creds?|credentials?|"
    "auth|bearer|private|cookies?|jwt|pin|psk"
)
_SECRET = re.compile(
    r"pass|pwd?\b|secret|token|key|cred|auth|bearer|private|cookie|header|session|jwt|saml|signature|"
    r"(?:pin|otp|psk|sas|sig)\b|(?<![a-z])pw(?![a-z])",
    re.IGNORECASE,
)
_LOOKS_SECRET = re.compile(r"-----BEGIN |\beyJ[\w-]{8,}\.|^(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9+_-][\w+/=-]{23,}$")
"""Matches a PEM block, a JSON Web Token, or a long word that mixes small letters, capital letters and digits.

A path does not match.
"""
_IN_URL = re.compile(r"(?<=://)\S+(?=@)|(?<=\?)\S+")
_VALUES = re.compile(r"(?<=[:=])[^&]+")
"""Matches the values in ``user:password`` and ``key=value&key=value``."""
_ASSIGNED = re.compile(
    rf"(?:{_SECRET.pattern})[\w-]*[\"']?(?:\s*[=:]\s*|\s+)[\"']?([^\s\"'&;,]+)|\s-p\s+(\S+)", re.IGNORECASE
)
"""Matches the value after a word such as ``password``: ``host=h password=...``, ``Authorization: Bearer ...``."""
_LOGIN = re.compile(r"(?<![^\s\"'=])([^\s/@:\"'=]+:[^\s/@]+)(?=@)")
"""Matches ``user:password@host`` without a scheme before it."""
_USER_IN_URL = re.compile(r"(?<=://)[^\s/@]{1,400}(?=@)")
"""Matches the user in a URL in a sentence. The query is not matched: a question mark may be the end of the sentence."""
_WORD = re.compile(rf"(?<![a-z])(?:{_WORDS})(?![a-z])", re.IGNORECASE)
"""Matches a whole word such as ``key``. The ``key`` in ``monkey`` does not match."""
_PERCENT_CODE = re.compile(r"%[0-9A-F]{2}")
_PATH = re.compile(r"~?(?:/[\w.@-]{1,64})+/?")
_NAMES = frozenset({"type", "transport", "scheduler"})
"""The keys whose values are names of plugins. They are shown even if they contain a word such as ``key``."""
_NAME_KEYS = ("name", "variable", "option", "field")
_VALUE_KEY = "value"
"""In a table such as ``{"name": "PASSWORD", "value": "..."}``, the key ``name`` shows that ``value`` is secret.

``_NAME_KEYS`` are the keys that have the sense of ``name``.
"""
_MIN_LENGTH, _MIN_DIGITS = 4, 6
"""Values shorter than ``_MIN_LENGTH``, and numbers with fewer than ``_MIN_DIGITS`` digits, are not hidden in texts.

Such values occur in any text by chance.
"""
_PART_LENGTH = 8
"""A part of a secret is hidden if the part has at least this number of characters.

A text may contain only a part of a secret, because texts are cut, wrapped or joined.
"""
_ORDINARY = frozenset(
    {"none", "true", "false", "default", "auto", "basic", "home", "user", "local", "direct", "submit", "status"}
)
_MIN_DIFFERENT = 4
"""A part of a secret is hidden only if the part has at least this number of different characters.

A part with fewer different characters may be a line of dashes or blanks.
"""


def is_secret_key(key: str) -> bool:
    """Return whether a key says that its value is secret: ``password``, ``api_token``."""
    return bool(_SECRET.search(key))


def remove_secrets(error: IntercedeError, config: object) -> None:
    """Remove the secrets of a configuration from an error about the configuration, and from the causes of the error.

    A cause that is not an IntercedeError is not changed, and neither are the causes of such a cause.
    """
    scrub = make_scrubber(config)
    link: BaseException | None = error
    # An error that was raised again may be its own cause, so the loop stops at an error in ``seen``.
    seen: list[BaseException] = []
    while isinstance(link, IntercedeError) and link not in seen:
        seen.append(link)
        link.args = tuple(scrub(each) if isinstance(each, str) else each for each in link.args)
        vars(link).update({name: _clean(value, scrub) for name, value in vars(link).items()})
        link = link.__cause__


def _clean(value: object, scrub: Callable[[str], str]) -> object:
    """Return an attribute of an error without the secrets."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, tuple):
        return tuple(_clean(each, scrub) for each in cast("Sequence[object]", value))
    return redact(value)


def redact(config: object) -> object:
    """Return a copy of a configuration in which every value that may be secret is hidden.

    Objects that are not plain data are hidden as well. Names of plugins are shown.
    """
    return config if isinstance(config, str) else _Redactor().copy(config)


def redact_json(text: str) -> str:
    """Return a configuration in JSON in which every value that may be secret is hidden.

    A name, and JSON without secrets, are returned unchanged.
    """
    try:
        config: object = json.loads(text)
    except ValueError:
        return text
    shown = redact(config)
    return text if shown == config else json.dumps(shown)


def make_scrubber(config: object) -> Callable[[str], str]:
    """Return a function that removes from a text the secrets of a configuration, and the parts of these secrets."""
    redactor = _Redactor()
    if not isinstance(config, str):  # a name has no secrets
        redactor.copy(config)
    long_enough = [
        each for each in redactor.secrets if len(each) >= _MIN_LENGTH and each.lower() not in _list_ordinary_words()
    ]
    whole = {spelt for each in long_enough for spelt in _list_spellings(each)}
    # The parts of a path are not hidden, because the parts of a path may occur in other paths.
    in_part = {spelt for each in long_enough if not _is_path(each) for spelt in _list_spellings(each)}
    either = re.compile("|".join([*_escape_secrets(whole), *_match_ends(in_part)]) or r"(?!)")
    parts = frozenset(part for each in in_part for part in _split_parts(each) if len(set(part)) >= _MIN_DIFFERENT)
    return lambda text: _USER_IN_URL.sub(HIDDEN, _hide_parts(parts, either.sub(HIDDEN, text)))


@cache
def _list_ordinary_words() -> frozenset[str]:
    """Return the words of the contract. These words occur in ordinary messages, so they are not hidden as secrets."""
    fields = {field for name in job.__all__ for field in getattr(getattr(job, name), "model_fields", ())}
    names = {*fields, *job.__all__, *job.JobState, *CAPABILITIES, *CAPABILITIES.values()}
    return frozenset({str(getattr(each, "__name__", each)).lower() for each in names} | _ORDINARY)


class _Redactor:
    """Copies data without secrets, and collects the secrets."""

    def __init__(self) -> None:
        self.secrets: list[str] = []

    def copy(self, value: object) -> object:
        if isinstance(value, Mapping):
            table = cast("Mapping[object, object]", value)
            return {key: self._copy_entry(str(key), inner, table) for key, inner in table.items()}
        if isinstance(value, list | tuple):
            items = cast("Sequence[object]", value)
            return [
                self._copy_value(each, follows) for each, follows in zip(items, _find_announced(items), strict=True)
            ]
        if isinstance(value, str | PurePath):
            return self._copy_text(str(value))
        if isinstance(value, bool | int | float | None):
            return value
        self.secrets += _list_leaves(value)
        return f"<{type(value).__name__}>"

    def _copy_entry(self, key: str, value: object, table: Mapping[object, object]) -> object:
        if isinstance(value, str) and (key in _NAMES or (key in _NAME_KEYS and value.isidentifier())):
            return value
        beside = key == _VALUE_KEY and any(_is_word(table.get(each)) for each in _NAME_KEYS)
        return self._copy_value(value, beside or bool(_SECRET.search(key)))

    def _copy_value(self, value: object, hidden: bool) -> object:  # noqa: FBT001 -- the flag is the point of the method
        if not hidden or isinstance(value, bool | None):
            return self.copy(value)
        self.secrets += _list_leaves(value)
        return HIDDEN

    def _copy_text(self, text: str) -> str:
        if _is_option(text):
            return text
        if _is_secret(text):
            self.secrets += [text, *(each for found in _ASSIGNED.findall(text) for each in found)]
            return HIDDEN
        if logins := _LOGIN.findall(text) if "://" not in text else ():
            self.secrets += [*logins, *(each.partition(":")[2] for each in logins)]
            return _LOGIN.sub(HIDDEN, text)
        if "://" not in text:
            return text
        found: list[str] = _IN_URL.findall(text)
        self.secrets += [*found, *(value for each in found for value in _VALUES.findall(each))]
        return _IN_URL.sub(HIDDEN, text)


def _list_leaves(value: object) -> Iterator[str]:
    """Yield every text and every long number in a hidden value. Numbers are converted to text."""
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[object, object]", value).items():
            # In {"hunter2": true}, the key is the secret.
            yield from _list_leaves(key if isinstance(inner, bool | None) else inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in cast("Iterable[object]", value):
            yield from _list_leaves(each)
    elif isinstance(value, bytes | bytearray):
        yield value.decode(errors="replace")
    elif isinstance(value, int | float):
        yield from [str(value)] if len(str(value)) >= _MIN_DIGITS else []
    elif value is not None:
        yield str(value)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(_SECRET.search(value))


def _is_secret(text: str) -> bool:
    """Return whether a text has the form of a secret, or contains a word such as ``password``."""
    if _LOOKS_SECRET.search(text):
        return True
    if _is_path(text):
        return False
    return bool((_SECRET if re.search(r"[=:\s]", text) else _WORD).search(text))


def _is_path(text: str) -> bool:
    return bool(_PATH.fullmatch(text)) and not any(map(_LOOKS_SECRET.search, text.split("/")))


def _is_option(text: str) -> bool:
    """Return whether a text is a command-line option such as ``--password``, so that the next word is its value."""
    return text.startswith("-") and not re.search(r"[=:\s]", text)


def _announces_secret(text: str) -> bool:
    return bool((_SECRET if _is_option(text) else _WORD).search(text))


def _find_announced(items: Sequence[object]) -> Iterator[bool]:
    """Yield for each item of a list whether the item before, such as ``--password``, shows that the item is secret."""
    sshpass = any(isinstance(each, str) and each.endswith("sshpass") for each in items)
    before: object = None
    for each in items:
        yield isinstance(before, str) and (
            _announces_secret(before)
            or (sshpass and before == "-p")
            or (before in {"-u", "--user"} and isinstance(each, str) and ":" in each)
        )
        before = each


def _list_spellings(secret: str) -> Iterator[str]:
    """Yield the ways in which a text may spell a secret: quoted by Python, JSON or a shell, in a URL, or in base64."""
    cited = {
        secret,
        " ".join(secret.split()),
        repr(secret)[1:-1],
        repr(secret.encode(errors="surrogatepass"))[2:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        ascii(secret)[1:-1],
        unquote(secret),
        secret.encode(errors="surrogatepass").hex(),
        *_encode_base64(secret),
        *_encode_base64(unquote(secret)),
        *(spelt for each in _quote_for_url(secret) for spelt in (each, _PERCENT_CODE.sub(_lower_match, each))),
    }
    yield from cited
    yield from (shlex.quote(each)[1:-1] for each in cited if "'" in each)


def _encode_base64(secret: str) -> Iterator[str]:
    """Yield the forms that a secret may have in a text in base64.

    The form depends on the position of the secret in the encoded text, such as an HTTP header.
    """
    data = secret.encode(errors="surrogatepass")
    yield b64encode(data).decode()
    for before in range(3):
        sextets = (8 * before + 5) // 6, 8 * (before + len(data)) // 6
        yield b64encode(bytes(before) + data).decode()[slice(*sextets)]


def _quote_for_url(secret: str) -> Iterator[str]:
    for safe in ("", "/"):
        yield quote(secret, safe=safe, errors="replace")
    yield quote_plus(secret, errors="replace")


def _lower_match(found: re.Match[str]) -> str:
    return found[0].lower()


def _escape_secrets(secrets: Iterable[str]) -> Iterator[str]:
    """Yield a regular expression for each secret. The longest secret is first."""
    return map(re.escape, sorted(filter(None, secrets), key=len, reverse=True))


def _match_ends(secrets: Iterable[str]) -> Iterator[str]:
    """Yield patterns for the beginning of a secret before ``...``, and for the end of a secret after ``...``.

    A shortened text contains ``...``, and may contain only the beginning or the end of a secret.
    """
    for each in secrets:
        for length in range(min(_PART_LENGTH, len(each)) - 1, _MIN_LENGTH - 1, -1):
            yield rf"{re.escape(each[:length])}(?=['\"]? ?\.\.\.)"
            yield rf"(?<=\.\.\.){re.escape(each[-length:])}"


def _split_parts(secret: str) -> Iterator[str]:
    return (secret[begin : begin + _PART_LENGTH] for begin in range(len(secret) - _PART_LENGTH + 1))


def _hide_parts(parts: frozenset[str], text: str) -> str:
    """Return a text in which the parts of secrets are hidden. Adjacent or overlapping parts are hidden together."""
    if not parts:
        return text
    kept: list[str] = []
    end = 0
    for begin in range(len(text) - _PART_LENGTH + 1):
        if text[begin : begin + _PART_LENGTH] in parts:
            if begin > end or not kept:
                kept += [text[end:begin], HIDDEN]
            end = begin + _PART_LENGTH
    return "".join([*kept, text[end:]])
