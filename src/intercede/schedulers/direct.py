"""The scheduler ``direct``: jobs run where the transport leads, a few at a time, with no batch system. Linux.

Each submission has a detached runner of its own, which keeps at most ``slots`` copies running and survives whoever
submitted. Each copy leads a session, known by host, boot id, pid namespace, pid and start time, so a number that was
given to another process is never taken for it. Everything that a killed copy started ends with it: see direct.ending.sh.
"""

import re
from collections.abc import Mapping, Sequence

from intercede.contract.errors import UnsupportedSpecError
from intercede.contract.job import JobState, JobStatus, OpOutcome
from intercede.contract.scheduler import Batch, Queued
from intercede.contract.transport import CommandResult
from intercede.plugin_tools.options import check_number
from intercede.plugin_tools.scheduler import read_script, scheduler_error

__all__ = ["DirectScheduler"]

_WORDS: Mapping[str, JobStatus] = {
    "queued": JobStatus(state=JobState.QUEUED, native="queued", evidence="its runner lives and has not begun it"),
    "running": JobStatus(state=JobState.RUNNING, native="running", evidence="its process lives"),
    "ending": JobStatus(
        state=JobState.RUNNING, native="ending", evidence="it was asked to end, and some of it may be left"
    ),
    "suspended": JobStatus(state=JobState.RUNNING, native="suspended", evidence="its process is stopped"),
    "timeout": JobStatus(state=JobState.FAILED, reason="timeout", native="timeout", evidence="it had its wall time"),
    "cancelled": JobStatus(
        state=JobState.KILLED, reason="killed_by_user", native="cancelled", evidence="killed before it began"
    ),
}

_ELSEWHERE: Mapping[str, tuple[str, str]] = {
    "elsewhere": ("on {}", "it was started on host {}, and this is another one: ask there"),
    "apart": ("apart on {}", "it was started in another pid namespace of host {}, such as a container's: ask there"),
    "unseen": (
        "unseen on {}",
        "there is no /proc here of host {}, by which processes are known: have it mounted, or ask there",
    ),
}
"""Where its processes cannot be seen from here: the native word, and what that means and what to do."""


class DirectScheduler:
    """Runs copies as processes. ``memory_mb`` and ``gpus`` are ignored, ``wall_time_s`` is kept, ``queue`` refused.

    A copy that is killed, or has had its time, is over when nothing is left of what it started: its process group, its
    session, and its descendants. Until then it is RUNNING and keeps its slot.

    Args:
        slots: How many cores one submission may use: a copy takes ``cpus`` of them, and one copy always runs. None: as
            many as the machine has.
        grace_s: Seconds between asking what a copy started to end (TERM) and ending it (KILL).

    Raises:
        ConfigError: An option has no sense.
    """

    def __init__(self, slots: int | None = None, grace_s: int = 5) -> None:
        self._slots = None if slots is None else check_number("slots", slots, int, least=1)
        self._grace = check_number("grace_s", grace_s, int, least=0)

    def min_poll_interval(self) -> float:
        """Looking costs nobody anything."""
        return 0.0

    def stages_own_files(self) -> bool:
        """Everything is in one file system."""
        return False

    def submit_script(self, batch: Batch) -> str:
        """Write the fragment that starts the runner.

        Raises:
            UnsupportedSpecError: A queue is asked for: there is none.
        """
        if batch.resources.queue is not None:
            raise UnsupportedSpecError(
                f"queue {batch.resources.queue!r} was asked for, and 'direct' has no queues: leave it None",
                field="resources.queue",
                value=batch.resources.queue,
            )
        return _read("proc") + _read(
            "submit",
            submission_id=batch.submission_id,
            copies=batch.copies,
            slots=self._slots,
            cpus=batch.resources.cpus,
            wall=batch.resources.wall_time_s,
            grace=self._grace,
            runner=_read("ending") + _read("runner"),
        )

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Tell that every copy was taken.

        Raises:
            SchedulerError: The runner could not be started. ``refused``: there is no /proc, so nothing was.
        """
        if result.returncode != 0 and result.stdout.split()[-1:] == [b"refused"]:
            raise scheduler_error("'direct' could not start a runner", result, refused=True)
        if result.returncode != 0 or result.stdout.split()[-1:] != [b"started"]:
            raise scheduler_error("'direct' could not start a runner", result)
        return Queued(ids={index: f"{batch.submission_id}.{index}" for index in range(batch.copies)})

    def status_script(self) -> str:
        """Write the fragment that tells where processes are. It forks nothing for a copy."""
        return _read("proc") + _read("locate") + _read("status")

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        """Tell what was seen of each; what is not there is absent.

        Raises:
            SchedulerError: The fragment failed.
        """
        if result.returncode != 0:
            raise scheduler_error("'direct' could not look at processes", result)
        return {native: _status(word, rest) for native, word, rest in _lines(ids, result)}

    def kill_script(self) -> str:
        """Write the fragment that ends process groups, and sees to it that what waits never starts."""
        return _read("proc") + _read("locate") + _read("kill", grace=self._grace, ending=_read("ending"))

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        """Tell what became of each.

        Raises:
            SchedulerError: The fragment failed.
        """
        if result.returncode != 0:
            raise scheduler_error("'direct' could not end processes", result)
        return {native: _outcome(word, rest) for native, word, rest in _lines(ids, result)}

    def list_script(self, submission_id: str) -> str:
        """Write the fragment that tells whether a submission has a runner."""
        return _read("list", submission_id=submission_id)

    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        """Tell every copy of the submission, if it was started at all.

        Raises:
            SchedulerError: The fragment failed.
        """
        match = re.fullmatch(rb"(?:([a-z0-9]+) ([0-9]{1,8})\n)?", result.stdout)
        if result.returncode != 0 or match is None:
            raise scheduler_error("'direct' could not look for a runner", result)
        return {index: f"{match[1].decode()}.{index}" for index in range(int(match[2] or 0))}


def _read(name: str, **values: str | int | None) -> str:
    return read_script(__file__, f"direct.{name}.sh", **values)


def _lines(ids: Sequence[str], result: CommandResult) -> list[tuple[str, str, str]]:
    """The answer's lines about these ids: id, word, rest."""
    asked = frozenset(ids)
    split = [line.split(" ", 2) for line in result.stdout.decode("utf-8", "replace").splitlines()]
    return [(words[0], words[1], "".join(words[2:])) for words in split if len(words) > 1 and words[0] in asked]


def _status(word: str, rest: str) -> JobStatus:
    if word in _ELSEWHERE:
        native, evidence = _ELSEWHERE[word]
        return JobStatus(state=JobState.UNKNOWN, native=native.format(rest), evidence=evidence.format(rest))
    if word == "exited" and re.fullmatch("[0-9]{1,3}", rest):
        return _exited(int(rest))
    return _WORDS.get(word) or JobStatus(state=JobState.UNKNOWN, native=word)


def _exited(code: int) -> JobStatus:
    state, reason = (JobState.FAILED, "exit_code") if code else (JobState.DONE, None)
    return JobStatus.model_validate({"state": state, "exit_code": code, "reason": reason, "native": "exited"})


def _outcome(word: str, rest: str) -> OpOutcome:
    if word == "ok":
        return OpOutcome(ok=True)
    _, detail = _ELSEWHERE.get(word, ("", f"{word} {{}}"))
    return OpOutcome(ok=False, reason="other", detail=detail.format(rest))
