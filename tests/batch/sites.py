"""Roots to run jobs in, specifications, and functions that wait for jobs."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tests.prefixed import Prefixed, set_variables

from intercede.batch import BatchBackend
from intercede.contract.job import (
    CopyFailure,
    JobHandle,
    JobState,
    JobStatus,
    OutputMember,
    OutputSpec,
    SubmissionSpec,
)
from intercede.contract.scheduler import Batch, Queued
from intercede.contract.transport import ByteSink, CommandResult
from intercede.schedulers.direct import DirectScheduler

T = TypeVar("T")


SECONDS = 30


class Counting(Prefixed):
    """The transport local with variables of its own. It counts how many commands run at once."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(*set_variables(environment or {}))
        self._out = 0
        self.most_out = 0

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run a command, and count it while it runs."""
        self._out += 1
        self.most_out = max(self.most_out, self._out)
        try:
            return await super().run(argv, stdin=stdin, stdout=stdout)
        finally:
            self._out -= 1


class Chunky(DirectScheduler):
    """A scheduler that reports ids only in its own words, as a batch system does, and refuses the last copy."""

    def submit_script(self, batch: Batch) -> str:
        """Queue all but the last."""
        fewer = batch.model_copy(update={"copies": batch.copies - 1})
        return (super().submit_script(fewer) if fewer.copies else "echo started") + "\nrm -f natives\n"

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Return the ids, and refuse the last copy for a limit."""
        taken = super().parse_submit(batch, result).ids
        refused = {batch.copies - 1: CopyFailure(reason="over a limit", retryable=True)}
        return Queued(ids={index: taken[index] for index in range(batch.copies - 1)}, refused=refused)


class Site:
    """A root, and backends that share it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dest = root.parent / "dest"

    def backend(self, transport: Counting | None = None, *, slots: int = 4, grace_s: int = 1) -> BatchBackend:
        """Return a new backend, which is not entered."""
        return BatchBackend(transport or Counting(), DirectScheduler(slots, grace_s), root=str(self.root))

    def directory(self, handle: JobHandle) -> Path:
        """Return the directory of a copy."""
        submission_id, _, index = handle.job.partition(".")
        return self.root / submission_id / "copies" / index


async def wait_until(look: Callable[[], Awaitable[T]], enough: Callable[[T], bool]) -> T:
    """Call a function until its answer is good enough, for a limited time."""
    async with asyncio.timeout(SECONDS):
        while not enough(answer := await look()):  # noqa: ASYNC110 -- processes set no event
            await asyncio.sleep(0.02)
    return answer


async def finish(backend: BatchBackend, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
    """Wait until all jobs are final, and return their statuses."""
    return await wait_until(
        lambda: backend.status(handles), lambda told: all(each.state.final for each in told.values())
    )


async def wait_for_state(backend: BatchBackend, handle: JobHandle, state: JobState) -> None:
    """Wait until a job is in a state."""
    await wait_until(lambda: backend.status([handle]), lambda told: told[handle].state is state)


def make_script_spec(script: str, *arguments: str, **fields: object) -> SubmissionSpec:
    """Return a specification that runs a script."""
    return SubmissionSpec.model_validate({"executable": "sh", "arguments": ("-c", script, "sh", *arguments), **fields})


def make_outputs(*some: str, include_unlisted: bool = False) -> OutputSpec:
    """Return the outputs to fetch."""
    return OutputSpec(members=tuple(OutputMember(pattern=each) for each in some), include_unlisted=include_unlisted)


async def read_file(path: Path) -> str:
    """Return the text of a file, or an empty text if it does not exist."""
    return await asyncio.to_thread(lambda: path.read_text() if path.exists() else "")
