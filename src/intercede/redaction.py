"""What may be secret is not told: in a configuration by its key and its looks, elsewhere by its value, whole or in part."""

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

__all__ = ["HIDDEN", "is_telling", "keep_secrets", "redacted", "redacted_json", "scrubber"]

HIDDEN = "***"
"""What stands where something was hidden."""
_WORDS = "pass(?:word|wd|phrase|code)?|pwd?|secrets?|tokens?|keys?|creds?|credentials?|auth|bearer|private|cookies?|jwt|pin|psk"
_SECRET = re.compile(
    r"pass|pwd?\b|secret|token|key|cred|auth|bearer|private|cookie|header|session|jwt|saml|signature|"
    r"(?:pin|otp|psk|sas|sig)\b|(?<![a-z])pw(?![a-z])",
    re.IGNORECASE,
)
_LOOKS_SECRET = re.compile(r"-----BEGIN |\beyJ[\w-]{8,}\.|^(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9+_-][\w+/=-]{23,}$")
"""A PEM; a JSON Web Token; a long word of small and capital letters and digits that is no path."""
_IN_URL = re.compile(r"(?<=://)\S+(?=@)|(?<=\?)\S+")
_VALUES = re.compile(r"(?<=[:=])[^&]+")
"""Of `user:password` and `key=value&key=value`."""
_ASSIGNED = re.compile(
    rf"(?:{_SECRET.pattern})[\w-]*[\"']?(?:\s*[=:]\s*|\s+)[\"']?([^\s\"'&;,]+)|\s-p\s+(\S+)", re.IGNORECASE
)
"""What stands behind a telling word in a longer text: ``host=h password=...``, ``Authorization: Bearer ...``."""
_LOGIN = re.compile(r"(?<![^\s\"'=])([^\s/@:\"'=]+:[^\s/@]+)(?=@)")
"""``user:password@host`` without a scheme before it."""
_USER_IN_URL = re.compile(r"(?<=://)[^\s/@]{1,400}(?=@)")
"""In running text, where a question mark says nothing."""
_WORD = re.compile(rf"(?<![a-z])(?:{_WORDS})(?![a-z])", re.IGNORECASE)
"""One of those words by itself: in a single word, as in ``monkey``, a part of one says nothing."""
_QUOTED = re.compile(r"%[0-9A-F]{2}")
_PATH = re.compile(r"~?(?:/[\w.@-]{1,64})+/?")
_NAMES = frozenset({"type", "transport", "scheduler"})
"""The keys under which a name of a plugin stands, whatever word it is made of."""
_NAMING = ("name", "variable", "option", "field")
_NAMED = "value"
"""The keys that say what the value beside them is: ``{"name": "PASSWORD", "value": "..."}``."""
_SHORTEST, _DIGITS = 4, 6
"""Shorter values, and numbers of fewer digits, stand in any text by chance."""
_PART = 8
"""So many characters of a secret in a row are taken for it: texts are cut, wrapped and flattened."""
_ORDINARY = frozenset(
    {"none", "true", "false", "default", "auto", "basic", "home", "user", "local", "direct", "submit", "status"}
)
_DIFFERENT = 4
"""A part of fewer different characters is a line of dashes, or blanks."""


def is_telling(key: str) -> bool:
    """Tell whether a key says that what stands under it is secret: ``password``, ``api_token``."""
    return bool(_SECRET.search(key))


def keep_secrets(error: IntercedeError, config: object) -> None:
    """Take the secrets of a configuration out of an error about it, and out of those of ours that caused it."""
    scrub = scrubber(config)
    link: BaseException | None = error
    seen: list[BaseException] = []  # one that was passed on may be its own cause
    while isinstance(link, IntercedeError) and link not in seen:
        seen.append(link)
        link.args = tuple(scrub(each) if isinstance(each, str) else each for each in link.args)
        vars(link).update({name: _cleaned(value, scrub) for name, value in vars(link).items()})
        link = link.__cause__


def _cleaned(value: object, scrub: Callable[[str], str]) -> object:
    """Take the secrets out of an attribute of an error."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, tuple):
        return tuple(_cleaned(each, scrub) for each in cast("Sequence[object]", value))
    return redacted(value)


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
    long_enough = [each for each in copy.secrets if len(each) >= _SHORTEST and each.lower() not in _vocabulary()]
    whole = {spelt for each in long_enough for spelt in _spellings(each)}
    in_part = {spelt for each in long_enough if not _is_path(each) for spelt in _spellings(each)}  # others begin alike
    either = re.compile("|".join([*_patterns(whole), *_ends(in_part)]) or r"(?!)")
    parts = frozenset(part for each in in_part for part in _parts(each) if len(set(part)) >= _DIFFERENT)
    return lambda text: _USER_IN_URL.sub(HIDDEN, _without(parts, either.sub(HIDDEN, text)))


@cache
def _vocabulary() -> frozenset[str]:
    """Return the words of the contract, of which messages are made."""
    fields = {field for name in job.__all__ for field in getattr(getattr(job, name), "model_fields", ())}
    names = {*fields, *job.__all__, *job.JobState, *CAPABILITIES, *CAPABILITIES.values()}
    return frozenset({str(getattr(each, "__name__", each)).lower() for each in names} | _ORDINARY)


class _Copy:
    """Copies data, and keeps what it hides."""

    def __init__(self) -> None:
        self.secrets: list[str] = []

    def of(self, value: object) -> object:
        if isinstance(value, Mapping):
            table = cast("Mapping[object, object]", value)
            return {key: self._entry(str(key), inner, table) for key, inner in table.items()}
        if isinstance(value, list | tuple):
            items = cast("Sequence[object]", value)
            return [self._one(each, follows) for each, follows in zip(items, _introduced(items), strict=True)]
        if isinstance(value, str | PurePath):
            return self._text(str(value))
        if isinstance(value, bool | int | float | None):
            return value
        self.secrets += _leaves(value)
        return f"<{type(value).__name__}>"

    def _entry(self, key: str, value: object, table: Mapping[object, object]) -> object:
        if isinstance(value, str) and (key in _NAMES or (key in _NAMING and value.isidentifier())):
            return value
        beside = key == _NAMED and any(_is_word(table.get(each)) for each in _NAMING)
        return self._one(value, beside or bool(_SECRET.search(key)))

    def _one(self, value: object, hidden: bool) -> object:  # noqa: FBT001 -- whether it is hidden is what it is about
        if not hidden or isinstance(value, bool | None):
            return self.of(value)
        self.secrets += _leaves(value)
        return HIDDEN

    def _text(self, text: str) -> str:
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


def _leaves(value: object) -> Iterator[str]:
    """Yield every text in what is hidden, and every long number as one."""
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[object, object]", value).items():
            yield from _leaves(key if isinstance(inner, bool | None) else inner)  # {"hunter2": true} is a set
    elif isinstance(value, list | tuple | set | frozenset):
        for each in cast("Iterable[object]", value):
            yield from _leaves(each)
    elif isinstance(value, bytes | bytearray):
        yield value.decode(errors="replace")
    elif isinstance(value, int | float):
        yield from [str(value)] if len(str(value)) >= _DIGITS else []
    elif value is not None:
        yield str(value)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(_SECRET.search(value))


def _is_secret(text: str) -> bool:
    """Whether a text gives itself away: by its form, or by a word in it."""
    if _LOOKS_SECRET.search(text):
        return True
    if _is_path(text):
        return False
    return bool((_SECRET if re.search(r"[=:\s]", text) else _WORD).search(text))


def _is_path(text: str) -> bool:
    return bool(_PATH.fullmatch(text)) and not any(map(_LOOKS_SECRET.search, text.split("/")))


def _is_option(text: str) -> bool:
    """Whether it is an option, as ``--password``, whose value is the word after it."""
    return text.startswith("-") and not re.search(r"[=:\s]", text)


def _introduces(text: str) -> bool:
    return bool((_SECRET if _is_option(text) else _WORD).search(text))


def _introduced(items: Sequence[object]) -> Iterator[bool]:
    """Tell of each word of a list whether the one before it says that it is secret."""
    sshpass = any(isinstance(each, str) and each.endswith("sshpass") for each in items)
    before: object = None
    for each in items:
        yield isinstance(before, str) and (
            _introduces(before)
            or (sshpass and before == "-p")
            or (before in {"-u", "--user"} and isinstance(each, str) and ":" in each)
        )
        before = each


def _spellings(secret: str) -> Iterator[str]:
    """Yield it as it is, in one line, as Python, JSON and a shell cite it, and as a URL and a header of HTTP hold it."""
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
        *_in_base64(secret),
        *_in_base64(unquote(secret)),
        *(spelt for each in _quoted(secret) for spelt in (each, _QUOTED.sub(_small, each))),
    }
    yield from cited
    yield from (shlex.quote(each)[1:-1] for each in cited if "'" in each)


def _in_base64(secret: str) -> Iterator[str]:
    """Yield what of it stands in base64, wherever in a longer text it begins: ``user:password`` in a header of HTTP."""
    data = secret.encode(errors="surrogatepass")
    yield b64encode(data).decode()
    for before in range(3):
        sextets = (8 * before + 5) // 6, 8 * (before + len(data)) // 6
        yield b64encode(bytes(before) + data).decode()[slice(*sextets)]


def _quoted(secret: str) -> Iterator[str]:
    for safe in ("", "/"):
        yield quote(secret, safe=safe, errors="replace")
    yield quote_plus(secret, errors="replace")


def _small(found: re.Match[str]) -> str:
    return found[0].lower()


def _patterns(secrets: Iterable[str]) -> Iterator[str]:
    """Yield what matches each secret, the longest first."""
    return map(re.escape, sorted(filter(None, secrets), key=len, reverse=True))


def _ends(secrets: Iterable[str]) -> Iterator[str]:
    """Yield what matches an end of a secret that is left where a text was cut, and too short to be a part."""
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
