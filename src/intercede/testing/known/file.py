"""The file of known failures, and what it makes of a result. Pure but for ``load``; today is an argument.

::

    [[known]]
    clause = "IC-KILL-02"
    reason = "our gateway forgets jobs that were killed while they waited"
    symptom = "observed UNKNOWN"             # what was seen must contain this
    until = 2027-03-31                       # the last day on which it is accepted
    link = "https://forge.example.org/gateway/issues/7"     # may be left out
    subject = "site"                         # may be left out: then it counts for every subject
"""

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import cast

from intercede.contract.errors import ConfigError
from intercede.testing.model.clause import Clause
from intercede.testing.model.verdict import Result, State, SubjectInfo

__all__ = ["Entry", "Known", "load", "plain"]

_HEADING = "known"
_REQUIRED = ("clause", "reason", "symptom", "until")
_OPTIONAL = ("link", "subject")
_KEYS = (*_REQUIRED, *_OPTIONAL)
_TELLING, _TEMPLATE = 4, "observed raised "
"""A shorter symptom, or a part of these words, is found in any failure, or any that an exception is."""


def plain(text: str) -> str:
    """Put a text into one line of what TOML can hold: messages are compared like that."""
    return " ".join(text.encode("utf-8", "backslashreplace").decode().split())


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One known failure."""

    number: int
    """Which of the file's entries it is, from 1."""
    clause: str
    """``IC-KILL-02``."""
    reason: str
    symptom: str
    """What must stand in what was observed: the first line of that, with the word before it."""
    until: date
    """The last day on which the failure is accepted."""
    link: str = ""
    """Where more is said; empty: nowhere."""
    subject: str | None = None
    """The subject's id; None: it counts for every subject."""

    @property
    def title(self) -> str:
        """``entry 2 (IC-KILL-02, site)``."""
        return f"entry {self.number} ({self.clause}{f', {self.subject}' if self.subject else ''})"

    @property
    def because(self) -> str:
        """The reason, and the link where there is one."""
        return f"{self.reason} ({self.link})" if self.link else self.reason

    def matches(self, result: Result) -> bool:
        """Whether a failure shows its symptom. What the clause expects says nothing of the failure."""
        return plain(self.symptom) in plain(result.symptom)

    def note(self, result: Result, today: date) -> str:
        """Tell why it does not excuse a failure; empty: it does."""
        if today > self.until:
            return self._expiry_note
        return "" if self.matches(result) else self._otherwise

    def message_of(self, result: Result) -> str:
        """Return what the check itself said of a failure, also where ``judge`` has put its note before it."""
        notes = [each for each in (self._expiry_note, self._otherwise) if result.message.startswith(each)]
        return result.message.removeprefix(notes[0]) if notes else result.message

    @property
    def _expiry_note(self) -> str:
        return f"known until {self.until}, expired ({self.because}): "

    @property
    def _otherwise(self) -> str:
        return f"known to fail with {self.symptom!r} ({self.because}), and failed otherwise: "


@dataclass(frozen=True)
class Known:
    """What a file says.

    A result is judged where it becomes known, before anything is blocked by it: a clause that fails as it is known to
    does not keep those that depend on it from being checked.
    """

    path: Path
    entries: tuple[Entry, ...] = ()
    text: str = ""
    """The text of the file, for ``update_text``."""
    update_option: str = "update_known=True"
    """The option that rewrites the file, as the asker writes it."""

    def entry(self, subject_id: str, clause_id: str) -> Entry | None:
        """Return the entry that counts: one that names the subject comes before one for every subject."""
        mine = {each.subject: each for each in self.entries if each.clause == clause_id}
        return mine.get(subject_id) or mine.get(None)

    def judge(self, subject_id: str, clause_id: str, result: Result, today: date) -> Result:
        """Tell what a result is in the light of what is known. To judge twice changes nothing.

        A failure is KNOWN where its entry has not expired and what was observed contains the symptom; else it stays FAILED
        and says which. What passes is an UNEXPECTED_PASS, also after the date. Where a check ran several times, one
        failure is enough to be KNOWN, and only a check that never failed has passed. An ERROR is the kit's own and
        never known; what was blocked, did not run or does not apply is left alone.
        """
        entry = self.entry(subject_id, clause_id)
        if entry is None or result.state not in {State.PASSED, State.FAILED}:
            return result
        return (
            self._make_unexpected_pass(entry, result)
            if result.state is State.PASSED
            else self._judge_failure(entry, result, today)
        )

    def _make_unexpected_pass(self, entry: Entry, result: Result) -> Result:
        message = f"is known to fail ({entry.because}), and passes: remove the entry"
        place = f"{self.path}, {entry.title}, says so; {self.update_option} removes what passes"
        return replace(
            result,
            state=State.UNEXPECTED_PASS,
            message=message,
            detail="\n".join(filter(None, [f"{entry.clause} {message}", place, result.detail])),
            expected=f"a failure with {entry.symptom!r}, as {self.path} says",
            observed="it passes",
        )

    def _judge_failure(self, entry: Entry, result: Result, today: date) -> Result:
        message = entry.message_of(result)
        if note := entry.note(result, today):
            said = f"{self.path}, {entry.title}: {note.removesuffix(': ')}"
            detail = result.detail if said in result.detail else "\n".join(filter(None, [result.detail, said]))
            return replace(result, message=f"{note}{message}", detail=detail)
        return replace(
            result, state=State.KNOWN, message=f"known until {entry.until}, {entry.because}: {result.message}"
        )

    def find_unmatched(self, clauses: Mapping[str, Clause], facts: Iterable[SubjectInfo]) -> tuple[str, ...]:
        """Tell which entries match nothing, a sentence each. It is for whole runs: a selection leaves subjects out.

        Args:
            clauses: Every clause of the contract.
            facts: What is known of each subject of the run.
        """
        subjects = {each.id: each for each in facts}
        found = [(entry, self._why_stale(entry, clauses, subjects)) for entry in self.entries]
        return tuple(f"{self.path}: {entry.title} matches nothing: {why}" for entry, why in found if why)

    def _why_stale(self, entry: Entry, clauses: Mapping[str, Clause], subjects: Mapping[str, SubjectInfo]) -> str:
        clause = clauses.get(entry.clause)
        if clause is None:
            return f"there is no clause {entry.clause!r}{_nearest(entry.clause, clauses)}"
        if entry.subject is not None and entry.subject not in subjects:
            return f"there is no subject {entry.subject!r} in this run, only {', '.join(subjects)}"
        covered = [each for each in subjects.values() if self.entry(each.id, entry.clause) == entry]
        foreign = [each.explain_not_applicable(clause) for each in covered]
        if not covered:
            return "every subject of this run has an entry of its own for the clause"
        return "; ".join(foreign) if all(foreign) else ""


def load(path: str | os.PathLike[str]) -> Known:
    """Read a file of known failures.

    Raises:
        ConfigError: It cannot be read, is not TOML in UTF-8, or is not what it should be. The message names the file,
            the entry (from 1) and the key, as do ``where`` and ``field`` (``known.2.until``).
    """
    file = Path(path)
    try:
        return _parse(file, file.read_bytes().decode())
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}", where=str(file)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8: {error}", where=str(file)) from error


def _parse(file: Path, text: str) -> Known:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # the first names the line
        raise ConfigError(f"{file}: is not TOML: {error}", where=str(file)) from error
    if strange := next((each for each in document if each != _HEADING), None):
        raise ConfigError(
            f"{file}: {strange} does not belong there; entries stand under [[{_HEADING}]]",
            field=strange,
            value=document[strange],
            expected=f"[[{_HEADING}]]",
            where=str(file),
        )
    entries = tuple(_entry(file, number, table) for number, table in enumerate(_tables(file, document), 1))
    _check_unique(file, entries)
    return Known(file, entries, text)


def _tables(file: Path, document: Mapping[str, object]) -> list[object]:
    tables = document.get(_HEADING, [])
    if isinstance(tables, list):
        return cast("list[object]", tables)
    raise ConfigError(
        f"{file}: {_HEADING} must be written [[{_HEADING}]], once for each entry",
        field=_HEADING,
        value=tables,
        expected=f"[[{_HEADING}]]",
        where=str(file),
    )


def _entry(file: Path, number: int, given: object) -> Entry:
    if not isinstance(given, dict):
        raise _wrong(file, number, "", given, "must be a table", f"[[{_HEADING}]]")
    table = cast("dict[str, object]", given)
    for key, value in table.items():
        if key not in _KEYS:
            raise _wrong(file, number, key, value, f"is no key{_nearest(key, _KEYS)}", f"the keys {', '.join(_KEYS)}")
        if key == "until" and type(value) is not date:  # a point in time is a date, too, to Python
            raise _wrong(file, number, key, value, "must be a date", "2027-03-31, not quoted, without a time")
        if key != "until" and not (isinstance(value, str) and value.strip()):
            raise _wrong(file, number, key, value, "must be a text that is not empty", f'{key} = "..."')
        if key == "symptom" and _says_little(plain(str(value))):
            raise _wrong(file, number, key, value, "says too little", 'more of what is seen: "observed UNKNOWN"')
    for key in _REQUIRED:
        if key not in table:
            raise _wrong(file, number, key, None, "is missing", f"each entry has {', '.join(_REQUIRED)}")
    texts = {key: str(value) for key, value in table.items() if key != "until"}
    return Entry(number=number, until=cast("date", table["until"]), **texts)


def _says_little(symptom: str) -> bool:
    return len(symptom) < _TELLING or symptom in _TEMPLATE


def _check_unique(file: Path, entries: Iterable[Entry]) -> None:
    first: dict[tuple[str, str | None], Entry] = {}
    for each in entries:
        earlier = first.setdefault((each.clause, each.subject), each)
        if earlier is not each:
            what = f"is that of {earlier.title} already"
            raise _wrong(file, each.number, "clause", each.clause, what, "one entry for a clause and subject")


def _wrong(  # noqa: PLR0917 -- each is a part of one sentence
    file: Path, number: int, key: str, value: object, what: str, expected: str
) -> ConfigError:
    return ConfigError(
        f"{file}: entry {number}: {f'{key} ' if key else ''}{what}; what would do: {expected}",
        field=f"{_HEADING}.{number}{f'.{key}' if key else ''}",
        value=value,
        expected=expected,
        where=str(file),
    )


def _nearest(word: str, words: Iterable[str]) -> str:
    found = get_close_matches(word, list(words), n=1)
    return f", did you mean {found[0]!r}?" if found else ""
