"""Schedulers whose fragments let the shell interpret data."""

# ruff: noqa: D102 -- the class says what its methods do otherwise

from collections.abc import Sequence

from intercede.contract import Batch
from intercede.testing.gallery.schedulers.right import PlainQueue


class DoesNotQuote(PlainQueue):
    """The queue is in the fragment, unquoted."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "it ran the command 'icpwned'"

    def quoted(self, word: str) -> str:
        return word


class QuotesTwofold(PlainQueue):
    """The queue is in double quotes, in which a dollar still has a meaning."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "it ran the command 'icpwned'"

    def quoted(self, word: str) -> str:
        return '"' + word.replace('"', '\\"') + '"'


class QuotesByHand(PlainQueue):
    """The queue is in single quotes, and may hold one itself."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "it ran the command 'icpwned'"

    def quoted(self, word: str) -> str:
        return f"'{word}'"


class SplitsTheQueue(PlainQueue):
    """A variable without quotes around it: a queue of two words becomes two arguments."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "as many arguments"

    def submit_script(self, batch: Batch) -> str:
        return f"queue={self.quoted(batch.resources.queue or 'all')}\nic_tool plainq submit --queue $queue sh ./wrapper"


class WritesHereDocuments(PlainQueue):
    """The queue is in a here-document in which the shell expands."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "it ran the command 'icpwned'"

    def submit_script(self, batch: Batch) -> str:
        return f"cat >job <<EOF\nqueue = {batch.resources.queue}\nEOF\nic_tool plainq submit job"


class EndsHereDocuments(PlainQueue):
    """The here-document does not expand, but a queue can hold its last line."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "it ran the command 'icpwned'"

    def submit_script(self, batch: Batch) -> str:
        return f"cat >job <<'END_OF_JOB'\nqueue = {batch.resources.queue}\nEND_OF_JOB\nic_tool plainq submit job"


class EvaluatesIds(PlainQueue):
    """Puts the ids into a command line that is evaluated."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "it ran the command 'icpwned'"

    def kill_script(self) -> str:
        return 'eval "plainq kill $(tr "\\n" " " <"$IC_IDS")"'


class ExpandsIds(PlainQueue):
    """A loop without quotes: the id of an array's element is a pattern for files."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "it expanded a pattern to the file"

    def status_script(self) -> str:
        return 'for id in $(cat "$IC_IDS"); do plainq list "$id"; done'


class TrustsSubmissionIds(PlainQueue):
    """The submission id is in the fragment, unquoted."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "the submission id"

    def list_script(self, submission_id: str) -> str:
        return f"plainq list --name={submission_id}"


class TrustsCarriedNames(PlainQueue):
    """Stages files itself, and does not quote their names."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "the carried name"

    def stages_own_files(self) -> bool:
        return True

    def options(self, batch: Batch) -> Sequence[str]:
        return [*super().options(batch), *(f"--carry={name}" for name in batch.carry_shared)]

    def quoted(self, word: str) -> str:
        return word if word.startswith("--carry") else super().quoted(word)


class LeavesAQuoteOpen(PlainQueue):
    """A shell cannot parse its fragment to the end."""

    caught_by = "IC-SCHEDULER-03"
    message_contains = "text that sh can parse"

    def kill_script(self) -> str:
        return super().kill_script() + " '"
