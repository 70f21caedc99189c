"""Schedulers whose fragments let a shell interpret data. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

from collections.abc import Sequence

from intercede.contract import Batch
from intercede.testing.gallery.schedulers.right import PlainQueue


class DoesNotQuote(PlainQueue):
    """Puts the queue into a fragment without quotes."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "it ran the command 'icpwned'"

    def quote(self, word: str) -> str:
        return word


class QuotesTwofold(PlainQueue):
    """Puts the queue into double quotes, in which a shell expands $."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "it ran the command 'icpwned'"

    def quote(self, word: str) -> str:
        return '"' + word.replace('"', '\\"') + '"'


class QuotesByHand(PlainQueue):
    """Puts the queue into single quotes, but the queue may contain a single quote."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "it ran the command 'icpwned'"

    def quote(self, word: str) -> str:
        return f"'{word}'"


class SplitsTheQueue(PlainQueue):
    """Uses a shell variable without quotes, so that a queue with a blank becomes two arguments."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "as many arguments"

    def submit_script(self, batch: Batch) -> str:
        return f"queue={self.quote(batch.resources.queue or 'all')}\nic_tool plainq submit --queue $queue sh ./wrapper"


class WritesHereDocuments(PlainQueue):
    """Puts the queue into a here-document in which a shell expands $."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "it ran the command 'icpwned'"

    def submit_script(self, batch: Batch) -> str:
        return f"cat >job <<EOF\nqueue = {batch.resources.queue}\nEOF\nic_tool plainq submit job"


class EndsHereDocuments(PlainQueue):
    """Puts the queue into a here-document, but the queue may contain the line that ends it."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "it ran the command 'icpwned'"

    def submit_script(self, batch: Batch) -> str:
        return f"cat >job <<'END_OF_JOB'\nqueue = {batch.resources.queue}\nEND_OF_JOB\nic_tool plainq submit job"


class EvaluatesIds(PlainQueue):
    """Puts ids into a command line for eval."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "it ran the command 'icpwned'"

    def kill_script(self) -> str:
        return 'eval "plainq kill $(tr "\\n" " " <"$IC_IDS")"'


class ExpandsIds(PlainQueue):
    """Loops over ids without quotes, so that a shell expands an id as a pattern."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "it expanded a pattern to the file"

    def status_script(self) -> str:
        return 'for id in $(cat "$IC_IDS"); do plainq list "$id"; done'


class TrustsSubmissionIds(PlainQueue):
    """Puts the submission id into a fragment without quotes."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "the submission id"

    def list_script(self, submission_id: str) -> str:
        return f"plainq list --name={submission_id}"


class TrustsCarriedNames(PlainQueue):
    """Puts the names of the files that it stages into a fragment without quotes."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "the carried name"

    def stages_own_files(self) -> bool:
        return True

    def make_options(self, batch: Batch) -> Sequence[str]:
        return [*super().make_options(batch), *(f"--carry={name}" for name in batch.carry_shared)]

    def quote(self, word: str) -> str:
        return word if word.startswith("--carry") else super().quote(word)


class LeavesAQuoteOpen(PlainQueue):
    """Has a fragment with an open quote, which no shell can parse."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "text that sh can parse"

    def kill_script(self) -> str:
        return super().kill_script() + " '"
