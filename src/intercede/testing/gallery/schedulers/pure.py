"""Schedulers whose methods depend on more than their arguments. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from intercede.contract import Batch, CommandResult, JobStatus, Queued
from intercede.testing.gallery.schedulers.right import PlainQueue


class ReadsItsSettings(PlainQueue):
    """Reads a file of this machine at each submission."""

    caught_by = "IC-SCHEDULER-01"
    message_contains = "open /etc/hosts"

    def make_options(self, batch: Batch) -> Sequence[str]:
        return [*super().make_options(batch), f"--site={len(Path('/etc/hosts').read_bytes())}"]


class AsksTheEnvironment(PlainQueue):
    """Uses an environment variable of this process in a fragment."""

    caught_by = "IC-SCHEDULER-01"
    message_contains = "a look at os.environ"

    def make_options(self, batch: Batch) -> Sequence[str]:
        return [*super().make_options(batch), f"--account={os.environ.get('LOGNAME', 'nobody')}"]


class AsksTheClock(PlainQueue):
    """Uses this machine's clock in a fragment."""

    caught_by = "IC-SCHEDULER-01"
    message_contains = "a call of time.time"

    def status_script(self) -> str:
        return f"{super().status_script()} --since={int(time.time()) - 86400}"


class NamesJobsByDate(PlainQueue):
    """Puts today's date into a fragment, so that a submission of yesterday is not found."""

    caught_by = "IC-SCHEDULER-01"
    message_contains = "datetime.now"

    def list_script(self, submission_id: str) -> str:
        return f"{super().list_script(submission_id)} --day={datetime.now():%F}"  # noqa: DTZ005 -- this is the intended mistake


class RunsACommand(PlainQueue):
    """Runs a command on this machine instead of in a fragment."""

    caught_by = "IC-SCHEDULER-01"
    message_contains = "subprocess.Popen"

    def status_script(self) -> str:
        subprocess.run(["true"], check=False)
        return super().status_script()


class OrdersByHash(PlainQueue):
    """Keeps options in a set, so that their order differs between processes."""

    caught_by = "IC-SCHEDULER-01"
    message_contains = "the same answer from submit_script"

    def make_options(self, batch: Batch) -> Sequence[str]:
        return list(
            {*super().make_options(batch), "--quiet", "--requeue", "--exclusive", "--hold", "--wait", "--export"}
        )


class RemembersAnswers(PlainQueue):
    """Keeps the first status of a job and repeats it."""

    caught_by = "IC-SCHEDULER-01"
    message_contains = "asked again"
    also_red = ("IC-SCHEDULER-06",)

    def __init__(self) -> None:
        self._told: dict[str, JobStatus] = {}

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        self._told |= super().parse_status(ids, result)
        return {job: self._told[job] for job in ids if job in self._told}


class NumbersSubmissions(PlainQueue):
    """Counts its submissions and puts the number into the fragment."""

    caught_by = "IC-SCHEDULER-01"
    message_contains = "the same answer from submit_script"

    def __init__(self) -> None:
        self._submissions = 0

    def make_options(self, batch: Batch) -> Sequence[str]:
        self._submissions += 1
        return [*super().make_options(batch), f"--priority={self._submissions}"]


class DropsACopy(PlainQueue):
    """Drops a copy if the answer to a submission has no line for it."""

    caught_by = "IC-SCHEDULER-02"
    message_contains = "for each of 2 copies once"

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        lines = list(self.parse_lines(self.read_output(result)))
        return super().parse_submit(batch.model_copy(update={"copies": min(len(lines), batch.copies)}), result)


class AnswersForTooMany(PlainQueue):
    """Returns more ids than there are copies if the answer has more lines."""

    caught_by = "IC-SCHEDULER-02"
    message_contains = "for each of 2 copies once"

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        lines = max(1, len(list(self.parse_lines(self.read_output(result)))))
        return super().parse_submit(batch.model_copy(update={"copies": max(lines, batch.copies)}), result)


class OneIdForAll(PlainQueue):
    """Gives all copies the same id."""

    caught_by = "IC-SCHEDULER-02"
    message_contains = "an id of its own"
    also_red = ("IC-SCHEDULER-07",)

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        queued = super().parse_submit(batch, result)
        return Queued(ids=dict.fromkeys(range(batch.copies), min(queued.ids.values())))
