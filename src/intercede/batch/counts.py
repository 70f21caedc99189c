"""Count the unfinished jobs of every submission in the root."""

from intercede.batch.records import LIVE
from intercede.batch.remote.api import load_script
from intercede.batch.remote_jobs import RemoteJobs
from intercede.contract.job import JobCounts, JobState

__all__ = ["count_jobs"]


async def count_jobs(remote: RemoteJobs) -> JobCounts:
    """Count the queued and the running jobs.

    This runs one remote command, and more if native ids must be read first.
    """
    every = f"{load_script('find')}\n{load_script('counts')}"
    snapshot = await remote.read_snapshot(await remote.ask((), remote.status_part, calls=every))
    if await remote.learn_ids(snapshot.unnamed_submissions):
        snapshot = await remote.read_snapshot(await remote.ask(snapshot.records, remote.status_part, calls=every))
    states = [snapshot.get_status(job).state for job in snapshot.records]
    running = states.count(JobState.RUNNING)
    return JobCounts(queued=sum(state in LIVE for state in states) - running, running=running)
