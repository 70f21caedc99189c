"""Schedulers that confuse jobs if the queue uses a number again. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import re
from collections.abc import Mapping, Sequence

from intercede.contract import CommandResult, JobStatus, OpOutcome
from intercede.testing.gallery.schedulers.right import PlainQueue

_ID = re.compile(r"[0-9]+\.[0-9]+@[a-z][a-z0-9]{12}", re.ASCII)


class MatchesByNumber(PlainQueue):
    """Matches jobs in the listing by the number alone, not by the name."""

    caught_by = "IC-SCHEDULER-10"
    message_contains = (
        "parse_status to say nothing of job 17.0@a0123456789ab if its number is listed under another name"
    )

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        lines = (line.split() for line in self.read_output(result).splitlines())
        answer = {words[0]: self.make_status(*words[2:4]) for words in lines if len(words) > 2}
        return {job: answer[number] for job in ids if (number := _cut_number(job)) in answer and _ID.fullmatch(job)}


class ReportsKillsByNumber(PlainQueue):
    """Matches killed jobs in the answer by the number alone, not by the name."""

    caught_by = "IC-SCHEDULER-10"
    message_contains = "parse_kill to say nothing of job 17.0@a0123456789ab"

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        ended = {_cut_number(line) for line in self.read_output(result).splitlines() if line.endswith(" ends")}
        return {job: OpOutcome(ok=True) for job in ids if _cut_number(job) in ended and _ID.fullmatch(job)}


class KillsByNumber(PlainQueue):
    """Kills the job that has the number, without checking its name before."""

    caught_by = "IC-SCHEDULER-11"
    message_contains = "it runs 'plainq kill 17.0', though its queue lists this number under another name"

    def kill_script(self) -> str:
        ending = 'while read -r id; do plainq kill "${id%%@*}" </dev/null; done <"$IC_IDS"'
        return f'{ending}\nplainq list | while read -r number name _; do echo "$number@$name ends"; done'


class KillsAfterCheckingTheNumber(PlainQueue):
    """Kills the job that has the number, after checking only that the number exists."""

    caught_by = "IC-SCHEDULER-11"
    message_contains = "it runs 'plainq kill 17.0', though its queue lists this number under another name"

    def kill_script(self) -> str:
        look = 'plainq list | while read -r number _; do grep -q -e "^$number@" "$IC_IDS" || continue'
        return f'{look}\nplainq kill "$number" </dev/null && grep -e "^$number@" "$IC_IDS" | sed "s/$/ ends/"; done'


class FindsJobsOfAnyName(PlainQueue):
    """Returns every job in the queue from parse_list, whatever its name."""

    caught_by = "IC-SCHEDULER-11"
    message_contains = "list_script to find no job of b0123456789ab"

    def list_script(self, submission_id: str) -> str:
        return "plainq list --numbered"


def _cut_number(text: str) -> str:
    return text.partition("@")[0]
