"""The file of known failures, and how it changes a result. Only ``load`` does I/O; the day of the run is an argument.

::

    [[known]]
    clause = "IC-KILL-02"
    reason = "our gateway forgets jobs that were killed while they waited"
    symptom = "observed UNKNOWN"             # the observation must contain this
    until = 2027-03-31                       # the last day on which it is accepted
    link = "https://forge.example.org/gateway/issues/7"     # optional
    subject = "site"                         # optional; without it, the entry counts for every subject
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

__all__ = ["Entry", "Known", "flatten", "load"]

_HEADING = "known"
_REQUIRED = ("clause", "reason", "symptom", "until")
_OPTIONAL = ("link", "subject")
_KEYS = (*_REQUIRED, *_OPTIONAL)
_SHORTEST, _TEMPLATE = 4, "observed raised "
"""The minimum length of a symptom, and a text of words that most failures contain.

A symptom that is a part of the text is refused, because the symptom would match most failures.
"""


def flatten(text: str) -> str:
    """Return a text as one line that TOML can hold. Symptoms and observations are compared in this form."""
    return " ".join(text.encode("utf-8", "backslashreplace").decode().split())


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One known failure."""

    number: int
    """The position of the entry in the file, from 1."""
    clause: str
    """The id of the clause, such as ``IC-KILL-02``."""
    reason: str
    """The reason why the clause is not kept."""
    symptom: str
    """A text. The entry excuses a failure only if ``Result.symptom`` of the failure contains the text."""
    until: date
    """The last day on which the failure is accepted."""
    link: str = ""
    """An address with more about the failure, or an empty text."""
    subject: str | None = None
    """The id of the subject, or None if the entry counts for every subject."""

    @property
    def title(self) -> str:
        """The entry as messages name it: ``entry 2 (IC-KILL-02, site)``."""
        return f"entry {self.number} ({self.clause}{f', {self.subject}' if self.subject else ''})"

    @property
    def explanation(self) -> str:
        """The reason, and the link if there is one."""
        return f"{self.reason} ({self.link})" if self.link else self.reason

    def matches(self, result: Result) -> bool:
        """Return whether the symptom of a failure contains the symptom of the entry."""
        return flatten(self.symptom) in flatten(result.symptom)

    def explain_mismatch(self, result: Result, today: date) -> str:
        """Return why the entry does not excuse a failure, or an empty text if the entry excuses the failure."""
        if today > self.until:
            return self._expiry_note
        return "" if self.matches(result) else self._mismatch_note

    def get_own_message(self, result: Result) -> str:
        """Return the message of a result without the note that ``judge`` may have put before the message."""
        notes = [each for each in (self._expiry_note, self._mismatch_note) if result.message.startswith(each)]
        return result.message.removeprefix(notes[0]) if notes else result.message

    @property
    def _expiry_note(self) -> str:
        return f"known until {self.until}, expired ({self.explanation}): "

    @property
    def _mismatch_note(self) -> str:
        return f"known to fail with {self.symptom!r} ({self.explanation}), and failed otherwise: "


@dataclass(frozen=True)
class Known:
    """The entries of a file of known failures.

    A result is judged as soon as it is known, before it blocks other clauses. So a known failure blocks nothing.
    """

    path: Path
    entries: tuple[Entry, ...] = ()
    text: str = ""
    """The text of the file, for ``update_text``."""
    update_option: str = "update_known=True"
    """The option that rewrites the file, in the form that the user of the front end types."""

    def find_entry(self, subject_id: str, clause_id: str) -> Entry | None:
        """Return the entry for a subject and a clause, if there is one. It may be an entry for every subject."""
        mine = {each.subject: each for each in self.entries if each.clause == clause_id}
        return mine.get(subject_id) or mine.get(None)

    def judge(self, subject_id: str, clause_id: str, result: Result, today: date) -> Result:
        """Apply the file of known failures to a result, and return the new result.

        A failure is KNOWN if the file has an entry for it, the entry has not expired, and the failure has the symptom
        of the entry. If the entry has expired or the symptom differs, the failure stays FAILED, and its message says
        why. A check that passes is an UNEXPECTED_PASS if the file has an entry for it, also after the last day. A check
        that ran several times passes only if it never failed. All other results stay as they are. If the file is
        applied again to the new result, nothing changes.
        """
        entry = self.find_entry(subject_id, clause_id)
        if entry is None or result.state not in {State.PASSED, State.FAILED}:
            return result
        return (
            self._make_unexpected_pass(entry, result)
            if result.state is State.PASSED
            else self._judge_failure(entry, result, today)
        )

    def _make_unexpected_pass(self, entry: Entry, result: Result) -> Result:
        message = f"is known to fail ({entry.explanation}), and passes: remove the entry"
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
        message = entry.get_own_message(result)
        if note := entry.explain_mismatch(result, today):
            said = f"{self.path}, {entry.title}: {note.removesuffix(': ')}"
            detail = result.detail if said in result.detail else "\n".join(filter(None, [result.detail, said]))
            return replace(result, message=f"{note}{message}", detail=detail)
        return replace(
            result, state=State.KNOWN, message=f"known until {entry.until}, {entry.explanation}: {result.message}"
        )

    def find_unmatched(self, clauses: Mapping[str, Clause], facts: Iterable[SubjectInfo]) -> tuple[str, ...]:
        """Return a sentence for each entry that matches no clause or subject of a run. The run must not be partial.

        Args:
            clauses: Every clause of the contract.
            facts: The facts about each subject of the run.
        """
        subjects = {each.id: each for each in facts}
        found = [(entry, self._explain_unmatched(entry, clauses, subjects)) for entry in self.entries]
        return tuple(f"{self.path}: {entry.title} matches nothing: {why}" for entry, why in found if why)

    def _explain_unmatched(
        self, entry: Entry, clauses: Mapping[str, Clause], subjects: Mapping[str, SubjectInfo]
    ) -> str:
        clause = clauses.get(entry.clause)
        if clause is None:
            return f"there is no clause {entry.clause!r}{_suggest_nearest(entry.clause, clauses)}"
        if entry.subject is not None and entry.subject not in subjects:
            return f"there is no subject {entry.subject!r} in this run, only {', '.join(subjects)}"
        covered = [each for each in subjects.values() if self.find_entry(each.id, entry.clause) == entry]
        reasons = [each.explain_not_applicable(clause) for each in covered]
        if not covered:
            return "every subject of this run has an entry of its own for the clause"
        return "; ".join(reasons) if all(reasons) else ""


def load(path: str | os.PathLike[str]) -> Known:
    """Read a file of known failures.

    Raises:
        ConfigError: The file cannot be read, is not TOML in UTF-8, or has an invalid key or value. The message names
            the file, the entry (from 1) and the key, and so do ``where`` and ``field`` (``known.2.until``).
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
    except (ValueError, RecursionError) as error:  # the text of a ValueError of ``tomllib`` names the line
        raise ConfigError(f"{file}: is not TOML: {error}", where=str(file)) from error
    if unknown := next((each for each in document if each != _HEADING), None):
        raise ConfigError(
            f"{file}: {unknown} does not belong there; entries are written under [[{_HEADING}]]",
            field=unknown,
            value=document[unknown],
            expected=f"[[{_HEADING}]]",
            where=str(file),
        )
    entries = tuple(_parse_entry(file, number, table) for number, table in enumerate(_get_tables(file, document), 1))
    _check_unique(file, entries)
    return Known(file, entries, text)


def _get_tables(file: Path, document: Mapping[str, object]) -> list[object]:
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


def _parse_entry(file: Path, number: int, given: object) -> Entry:
    if not isinstance(given, dict):
        raise _make_error(file, number, "", given, "must be a table", f"[[{_HEADING}]]")
    table = cast("dict[str, object]", given)
    for key, value in table.items():
        if key not in _KEYS:
            raise _make_error(
                file, number, key, value, f"is not a key{_suggest_nearest(key, _KEYS)}", f"the keys {', '.join(_KEYS)}"
            )
        # A ``datetime`` is refused, so ``isinstance`` is not enough: ``datetime`` is a subclass of ``date``.
        if key == "until" and type(value) is not date:
            raise _make_error(file, number, key, value, "must be a date", "2027-03-31, not quoted, without a time")
        if key != "until" and not (isinstance(value, str) and value.strip()):
            raise _make_error(file, number, key, value, "must be a text that is not empty", f'{key} = "..."')
        if key == "symptom" and _is_too_short(flatten(str(value))):
            raise _make_error(
                file, number, key, value, "says too little", 'more of the observation: "observed UNKNOWN"'
            )
    for key in _REQUIRED:
        if key not in table:
            raise _make_error(file, number, key, None, "is missing", f"each entry has {', '.join(_REQUIRED)}")
    texts = {key: str(value) for key, value in table.items() if key != "until"}
    return Entry(number=number, until=cast("date", table["until"]), **texts)


def _is_too_short(symptom: str) -> bool:
    return len(symptom) < _SHORTEST or symptom in _TEMPLATE


def _check_unique(file: Path, entries: Iterable[Entry]) -> None:
    first: dict[tuple[str, str | None], Entry] = {}
    for each in entries:
        earlier = first.setdefault((each.clause, each.subject), each)
        if earlier is not each:
            problem = f"is that of {earlier.title} already"
            raise _make_error(file, each.number, "clause", each.clause, problem, "one entry for a clause and subject")


def _make_error(  # noqa: PLR0917 -- each is a part of one message
    file: Path, number: int, key: str, value: object, problem: str, expected: str
) -> ConfigError:
    return ConfigError(
        f"{file}: entry {number}: {f'{key} ' if key else ''}{problem}; valid: {expected}",
        field=f"{_HEADING}.{number}{f'.{key}' if key else ''}",
        value=value,
        expected=expected,
        where=str(file),
    )


def _suggest_nearest(word: str, words: Iterable[str]) -> str:
    found = get_close_matches(word, list(words), n=1)
    return f", did you mean {found[0]!r}?" if found else ""
