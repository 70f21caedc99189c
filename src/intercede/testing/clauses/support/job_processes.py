"""Jobs that search for the processes of another job."""

import asyncio

from intercede.contract.job import JobState, SubmissionSpec
from intercede.testing.run.context import CheckFailed, Context
from intercede.testing.run.driver import BackendDriver

__all__ = ["expect_none_left", "wait_until_seen"]

_SEARCHES = 10
"""The most jobs that search for processes."""


async def wait_until_seen(backend: BackendDriver, word: str) -> None:
    """Let jobs search for processes with a word in their arguments, until two in a row find the same number above one.

    A job on another node, or one that waits until the other job has ended, finds none. It also finds none afterwards.
    """
    before = 0
    for _ in range(_SEARCHES):
        control = await backend.submit_job(_describe_search(backend.context, word))
        status = await backend.wait_for_state(control, within=5, patient=False)
        if not status.state.final or (before > 1 and status.exit_code == before):
            return
        before = status.exit_code or 0
        await asyncio.sleep(0.1)


async def expect_none_left(backend: BackendDriver, word: str, expected: str) -> None:
    """Let up to three jobs search for processes with a word in their arguments, until one finds none.

    Raises:
        CheckFailed: Each of them found such a process.
    """
    for _ in range(3):
        search = await backend.submit_job(_describe_search(backend.context, word))
        status = await backend.get_final_status(search)
        if status.state is JobState.DONE:
            return
        await asyncio.sleep(0.2)
    raise CheckFailed(expected, "another job found it among the processes of its machine")


def _describe_search(context: Context, word: str) -> SubmissionSpec:
    """Describe a job that exits with the number of processes that have a word in their arguments."""
    finder = f"[{word[0]}]{word[1:]}"  # with the brackets, grep does not find its own process
    return context.sh('exit "$(grep -l "$1" /proc/[0-9]*/cmdline 2>/dev/null | wc -l)"', finder)
