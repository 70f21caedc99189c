"""Read the record of a copy, and decide the status of its job from the record and the queue's listing."""

from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from typing import Literal, NamedTuple

from intercede.batch.remote.layout import Job
from intercede.contract.errors import TransportError
from intercede.contract.job import JobState, JobStatus

__all__ = ["FOREIGN", "LIVE", "Exit", "Listed", "Record", "decide_status", "read_record"]

_UNKNOWN_ID = "?"
_NOT_ASKED = "-"
_HIGHEST_CODE, _HIGHEST_SIGNAL = 255, 64
_CAUSES = frozenset({"timeout", "out_of_memory", "preempted", "node_failure"})
LIVE = frozenset({JobState.QUEUED, JobState.HELD, JobState.RUNNING})

FOREIGN = JobStatus(state=JobState.UNKNOWN, reason="foreign", evidence="this resource has no job of that name")
_PURGED = JobStatus(state=JobState.UNKNOWN, reason="purged", evidence="there are no files of the job")


Ending = Literal["code", "signal", "caught"]
"""The way in which a payload ended: with an exit code, by a signal, or with an exit code after a signal was caught.

The scheduler or a person may have sent a caught signal to end the job, so the exit code alone decides nothing.
"""


class Exit(NamedTuple):
    """The end of a payload, as its wrapper recorded it."""

    kind: Ending
    number: int
    """The exit code, or the number of the signal."""


class Record(NamedTuple):
    """The facts about one copy, read from the files of its submission. ``records.sh`` prints a line for each copy."""

    job: Job
    killed_by_us: bool = False
    """True if a kill was requested before the recorded end of the payload."""
    kill_requested: bool = False
    """True if a kill was requested at any time, even after the recorded end of the payload.

    The scheduler may have queued the job again after that end, so the kill may concern a later attempt.
    """
    native: str | None = None
    """The native id, or None if it is not known yet."""
    gone: bool = False
    """True if the copy's directory does not exist."""
    final: JobStatus | None = None
    """The recorded final status, or None. The status takes precedence over ``exit`` and the queue's listing."""
    exit: Exit | None = None
    """The recorded end of the payload, or None if no end is recorded."""

    @property
    def is_over(self) -> bool:
        """True if the scheduler's listing cannot change the status any more."""
        return self.gone or self.final is not None or (self.exit is not None and self.exit.kind == "code")

    @property
    def was_accepted(self) -> bool:
        """True if the scheduler accepted the copy: it has a native id, or a payload ended."""
        return not self.gone and not (self.native is None and self.final is None and self.exit is None)


def read_record(line: str) -> Record:
    """Parse a line ``SUBMISSION_ID INDEX KILLED NATIVE_ID RECORD...`` in the answer of records.sh.

    Raises:
        TransportError: The line has another form.
    """
    try:
        submission_id, index, killed, native, what, *rest = line.split(" ", 5)
        job = Job(submission_id, int(index))
        known = Record(job, killed == "killed", killed != _NOT_ASKED, None if native == _UNKNOWN_ID else native)
        return _READERS[what](known, rest[0] if rest else "")
    except (ValueError, KeyError) as error:
        raise TransportError(f"the remote side sent an invalid record of a copy: {line[:200]!r}") from error


def _read_final(known: Record, text: str) -> Record:
    try:
        status = JobStatus.model_validate_json(text)
    except ValueError:
        return known  # the file holds no valid status, so it is ignored
    return known._replace(final=status) if status.state.final else known


def _read_code(known: Record, text: str) -> Record:
    return _read_exit(known, "code", text, range(_HIGHEST_CODE + 1))


def _read_signal(known: Record, text: str) -> Record:
    return _read_exit(known, "signal", text, range(1, _HIGHEST_SIGNAL + 1))


def _read_caught(known: Record, text: str) -> Record:
    return _read_exit(known, "caught", text, range(_HIGHEST_CODE + 1))


def _read_exit(known: Record, kind: Ending, text: str, numbers: range) -> Record:
    """Return ``known`` with the recorded end of the payload, or unchanged if the number is not in ``numbers``.

    The payload may have written an invalid number into the file of the record.
    """
    number = _parse_number(text.partition(" ")[0])
    return known._replace(exit=Exit(kind, number)) if number in numbers else known


def _parse_number(word: str) -> int:
    return int(word) if word.isascii() and word.isdigit() and len(word) < 4 else -1  # noqa: PLR2004 -- 255 has three


_READERS: dict[str, Callable[[Record, str], Record]] = {
    "gone": lambda known, _: known._replace(gone=True),
    "final": _read_final,
    "code": _read_code,
    "signal": _read_signal,
    "caught": _read_caught,
    "none": lambda known, _: known,
}


class Listed(Enum):
    """The kinds of answers that the queue's listing gives about a copy. The copy's status depends on the kind."""

    LIVE = "queued, held or running"
    CAUSE = "ended by a time limit, out of memory, a preemption or a node failure"
    CANCELLED = "cancelled"
    UNSURE = "in a state that is not known to intercede, or not known to the scheduler at the moment"
    ENDED = "ended in another way"
    ABSENT = "not listed"

    @classmethod
    def classify(cls, reported: JobStatus | None) -> "Listed":
        """Return the ``Listed`` of a scheduler's status. ``reported`` is None if the queue does not list the copy."""
        if reported is None:
            return cls.ABSENT
        if reported.state in LIVE:
            return cls.LIVE
        if reported.state is JobState.UNKNOWN:
            return cls.UNSURE
        if reported.reason in _CAUSES:
            return cls.CAUSE
        return cls.CANCELLED if reported.state is JobState.KILLED else cls.ENDED


def decide_status(record: Record, reported: JobStatus | None) -> JobStatus:
    """Return the status of a copy.

    Args:
        record: The record of the copy.
        reported: The scheduler's status of the copy, or None if the queue does not list the copy.
    """
    if record.gone:
        return _PURGED
    if record.final is not None:
        return record.final
    return _apply_table(_Case(record.exit, record.killed_by_us, record.kill_requested, reported))


class _Case(NamedTuple):
    """The facts on which the status of a copy depends, if nothing final is recorded."""

    exit: Exit | None
    killed_by_us: bool
    kill_requested: bool
    reported: JobStatus | None
    """The scheduler's status, or None if the queue does not list the copy."""


@lru_cache(maxsize=4096)
def _apply_table(case: _Case) -> JobStatus:
    """Return the status of a copy by the first row of ``_TABLE`` that fits the case.

    Results are cached, because many cases are equal.
    """
    kind, listed = case.exit and case.exit.kind, Listed.classify(case.reported)
    for on_exit, on_listed, on_killed, rule in _TABLE:
        if kind in on_exit and listed in on_listed and case.killed_by_us in on_killed:
            return rule(case)
    raise AssertionError(f"the table of rules has no row for {kind}, {listed}, {case.killed_by_us}")


def _decide_by_code(case: _Case) -> JobStatus:
    code = _get_number(case)
    evidence = "exit record" if case.exit and case.exit.kind == "code" else _describe_evidence(case)
    if code == 0:
        return JobStatus(state=JobState.DONE, exit_code=0, evidence=evidence)
    return JobStatus(state=JobState.FAILED, exit_code=code, reason="exit_code", evidence=evidence)


def _decide_by_both(case: _Case) -> JobStatus:
    """Decide the status of a job that caught a signal and exited, from the record and the scheduler's status.

    The scheduler reports that the job ended, and was not cancelled. The job is DONE only if the record and the
    scheduler agree. If the scheduler reports a different failure, the record is of an earlier attempt.
    """
    reported, code = case.reported, _get_number(case)
    assert reported is not None  # noqa: S101 -- this row of the table requires it
    agrees = reported.state is JobState.DONE or (
        reported.reason == "exit_code" and reported.exit_code in {None, code} and code != 0
    )
    return _decide_by_code(case) if agrees else _follow_listing(case)


def _decide_unlisted_signal(case: _Case) -> JobStatus:
    """Decide the status of a job that caught a signal and is no longer listed.

    The signal may have been sent to end the job. So a failure is certain, and a success is not.
    """
    evidence = "exit record, after a signal; the scheduler no longer lists the job, so its end is not certain"
    if _get_number(case) == 0:
        return JobStatus(state=JobState.UNKNOWN, exit_code=0, reason="lost", evidence=evidence)
    return _decide_by_code(case).model_copy(update={"evidence": evidence})


def _follow_listing_after_signal(case: _Case) -> JobStatus:
    assert case.reported is not None  # noqa: S101 -- this row of the table requires it
    evidence = f"an attempt ended after a signal; {case.reported.evidence or 'the scheduler still lists the job'}"
    return case.reported.model_copy(update={"evidence": evidence})


def _decide_by_cause(case: _Case) -> JobStatus:
    return _make_status(case, JobState.FAILED, case.reported.reason if case.reported else None)


def _decide_killed_by_us(case: _Case) -> JobStatus:
    return _make_status(case, JobState.KILLED, "killed_by_user")


def _decide_cancelled(case: _Case) -> JobStatus:
    return _make_status(case, JobState.KILLED, "killed_by_user" if case.kill_requested else "killed_by_site")


def _decide_by_signal(case: _Case) -> JobStatus:
    return _make_status(case, JobState.FAILED, "signal")


def _follow_listing(case: _Case) -> JobStatus:
    reported = case.reported
    assert reported is not None  # noqa: S101 -- this row of the table requires it
    reason = reported.reason
    if reported.state is JobState.KILLED and reason is None:  # the scheduler does not say who killed the job
        reason = "killed_by_user" if case.killed_by_us else "killed_by_site"
    return reported.model_copy(update={"reason": reason, "evidence": reported.evidence or "the scheduler's listing"})


def _decide_killed_unrecorded(case: _Case) -> JobStatus:
    evidence = "a kill was requested; the job is no longer listed, and left no record"
    return JobStatus(state=JobState.KILLED, reason="killed_by_user", native=_get_native(case), evidence=evidence)


def _decide_lost(_: _Case) -> JobStatus:
    evidence = "the job is not listed, and left no record: absence is never success"
    return JobStatus(state=JobState.UNKNOWN, reason="lost", evidence=evidence)


def _make_status(case: _Case, state: JobState, reason: str | None) -> JobStatus:
    ending = "signal" if case.exit and case.exit.kind == "signal" else "exit_code"
    return JobStatus.model_validate(
        {
            "state": state,
            ending: _get_number(case),
            "reason": reason,
            "native": _get_native(case),
            "evidence": _describe_evidence(case),
        }
    )


def _describe_evidence(case: _Case) -> str:
    return "exit record" + ("" if case.reported is None else " and the scheduler's listing")


def _get_native(case: _Case) -> str | None:
    return None if case.reported is None else case.reported.native


def _get_number(case: _Case) -> int:
    return case.exit.number if case.exit else 0


_Rule = Callable[[_Case], JobStatus]
_ANY = frozenset(Listed)
_EITHER = frozenset({True, False})
_YES, _NO = frozenset({True}), frozenset({False})
_LISTED = _ANY - {Listed.ABSENT}

_Kinds = frozenset[Ending | None]
_CODE, _SIGNAL, _CAUGHT, _NONE = (_Kinds({kind}) for kind in ("code", "signal", "caught", None))
_AFTER = _SIGNAL | _CAUGHT

# Each row of the table holds the recorded end, the listing, whether a kill was requested, and the rule. The first row
# that fits a case decides the status.
_TABLE: tuple[tuple[_Kinds, frozenset[Listed], frozenset[bool], _Rule], ...] = (
    # If the payload exited and caught no signal, the status is DONE or FAILED(exit_code), by the exit code.
    (_CODE, _ANY, _EITHER, _decide_by_code),
    # If the payload ended after a signal, and the queue still lists the job, the listing decides the status, because
    # another attempt may be running.
    (_AFTER, frozenset({Listed.LIVE, Listed.UNSURE}), _EITHER, _follow_listing_after_signal),
    # If the scheduler ended the job, the status is FAILED with the scheduler's reason.
    (_AFTER, frozenset({Listed.CAUSE}), _EITHER, _decide_by_cause),
    # If a kill was requested before the signal, the status is KILLED(killed_by_user).
    (_AFTER, _ANY, _YES, _decide_killed_by_us),
    # If the job was cancelled, the status is KILLED: killed_by_user if a kill was ever requested, else killed_by_site.
    (_AFTER, frozenset({Listed.CANCELLED}), _NO, _decide_cancelled),
    # If the payload died of a signal that no kill sent, the status is FAILED(signal).
    (_SIGNAL, _ANY, _NO, _decide_by_signal),
    # If the payload caught a signal and exited, and the queue lists the job as ended, the status is DONE or
    # FAILED(exit_code) if the scheduler agrees with the record, else the scheduler's status.
    (_CAUGHT, frozenset({Listed.ENDED}), _NO, _decide_by_both),
    # If the payload caught a signal and exited, and the queue does not list the job, the status is FAILED(exit_code),
    # or UNKNOWN(lost) if the exit code is 0.
    (_CAUGHT, frozenset({Listed.ABSENT}), _NO, _decide_unlisted_signal),
    # If no end is recorded, and the queue lists the job, the listing decides the status.
    (_NONE, _LISTED, _EITHER, _follow_listing),
    # If no end is recorded, and the queue does not list the job, the status is KILLED(killed_by_user) if a kill was
    # requested, else UNKNOWN(lost).
    (_NONE, frozenset({Listed.ABSENT}), _YES, _decide_killed_unrecorded),
    (_NONE, frozenset({Listed.ABSENT}), _NO, _decide_lost),
)
