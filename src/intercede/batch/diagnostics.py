"""Show the output that jobs have written so far."""

from collections.abc import Collection

from intercede.batch.remote.api import load_script
from intercede.batch.remote.layout import Job
from intercede.batch.remote_jobs import RemoteJobs
from intercede.contract.job import Diagnostics

__all__ = ["show_output"]

_MOST_SHOWN = 65536


async def show_output(remote: RemoteJobs, jobs: Collection[Job]) -> dict[Job, Diagnostics]:
    """Return the last 64 KiB of each job's stdout, followed by the last 64 KiB of the job's stderr.

    This runs one remote command.
    """
    answer = await remote.ask(jobs, load_script("diagnostics"), f"most={_MOST_SHOWN}", "_ic_each _ic_show_output")
    names = {job: f"{job.submission_id}.{job.copy}" for job in jobs}
    data = {job: answer.get_frame(name).stdout for job, name in names.items() if name in answer}
    return {job: Diagnostics(text=data.get(job, b"").decode("utf-8", "replace")) for job in jobs}
