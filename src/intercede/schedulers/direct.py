"""The scheduler ``direct``: jobs run where the transport leads, a few at a time, with no batch system. Linux.

Each submission has a detached runner of its own, which keeps at most ``slots`` copies running and survives whoever
submitted. Each copy leads a session, known by host, boot id, pid namespace, pid and start time, so a number that was
given to another process is never taken for it. Everything that a killed copy started ends with it: see direct.ending.sh.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from intercede.contract.errors import ConfigError, SchedulerError, UnsupportedSpecError
from intercede.contract.job import JobState, JobStatus, OpOutcome
from intercede.contract.scheduler import Batch, Queued
from intercede.contract.transport import CommandResult

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


@cache
def _text(name: str) -> str:
    return (Path(__file__).parent / f"direct.{name}.sh").read_text("utf-8")


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
        for field, value, least in (("slots", slots, 1), ("grace_s", grace_s, 0)):
            if value is not None and value < least:
                expected = f"a number of at least {least}"
                raise ConfigError(
                    f"{field} must be {expected}, not {value}", field=field, value=value, expected=expected
                )
        self._slots = slots
        self._grace = grace_s

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
        wall = batch.resources.wall_time_s
        return _text("proc") + _with(
            "submit",
            stamp=batch.stamp,
            copies=str(batch.copies),
            slots="" if self._slots is None else str(self._slots),
            cpus=str(batch.resources.cpus),
            wall="" if wall is None else str(wall),
            grace=str(self._grace),
            runner=_text("ending") + _text("runner"),
        )

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Tell that every copy was taken.

        Raises:
            SchedulerError: The runner could not be started. ``refused``: there is no /proc, so nothing was.
        """
        if result.returncode != 0 and result.stdout.split()[-1:] == [b"refused"]:
            raise _failed("start a runner", result, refused=True)
        if result.returncode != 0 or result.stdout.split()[-1:] != [b"started"]:
            raise _failed("start a runner", result)
        return Queued(ids={index: f"{batch.stamp}.{index}" for index in range(batch.copies)})

    def status_script(self) -> str:
        """Write the fragment that tells where processes are. It forks nothing for a copy."""
        return _text("proc") + _text("look") + _text("status")

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        """Tell what was seen of each; what is not there is absent.

        Raises:
            SchedulerError: The fragment failed.
        """
        if result.returncode != 0:
            raise _failed("look at processes", result)
        return {native: _status(word, rest) for native, word, rest in _lines(ids, result)}

    def kill_script(self) -> str:
        """Write the fragment that ends process groups, and sees to it that what waits never starts."""
        return _text("proc") + _text("look") + _with("kill", grace=str(self._grace), ending=_text("ending"))

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        """Tell what became of each.

        Raises:
            SchedulerError: The fragment failed.
        """
        if result.returncode != 0:
            raise _failed("end processes", result)
        return {native: _outcome(word, rest) for native, word, rest in _lines(ids, result)}

    def list_script(self, stamp: str) -> str:
        """Write the fragment that tells whether a submission has a runner."""
        return _with("list", stamp=stamp)

    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        """Tell every copy of the submission, if it was started at all.

        Raises:
            SchedulerError: The fragment failed.
        """
        match = re.fullmatch(rb"(?:([a-z0-9]+) ([0-9]{1,8})\n)?", result.stdout)
        if result.returncode != 0 or match is None:
            raise _failed("look for a runner", result)
        return {index: f"{match[1].decode()}.{index}" for index in range(int(match[2] or 0))}


def _with(name: str, **values: str) -> str:
    given = "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items())
    return given + _text(name)


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


def _failed(what: str, result: CommandResult, *, refused: bool = False) -> SchedulerError:
    said = result.stderr.decode("utf-8", "replace").strip()[-500:]
    return SchedulerError(
        f"'direct' could not {what}: {said or f'exit code {result.returncode}'}",
        refused=refused,
        returncode=result.returncode,
        stderr=said,
    )
