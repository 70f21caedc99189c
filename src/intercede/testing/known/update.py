"""Rewriting the file of known failures after a run: what people wrote stays."""

import json
import os
import re
import secrets
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import cast

from intercede.contract.errors import ConfigError
from intercede.plugin import how_to_install
from intercede.testing.known.file import Entry, Known, load, plain
from intercede.testing.model.clause import Clause, Level
from intercede.testing.model.verdict import Result, State

__all__ = ["load_for_update", "update_text", "write"]

_REASON = "not looked into yet"
_GRACE = timedelta(days=30)
_SAYS_NOTHING = frozenset({State.BLOCKED, State.NOT_RUN, State.ERROR})
_HEADER = re.compile(r"""^[ \t]*\[\[[ \t]*(known|"known"|'known')[ \t]*\]\][ \t]*(#.*)?\r?$""", re.MULTILINE)
_COMMENT_ABOVE = re.compile(r"^[ \t]*#[^\n]*\n\Z", re.MULTILINE)
_FLEETING = re.compile(r"\S*(?:/|\d[A-Za-z]|[A-Za-z]\d|\d\.\d|\d{4})\S*|\S*\.\.\.$")
"""Words that another run will not repeat: paths, tokens, times, process ids, and one that was cut off."""
_OWN = re.compile(r"\b(?:observed|raised|no|answer|within)\b|\W")
_SHORT = 4

Results = Mapping[str, Mapping[str, Result]]


def load_for_update(path: str | os.PathLike[str]) -> Known:
    """Read a file that is to be rewritten after the run: what would keep it from that is told now. It may be absent yet.

    Raises:
        ConfigError: As for ``load``. Its entries do not stand under a [[known]] each, or tomlkit is not there.
    """
    file = Path(path)
    if find_spec("tomlkit") is None:
        raise ConfigError(f"{file}: rewriting it needs tomlkit: {how_to_install('testing')}", where=str(file))
    known = Known(file) if file.parent.is_dir() and not file.exists() else load(file)
    _blocks(known)
    return known


def update_text(known: Known, results: Results, clauses: Mapping[str, Clause], today: date) -> str:
    """Return the text that the file should have after a run.

    An entry whose clause still fails keeps its place, comments, reason, link and date, also a date that is past: to
    extend it is for a person. Its symptom is adapted where another was seen. What passes or matches nothing goes; what
    was not run, was blocked or broke stays as it is, and so do other subjects' entries where not everything ran. A MUST that fails and has no entry gets one, with a reason that
    says that nobody has looked, and 30 days. A SHOULD decides nothing, so it gets one from people only.

    Args:
        known: The file, as ``load_for_update`` read it.
        results: Subject id -> clause id -> what became of it in the whole run, judged or not. What is lacking did not run.
        clauses: Every clause of the contract.
        today: The day of the run.

    Raises:
        ConfigError: The entries do not stand under a [[known]] each.
    """
    head, *blocks = _blocks(known)
    every = {subject: {each: of.get(each, Result(each)) for each in clauses} for subject, of in results.items()}
    told = {each.number: _Told(each, known, every) for each in known.entries}
    rewritten = [text for number, block in enumerate(blocks, 1) for text in told[number].rewritten(block)]
    kept = "".join(each if each.endswith("\n") else f"{each}\n" for each in [head, *rewritten] if each)
    added = "\n".join(_new(known, results, clauses, today))
    return f"{kept}\n{added}" if kept and added else kept + added


def write(known: Known, text: str) -> None:
    """Write the file, whole or not at all.

    Raises:
        OSError: It cannot be written; it is then as it was.
    """
    path = known.path.resolve()  # a link stays one
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        aside.write_bytes(text.encode())
        if path.exists():
            shutil.copymode(path, aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Told:
    """What a run told about one entry."""

    entry: Entry
    known: Known
    results: Results

    def rewritten(self, block: str) -> Iterator[str]:
        """Yield the entry as it should be: once, not at all, or once for each subject where they differ."""
        if self._is_left_out():
            yield block
            return
        seen = self._seen()
        failing = {subject: symptom for subject, symptom in seen.items() if symptom is not None}
        if self.entry.subject is not None or (len(failing) == len(seen) and len(set(failing.values())) == 1):
            yield from (_edit_entry(block, self.entry, {"symptom": each}) for each in set(failing.values()))
        else:
            for subject, symptom in failing.items():
                yield _edit_entry(block, self.entry, {"subject": subject, "symptom": symptom})

    def _is_left_out(self) -> bool:
        """Whether its subject is not there, in a run that was not whole: it may have been left out on purpose."""
        whole = not any(each.state is State.NOT_RUN for of in self.results.values() for each in of.values())
        return self.entry.subject is not None and self.entry.subject not in self.results and not whole

    def _seen(self) -> dict[str, str | None]:
        """Return the symptom that each subject shows which the entry is about; None: it passes."""
        clause = self.entry.clause
        of = {subject: results[clause] for subject, results in self.results.items() if clause in results}
        return {
            subject: self._symptom(result)
            for subject, result in of.items()
            if self.known.entry(subject, clause) == self.entry and result.state is not State.NOT_APPLICABLE
        }

    def _symptom(self, result: Result) -> str | None:
        if result.state is State.KNOWN or result.state in _SAYS_NOTHING:
            return self.entry.symptom
        if result.state is not State.FAILED:
            return None
        return self.entry.symptom if self.entry.matches(result) else _lasting(result.symptom) or self.entry.symptom


def _new(known: Known, results: Results, clauses: Mapping[str, Clause], today: date) -> Iterator[str]:
    """Yield an entry for each MUST that fails and has none."""
    for subject, of in results.items():
        for clause_id, result in of.items():
            symptom = _lasting(result.symptom)
            must = clause_id in clauses and clauses[clause_id].level is Level.MUST
            if must and result.state is State.FAILED and symptom and known.entry(subject, clause_id) is None:
                lines = [f"clause = {_quote_toml(clause_id)}"]
                lines += [f"subject = {_quote_toml(subject)}"] if len(results) > 1 else []
                lines += [
                    f"reason = {_quote_toml(_REASON)}",
                    f"symptom = {_quote_toml(symptom)}",
                    f"until = {today + _GRACE}",
                ]
                yield "\n".join(["[[known]]", *lines, ""])


def _lasting(observed: str) -> str:
    """Return the longest part of what was observed that another run is likely to repeat."""
    text = plain(observed)
    longest = max((part.strip() for part in _FLEETING.split(text)), key=_count_telling)
    return longest if _count_telling(longest) >= _SHORT else text


def _count_telling(part: str) -> int:
    """Count what is not the kit's own words, which stand in many a failure."""
    return len(_OWN.sub("", part))


def _quote_toml(text: str) -> str:
    """Write a basic string of TOML: JSON's, but for one character."""
    return json.dumps(_escape_surrogates(text), ensure_ascii=False).replace("\x7f", "\\u007f")


def _escape_surrogates(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _edit_entry(block: str, entry: Entry, changes: Mapping[str, str]) -> str:
    """Return an entry's text with some of its values changed, and everything else as people wrote it."""
    if all(getattr(entry, key) == value for key, value in changes.items()):
        return block
    import tomlkit  # noqa: PLC0415 -- a run that rewrites nothing does without

    body = block.rstrip()
    document = tomlkit.parse(body + "\n")
    table = cast("list[dict[str, object]]", document["known"])[0]
    for key, value in changes.items():
        if getattr(entry, key) != value:
            table[key] = _escape_surrogates(value)
    return tomlkit.dumps(document).rstrip("\n") + block[len(body) :]


def _blocks(known: Known) -> list[str]:
    """Cut the text into what stands before the entries and each entry, with the comment lines directly above it."""
    text = known.text
    cuts = [_above(text, each.start()) for each in _HEADER.finditer(text) if _is_whole(text[: each.start()])]
    blocks = [text[begin:end] for begin, end in pairwise([0, *cuts, len(text)])]
    if len(cuts) != len(known.entries):
        raise ConfigError(
            f"{known.path}: cannot be rewritten: each entry must stand under a [[known]] of its own",
            where=str(known.path),
            expected="[[known]]",
        )
    return blocks


def _above(text: str, cut: int) -> int:
    while (comment := _COMMENT_ABOVE.search(text[:cut])) and _is_whole(text[: comment.start()]):
        cut = comment.start()
    return cut


def _is_whole(text: str) -> bool:
    """Whether a text is TOML: what ends within a value is not."""
    try:
        tomllib.loads(text)
    except ValueError:
        return False
    return True
