"""Counting what is not over, of every submission in the root."""

from intercede.batch.records import LIVE
from intercede.batch.remote.api import text_of
from intercede.batch.remote_jobs import RemoteJobs
from intercede.contract.job import JobCounts, JobState

__all__ = ["count_jobs"]


async def count_jobs(remote: RemoteJobs) -> JobCounts:
    """Count them: one command, and more if native ids have to be read first."""
    every = f"{text_of('find')}\n{text_of('counts')}"
    snapshot = await remote.read_snapshot(await remote.ask((), remote.status_part, calls=every))
    if await remote.learn_ids(snapshot.unnamed):
        snapshot = await remote.read_snapshot(await remote.ask(snapshot.records, remote.status_part, calls=every))
    states = [snapshot.verdict(job).state for job in snapshot.records]
    running = states.count(JobState.RUNNING)
    return JobCounts(queued=sum(state in LIVE for state in states) - running, running=running)
