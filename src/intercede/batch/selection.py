"""The files of a working directory that come back.

A remote ``find`` takes at least the wanted files, by an expression. This module leaves out what it takes too much:
patterns mean exactly what the contract says.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import PurePosixPath

from intercede.contract.job import RelativePath, SubmissionSpec, _Data

__all__ = ["Plan", "matches"]


class Plan(_Data):
    """The outputs that each copy of a submission brings back. It is kept remote, so that any process can fetch."""

    patterns: tuple[str, ...] = ()
    include_unlisted: bool = False
    stdout: RelativePath | None = None
    stderr: RelativePath | None = None
    inputs: tuple[RelativePath, ...] = ()
    secrets: Mapping[int, tuple[str, ...]] = {}
    """Copy index -> the names of its secrets."""

    @classmethod
    def of(cls, spec: SubmissionSpec, secrets: Mapping[int, tuple[str, ...]]) -> "Plan":
        """Write down what a specification asks for."""
        return cls(
            patterns=tuple(dict.fromkeys(member.pattern for member in spec.outputs.members)),
            include_unlisted=spec.outputs.include_unlisted,
            stdout=spec.stdout,
            stderr=spec.stderr,
            inputs=tuple(file.name for file in spec.inputs),
            secrets=secrets,
        )

    def wants(self, index: int, name: str) -> bool:
        """Whether this file of the working directory comes back among ``files``."""
        if name.partition("/")[0] in self.secrets.get(index, ()):
            return False
        return self.lists(name) or (self.include_unlisted and name not in self._hidden)

    def lists(self, name: str) -> bool:
        """Whether a pattern takes it."""
        return any(each.match(name) for each in self._compiled.values())

    def missing(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the patterns that none of these names matches."""
        names = tuple(names)
        return tuple(pattern for pattern, each in self._compiled.items() if not any(each.match(name) for name in names))

    def expression(self, submission_id: str, copies: int) -> str:
        """Write the ``find`` expression, a line quoted for sh, that takes every file that may be wanted.

        Empty: none is.
        """
        taken = [_glob(name) for name in (self.stdout, self.stderr) if name]
        if self.include_unlisted:
            taken.append("*")
        else:
            rough = [_roughly(pattern) for pattern in self.patterns]
            taken += [*rough, *(f"{pattern}/*" for pattern in rough)]
        return " -o ".join(
            _path(f"{place}/work/{pattern}") for place in _places(submission_id, copies) for pattern in taken
        )

    def spared(self, submission_id: str) -> str:
        """List the inputs that no copy sends back, as fetch.sh lists files: too many to stand in an expression."""
        names = [name for name in self.inputs if self.include_unlisted and not self.lists(name)]
        return "".join(f"0 .//{submission_id}/inputs/{name}\n" for name in names)

    @cached_property
    def _hidden(self) -> frozenset[str]:
        return frozenset({*self.inputs, self.stdout or "", self.stderr or ""})

    @cached_property
    def _compiled(self) -> dict[str, re.Pattern[str]]:
        return {pattern: _compiled(pattern) for pattern in self.patterns}


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern takes this file: the file itself, or a directory above it."""
    return _compiled(pattern).match(name) is not None


def _places(submission_id: str, copies: int) -> Iterator[str]:
    """Patterns for the copies' directories; ``*`` would cross slashes in find."""
    for digits in range(1, len(str(copies - 1)) + 1):
        yield f".//{submission_id}/copies/{'[0-9]' * digits}"


def _path(pattern: str) -> str:
    """Write a test of find's. The expression is kept in a line, so a line's end in it becomes any character."""
    return f"-path {shlex.quote(pattern)}".replace("\n", "?")


def _glob(name: str) -> str:
    return re.sub(r"([*?\[\\])", r"\\\1", name)


def _roughly(pattern: str) -> str:
    """For find, where ``*`` crosses slashes: whatever is not literal text becomes one."""
    parts = [re.sub(r"\[.*|[*?\\]+", "*", part, flags=re.DOTALL) for part in _parts(pattern)]
    return "/".join(parts).replace("*/", "*")  # **/ takes no directory, too


def _parts(pattern: str) -> tuple[str, ...]:
    return PurePosixPath(pattern).parts


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = _parts(pattern)
    regex = "".join(_part(part, last=number == len(parts)) for number, part in enumerate(parts, 1))
    return re.compile(regex + r"(?:/.*)?\Z", re.DOTALL)


_VISIBLE = r"(?!\.)"


def _part(part: str, *, last: bool) -> str:
    if part == "**":
        return rf"{_VISIBLE}[^/]+(?:/{_VISIBLE}[^/]+)*" if last else rf"(?:{_VISIBLE}[^/]+/)*"
    return ("" if part.startswith(".") else _VISIBLE) + _translated(part) + ("" if last else "/")


_TOKEN = re.compile(r"(\*\*)|(\*)|(\?)|\[([!^]?)(\]?[^\]/]*)\]|(.)", re.DOTALL)


def _translated(part: str) -> str:
    """Write one component. A run but the last takes as little as it can and gives nothing back: no name takes long."""
    pieces = [""]
    for match in _TOKEN.finditer(part):
        if match[2]:
            pieces.append("")
        else:
            pieces[-1] += _token(match)
    if "**" in part:  # that crosses components, so the first place that fits need not be the right one
        return "[^/]*".join(pieces)
    first, *others = pieces
    if not others:
        return first
    return first + "".join(f"(?>[^/]*?{each})" for each in others[:-1]) + "[^/]*" + others[-1]


def _token(match: re.Match[str]) -> str:
    anywhere, _, one, negated, members, literal = match.groups()
    if anywhere:
        return rf"(?:[^/]|/{_VISIBLE})*"
    if one:
        return "[^/]"
    if literal is not None:
        return re.escape(literal)
    return _class(members, negated=bool(negated))


def _class(members: str, *, negated: bool) -> str:
    inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", members)
    try:
        re.compile(f"[{inside}]")
    except re.error:
        return r"(?!)"  # a range that runs backwards holds nothing
    return rf"(?!/)[^{inside}]" if negated else f"[{inside}]"
