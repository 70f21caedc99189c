"""Schedulers whose methods have a wrong shape, or without recordings. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

from collections.abc import Mapping, Sequence

from intercede.contract import Batch, CommandResult, JobStatus, OpOutcome, Queued
from intercede.testing.gallery.schedulers.right import PlainQueue


class CannotFindSubmissions(PlainQueue):
    """Has no list_script and no parse_list."""

    caught_by = "IC-SCHEDULER-08"
    message_contains = "list_script is missing"

    list_script = parse_list = None  # type: ignore[assignment]  # this is the intended mistake


class AnswersLater(PlainQueue):
    """Has a parse_status that is async."""

    caught_by = "IC-SCHEDULER-08"
    message_contains = "parse_status is async"

    async def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:  # type: ignore[override]  # this is the intended mistake
        return super().parse_status(ids, result)


class WantsToKnowMore(PlainQueue):
    """Has a parse_submit with a required parameter that is not in the contract."""

    caught_by = "IC-SCHEDULER-08"
    message_contains = "parse_submit"

    def parse_submit(self, batch: Batch, result: CommandResult, when: float) -> Queued:  # type: ignore[override]  # this is the intended mistake
        return super().parse_submit(batch, result)


class ShipsNoRecordings:
    """Comes without recordings, so that no check can show that it is right."""

    caught_by = "IC-SCHEDULER-09"
    message_contains = "there are none"

    def stages_own_files(self) -> bool:
        return False

    def submit_script(self, batch: Batch) -> str:
        return PlainQueue().submit_script(batch)

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        return PlainQueue().parse_submit(batch, result)

    def status_script(self) -> str:
        return PlainQueue().status_script()

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        return PlainQueue().parse_status(ids, result)

    def kill_script(self) -> str:
        return PlainQueue().kill_script()

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        return PlainQueue().parse_kill(ids, result)

    def list_script(self, submission_id: str) -> str:
        return PlainQueue().list_script(submission_id)

    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        return PlainQueue().parse_list(result)
