"""Several clients of one root, and jobs that look finished."""

import asyncio
from pathlib import Path

from tests.batch.sites import finish, make_script_spec, wait_until

from intercede.batch import BatchBackend
from intercede.contract.job import JobHandle
from intercede.contract.scheduler import Scheduler
from intercede.contract.transport import Transport
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport


def make_client(root: Path, scheduler: Scheduler | None = None, transport: Transport | None = None) -> BatchBackend:
    """Return one more client of a root."""
    return BatchBackend(transport or LocalTransport(), scheduler or DirectScheduler(4, grace_s=1), root=str(root))


async def wait_for_file(path: Path) -> None:
    """Wait until a file exists."""
    await wait_until(lambda: asyncio.to_thread(path.exists), bool)


def get_submission(root: Path, handle: JobHandle) -> Path:
    """Return the directory of a job's submission."""
    return root / handle.job.partition(".")[0]


async def make_jobs(root: Path, backend: BatchBackend, copies: int, **files: str) -> list[JobHandle]:
    """Run one copy, and make its submission look as if it had many copies with these files."""
    handle = (await backend.submit(make_script_spec("true"))).handles[0]
    await finish(backend, [handle])
    place = get_submission(root, handle) / "copies"
    (place / "0" / "exit").unlink()
    for index in range(copies):
        (place / str(index)).mkdir(exist_ok=True)
        for name, text in files.items():
            (place / str(index) / name).write_text(text)
    submission_id = place.parent.name
    (place.parent / "natives").write_text("".join(f"{index} {submission_id}.{index}\n" for index in range(copies)))
    return [JobHandle(resource=handle.resource, job=f"{submission_id}.{index}") for index in range(copies)]
