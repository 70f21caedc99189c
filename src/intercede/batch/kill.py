"""Kill jobs: record that a kill was requested, have the scheduler end the jobs, and read their states."""

from collections.abc import Collection, Mapping

from intercede.batch.offload import offload_if_large
from intercede.batch.parsing import convert_parser_errors
from intercede.batch.remote.api import load_script, write_call
from intercede.batch.remote.layout import Job
from intercede.batch.remote_jobs import RemoteJobs, find_frame
from intercede.batch.snapshot import Snapshot
from intercede.contract.job import OpOutcome

__all__ = ["kill_jobs"]


async def kill_jobs(remote: RemoteJobs, jobs: Collection[Job]) -> dict[Job, OpOutcome]:
    """End jobs, and return the outcome of the kill for each job.

    This runs one remote command. If native ids are not recorded yet, two or three more commands read the native ids and
    kill again.
    """
    scheduler = remote.scheduler
    ending = write_call("_ic_end_copies", scheduler.kill_script(), scheduler.status_script())
    answer = await remote.ask(jobs, load_script("kill"), ending)
    snapshot = await remote.read_snapshot(answer)
    if await remote.learn_ids(snapshot.unnamed_submissions):
        answer = await remote.ask(jobs, load_script("kill"), ending)
        snapshot = await remote.read_snapshot(answer)
    natives = [record.native for record in snapshot.records.values() if record.native]
    frame = find_frame(answer, "kill")
    outcomes: Mapping[str, OpOutcome] = {}
    if frame is not None:
        with convert_parser_errors(scheduler, "parse_kill", frame):
            outcomes = await offload_if_large(len(jobs), scheduler.parse_kill, natives, frame)
    return await offload_if_large(len(jobs), lambda: {job: _get_outcome(snapshot, job, outcomes) for job in jobs})


def _get_outcome(snapshot: Snapshot, job: Job, outcomes: Mapping[str, OpOutcome]) -> OpOutcome:
    record = snapshot.records[job]
    if record.gone:
        return OpOutcome(ok=False, reason="unknown", detail="there are no files of the job")
    if record.is_over:
        return OpOutcome(ok=True)
    if record.native is None:
        return OpOutcome(ok=False, reason="other", detail="its native id is not recorded yet: try again")
    if record.native in outcomes:
        return outcomes[record.native]
    listed = snapshot.listing.get(record.native)
    if listed is not None and not listed.state.final:  # UNKNOWN does not confirm the end: the job may still run
        return OpOutcome(
            ok=False, reason="other", detail=f"the scheduler did not confirm the kill; the job is {listed.state}"
        )
    return OpOutcome(ok=True)
