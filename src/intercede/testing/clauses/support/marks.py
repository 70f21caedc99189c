"""Marks: the parts of native ids that differ between jobs with the same number.

A queue may give a number that it has used to another job.
"""

import re
from collections.abc import Iterable, Mapping
from typing import cast

from intercede.contract.scheduler import Queued, Scheduler
from intercede.testing.clauses.support.recordings import ListRecording, SubmitRecording
from intercede.testing.clauses.support.scheduler_questions import list_answers

__all__ = ["find_mark", "find_number", "list_submissions", "make_another", "swap_marks"]

_WORD = re.compile(r"[A-Za-z0-9]+")
_LONG, _LONG_NUMBER = 8, 10
"""The minimum length of a word, and the minimum length of a number, that a queue never uses again.

A time in seconds since 1970 is such a number.
"""


def list_submissions(scheduler: Scheduler) -> Mapping[str, frozenset[str]]:
    """Map the id of each recorded submission to the native ids of its jobs."""
    found: dict[str, set[str]] = {}
    for each in list_answers(scheduler, SubmitRecording):
        found.setdefault(each.batch.submission_id, set()).update(cast("Queued", each.expected).ids.values())
    for listing in list_answers(scheduler, ListRecording):
        found.setdefault(listing.submission_id, set()).update(cast("Mapping[int, str]", listing.expected).values())
    return {submission_id: frozenset(ids) for submission_id, ids in found.items()}


def find_mark(job: str, known: Mapping[str, frozenset[str]]) -> str | None:
    """Return the mark of a native id: the submission id, or a long word that is in no id of another submission.

    Return None if the id has no mark.
    """
    submission_ids = [
        submission_id
        for submission_id, ids in known.items()
        if submission_id in job and (job in ids or not _is_known(job, known))
    ]
    others = {word for ids in known.values() if job not in ids for each in ids for word in _WORD.findall(each)}
    words = [word for word in _WORD.findall(job) if _is_long(word) and word not in others]
    return next(iter([*submission_ids, *words]), None)


def _is_known(job: str, known: Mapping[str, frozenset[str]]) -> bool:
    return any(job in ids for ids in known.values())


def _is_long(word: str) -> bool:
    return any(map(str.isdigit, word)) and len(word) >= (_LONG_NUMBER if word.isdigit() else _LONG)


def find_number(job: str, mark: str) -> str | None:
    """Return the number in a native id outside of its mark, or None if the id has no such number."""
    match = re.search("[0-9]+", job.replace(mark, ""))
    return match and match[0]


def make_another(mark: str) -> str:
    """Return another mark of the same form, in which each letter and digit is replaced by the next one."""
    return "".join(map(_next, mark))


def swap_marks(text: str, marks: Iterable[str]) -> str:
    """Return an answer in which each mark is replaced by another mark, as if other jobs had the same numbers."""
    for mark in sorted(set(marks)):
        text = text.replace(mark, make_another(mark))
    return text


def _next(letter: str) -> str:
    for first, last in ("az", "AZ", "09"):
        if first <= letter <= last:
            return first if letter == last else chr(ord(letter) + 1)
    return letter
