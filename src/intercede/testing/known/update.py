"""Rewrites the file of known failures after a run, and keeps the text that people wrote."""

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
from intercede.testing.known.file import Entry, Known, flatten, load
from intercede.testing.model.clause import Clause, Level
from intercede.testing.model.verdict import Result, State

__all__ = ["load_for_update", "update_text", "write"]

_REASON = "not looked into yet"
_GRACE = timedelta(days=30)
_UNDECIDED = frozenset({State.BLOCKED, State.NOT_RUN, State.ERROR})
_HEADER = re.compile(r"""^[ \t]*\[\[[ \t]*(known|"known"|'known')[ \t]*\]\][ \t]*(#.*)?\r?$""", re.MULTILINE)
_COMMENT_ABOVE = re.compile(r"^[ \t]*#[^\n]*\n\Z", re.MULTILINE)
_VOLATILE = re.compile(r"\S*(?:/|\d[A-Za-z]|[A-Za-z]\d|\d\.\d|\d{4})\S*|\S*\.\.\.$")
"""Matches words that differ from run to run: paths, tokens, times, process ids, and the incomplete last word of a
shortened text."""
_OWN = re.compile(r"\b(?:observed|raised|no|answer|within)\b|\W")
_SHORT = 4

Results = Mapping[str, Mapping[str, Result]]


def load_for_update(path: str | os.PathLike[str]) -> Known:
    """Read a file that will be rewritten after the run. A file that does not exist is read as an empty one.

    Raises:
        ConfigError: The file is invalid (see ``load``), cannot be rewritten because not every entry is written under a
            [[known]] of its own, or tomlkit is not installed.
    """
    file = Path(path)
    if find_spec("tomlkit") is None:
        raise ConfigError(f"{file}: rewriting it needs tomlkit: {how_to_install('testing')}", where=str(file))
    known = Known(file) if file.parent.is_dir() and not file.exists() else load(file)
    _split_text(known)
    return known


def update_text(known: Known, results: Results, clauses: Mapping[str, Clause], today: date) -> str:
    """Return the text that the file should have after a run.

    - An entry whose clause still fails keeps its place, comments, reason, link and last day, also if that day is past:
      only a person extends it. The entry's symptom is changed if the failure has another symptom.
    - An entry is removed if its clause passes, or if it matches no clause or subject.
    - An entry stays as it is if its clause was not run, was BLOCKED or is an ERROR. In a run that is not complete, the
      entries of other subjects stay, too.
    - A MUST that fails and has no entry gets an entry for 30 days, with the reason ``not looked into yet``. A SHOULD
      gets no entry, because a SHOULD does not change the verdict.

    Args:
        known: The file, as ``load_for_update`` read it.
        results: The results of the whole run: subject id -> clause id -> result. A clause without a result was not run.
        clauses: Every clause of the contract.
        today: The day of the run.

    Raises:
        ConfigError: Not every entry is written under a [[known]] of its own.
    """
    head, *blocks = _split_text(known)
    every = {subject: {each: of.get(each, Result(each)) for each in clauses} for subject, of in results.items()}
    updates = {each.number: _EntryUpdate(each, known, every) for each in known.entries}
    rewritten = [text for number, block in enumerate(blocks, 1) for text in updates[number].rewrite(block)]
    kept = "".join(each if each.endswith("\n") else f"{each}\n" for each in [head, *rewritten] if each)
    added = "\n".join(_write_new_entries(known, results, clauses, today))
    return f"{kept}\n{added}" if kept and added else kept + added


def write(known: Known, text: str) -> None:
    """Replace the whole text of the file. If that fails, the old file stays unchanged.

    Raises:
        OSError: The file cannot be written.
    """
    # If the path is a symbolic link, the target of the link is replaced, and the link stays.
    path = known.path.resolve()
    new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        new.write_bytes(text.encode())
        if path.exists():
            shutil.copymode(path, new)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


@dataclass(frozen=True)
class _EntryUpdate:
    """The update of one entry by the results of a run."""

    entry: Entry
    known: Known
    results: Results

    def rewrite(self, block: str) -> Iterator[str]:
        """Yield the new texts of the entry. There are several texts if the subjects have different symptoms.

        If the entry is removed, there is no text.
        """
        if self._is_left_out():
            yield block
            return
        symptoms = self._get_symptoms()
        failing = {subject: symptom for subject, symptom in symptoms.items() if symptom is not None}
        if self.entry.subject is not None or (len(failing) == len(symptoms) and len(set(failing.values())) == 1):
            yield from (_edit_entry(block, self.entry, {"symptom": each}) for each in set(failing.values()))
        else:
            for subject, symptom in failing.items():
                yield _edit_entry(block, self.entry, {"subject": subject, "symptom": symptom})

    def _is_left_out(self) -> bool:
        """Return whether the run is incomplete and does not contain the entry's subject.

        The user may have left the subject out.
        """
        is_complete = not any(each.state is State.NOT_RUN for of in self.results.values() for each in of.values())
        return self.entry.subject is not None and self.entry.subject not in self.results and not is_complete

    def _get_symptoms(self) -> dict[str, str | None]:
        """Return the symptom of each subject that the entry is about, or None for a subject that passes."""
        clause = self.entry.clause
        of = {subject: results[clause] for subject, results in self.results.items() if clause in results}
        return {
            subject: self._get_symptom(result)
            for subject, result in of.items()
            if self.known.find_entry(subject, clause) == self.entry and result.state is not State.NOT_APPLICABLE
        }

    def _get_symptom(self, result: Result) -> str | None:
        if result.state is State.KNOWN or result.state in _UNDECIDED:
            return self.entry.symptom
        if result.state is not State.FAILED:
            return None
        return (
            self.entry.symptom
            if self.entry.matches(result)
            else _find_stable_part(result.symptom) or self.entry.symptom
        )


def _write_new_entries(known: Known, results: Results, clauses: Mapping[str, Clause], today: date) -> Iterator[str]:
    """Yield the text of an entry for each MUST that fails and has no entry."""
    for subject, of in results.items():
        for clause_id, result in of.items():
            symptom = _find_stable_part(result.symptom)
            must = clause_id in clauses and clauses[clause_id].level is Level.MUST
            if must and result.state is State.FAILED and symptom and known.find_entry(subject, clause_id) is None:
                lines = [f"clause = {_quote_toml(clause_id)}"]
                lines += [f"subject = {_quote_toml(subject)}"] if len(results) > 1 else []
                lines += [
                    f"reason = {_quote_toml(_REASON)}",
                    f"symptom = {_quote_toml(symptom)}",
                    f"until = {today + _GRACE}",
                ]
                yield "\n".join(["[[known]]", *lines, ""])


def _find_stable_part(observed: str) -> str:
    """Return the longest part of an observation that another run is likely to repeat."""
    text = flatten(observed)
    longest = max((part.strip() for part in _VOLATILE.split(text)), key=_count_specific)
    return longest if _count_specific(longest) >= _SHORT else text


def _count_specific(part: str) -> int:
    """Return the number of letters and digits in a text, not counting words that the kit puts into many failures."""
    return len(_OWN.sub("", part))


def _quote_toml(text: str) -> str:
    """Return a text as a basic string of TOML. A string of JSON has the same form, except for the character DEL."""
    return json.dumps(_escape_surrogates(text), ensure_ascii=False).replace("\x7f", "\\u007f")


def _escape_surrogates(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _edit_entry(block: str, entry: Entry, changes: Mapping[str, str]) -> str:
    """Return the text of an entry with some values changed. The rest of the text stays as people wrote it."""
    if all(getattr(entry, key) == value for key, value in changes.items()):
        return block
    import tomlkit  # noqa: PLC0415 -- a run that rewrites nothing does not need it

    body = block.rstrip()
    document = tomlkit.parse(body + "\n")
    table = cast("list[dict[str, object]]", document["known"])[0]
    for key, value in changes.items():
        if getattr(entry, key) != value:
            table[key] = _escape_surrogates(value)
    return tomlkit.dumps(document).rstrip("\n") + block[len(body) :]


def _split_text(known: Known) -> list[str]:
    """Return the text before the entries, and then the text of each entry with the comment lines directly above it."""
    text = known.text
    cuts = [_find_start(text, each.start()) for each in _HEADER.finditer(text) if _is_toml(text[: each.start()])]
    blocks = [text[begin:end] for begin, end in pairwise([0, *cuts, len(text)])]
    if len(cuts) != len(known.entries):
        raise ConfigError(
            f"{known.path}: cannot be rewritten: each entry must be written under a [[known]] of its own",
            where=str(known.path),
            expected="[[known]]",
        )
    return blocks


def _find_start(text: str, cut: int) -> int:
    """Return the position where an entry begins: its header, or the first comment line directly above the header."""
    while (comment := _COMMENT_ABOVE.search(text[:cut])) and _is_toml(text[: comment.start()]):
        cut = comment.start()
    return cut


def _is_toml(text: str) -> bool:
    """Return whether a text is valid TOML. A text that ends within a value, such as a long string, is not valid."""
    try:
        tomllib.loads(text)
    except ValueError:
        return False
    return True
