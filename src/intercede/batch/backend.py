"""BatchBackend: a backend that is made of a transport and a scheduler."""

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
from intercede.batch.options import LONGEST, MOST, get_option
from intercede.batch.purge import purge_jobs
from intercede.batch.records import FOREIGN
from intercede.batch.remote.api import load_script, write_api
from intercede.batch.remote.layout import Job, make_handle, parse_handle
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
_MAX_RESOURCE_LENGTH = 480
_FOREIGN_OUTCOME = OpOutcome(ok=False, reason="foreign")


class BatchBackend:
    """Runs jobs through a scheduler on the machine that a transport reaches.

    Each verb runs a constant number of remote commands, however many jobs it is about. The remote machine needs sh,
    tar, find, awk and the scheduler's own commands: no Python, no agent. ``intercede.contract.backend`` describes the
    verbs.

    Args:
        transport: The transport. The backend enters and leaves it.
        scheduler: The scheduler. It writes the fragments that queue, list and end jobs.
        root: The remote directory that holds everything; a relative path starts at the home directory. None means
            ``.intercede`` in the home directory. The root is created if it is missing. It must belong to the user, must
            not be a link, and no other user may have write permission.
        resource: The name of this resource in handles. None means a random name that is kept in the root.
        max_bytes: The maximum number of bytes that ``fetch_output`` fetches for each job.
        max_files: The maximum number of files that ``fetch_output`` fetches for each job.
        max_seconds: The maximum number of seconds for which the remote side packs files for one ``fetch_output``.
        min_poll_interval: The minimum number of seconds between two queue listings. None means the scheduler's own
            value, or 5 if it has none.
        commands_in_flight: The maximum number of commands that run at once. None means the transport's own value, or 8
            if it has none.

    Raises:
        ConfigError: An option is invalid, or the scheduler stages files itself.
        PluginContractError: A value that a plugin supplies is invalid.
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
        if resource is not None and not (resource and len(resource) <= _MAX_RESOURCE_LENGTH and resource.isprintable()):
            raise option_error("resource", resource, f"1 to {_MAX_RESOURCE_LENGTH} printable characters")
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
        self._api = write_api(scheduler)
        self._root = root
        self._resource_option = resource
        self._resource = resource or ""
        self._limits = Limits(
            check_number("max_bytes", max_bytes, int, least=0, most=MOST),
            check_number("max_files", max_files, int, least=0, most=MOST),
            check_number("max_seconds", max_seconds, int, least=1, most=LONGEST),
        )
        self._min_poll_interval = get_option(
            scheduler, "min_poll_interval", min_poll_interval, _MIN_POLL_INTERVAL, 0, LONGEST, float
        )
        self._in_flight = get_option(transport, "commands_in_flight", commands_in_flight, _IN_FLIGHT, 1, MOST, int)
        self._opened: _Opened | None = None

    async def __aenter__(self) -> Self:
        """Enter the transport, check the root, and read the resource's id. This runs one remote command.

        Raises:
            ConfigError: The root is invalid.
            ResourceError: The transport or the remote side failed.
        """
        await self._transport.__aenter__()
        async with AsyncExitStack() as stack:
            stack.push_async_exit(self._transport)
            self._opened = await self._enter_root()
            stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """End the commands that are running, and leave the transport. Jobs continue."""
        opened, self._opened = self._opened, None
        if opened is not None:
            try:
                await opened.statuses.close()
            finally:
                await self._transport.__aexit__(exc_type, exc, traceback)

    async def _enter_root(self) -> "_Opened":
        shell = Shell(self._transport, self._in_flight, self._api)
        values = f"root={shlex.quote(self._root or '')}\nresource={secrets.token_hex(8)}"
        answer = await shell.run([values, load_script("remote/enter")])
        frame = answer.get_frame("enter")
        lines = answer.get_lines("enter")
        if frame.returncode != 0 or len(lines) != 2:  # noqa: PLR2004 -- the resource's id and the root
            why = "; ".join(lines) or frame.stderr.decode("utf-8", "replace").strip()
            raise ConfigError(
                f"the root is invalid: {why}",
                field="root",
                value=self._root,
                expected="a directory of the user, not a link, in which no other user may write",
            )
        self._resource, shell.root = self._resource_option or lines[0], lines[1]
        remote = RemoteJobs(shell, self._scheduler)
        return _Opened(remote, StatusCoalescer(partial(get_statuses, remote), self._min_poll_interval))

    def _get_remote(self) -> RemoteJobs:
        return self._get_opened().remote

    def _get_opened(self) -> "_Opened":
        if self._opened is None:
            raise NotOpenError("a verb was called on a backend that is not open: use it inside 'async with'")
        return self._opened

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Send a submission in one archive, queue every copy, and return the handles and failures of the copies.

        This runs one remote command.
        """
        remote = self._get_remote()
        given = cast("object", spec)
        if not isinstance(given, SubmissionSpec):
            kind = type(given).__name__
            raise TypeError(f"a SubmissionSpec is expected, not a {kind}: write SubmissionSpec(executable='hostname')")
        every = each_copy(copies)
        batch, queued = await submit_copies(remote, self._api, spec, every)
        return await offload_if_large(len(every), self._name_jobs, batch, queued)

    def _name_jobs(self, batch: Batch, queued: Queued) -> Submission:
        handles = {index: self._make_handle(Job(batch.submission_id, index)) for index in sorted(queued.ids)}
        return Submission(handles=handles, failures=queued.refused)

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Return the status of each job, from its record and the queue's listing. This runs one remote command.

        A second command records final statuses that were derived without an exit code, when they are first seen.
        """
        return await self._answer_each(handles, self._get_opened().statuses.status, FOREIGN)

    async def fetch_output(
        self, handles: Collection[JobHandle], dest: str | os.PathLike[str]
    ) -> Mapping[JobHandle, JobOutput]:
        """Fetch the output of finished jobs.

        This runs one remote command if the exit code or the final status of every job is recorded, else two.
        """
        fetch = partial(fetch_jobs, self._get_remote(), dest=Path(dest), limits=self._limits)
        return await self._answer_each(handles, fetch, JobOutput(ok=False, reason="foreign"))

    async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Record that a kill was requested, have the scheduler end the jobs, and return an outcome for each job.

        This runs one remote command. If native ids are not recorded yet, two or three more commands read the native ids
        and kill again.
        """
        return await self._answer_each(handles, partial(kill_jobs, self._get_remote()), _FOREIGN_OUTCOME)

    async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Remove all files of finished jobs.

        This runs one remote command if the exit code or the final status of every job is recorded, else two.
        """
        return await self._answer_each(handles, partial(purge_jobs, self._get_remote()), _FOREIGN_OUTCOME)

    async def counts(self) -> JobCounts:
        """Count the unfinished jobs of every submission in the root. This runs one remote command."""
        return await count_jobs(self._get_remote())

    async def find(self, tag: str) -> Sequence[JobHandle]:
        """Return the handles of all jobs in the root whose submission has this tag.

        This runs one remote command, and more if the scheduler's answer to a submission was lost.
        """
        return [self._make_handle(job) for job in await find_jobs(self._get_remote(), tag)]

    async def diagnostics(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, Diagnostics]:
        """Return the last 64 KiB of each job's stdout, followed by the last 64 KiB of the job's stderr.

        This runs one remote command.
        """
        return await self._answer_each(handles, partial(show_output, self._get_remote()), Diagnostics(text=""))

    def _make_handle(self, job: Job) -> JobHandle:
        return make_handle(self._resource, job)

    async def _answer_each(
        self, handles: Collection[JobHandle], ask: Callable[[list[Job]], Awaitable[Mapping[Job, V]]], foreign: V
    ) -> dict[JobHandle, V]:
        """Return the answer of ``ask`` for each handle of this resource, and ``foreign`` for every other handle.

        ``ask`` is called once with all jobs of this resource, and is not called without jobs.
        """
        named = {handle: parse_handle(self._resource, handle) for handle in each_handle(handles)}
        jobs = [job for job in named.values() if job is not None]
        answers: Mapping[Job, V] = await ask(jobs) if jobs else {}
        return {handle: foreign if job is None else answers[job] for handle, job in named.items()}


@dataclass(frozen=True)
class _Opened:
    """The objects that a backend has only while it is open."""

    remote: RemoteJobs
    statuses: StatusCoalescer
