"""What tests of BatchBackend share: a place to run jobs, waiting for them, and specifications."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tests.prefixed import Prefixed, variables

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
    """The transport local, with an environment, that counts how many commands are under way."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(*variables(environment or {}))
        self._out = 0
        self.most_out = 0

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run it."""
        self._out += 1
        self.most_out = max(self.most_out, self._out)
        try:
            return await super().run(argv, stdin=stdin, stdout=stdout)
        finally:
            self._out -= 1


class Chunky(DirectScheduler):
    """Like a batch system: it tells ids in words of its own only, and refuses the last copy."""

    def submit_script(self, batch: Batch) -> str:
        """Queue all but the last."""
        fewer = batch.model_copy(update={"copies": batch.copies - 1})
        return (super().submit_script(fewer) if fewer.copies else "echo started") + "\nrm -f natives\n"

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """The last one is over a limit."""
        taken = super().parse_submit(batch, result).ids
        refused = {batch.copies - 1: CopyFailure(reason="over a limit", retryable=True)}
        return Queued(ids={index: taken[index] for index in range(batch.copies - 1)}, refused=refused)


class Site:
    """A place to run jobs: a root, and backends that share it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dest = root.parent / "dest"

    def backend(self, transport: Counting | None = None, *, slots: int = 4, grace_s: int = 1) -> BatchBackend:
        """Return a new one, not entered."""
        return BatchBackend(transport or Counting(), DirectScheduler(slots, grace_s), root=str(self.root))

    def directory(self, handle: JobHandle) -> Path:
        """Return where a copy lies."""
        submission_id, _, index = handle.job.partition(".")
        return self.root / submission_id / "copies" / index


async def until(look: Callable[[], Awaitable[T]], enough: Callable[[T], bool]) -> T:
    """Ask again and again, for a bounded time."""
    async with asyncio.timeout(SECONDS):
        while not enough(answer := await look()):  # noqa: ASYNC110 -- processes tell no event
            await asyncio.sleep(0.02)
    return answer


async def finish(backend: BatchBackend, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
    """Wait until all are final."""
    return await until(lambda: backend.status(handles), lambda told: all(each.state.final for each in told.values()))


async def seen(backend: BatchBackend, handle: JobHandle, state: JobState) -> None:
    """Wait until a job is in that state."""
    await until(lambda: backend.status([handle]), lambda told: told[handle].state is state)


def sh(script: str, *arguments: str, **fields: object) -> SubmissionSpec:
    """Return a specification that runs a script."""
    return SubmissionSpec.model_validate({"executable": "sh", "arguments": ("-c", script, "sh", *arguments), **fields})


def patterns(*some: str, include_unlisted: bool = False) -> OutputSpec:
    """Return what to bring back."""
    return OutputSpec(members=tuple(OutputMember(pattern=each) for each in some), include_unlisted=include_unlisted)


async def written(path: Path) -> str:
    """Return what stands in a file, if there is one."""
    return await asyncio.to_thread(lambda: path.read_text() if path.exists() else "")
