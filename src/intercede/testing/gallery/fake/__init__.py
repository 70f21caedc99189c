"""A small backend with every capability, which runs jobs as processes of this Linux machine.

Read it before you write a backend. All that is known about a job is in the job's directory, see ``job.py``, so any
other object or process can continue the work with the same handles.
"""

import asyncio
import errno
import os
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from platform import node
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Literal, ParamSpec, Self, TypeVar

from intercede.contract import (
    CopyFailure,
    CopyVars,
    Diagnostics,
    JobCounts,
    JobHandle,
    JobOutput,
    JobState,
    JobStatus,
    NotOpenError,
    OpOutcome,
    ResourceError,
    Submission,
    SubmissionSpec,
    each_copy,
    each_handle,
)
from intercede.testing.gallery.fake.job import Job, check_spec

__all__ = ["FakeBackend"]

P = ParamSpec("P")
R = TypeVar("R")

_JOB = re.compile(r"[0-9a-f]{12}\.[0-9]{1,7}")
_PASSING = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC})
_UNFINISHED = frozenset({JobState.QUEUED, JobState.HELD, JobState.RUNNING})


class FakeBackend:
    """Runs jobs as processes of this machine.

    Args:
        state: The directory with the jobs. The default is ``intercede-fake`` in the user's state directory.
        queue_seconds: The seconds that each job is queued before it starts.
    """

    def __init__(self, state: Path | None = None, queue_seconds: float = 0) -> None:
        self._queue_seconds = queue_seconds
        self._state = (state or _find_state_home() / "intercede-fake").absolute()
        self._resource = ""
        self._thread: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        """Make the state directory if it does not exist.

        Raises:
            ResourceError: The directory cannot be made, or other users may write to it.
        """
        thread = ThreadPoolExecutor(1, "intercede-fake")  # one thread: no job inherits a file that is being written
        try:
            await asyncio.get_running_loop().run_in_executor(thread, self._prepare_state)
        except BaseException:
            thread.shutdown()
            raise
        self._thread = thread
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """End the thread. Jobs continue."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown()

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Start the copies one after another. If this is cancelled, the tag still finds the jobs that were started."""
        each = each_copy(copies)
        await self._do(check_spec, spec, each)
        submission = secrets.token_hex(6)
        handles: dict[int, JobHandle] = {}
        failures: dict[int, CopyFailure] = {}
        for index, copy in enumerate(each):
            handle = JobHandle(resource=self._resource, job=f"{submission}.{index}")
            try:
                await self._do(self._get_job(handle).start, spec, copy)
                handles[index] = handle
            except OSError as error:
                failures[index] = CopyFailure(reason=str(error), retryable=error.errno in _PASSING)
        if not handles:
            first = failures[0]
            raise ResourceError(f"no copy could be started: {first.reason}", retryable=first.retryable)
        return Submission(handles=handles, failures=failures)

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Read the state of each job from its files."""
        return await self._do_each(handles, self._get_status)

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Mapping[JobHandle, JobOutput]:
        """Copy the output files of jobs that have ended to ``dest/<job>/``."""

        def fetch(handle: JobHandle) -> JobOutput:
            state = self._get_status(handle).state
            if not state.final:
                return JobOutput(ok=False, reason="running" if state in _UNFINISHED else self._explain_unknown(handle))
            try:
                return self._get_job(handle).fetch(dest)
            except OSError as error:
                return JobOutput(ok=False, reason=f"other: {error}")

        await self._do(_require_writable, dest)
        return await self._do_each(handles, fetch)

    async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Kill all processes of each job."""

        def kill(handle: JobHandle) -> OpOutcome:
            state = self._get_status(handle).state
            if state is JobState.UNKNOWN:
                return OpOutcome(ok=False, reason=self._explain_unknown(handle))
            if not state.final:
                self._get_job(handle).kill()
            return OpOutcome(ok=True)

        return await self._do_each(handles, kill)

    async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Remove the directory of each job that has ended."""

        def purge(handle: JobHandle) -> OpOutcome:
            status = self._get_status(handle)
            if status.reason == "foreign":
                return OpOutcome(ok=False, reason="foreign")
            if status.state in _UNFINISHED:
                return OpOutcome(ok=False, reason="running", detail="kill it first")
            try:
                self._get_job(handle).remove()
            except OSError as error:
                return OpOutcome(ok=False, reason="other", detail=str(error))
            return OpOutcome(ok=True)

        return await self._do_each(handles, purge)

    async def counts(self) -> JobCounts:
        """Count the jobs in the state directory that have not ended."""
        states = [
            status.state
            for status in (await self._do_each(await self._do(self._list_handles), self._get_status)).values()
        ]
        return JobCounts(queued=states.count(JobState.QUEUED), running=states.count(JobState.RUNNING))

    async def find(self, tag: str) -> Sequence[JobHandle]:
        """Return the jobs in the state directory that have this tag."""

        def has_tag(handle: JobHandle) -> bool:
            try:
                return self._get_job(handle).read_spec().tag == tag
            except FileNotFoundError:  # the job was purged meanwhile
                return False

        found = await self._do_each(await self._do(self._list_handles), has_tag)
        return [handle for handle, yes in found.items() if yes]

    async def diagnostics(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, Diagnostics]:
        """Return the end of the output that each job has written so far."""

        def read_tail(handle: JobHandle) -> Diagnostics:
            known = self._get_status(handle).state is not JobState.UNKNOWN
            return Diagnostics(text=self._get_job(handle).read_tail() if known else "")

        return await self._do_each(handles, read_tail)

    async def _do(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function in the thread. A cancellation waits until a call that has begun returns."""
        if self._thread is None:
            raise NotOpenError("use the backend inside `async with backend:`")
        begun = self._thread.submit(work, *args, **kwargs)
        result = asyncio.wrap_future(begun)
        try:
            return await asyncio.shield(result)
        except asyncio.CancelledError:
            if not begun.cancel():
                await asyncio.gather(result, return_exceptions=True)
            raise

    async def _do_each(self, handles: Collection[JobHandle], work: Callable[[JobHandle], R]) -> dict[JobHandle, R]:
        every = each_handle(handles)
        return await self._do(lambda: {handle: work(handle) for handle in every})

    def _prepare_state(self) -> None:
        try:
            self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = self._state.stat()
        except OSError as error:
            raise ResourceError(f"the state directory cannot be made: {error}") from error
        if found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise ResourceError(f"other users may write to {self._state}: give another `state`, or chmod go-w")
        where = f"{node()}:{self._state.resolve()}"
        self._resource = f"fake-{sha256(os.fsencode(where)).hexdigest()[:16]}"

    def _list_handles(self) -> list[JobHandle]:
        if self._thread is None:
            raise NotOpenError("use the backend inside `async with backend:`")
        names = sorted(path.name for path in self._state.iterdir() if _JOB.fullmatch(path.name))
        return [JobHandle(resource=self._resource, job=name) for name in names]

    def _is_ours(self, handle: JobHandle) -> bool:
        return handle.resource == self._resource and _JOB.fullmatch(handle.job) is not None

    def _get_job(self, handle: JobHandle) -> Job:
        """Return the job of a handle. Callers pass only handles of this backend, so no other text becomes a path."""
        return Job(self._state / handle.job, self._queue_seconds)

    def _get_status(self, handle: JobHandle) -> JobStatus:
        if not self._is_ours(handle):
            return JobStatus(state=JobState.UNKNOWN, reason="foreign", evidence="not a handle of this resource")
        return self._get_job(handle).status()

    def _explain_unknown(self, handle: JobHandle) -> Literal["unknown", "foreign"]:
        return "unknown" if self._is_ours(handle) else "foreign"


def _find_state_home() -> Path:
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    return given if given.is_absolute() else Path.home() / ".local" / "state"


def _require_writable(dest: Path) -> None:
    """Make a directory, and raise OSError if no files can be made in it."""
    dest.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=dest):
        pass
