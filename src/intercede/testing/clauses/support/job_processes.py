"""Jobs that search for the processes of another job."""

import asyncio

from intercede.contract.job import JobState, SubmissionSpec
from intercede.testing.run.context import CheckFailed, Context
from intercede.testing.run.driver import BackendDriver

__all__ = ["expect_none_left", "wait_until_seen"]

_SEARCHES = 10
"""The maximum number of jobs that are started to search for processes."""


async def wait_until_seen(backend: BackendDriver, word: str) -> None:
    """Let jobs search for processes that have a word in their arguments, until the processes are seen.

    The processes are seen if two consecutive jobs find the same number of processes, at least two. The number of
    searches is limited, because a search on another node finds no process. The search also stops if a job does not end
    in time, because that job may start only after the processes have ended.
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
    """Let up to three jobs search for processes with a word in their arguments, until one job finds no process.

    Raises:
        CheckFailed: Each job found such a process.
    """
    for _ in range(3):
        search = await backend.submit_job(_describe_search(backend.context, word))
        status = await backend.get_final_status(search)
        if status.state is JobState.DONE:
            return
        await asyncio.sleep(0.2)
    raise CheckFailed(expected, "another job found it among the processes of its machine")


def _describe_search(context: Context, word: str) -> SubmissionSpec:
    """Return the specification of a job whose exit code is the number of processes with a word in their arguments."""
    finder = f"[{word[0]}]{word[1:]}"  # with the brackets, grep does not find its own process
    return context.sh('exit "$(grep -l "$1" /proc/[0-9]*/cmdline 2>/dev/null | wc -l)"', finder)
