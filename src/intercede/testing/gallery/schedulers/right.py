"""A small scheduler that keeps the contract, and unusual ones, to find checks that are too strict.

The queue is ``plainq.sh``. It numbers jobs, and begins to count again when it restarts. It lists one line for each job:
its number, its name, and ``waiting``, ``held``, ``running``, ``killed`` or ``done N``. An id is the number and the
name, as ``17.0@a0123456789ab``, because the number alone may be used again.
"""

# ruff: noqa: D102 -- the contract describes the methods

import re
import shlex
import time
from collections import UserDict
from collections.abc import Iterator, Mapping, Sequence

from intercede import registry
from intercede.contract import (
    Batch,
    CommandResult,
    CopyFailure,
    JobState,
    JobStatus,
    LimitError,
    OpOutcome,
    Queued,
    Scheduler,
    SchedulerError,
    ToolEnvironment,
    UnsupportedSpecError,
)

_STATES = {"waiting": JobState.QUEUED, "held": JobState.HELD, "running": JobState.RUNNING, "killed": JobState.KILLED}
_ID = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}", re.ASCII)
_KILL = """\
listed=$(plainq list) || exit
printf '%s\\n' "$listed" | while read -r number name _; do
    if grep -qxF -e "$number@$name" "$IC_IDS" && plainq kill "$number" </dev/null; then
        printf '%s ends\\n' "$number@$name"
    fi
done
"""
"""The fragment that kills. It compares the name as well, because another job may have got the number."""


class PlainQueue:
    """A small scheduler for the queue plainq.sh. It keeps the contract."""

    def stages_own_files(self) -> bool:
        return False

    def tool_environment(self) -> ToolEnvironment:
        return ToolEnvironment(unset=("PLAINQ_*",), keep=("PLAINQ_ACCOUNT",))

    def submit_script(self, batch: Batch) -> str:
        words = [
            "plainq",
            "submit",
            f"--name={batch.submission_id}",
            f"--copies={batch.copies}",
            *self.make_options(batch),
        ]
        return f"(trap - HUP INT TERM PIPE; ic_tool {' '.join(map(self.quote, words))} sh ./wrapper)"

    def make_options(self, batch: Batch) -> Sequence[str]:
        asked = batch.resources
        return [f"--cpus={asked.cpus}", *([f"--queue={asked.queue}"] if asked.queue else [])]

    def quote(self, word: str) -> str:
        return shlex.quote(word)

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        lines = dict(self.parse_lines(self.read_output(result)))
        full = CopyFailure(reason="the queue is full", retryable=True)
        refused = {index: full for index, word in lines.items() if word == "full"}
        taken = {index: word for index, word in lines.items() if word != "full" and self.is_valid(word)}
        ids = {index: f"{word}@{batch.submission_id}" for index, word in taken.items()}
        if sorted([*ids, *refused]) != list(range(batch.copies)) or len(set(ids.values())) != len(ids):
            raise SchedulerError(f"plainq did not answer for each of {batch.copies} copies")
        if not ids:
            raise LimitError("the queue is full")
        return Queued(ids=ids, refused=refused)

    def is_valid(self, word: str) -> bool:
        return _ID.fullmatch(word) is not None

    def status_script(self) -> str:
        return "plainq list"

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        lines = (line.split() for line in self.read_output(result).splitlines())
        answer = {f"{words[0]}@{words[1]}": self.make_status(*words[2:4]) for words in lines if len(words) > 2}
        return {job: answer[job] for job in ids if job in answer}

    def make_status(self, word: str, code: str = "") -> JobStatus:
        if word == "done" and re.fullmatch("[0-9]{1,3}", code, re.ASCII):
            state = JobState.FAILED if int(code) else JobState.DONE
            return JobStatus(state=state, exit_code=int(code), native=word)
        return JobStatus(state=_STATES.get(word, JobState.UNKNOWN), native=word)

    def kill_script(self) -> str:
        return _KILL

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        ok = {line.removesuffix(" ends") for line in self.read_output(result).splitlines() if line.endswith(" ends")}
        return {job: OpOutcome(ok=True) for job in ids if job in ok}

    def list_script(self, submission_id: str) -> str:
        return f"plainq list --numbered --name={self.quote(submission_id)}"

    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        lines = re.finditer(
            r"^([0-9]{1,7}) (\S+) ([a-z][a-z0-9]{12})$", self.read_output(result), re.ASCII | re.MULTILINE
        )
        return {int(each[1]): f"{each[2]}@{each[3]}" for each in lines if self.is_valid(each[2])}

    def parse_lines(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield the index of each copy in an answer, with the text that follows it."""
        yield from (
            (int(each[1]), each[2]) for each in re.finditer(r"^([0-9]{1,7}) (\S+)$", text, re.ASCII | re.MULTILINE)
        )

    def read_output(self, result: CommandResult) -> str:
        """Return the output of the queue's command."""
        if result.returncode or b"plainq is down" in result.stderr:
            raise SchedulerError("plainq failed", returncode=result.returncode, retryable=True)
        return result.stdout.decode("utf-8", "replace")


class Direct:
    """Makes the built-in scheduler ``direct``, which chooses ids itself and accepts no queue."""

    def __new__(cls) -> Scheduler:  # type: ignore[misc]  # a class, as everything in the gallery is
        return registry.scheduler("intercede:direct")


class _Backwards(UserDict[str, JobStatus]):
    """A mapping that is not a dict and iterates in reverse order."""

    def __iter__(self) -> Iterator[str]:
        return reversed(list(self.data))


class DifferentFragments(PlainQueue):
    """Keeps the contract with other mappings, lazy imports, more parameters, and a here-document."""

    def __init__(self, submit_arguments: Sequence[str] = ()) -> None:
        self.submit_arguments = submit_arguments

    def make_options(self, batch: Batch) -> Sequence[str]:
        import colorsys  # noqa: PLC0415 -- a check must allow a lazy import

        limit = time.strftime("%H:%M:%S", time.gmtime((batch.resources.wall_time_s or 60) % 86400))
        colour = colorsys.rgb_to_hsv(0.2, 0.4, 0.4)[1]
        return [*super().make_options(batch), f"--limit={limit}", f"--colour={colour}", *self.submit_arguments]

    def parse_status(
        self,
        ids: Sequence[str],
        result: CommandResult,
        verbose: bool = False,  # noqa: FBT001, FBT002 -- a check must allow this
    ) -> Mapping[str, JobStatus]:
        return _Backwards(super().parse_status(ids, result))

    def status_script(self) -> str:
        return 'ids=$(tr "\\n" , <"$IC_IDS")\nplainq list --format=- "$ids" <<\'EOF\'\nid name state code\nEOF'


class Strict(PlainQueue):
    """Refuses unusual names of queues, and raises if it does not understand a line of an answer."""

    def submit_script(self, batch: Batch) -> str:
        queue = batch.resources.queue
        if queue is not None and not re.fullmatch("[a-z]+", queue):
            raise UnsupportedSpecError("a queue is a word of small letters", field="resources.queue", value=queue)
        return super().submit_script(batch)

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        if any(len(line.split()) not in {3, 4} for line in self.read_output(result).splitlines()):
            raise SchedulerError("a line of plainq's answer was not understood")
        return super().parse_status(ids, result)
