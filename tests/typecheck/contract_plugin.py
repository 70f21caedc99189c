"""Classes of a plugin author satisfy the protocols without inheriting from them."""

from collections.abc import AsyncIterable, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, assert_type

from intercede import (
    ByteSink,
    Cancellable,
    Capability,
    CommandResult,
    CopyVars,
    JobBackend,
    JobHandle,
    JobState,
    JobStatus,
    OpOutcome,
    Submission,
    SubmissionSpec,
    Transport,
    capabilities,
)


class Minimal:
    """A backend with the essential verbs and one capability."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Start nothing."""
        return Submission()

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Return no status."""
        return {handle: JobStatus(state=JobState.UNKNOWN) for handle in handles}

    async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """End nothing."""
        return {handle: OpOutcome(ok=False, reason="unknown") for handle in handles}


class Shell:
    """A transport without a connection."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run nothing."""
        return CommandResult(returncode=127)


backend: JobBackend = Minimal()
transport: Transport = Shell()


async def use(backend: JobBackend, handles: list[JobHandle]) -> None:
    """Narrow the type to a capability by the same isinstance as the gate."""
    async with backend as opened:
        submission = await opened.submit(SubmissionSpec(executable=Path("run.sh"), arguments=("a",)), copies=3)
        assert_type(submission.handles, Mapping[int, JobHandle])
        assert_type(await opened.status(handles), Mapping[JobHandle, JobStatus])
        assert_type(capabilities(opened), frozenset[Capability])
        if isinstance(opened, Cancellable):
            assert_type(await opened.kill(submission.handles.values()), Mapping[JobHandle, OpOutcome])
