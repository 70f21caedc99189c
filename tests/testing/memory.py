"""A backend that keeps its jobs in this process, and clauses to check it."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Self

from intercede.contract import (
    CopyVars,
    JobHandle,
    JobOutput,
    JobState,
    JobStatus,
    OpOutcome,
    Submission,
    SubmissionSpec,
)
from intercede.testing.model.clause import MUST, Clause
from intercede.testing.run.context import Check, Context
from intercede.testing.run.driver import open_backend

JOBS: dict[JobHandle, JobState] = {}
"""The jobs of the backend below."""


class Memory:
    """A backend that keeps its jobs in this process. A payload with the argument `wait` runs until it is killed."""

    async def __aenter__(self) -> Self:
        """Return the backend; nothing is opened."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave the backend; nothing is open."""

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Start one job. With the argument `lost`, raise after it was started."""
        handle = JobHandle(resource="memory", job=str(spec.tag))
        JOBS[handle] = JobState.RUNNING if "wait" in spec.arguments else JobState.DONE
        if "lost" in spec.arguments:
            raise ConnectionError("the answer was lost")
        return Submission(handles={0: handle})

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Return the state of each job."""
        return {each: JobStatus(state=JOBS.get(each, JobState.UNKNOWN)) for each in handles}

    async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """End the jobs."""
        JOBS.update(dict.fromkeys(handles, JobState.KILLED))
        return dict.fromkeys(handles, OpOutcome(ok=True))

    async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Forget the jobs that have ended."""
        return {each: self._purged(each) for each in handles}

    def _purged(self, handle: JobHandle) -> OpOutcome:
        if JOBS[handle] is JobState.RUNNING:
            return OpOutcome(ok=False, reason="running")
        del JOBS[handle]
        return OpOutcome(ok=True)

    async def find(self, tag: str) -> list[JobHandle]:
        """Return the job with a tag."""
        return [each for each in JOBS if each.job == tag]

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Mapping[JobHandle, JobOutput]:
        """Write the output of the job."""
        return dict.fromkeys(handles, JobOutput(ok=True, stdout=_write_output(dest)))


def _write_output(dest: Path) -> Path:
    dest.mkdir(parents=True)
    stdout = dest / "stdout"
    stdout.write_bytes(b"from the payload\xff")
    return stdout


def make_clauses(**checks: Check) -> dict[str, Clause]:
    """Return a clause for each check; a check named `after_x` depends on the check x."""
    ids = {name: f"IC-SUBMIT-{number:02}" for number, name in enumerate(checks, 1)}
    return {
        ids[name]: Clause(
            id=ids[name],
            title=f"{name}.",
            level=MUST,
            check=check,
            depends=(ids[name.removeprefix("after_")],) if name.startswith("after_") else (),
        )
        for name, check in checks.items()
    }


async def check_green(context: Context) -> None:
    """Check that a job gets a status."""
    async with open_backend(context) as backend:
        submission = await backend.submit(context.sh("exit 0"))
        statuses = await backend.wait_until_final(list(submission.handles.values()))
        context.expect(statuses, expected="a status", observed=statuses)


async def check_red(context: Context) -> None:
    """Find a subject at fault while its job runs."""
    async with open_backend(context) as backend:
        submission = await backend.submit(context.sh("exit 0", "wait"))
        context.expect(condition=False, expected="the moon", observed=submission)


async def check_lost_answer(context: Context) -> None:
    """Submit a job whose answer is lost."""
    async with open_backend(context) as backend:
        await backend.submit(context.sh("exit 0", "wait", "lost"))


async def check_broken(context: Context) -> None:
    """Raise an error of the check itself."""
    raise NotADirectoryError(context.make_token())


async def check_entering(context: Context) -> None:
    """Enter the subject and leave it."""
    async with open_backend(context):
        pass
