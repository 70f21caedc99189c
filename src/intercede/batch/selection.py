"""Decide which files of a working directory ``fetch_output`` returns.

The remote find(1) gets an expression that matches at least the wanted files. This module then drops the files that do
not match a pattern of the specification exactly.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import PurePosixPath

from intercede.contract.job import RelativePath, SubmissionSpec, _Data

__all__ = ["Plan", "matches"]


class Plan(_Data):
    """The rules by which ``fetch_output`` selects files. Rules are stored remotely, so that any process can fetch."""

    patterns: tuple[str, ...] = ()
    include_unlisted: bool = False
    stdout: RelativePath | None = None
    stderr: RelativePath | None = None
    inputs: tuple[RelativePath, ...] = ()
    secrets: Mapping[int, tuple[str, ...]] = {}
    """Copy index -> the names of the copy's secret files, which are never fetched."""

    @classmethod
    def from_spec(cls, spec: SubmissionSpec, secrets: Mapping[int, tuple[str, ...]]) -> "Plan":
        """Make the plan of a specification.

        Args:
            spec: The specification.
            secrets: Copy index -> the names of the copy's secret files.
        """
        return cls(
            patterns=tuple(dict.fromkeys(member.pattern for member in spec.outputs.members)),
            include_unlisted=spec.outputs.include_unlisted,
            stdout=spec.stdout,
            stderr=spec.stderr,
            inputs=tuple(file.name for file in spec.inputs),
            secrets=secrets,
        )

    def wants(self, index: int, name: str) -> bool:
        """Return whether a file of the working directory is returned among ``JobOutput.files``."""
        if name.partition("/")[0] in self.secrets.get(index, ()):
            return False
        return self.is_matched(name) or (self.include_unlisted and name not in self._hidden)

    def is_matched(self, name: str) -> bool:
        """Return whether a pattern matches the file."""
        return any(each.match(name) for each in self._compiled.values())

    def find_unmatched(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the patterns that match none of the given names."""
        names = tuple(names)
        return tuple(pattern for pattern, each in self._compiled.items() if not any(each.match(name) for name in names))

    def write_expression(self, submission_id: str, copies: int) -> str:
        """Return an expression for find(1), quoted for sh, that matches every file that may be wanted.

        The expression is one line. It is empty if no file is wanted.
        """
        taken = [_escape_glob(name) for name in (self.stdout, self.stderr) if name]
        if self.include_unlisted:
            taken.append("*")
        else:
            rough = [_loosen(pattern) for pattern in self.patterns]
            taken += [*rough, *(f"{pattern}/*" for pattern in rough)]
        return " -o ".join(
            _write_path_test(f"{place}/work/{pattern}")
            for place in _write_copy_patterns(submission_id, copies)
            for pattern in taken
        )

    def list_unsent_inputs(self, submission_id: str) -> str:
        """Return a text for ``fetch.sh`` that lists the inputs that are not fetched as output, one in each line.

        The text is empty if only files that match a pattern are fetched. The inputs are not named in the expression for
        find(1), because there may be too many inputs.
        """
        names = [name for name in self.inputs if self.include_unlisted and not self.is_matched(name)]
        return "".join(f"0 .//{submission_id}/inputs/{name}\n" for name in names)

    @cached_property
    def _hidden(self) -> frozenset[str]:
        return frozenset({*self.inputs, self.stdout or "", self.stderr or ""})

    @cached_property
    def _compiled(self) -> dict[str, re.Pattern[str]]:
        return {pattern: _compile(pattern) for pattern in self.patterns}


def matches(pattern: str, name: str) -> bool:
    """Return whether a pattern matches a file, or a directory that contains the file."""
    return _compile(pattern).match(name) is not None


def _write_copy_patterns(submission_id: str, copies: int) -> Iterator[str]:
    """Yield patterns for find(1) that match the directories of all copies.

    The patterns have no ``*``, because ``*`` also matches slashes in find(1).
    """
    for digits in range(1, len(str(copies - 1)) + 1):
        yield f".//{submission_id}/copies/{'[0-9]' * digits}"


def _write_path_test(pattern: str) -> str:
    """Return a ``-path`` test for find(1). In the test, ``?`` replaces newlines, because the test must be one line."""
    return f"-path {shlex.quote(pattern)}".replace("\n", "?")


def _escape_glob(name: str) -> str:
    return re.sub(r"([*?\[\\])", r"\\\1", name)


def _loosen(pattern: str) -> str:
    """Return a pattern for find(1) that matches every file that the given pattern matches, and perhaps more files.

    In the result, ``*`` replaces all that is not literal. In find(1) a ``*`` matches slashes as well.
    """
    parts = [re.sub(r"\[.*|[*?\\]+", "*", part, flags=re.DOTALL) for part in _split_pattern(pattern)]
    return "/".join(parts).replace("*/", "*")  # ``**/`` in the given pattern also matches zero directories


def _split_pattern(pattern: str) -> tuple[str, ...]:
    return PurePosixPath(pattern).parts


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> re.Pattern[str]:
    parts = _split_pattern(pattern)
    regex = "".join(_translate_component(part, last=number == len(parts)) for number, part in enumerate(parts, 1))
    return re.compile(regex + r"(?:/.*)?\Z", re.DOTALL)


_VISIBLE = r"(?!\.)"


def _translate_component(part: str, *, last: bool) -> str:
    if part == "**":
        return rf"{_VISIBLE}[^/]+(?:/{_VISIBLE}[^/]+)*" if last else rf"(?:{_VISIBLE}[^/]+/)*"
    return ("" if part.startswith(".") else _VISIBLE) + _translate_wildcards(part) + ("" if last else "/")


_TOKEN = re.compile(r"(\*\*)|(\*)|(\?)|\[([!^]?)(\]?[^\]/]*)\]|(.)", re.DOTALL)


def _translate_wildcards(part: str) -> str:
    """Return the regular expression for one component of a pattern.

    All wildcards but the last match as little as possible, without backtracking, so that no name takes long to match.
    """
    pieces = [""]
    for match in _TOKEN.finditer(part):
        if match[2]:
            pieces.append("")
        else:
            pieces[-1] += _translate_token(match)
    # ``**`` also matches slashes. So the shortest match of an earlier wildcard may be wrong, and the regular expression
    # must be able to backtrack.
    if "**" in part:
        return "[^/]*".join(pieces)
    first, *others = pieces
    if not others:
        return first
    return first + "".join(f"(?>[^/]*?{each})" for each in others[:-1]) + "[^/]*" + others[-1]


def _translate_token(match: re.Match[str]) -> str:
    anywhere, _, one, negated, members, literal = match.groups()
    if anywhere:
        return rf"(?:[^/]|/{_VISIBLE})*"
    if one:
        return "[^/]"
    if literal is not None:
        return re.escape(literal)
    return _translate_class(members, negated=bool(negated))


def _translate_class(members: str, *, negated: bool) -> str:
    inside = re.sub(r"([\\\[\]^&~|])", r"\\\1", members)
    try:
        re.compile(f"[{inside}]")
    except re.error:
        return r"(?!)"  # a range with its ends swapped matches nothing
    return rf"(?!/)[^{inside}]" if negated else f"[{inside}]"
