"""Ending jobs: the request is written down, the scheduler ends them, and what it did is read back."""

from collections.abc import Collection, Mapping

from intercede.batch.offload import offload_if_large
from intercede.batch.parsing import parsing
from intercede.batch.records import LIVE
from intercede.batch.remote.api import call, text_of
from intercede.batch.remote.layout import Job
from intercede.batch.remote_jobs import RemoteJobs, frame_or_none
from intercede.batch.snapshot import Snapshot
from intercede.contract.job import OpOutcome

__all__ = ["kill_jobs"]


async def kill_jobs(remote: RemoteJobs, jobs: Collection[Job]) -> dict[Job, OpOutcome]:
    """End jobs: one command, and more if native ids have to be read first."""
    scheduler = remote.scheduler
    ending = call("_ic_end_copies", scheduler.kill_script(), scheduler.status_script())
    answer = await remote.ask(jobs, text_of("kill"), ending)
    snapshot = await remote.read_snapshot(answer)
    if await remote.learn_ids(snapshot.unnamed):
        answer = await remote.ask(jobs, text_of("kill"), ending)
        snapshot = await remote.read_snapshot(answer)
    natives = [record.native for record in snapshot.records.values() if record.native]
    frame = frame_or_none(answer, "kill")
    outcomes: Mapping[str, OpOutcome] = {}
    if frame is not None:
        with parsing(scheduler, "parse_kill", frame):
            outcomes = await offload_if_large(len(jobs), scheduler.parse_kill, natives, frame)
    return await offload_if_large(len(jobs), lambda: {job: _outcome_of(snapshot, job, outcomes) for job in jobs})


def _outcome_of(snapshot: Snapshot, job: Job, outcomes: Mapping[str, OpOutcome]) -> OpOutcome:
    record = snapshot.records[job]
    if record.gone:
        return OpOutcome(ok=False, reason="unknown", detail="nothing of it is there")
    if record.over:
        return OpOutcome(ok=True)
    if record.native is None:
        return OpOutcome(ok=False, reason="other", detail="nothing there tells what the scheduler calls it: ask again")
    if record.native in outcomes:
        return outcomes[record.native]
    status = snapshot.verdict(job)
    if status.state in LIVE:
        return OpOutcome(ok=False, reason="other", detail=f"the scheduler did not say that it will end; {status.state}")
    return OpOutcome(ok=True)
