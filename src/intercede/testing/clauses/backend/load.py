"""IC-LOAD: a backend counts the unfinished jobs of its resource.

Other users submit jobs to the resource, too. So a check requires only that a count is not too low.
"""

import asyncio
from collections.abc import Sequence

from intercede.contract.job import JobCounts, JobHandle, JobState
from intercede.testing.clauses import clause
from intercede.testing.clauses.support import payloads
from intercede.testing.isolation.timeouts import Deadline
from intercede.testing.model.clause import MUST
from intercede.testing.run.answers import describe_status
from intercede.testing.run.context import CheckFailed, Context
from intercede.testing.run.driver import BackendDriver, open_backend

_COPIES = 3
_WAITING = frozenset({JobState.QUEUED, JobState.HELD})


def _sum_counts(counts: JobCounts) -> int:
    return counts.queued + counts.running


@clause(
    "IC-LOAD-01",
    title="Every unfinished job is counted, whichever instance submitted it.",
    level=MUST,
    capability="load",
    depends=("IC-STATUS-05", "IC-SHAPE-05", "IC-SUBMIT-03", "IC-LIFE-08"),
    seconds=180,
    hint=(
        "Counting the jobs that this instance submitted, instead of this user's jobs on the resource. A job that is "
        "accepted and not listed yet, or in a state that the count forgets: held, configuring, staging, suspended."
    ),
)
async def check_unfinished_jobs(context: Context) -> None:
    """Count jobs through the instance that submitted them, and through another instance.

    If a count is too low, repeat with longer jobs.
    """
    counted: list[str] = []
    async with open_backend(context) as backend, open_backend(context) as other:
        for seconds in payloads.growing_durations(context):
            handles = await backend.submit_jobs(context.sh(payloads.sleep_script(seconds)), _COPIES)
            here, there = await backend.get_counts(), await other.get_counts()
            if min(_sum_counts(here), _sum_counts(there)) >= _COPIES:
                return
            counted.append(f"{_describe_counts(here)}; {_describe_counts(there)} by another instance")
            await backend.wait_until_final(handles, within=_COPIES * seconds + 30)
    durations = payloads.growing_durations(context)
    expected = f"at least {_COPIES} jobs, right after submitting {_COPIES} payloads of {durations} seconds"
    raise CheckFailed(expected, f"the counts were {', then '.join(counted)}")


def _describe_counts(counts: JobCounts) -> str:
    return f"{counts.queued} queued and {counts.running} running"


@clause(
    "IC-LOAD-02",
    title="Jobs are counted by state: QUEUED and HELD ones as queued, RUNNING ones as running.",
    level=MUST,
    capability="load",
    depends=("IC-LOAD-01", "IC-STATUS-10"),
    seconds=180,
    hint=(
        "counts and status must map the resource's words to states in the same way: let one function serve both. "
        "Two numbers that were swapped. A held job is queued; a suspended, completing or staging one is running."
    ),
)
async def check_states(context: Context) -> None:
    """Query the states of jobs before and after the counts, and compare the states with the counts.

    If they differ, or if no job was RUNNING both times, repeat with longer jobs.
    """
    differences: list[str] = []
    async with open_backend(context) as backend:
        for seconds in payloads.growing_durations(context):
            handles = await backend.submit_jobs(context.sh(payloads.sleep_script(seconds)), _COPIES)
            first, _ = await _find_difference(backend, handles)
            status = await backend.wait_for_state(handles[0], JobState.RUNNING)
            second, ran = await _find_difference(backend, handles)
            if ran and not (first or second):
                return
            differences.append(
                first
                or second
                or f"no job was RUNNING all the time while counts answered, one is {describe_status(status)}"
            )
            await backend.wait_until_final(handles, within=_COPIES * seconds + 30)
    raise CheckFailed(
        "each job that stays in its state while counts answers to be counted in that state", "; ".join(differences)
    )


async def _find_difference(backend: BackendDriver, handles: Sequence[JobHandle]) -> tuple[str, int]:
    """Query the states of jobs before and after the counts. Return a description of the difference.

    The description is empty if no count is too low. Jobs whose state changed between the two queries are ignored. The
    second result is the number of jobs that were RUNNING in both queries.
    """
    before = await backend.get_statuses(handles)
    counts = await backend.get_counts()
    after = await backend.get_statuses(handles)
    both = list(zip(before, after, strict=True))
    waiting = sum(one.state in _WAITING and other.state in _WAITING for one, other in both)
    running = sum(one.state is other.state is JobState.RUNNING for one, other in both)
    if counts.queued >= waiting and counts.running >= running:
        return "", running
    return f"status reported {waiting} queued and {running} running, counts {_describe_counts(counts)}", running


@clause(
    "IC-LOAD-03",
    title="Ended jobs are not counted any more.",
    level=MUST,
    capability="load",
    depends=("IC-LOAD-01",),
    seconds=180,
    hint=(
        "Counting every job that has a record, until it is purged. A number that is kept on the instance and only "
        "ever grows. A caller that submits by these counts would stop, and never go on."
    ),
)
async def check_ended_jobs(context: Context) -> None:
    """Count jobs while they run, and then repeatedly after they have ended, until the count falls."""
    readings: list[int] = []
    async with open_backend(context) as backend:
        for seconds in payloads.growing_durations(context):
            handles = await backend.submit_jobs(context.sh(payloads.sleep_script(seconds)), _COPIES)
            readings.append(_sum_counts(await backend.get_counts()))
            await backend.wait_until_final(handles, within=_COPIES * seconds + 30)
            if await _has_fallen(context, backend, readings):
                return
    rounds = len(payloads.growing_durations(context))
    expected = f"the count to fall at some time around the end of {rounds} times {_COPIES} jobs"
    raise CheckFailed(expected, f"in {len(readings)} readings it only rose, from {readings[0]} to {readings[-1]}")


async def _has_fallen(context: Context, backend: BackendDriver, readings: list[int]) -> bool:
    """Poll the count for at most ten seconds. Return whether it was ever lower than an earlier count.

    A correct count may rise, since other users submit jobs, but it falls at some time.
    """
    patience = Deadline(10 * context.scale)
    while True:
        readings.append(_sum_counts(await backend.get_counts()))
        if readings[-1] < max(readings):
            return True
        if not patience.seconds_left:
            return False
        await asyncio.sleep(0.1)
