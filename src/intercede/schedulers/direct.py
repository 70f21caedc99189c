"""The scheduler ``direct``: runs jobs as processes of the remote machine, without a batch system. It needs Linux.

Each submission has a detached runner, which keeps at most ``slots`` copies running and survives the submitting client.
Each copy leads a session. The copy is identified by host, boot id, pid namespace, pid and start time, so that no other
process with the same pid is mistaken for it. If a copy is killed, everything that it started ends: see
direct.ending.sh.
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

_STATUSES: Mapping[str, JobStatus] = {
    "queued": JobStatus(state=JobState.QUEUED, native="queued", evidence="its runner is alive and has not started it"),
    "running": JobStatus(state=JobState.RUNNING, native="running", evidence="its process is alive"),
    "ending": JobStatus(
        state=JobState.RUNNING, native="ending", evidence="it was asked to end, and some of its processes may be left"
    ),
    "suspended": JobStatus(state=JobState.RUNNING, native="suspended", evidence="its process is stopped"),
    "timeout": JobStatus(
        state=JobState.FAILED, reason="timeout", native="timeout", evidence="it reached its wall time"
    ),
    "cancelled": JobStatus(
        state=JobState.KILLED, reason="killed_by_user", native="cancelled", evidence="it was killed before it began"
    ),
}

_ELSEWHERE: Mapping[str, tuple[str, str]] = {
    "elsewhere": ("on {}", "it was started on host {}, and this is another host: ask on that one"),
    "apart": (
        "apart on {}",
        "it was started in another pid namespace of host {}, such as a container: ask in that one",
    ),
    "unseen": (
        "unseen on {}",
        "there is no /proc here that shows the processes of host {}: have it mounted, or ask on that host",
    ),
}
"""Maps a word that a fragment prints to a native state and an evidence text, which says what the user can do.

The fragment prints such a word for a copy whose processes are not visible to the fragment.
"""


class DirectScheduler:
    """Runs copies as processes. It honours ``wall_time_s``, ignores ``memory_mb`` and ``gpus``, and refuses ``queue``.

    A copy that was killed, or has reached its wall time, is over when no process is left of its process group, its
    session and its descendants. Until then it is RUNNING and keeps its slot.

    Args:
        slots: The number of cores that one submission may use. A copy takes ``cpus`` of them, and one copy always
            runs. None means all cores of the machine.
        grace_s: Seconds between TERM, which asks the processes of a copy to end, and KILL.

    Raises:
        ConfigError: An option is invalid.
    """

    def __init__(self, slots: int | None = None, grace_s: int = 5) -> None:
        self._slots = None if slots is None else check_number("slots", slots, int, least=1)
        self._grace = check_number("grace_s", grace_s, int, least=0)

    def min_poll_interval(self) -> float:
        """Return 0: there is no batch system that listings could burden."""
        return 0.0

    def stages_own_files(self) -> bool:
        """Return False: the scheduler copies no files to nodes and back, because all copies run in one file system."""
        return False

    def submit_script(self, batch: Batch) -> str:
        """Return the fragment that starts the submission's runner, the process that starts the copies.

        Raises:
            UnsupportedSpecError: The resources name a queue.
        """
        if batch.resources.queue is not None:
            raise UnsupportedSpecError(
                f"queue {batch.resources.queue!r} was requested, and 'direct' has no queues: leave it None",
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
        """Return a native id for every copy: ``SUBMISSION_ID.INDEX``.

        Raises:
            SchedulerError: The runner could not be started. ``refused`` is True if there is no /proc: no job was
                started then.
        """
        if result.returncode != 0 and result.stdout.split()[-1:] == [b"refused"]:
            raise scheduler_error("'direct' could not start a runner", result, refused=True)
        if result.returncode != 0 or result.stdout.split()[-1:] != [b"started"]:
            raise scheduler_error("'direct' could not start a runner", result)
        return Queued(ids={index: f"{batch.submission_id}.{index}" for index in range(batch.copies)})

    def status_script(self) -> str:
        """Return the fragment that prints the state of each copy. The fragment starts no process per copy."""
        return _read("proc") + _read("locate") + _read("status")

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        """Return the status of each copy for which the fragment printed a state. The result lacks the other copies.

        Raises:
            SchedulerError: The fragment failed.
        """
        if result.returncode != 0:
            raise scheduler_error("'direct' could not list processes", result)
        return {native: _make_status(word, rest) for native, word, rest in _parse_lines(ids, result)}

    def kill_script(self) -> str:
        """Return the fragment that ends the processes of copies, and keeps waiting copies from starting."""
        return _read("proc") + _read("locate") + _read("kill", grace=self._grace, ending=_read("ending"))

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        """Return the outcome of the kill for each copy for which the fragment printed an outcome.

        The result lacks the other copies.

        Raises:
            SchedulerError: The fragment failed.
        """
        if result.returncode != 0:
            raise scheduler_error("'direct' could not end processes", result)
        return {native: _make_outcome(word, rest) for native, word, rest in _parse_lines(ids, result)}

    def list_script(self, submission_id: str) -> str:
        """Return the fragment that prints the number of copies if a submission has a runner.

        The runner is the process that starts the copies.
        """
        return _read("list", submission_id=submission_id)

    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        """Return the native id of every copy. The result is empty if the submission has no runner.

        The runner is the process that starts the copies.

        Raises:
            SchedulerError: The fragment failed.
        """
        match = re.fullmatch(rb"(?:([a-z0-9]+) ([0-9]{1,8})\n)?", result.stdout)
        if result.returncode != 0 or match is None:
            raise scheduler_error("'direct' could not find out whether there is a runner", result)
        return {index: f"{match[1].decode()}.{index}" for index in range(int(match[2] or 0))}


def _read(name: str, **values: str | int | None) -> str:
    return read_script(__file__, f"direct.{name}.sh", **values)


def _parse_lines(ids: Sequence[str], result: CommandResult) -> list[tuple[str, str, str]]:
    """Return the lines of the answer that are about these ids, each split into its id, its next word and its rest."""
    asked = frozenset(ids)
    split = [line.split(" ", 2) for line in result.stdout.decode("utf-8", "replace").splitlines()]
    return [(words[0], words[1], "".join(words[2:])) for words in split if len(words) > 1 and words[0] in asked]


def _make_status(word: str, rest: str) -> JobStatus:
    if word in _ELSEWHERE:
        native, evidence = _ELSEWHERE[word]
        return JobStatus(state=JobState.UNKNOWN, native=native.format(rest), evidence=evidence.format(rest))
    if word == "exited" and re.fullmatch("[0-9]{1,3}", rest):
        return _make_exited_status(int(rest))
    return _STATUSES.get(word) or JobStatus(state=JobState.UNKNOWN, native=word)


def _make_exited_status(code: int) -> JobStatus:
    state, reason = (JobState.FAILED, "exit_code") if code else (JobState.DONE, None)
    return JobStatus.model_validate({"state": state, "exit_code": code, "reason": reason, "native": "exited"})


def _make_outcome(word: str, rest: str) -> OpOutcome:
    if word == "ok":
        return OpOutcome(ok=True)
    _, detail = _ELSEWHERE.get(word, ("", f"{word} {{}}"))
    return OpOutcome(ok=False, reason="other", detail=detail.format(rest))
