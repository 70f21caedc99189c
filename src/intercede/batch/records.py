"""The record of a copy, and the verdict that follows from it."""

from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Literal, NamedTuple

from intercede.batch.remote.layout import Job
from intercede.contract.errors import TransportError
from intercede.contract.job import JobState, JobStatus

__all__ = ["FOREIGN", "LIVE", "Exit", "Record", "Word", "read_record", "verdict"]

_UNKNOWN_ID = "?"
_NOT_ASKED = "-"
_HIGHEST_CODE, _HIGHEST_SIGNAL = 255, 64
_CAUSES = frozenset({"timeout", "out_of_memory", "preempted", "node_failure"})
LIVE = frozenset({JobState.QUEUED, JobState.HELD, JobState.RUNNING})

FOREIGN = JobStatus(state=JobState.UNKNOWN, reason="foreign", evidence="no job of this resource bears that name")
_PURGED = JobStatus(state=JobState.UNKNOWN, reason="purged", evidence="nothing of it is there")


Ending = Literal["code", "signal", "caught"]
"""With a code; by a signal; or with a code after a signal came to the copy, which may have been meant to end it."""


class Exit(NamedTuple):
    """The end of a payload, as its wrapper recorded it."""

    kind: Ending
    number: int


class Record(NamedTuple):
    """The record of one copy: a line of the remote script's answer."""

    job: Job
    killed: bool = False
    """Whether we asked for its end before it had one."""
    asked: bool = False
    """Whether we asked for its end at all: what a signal came to may have been queued anew, and held."""
    native: str | None = None
    """What the scheduler calls it."""
    gone: bool = False
    final: JobStatus | None = None
    """A verdict that was written down; the only evidence from then on."""
    exit: Exit | None = None

    @property
    def over(self) -> bool:
        """Whether nothing that a scheduler says can change the verdict."""
        return self.gone or self.final is not None or (self.exit is not None and self.exit.kind == "code")

    @property
    def taken(self) -> bool:
        """Whether the scheduler ever had it, as far as is known: it has a name there, or left a trace."""
        return not self.gone and not (self.native is None and self.final is None and self.exit is None)


def read_record(line: str) -> Record:
    """Read ``SUBMISSION_ID INDEX KILLED ID WHAT...``.

    Raises:
        TransportError: It is no such line.
    """
    try:
        submission_id, index, killed, native, what, *rest = line.split(" ", 5)
        job = Job(submission_id, int(index))
        known = Record(job, killed == "killed", killed != _NOT_ASKED, None if native == _UNKNOWN_ID else native)
        return _READERS[what](known, rest[0] if rest else "")
    except (ValueError, KeyError) as error:
        raise TransportError(f"the far side told no record of a copy, but {line[:200]!r}") from error


def _final(known: Record, text: str) -> Record:
    try:
        status = JobStatus.model_validate_json(text)
    except ValueError:
        return known  # whatever that file is, no verdict stands in it
    return known._replace(final=status) if status.state.final else known


def _code(known: Record, text: str) -> Record:
    return _ended(known, "code", text, range(_HIGHEST_CODE + 1))


def _signal(known: Record, text: str) -> Record:
    return _ended(known, "signal", text, range(1, _HIGHEST_SIGNAL + 1))


def _caught(known: Record, text: str) -> Record:
    return _ended(known, "caught", text, range(_HIGHEST_CODE + 1))


def _ended(known: Record, kind: Ending, text: str, numbers: range) -> Record:
    """Take what the wrapper wrote; what a payload wrote over it, and cannot be, is no record."""
    number = _small(text.partition(" ")[0])
    return known._replace(exit=Exit(kind, number)) if number in numbers else known


def _small(word: str) -> int:
    return int(word) if word.isascii() and word.isdigit() and len(word) < 4 else -1  # noqa: PLR2004 -- 255 has three


_READERS: dict[str, Callable[[Record, str], Record]] = {
    "gone": lambda known, _: known._replace(gone=True),
    "final": _final,
    "code": _code,
    "signal": _signal,
    "caught": _caught,
    "none": lambda known, _: known,
}


class Word(Enum):
    """The scheduler's word about a copy, as far as the verdict needs it."""

    LIVE = "still live"
    CAUSE = "timeout, out of memory, preempted, node failure"
    CANCELLED = "cancelled"
    UNSURE = "unknown to us, or to it for now"
    ENDED = "ended in another way"
    ABSENT = "not listed"

    @classmethod
    def of(cls, said: JobStatus | None) -> "Word":
        """Sort what a scheduler said."""
        if said is None:
            return cls.ABSENT
        if said.state in LIVE:
            return cls.LIVE
        if said.state is JobState.UNKNOWN:
            return cls.UNSURE
        if said.reason in _CAUSES:
            return cls.CAUSE
        return cls.CANCELLED if said.state is JobState.KILLED else cls.ENDED


def verdict(record: Record, said: JobStatus | None) -> JobStatus:
    """Tell a copy's status from its record and from what the scheduler says, None where it does not list it."""
    if record.gone:
        return _PURGED
    if record.final is not None:
        return record.final
    return _ruled(_Case(record.exit, record.killed, record.asked, said))


class _Case(NamedTuple):
    """All that a verdict depends on."""

    exit: Exit | None
    killed: bool
    asked: bool
    said: JobStatus | None


@lru_cache(maxsize=4096)
def _ruled(case: _Case) -> JobStatus:
    """Snapshot a case up in the table; of ten thousand jobs most are alike."""
    kind, word = case.exit and case.exit.kind, Word.of(case.said)
    for on_exit, on_words, on_killed, ruling in _TABLE:
        if kind in on_exit and word in on_words and case.killed in on_killed:
            return ruling(case)
    raise AssertionError(f"the table of verdicts has no row for {kind}, {word}, {case.killed}")


def _by_code(case: _Case) -> JobStatus:
    code = _number(case)
    evidence = "exit record" if case.exit and case.exit.kind == "code" else _evidence(case)
    if code == 0:
        return JobStatus(state=JobState.DONE, exit_code=0, evidence=evidence)
    return JobStatus(state=JobState.FAILED, exit_code=code, reason="exit_code", evidence=evidence)


def _by_both(case: _Case) -> JobStatus:
    """Decide if the scheduler says that the job ended on its own. DONE needs the record and the scheduler.

    If the scheduler reports another failure than the record, the record is of an earlier attempt.
    """
    said, code = case.said, _number(case)
    assert said is not None  # noqa: S101 -- its row says so
    is_its = said.state is JobState.DONE or (
        said.reason == "exit_code" and said.exit_code in {None, code} and code != 0
    )
    return _by_code(case) if is_its else _word(case)


def _untold(case: _Case) -> JobStatus:
    """Decide if no evidence is left whether a signal was meant to end the job: failure is certain, success is not."""
    evidence = "exit record, after a signal; the scheduler no longer lists it, so whether that was its end is not known"
    if _number(case) == 0:
        return JobStatus(state=JobState.UNKNOWN, exit_code=0, reason="lost", evidence=evidence)
    return _by_code(case).model_copy(update={"evidence": evidence})


def _again(case: _Case) -> JobStatus:
    assert case.said is not None  # noqa: S101 -- its row says so
    evidence = f"an attempt ended after a signal; {case.said.evidence or 'the scheduler still has it'}"
    return case.said.model_copy(update={"evidence": evidence})


def _by_cause(case: _Case) -> JobStatus:
    return _signalled(case, JobState.FAILED, case.said.reason if case.said else None)


def _by_user(case: _Case) -> JobStatus:
    return _signalled(case, JobState.KILLED, "killed_by_user")


def _by_somebody(case: _Case) -> JobStatus:
    return _signalled(case, JobState.KILLED, "killed_by_user" if case.asked else "killed_by_site")


def _by_signal(case: _Case) -> JobStatus:
    return _signalled(case, JobState.FAILED, "signal")


def _word(case: _Case) -> JobStatus:
    said = case.said
    assert said is not None  # noqa: S101 -- its row says so
    reason = said.reason
    if said.state is JobState.KILLED and reason is None:  # it does not say by whom, and we know whether by us
        reason = "killed_by_user" if case.killed else "killed_by_site"
    return said.model_copy(update={"reason": reason, "evidence": said.evidence or "the scheduler's word"})


def _before_its_end(case: _Case) -> JobStatus:
    evidence = "killed by us, no longer listed, and left no record"
    return JobStatus(state=JobState.KILLED, reason="killed_by_user", native=_native(case), evidence=evidence)


def _lost(_: _Case) -> JobStatus:
    evidence = "not listed, and left no record: absence is never success"
    return JobStatus(state=JobState.UNKNOWN, reason="lost", evidence=evidence)


def _signalled(case: _Case, state: JobState, reason: str | None) -> JobStatus:
    ending = "signal" if case.exit and case.exit.kind == "signal" else "exit_code"
    return JobStatus.model_validate(
        {
            "state": state,
            ending: _number(case),
            "reason": reason,
            "native": _native(case),
            "evidence": _evidence(case),
        }
    )


def _evidence(case: _Case) -> str:
    return "exit record" + ("" if case.said is None else " and the scheduler's word")


def _native(case: _Case) -> str | None:
    return None if case.said is None else case.said.native


def _number(case: _Case) -> int:
    return case.exit.number if case.exit else 0


_Ruling = Callable[[_Case], JobStatus]
_ANY = frozenset(Word)
_EITHER = frozenset({True, False})
_YES, _NO = frozenset({True}), frozenset({False})
_LISTED = _ANY - {Word.ABSENT}

_Kinds = frozenset[Ending | None]
_CODE, _SIGNAL, _CAUGHT, _NONE = (_Kinds({kind}) for kind in ("code", "signal", "caught", None))
_AFTER = _SIGNAL | _CAUGHT

_TABLE: tuple[tuple[_Kinds, frozenset[Word], frozenset[bool], _Ruling], ...] = (
    # exit    the scheduler says              killed by us  verdict: the first row that fits
    (_CODE, _ANY, _EITHER, _by_code),  #                    DONE or FAILED(exit_code)
    (_AFTER, frozenset({Word.LIVE, Word.UNSURE}), _EITHER, _again),  # the scheduler's word
    (_AFTER, frozenset({Word.CAUSE}), _EITHER, _by_cause),  # FAILED(that)
    (_AFTER, _ANY, _YES, _by_user),  #                      KILLED(killed_by_user)
    (_AFTER, frozenset({Word.CANCELLED}), _NO, _by_somebody),  # KILLED(killed_by_user) if we asked, else by the site
    (_SIGNAL, _ANY, _NO, _by_signal),  #                    FAILED(signal)
    (_CAUGHT, frozenset({Word.ENDED}), _NO, _by_both),  #   DONE or FAILED(exit_code)
    (_CAUGHT, frozenset({Word.ABSENT}), _NO, _untold),  #   UNKNOWN(lost) where it would be DONE, else FAILED(exit_code)
    (_NONE, _LISTED, _EITHER, _word),  #                    the scheduler's word
    (_NONE, frozenset({Word.ABSENT}), _YES, _before_its_end),  # KILLED(killed_by_user)
    (_NONE, frozenset({Word.ABSENT}), _NO, _lost),  #       UNKNOWN(lost), at once
)
