"""A scheduler whose ids are only numbers, with recordings of that form."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import re
from collections.abc import Mapping, Sequence

from intercede.contract import Batch, CommandResult, JobStatus, Queued
from intercede.testing.gallery.schedulers.right import PlainQueue


class KnowsJobsByNumber(PlainQueue):
    """Uses the queue's number as the job id, which another job gets after the queue restarts."""

    caught_by = "IC-SCHEDULER-10"
    message_contains = "'17.0', which another job gets when the queue counts from the start again"

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        queued = super().parse_submit(batch, result)
        return queued.model_copy(update={"ids": {index: _cut_number(job) for index, job in queued.ids.items()}})

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        lines = (line.split() for line in self.read_output(result).splitlines())
        answer = {words[0]: self.make_status(*words[2:4]) for words in lines if len(words) > 2}
        return {job: answer[job] for job in ids if job in answer}

    def kill_script(self) -> str:
        return 'while read -r id; do plainq kill "$id" </dev/null && echo "$id ends"; done <"$IC_IDS"'

    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        return {index: _cut_number(job) for index, job in super().parse_list(result).items()}


def _cut_number(job: str) -> str:
    return re.sub("@.*", "", job)
