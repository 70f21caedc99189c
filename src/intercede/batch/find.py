"""Find the jobs of a tag, even if the scheduler's answer to a submission was lost."""

from intercede.batch.offload import offload_if_large
from intercede.batch.remote.api import load_script, write_call
from intercede.batch.remote.layout import Job
from intercede.batch.remote_jobs import RemoteJobs
from intercede.batch.submit import quote_tag

__all__ = ["find_jobs"]


async def find_jobs(remote: RemoteJobs, tag: str) -> list[Job]:
    """Return the jobs of every submission with this tag.

    This runs one remote command, and more if the answer to a submission was lost.
    """
    doubtful = sorted(remote.doubtful)
    fences = [write_call("_ic_fence", submission_id) for submission_id in doubtful]
    search = write_call("_ic_frame", "records", "_ic_call_with_tagged", quote_tag(tag), "_ic_print_copies")
    parts = [load_script("find"), "every_id=yes", *fences, search]
    snapshot = await remote.read_snapshot(await remote.ask((), *parts, calls=""))
    remote.doubtful.difference_update(doubtful)
    unnamed = {
        job.submission_id for job, record in snapshot.records.items() if record.native is None and not record.gone
    }
    if await remote.learn_ids(unnamed, fence=True):
        snapshot = await remote.read_snapshot(await remote.ask(snapshot.records, *parts, calls=""))
    records = snapshot.records
    return await offload_if_large(len(records), lambda: [job for job in sorted(records) if records[job].was_accepted])
