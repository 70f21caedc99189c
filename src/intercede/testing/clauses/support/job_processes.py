"""Processes that a job has started, as another job sees them."""

import asyncio

from intercede.contract.job import JobState, SubmissionSpec
from intercede.testing.run.context import CheckFailed, Context
from intercede.testing.run.driver import BackendDriver

__all__ = ["expect_none_left", "wait_until_seen"]

_LOOKS = 10
"""How often another job looks, at most."""


async def wait_until_seen(backend: BackendDriver, word: str) -> None:
    """Let other jobs look for processes with a word until two in a row see the same number, above one.

    On another node, or if jobs wait for each other, they see none; then they see none afterwards, either.
    """
    before = 0
    for _ in range(_LOOKS):
        control = await backend.submit_job(_describe_search(backend.context, word))
        status = await backend.wait_for_state(control, within=5, patient=False)
        if not status.state.final or (before > 1 and status.exit_code == before):
            return
        before = status.exit_code or 0
        await asyncio.sleep(0.1)


async def expect_none_left(backend: BackendDriver, word: str, expected: str) -> None:
    """Let other jobs look for processes with a word until there is none.

    Raises:
        CheckFailed: One is there still.
    """
    for _ in range(3):
        search = await backend.submit_job(_describe_search(backend.context, word))
        status = await backend.get_final_status(search)
        if status.state is JobState.DONE:
            return
        await asyncio.sleep(0.2)
    raise CheckFailed(expected, "another job found it among the processes of its machine")


def _describe_search(context: Context, word: str) -> SubmissionSpec:
    """Describe a job that exits with the number of processes that have a word among their arguments."""
    finder = f"[{word[0]}]{word[1:]}"  # the brackets keep it from finding itself
    return context.sh('exit "$(grep -l "$1" /proc/[0-9]*/cmdline 2>/dev/null | wc -l)"', finder)
