"""BatchBackend: the contract's verbs, made from any transport and any scheduler."""

import os
import secrets
import shlex
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, cast

from intercede.batch.coalescer import StatusCoalescer
from intercede.batch.counts import count_jobs
from intercede.batch.diagnostics import show_output
from intercede.batch.fetch import Limits, fetch_jobs
from intercede.batch.find import find_jobs
from intercede.batch.kill import kill_jobs
from intercede.batch.offload import offload_if_large
from intercede.batch.options import LONGEST, MOST, hinted
from intercede.batch.purge import purge_jobs
from intercede.batch.records import FOREIGN
from intercede.batch.remote.api import api_of, text_of
from intercede.batch.remote.layout import Job, handle_of, job_of
from intercede.batch.remote.shell import Shell
from intercede.batch.remote_jobs import RemoteJobs
from intercede.batch.status import get_statuses
from intercede.batch.submit import submit_copies
from intercede.contract.errors import (
    ConfigError,
    NotOpenError,
)
from intercede.contract.job import (
    CopyVars,
    Diagnostics,
    JobCounts,
    JobHandle,
    JobOutput,
    JobStatus,
    OpOutcome,
    Submission,
    SubmissionSpec,
    each_copy,
    each_handle,
)
from intercede.contract.scheduler import Batch, Queued, Scheduler
from intercede.contract.transport import Transport
from intercede.plugin_tools.options import check_number, option_error

__all__ = ["BatchBackend"]

V = TypeVar("V")
_MIN_POLL_INTERVAL = 5.0
_IN_FLIGHT = 8
_MARKED = 480
_FOREIGN_OUTCOME = OpOutcome(ok=False, reason="foreign")


class BatchBackend:
    """Runs jobs through a scheduler that a transport reaches, in a constant number of commands a verb.

    The remote machine needs sh, tar, find, awk and the scheduler's own commands: no Python, no agent. The promises of
    each verb are in ``intercede.contract.backend``.

    Args:
        transport: Entered and left together with this.
        scheduler: Writes the fragments that queue, list and end jobs.
        root: The remote directory that holds everything. None: ``.intercede`` in the home. A relative path lies in the
            home, too. The directory is made if it is missing. It must be the user's own, no link, and writable by no
            other user.
        resource: The name of this resource in handles. None: a random word that is kept in the root.
        max_bytes: The most that ``fetch_output`` takes of one job, in bytes.
        max_files: The same in files.
        max_seconds: The most seconds that the remote side may pack files for one ``fetch_output``.
        min_poll_interval: Minimum number of seconds between two queue listings. None: the scheduler's own, else 5.
        commands_in_flight: How many commands may run at once. None: the transport's own number, else 8.

    Raises:
        ConfigError: An option, or a value that a plugin supplies, is invalid; or the scheduler stages files itself.
    """

    def __init__(
        self,
        transport: Transport,
        scheduler: Scheduler,
        *,
        root: str | None = None,
        resource: str | None = None,
        max_bytes: int = 2**34,
        max_files: int = 10**6,
        max_seconds: int = 3600,
        min_poll_interval: float | None = None,
        commands_in_flight: int | None = None,
    ) -> None:
        if root is not None and (not root.strip("/") or "\0" in root or "\n" in root):
            raise option_error("root", root, "the path of a directory other than /, on one line")
        if resource is not None and not (resource and len(resource) <= _MARKED and resource.isprintable()):
            raise option_error("resource", resource, f"1 to {_MARKED} printable characters")
        if scheduler.stages_own_files():
            name = type(scheduler).__name__
            raise ConfigError(
                f"the scheduler {name} stages files itself, and BatchBackend needs a file system that all nodes share",
                field="scheduler",
                value=name,
                expected="a scheduler whose stages_own_files() is False",
            )
        self._transport = transport
        self._scheduler = scheduler
        self._api = api_of(scheduler)
        self._root = root
        self._given = resource
        self._resource = resource or ""
        self._limits = Limits(
            check_number("max_bytes", max_bytes, int, least=0, most=MOST),
            check_number("max_files", max_files, int, least=0, most=MOST),
            check_number("max_seconds", max_seconds, int, least=1, most=LONGEST),
        )
        self._min_poll_interval = hinted(
            scheduler, "min_poll_interval", min_poll_interval, _MIN_POLL_INTERVAL, 0, LONGEST, float
        )
        self._in_flight = hinted(transport, "commands_in_flight", commands_in_flight, _IN_FLIGHT, 1, MOST, int)
        self._opened: _Opened | None = None

    async def __aenter__(self) -> Self:
        """Enter the transport, see that the root is ours, and learn the resource's id: one command.

        Raises:
            ConfigError: The root is invalid.
            ResourceError: The transport, or the remote side, failed.
        """
        await self._transport.__aenter__()
        async with AsyncExitStack() as stack:
            stack.push_async_exit(self._transport)
            self._opened = await self._open()
            stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """End the commands that run, and leave the transport. Jobs go on."""
        opened, self._opened = self._opened, None
        if opened is not None:
            try:
                await opened.statuses.close()
            finally:
                await self._transport.__aexit__(exc_type, exc, traceback)

    async def _open(self) -> "_Opened":
        shell = Shell(self._transport, self._in_flight, self._api)
        values = f"root={shlex.quote(self._root or '')}\nresource={secrets.token_hex(8)}"
        answer = await shell.run([values, text_of("remote/enter")])
        frame = answer.frame("enter")
        lines = answer.lines("enter")
        if frame.returncode != 0 or len(lines) != 2:  # noqa: PLR2004 -- the resource's id and the root
            why = "; ".join(lines) or frame.stderr.decode("utf-8", "replace").strip()
            raise ConfigError(
                f"the root is invalid: {why}",
                field="root",
                value=self._root,
                expected="a directory of ours, not a link, that nobody else may write",
            )
        self._resource, shell.root = self._given or lines[0], lines[1]
        remote = RemoteJobs(shell, self._scheduler)
        return _Opened(remote, StatusCoalescer(partial(get_statuses, remote), self._min_poll_interval))

    def _remote(self) -> RemoteJobs:
        return self._now_open().remote

    def _now_open(self) -> "_Opened":
        if self._opened is None:
            raise NotOpenError("a verb was called on a backend that is not open: use it inside 'async with'")
        return self._opened

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Send everything in one archive and queue every copy: one command."""
        remote = self._remote()
        given = cast("object", spec)
        if not isinstance(given, SubmissionSpec):
            kind = type(given).__name__
            raise TypeError(f"a SubmissionSpec is expected, not a {kind}: write SubmissionSpec(executable='hostname')")
        every = each_copy(copies)
        batch, queued = await submit_copies(remote, self._api, spec, every)
        return await offload_if_large(len(every), self._name_jobs, batch, queued)

    def _name_jobs(self, batch: Batch, queued: Queued) -> Submission:
        handles = {index: self._handle(Job(batch.submission_id, index)) for index in sorted(queued.ids)}
        return Submission(handles=handles, failures=queued.refused)

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Read the records and the scheduler's listing: one command.

        Another one writes down final verdicts that rest on no exit code, when they are first seen.
        """
        return await self._each(handles, self._now_open().statuses.status, FOREIGN)

    async def fetch_output(
        self, handles: Collection[JobHandle], dest: str | os.PathLike[str]
    ) -> Mapping[JobHandle, JobOutput]:
        """Bring back what finished jobs wrote: one command if each has its final record, else two."""
        fetch = partial(fetch_jobs, self._remote(), dest=Path(dest), limits=self._limits)
        return await self._each(handles, fetch, JobOutput(ok=False, reason="foreign"))

    async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Write down that we asked, have the scheduler end them, and read back: one command."""
        return await self._each(handles, partial(kill_jobs, self._remote()), _FOREIGN_OUTCOME)

    async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Remove everything of jobs that are over: one command if each has its final record, else two."""
        return await self._each(handles, partial(purge_jobs, self._remote()), _FOREIGN_OUTCOME)

    async def counts(self) -> JobCounts:
        """Count what is not over, of every submission in the root: one command."""
        return await count_jobs(self._remote())

    async def find(self, tag: str) -> Sequence[JobHandle]:
        """Compare the tags of all submissions: one command, and more for a submission whose answer was lost."""
        return [self._handle(job) for job in await find_jobs(self._remote(), tag)]

    async def diagnostics(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, Diagnostics]:
        """Return the last 64 KiB of stdout and of stderr, one behind the other: one command."""
        return await self._each(handles, partial(show_output, self._remote()), Diagnostics(text=""))

    def _handle(self, job: Job) -> JobHandle:
        return handle_of(self._resource, job)

    async def _each(
        self, handles: Collection[JobHandle], ask: Callable[[list[Job]], Awaitable[Mapping[Job, V]]], foreign: V
    ) -> dict[JobHandle, V]:
        """Ask about the jobs of this resource, if there are any; answer for exactly the handles that were asked."""
        named = {handle: job_of(self._resource, handle) for handle in each_handle(handles)}
        jobs = [job for job in named.values() if job is not None]
        answers: Mapping[Job, V] = await ask(jobs) if jobs else {}
        return {handle: foreign if job is None else answers[job] for handle, job in named.items()}


@dataclass(frozen=True)
class _Opened:
    """The parts of an open backend."""

    remote: RemoteJobs
    statuses: StatusCoalescer
