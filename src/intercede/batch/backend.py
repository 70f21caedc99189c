"""BatchBackend: the contract's verbs, made from any transport and any scheduler."""

import os
import secrets
import shlex
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, cast

from intercede.batch.api import api_of, call, text_of
from intercede.batch.aside import aside
from intercede.batch.fetching import Limits, Parcel
from intercede.batch.framing import Answer
from intercede.batch.layout import Job, handle_of, job_of, new_stamp
from intercede.batch.options import LONGEST, MOST, hinted, within
from intercede.batch.parsing import checked, parsing
from intercede.batch.polls import Polls
from intercede.batch.records import FOREIGN, Record
from intercede.batch.shell import Shell
from intercede.batch.station import Look, Station, lines_of, said_of, settling
from intercede.batch.submission import Package, quoted_tag
from intercede.contract.errors import (
    ConfigError,
    InvalidSpecError,
    LimitError,
    NotOpenError,
    SchedulerError,
    UnsupportedSpecError,
)
from intercede.contract.job import (
    CopyFailure,
    CopyVars,
    Diagnostics,
    JobCounts,
    JobHandle,
    JobOutput,
    JobState,
    JobStatus,
    OpOutcome,
    Submission,
    SubmissionSpec,
    each_copy,
    each_handle,
)
from intercede.contract.scheduler import Batch, Queued, Scheduler
from intercede.contract.transport import CommandResult, Transport

__all__ = ["BatchBackend"]

V = TypeVar("V")
_LIVE = frozenset({JobState.QUEUED, JobState.HELD, JobState.RUNNING})
_DISCARD = "_ic_frame purged _ic_purge\n_ic_sweep"
_MIN_POLL_INTERVAL = 5.0
_IN_FLIGHT = 8
_MOST_SHOWN = 65536
_MARKED = 480
_SAID = 500


class BatchBackend:
    """Runs jobs through a scheduler that a transport reaches, in a constant number of commands a verb.

    There it needs sh, tar, find, awk and the scheduler's own commands: no Python, no agent. See
    ``intercede.contract.backend`` for what each verb promises.

    Args:
        transport: Entered and left together with this.
        scheduler: Writes the fragments that queue, list and end jobs.
        root: The directory there that everything lies in. None: ``.intercede`` in the home; a relative one lies in the
            home, too. It is made where it is missing, and must be a real directory that is ours and that nobody else may write.
        resource: What handles call this resource. None: a random word that is kept in the root.
        max_bytes: The most that ``fetch_output`` takes of one job, in bytes.
        max_files: The same in files.
        max_seconds: The most that packing may take there, for one ``fetch_output``.
        min_poll_interval: Minimum number of seconds between two queue listings. None: the scheduler's own value, else 5.
        commands_in_flight: How many commands may be out at once. None: what the transport says, else 8.

    Raises:
        ConfigError: An option, or what a plugin says in its stead, has no sense; the scheduler stages files itself.
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
            raise ConfigError(f"root {root!r} is no directory of ours", field="root", value=root, expected="a path")
        if resource is not None and not (resource and len(resource) <= _MARKED and resource.isprintable()):
            raise ConfigError(
                f"resource {resource!r} cannot name a resource",
                field="resource",
                value=resource,
                expected=f"1 to {_MARKED} printable characters",
            )
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
            within("max_bytes", max_bytes, 0, MOST, int),
            within("max_files", max_files, 0, MOST, int),
            within("max_seconds", max_seconds, 1, LONGEST, int),
        )
        self._min_poll_interval = hinted(
            scheduler, "min_poll_interval", min_poll_interval, _MIN_POLL_INTERVAL, 0, LONGEST, float
        )
        self._in_flight = hinted(transport, "commands_in_flight", commands_in_flight, _IN_FLIGHT, 1, MOST, int)
        self._doubtful: set[str] = set()
        self._opened: _Opened | None = None

    async def __aenter__(self) -> Self:
        """Enter the transport, see that the root is ours, and learn the resource's id: one command.

        Raises:
            ConfigError: The root will not do.
            ResourceError: The transport, or the far side, failed.
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
        """End what is out, and leave the transport. Jobs go on."""
        opened, self._opened = self._opened, None
        if opened is not None:
            try:
                await opened.polls.close()
            finally:
                await self._transport.__aexit__(exc_type, exc, traceback)

    async def _open(self) -> "_Opened":
        shell = Shell(self._transport, self._in_flight, self._api)
        values = f"root={shlex.quote(self._root or '')}\nresource={secrets.token_hex(8)}"
        answer = await shell.run([values, text_of("enter")])
        frame = answer.frame("enter")
        lines = answer.lines("enter")
        if frame.returncode != 0 or len(lines) != 2:  # noqa: PLR2004 -- the resource's id and the root
            why = "; ".join(lines) or frame.stderr.decode("utf-8", "replace").strip()
            raise ConfigError(
                f"the root will not do: {why}",
                field="root",
                value=self._root,
                expected="a directory of ours, not a link, that nobody else may write",
            )
        self._resource, shell.root = self._given or lines[0], lines[1]
        station = Station(shell, self._scheduler)
        return _Opened(shell, station, Polls(self._polled, self._min_poll_interval))

    def _station(self) -> Station:
        return self._now_open().station

    def _now_open(self) -> "_Opened":
        if self._opened is None:
            raise NotOpenError("a verb was called on a backend that is not open: use it inside 'async with'")
        return self._opened

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Send everything in one archive and queue every copy: one command."""
        opened = self._now_open()
        given = cast("object", spec)
        if not isinstance(given, SubmissionSpec):
            kind = type(given).__name__
            raise TypeError(f"a SubmissionSpec is expected, not a {kind}: write SubmissionSpec(executable='hostname')")
        every = each_copy(copies)
        batch = Batch(stamp=new_stamp(), copies=len(every), resources=spec.resources)
        package = Package(spec, every, batch)
        package.check()
        fragment = self._scheduler.submit_script(batch)
        try:
            answer = await opened.shell.unpack(batch.stamp, package.members(fragment, self._api))
            _see_that_it_runs(answer, opened.shell.root, spec)
            queued = await aside(len(every), self._queued, batch, answer.frame("answer"))
        except InvalidSpecError:
            raise  # the archive has no end: nothing can have started
        except BaseException as error:
            if isinstance(error, UnsupportedSpecError) or (isinstance(error, SchedulerError) and error.refused):
                await self._withdraw(opened.station, batch)
            else:
                self._doubtful.add(batch.stamp)
            raise
        if not queued.ids:
            await self._withdraw(opened.station, batch)
        elif "noted" not in answer:
            opened.station.named(batch.stamp, queued)
        return await aside(len(every), self._submission, batch, queued)

    def _queued(self, batch: Batch, answer: CommandResult) -> Queued:
        """Read the scheduler's answer. Its own limit, and no other, means that nothing was queued."""
        try:
            with parsing(self._scheduler, "parse_submit", answer, batch.stamp):
                return checked(batch, self._scheduler.parse_submit(batch, answer))
        except LimitError as error:
            refusal = CopyFailure(reason=str(error), retryable=True)
            return Queued(refused=dict.fromkeys(range(batch.copies), refusal))

    async def _withdraw(self, station: Station, batch: Batch) -> None:
        """Remove what was sent for a submission that the scheduler refused: nobody will have a handle to purge it."""
        jobs = [Job(batch.stamp, index) for index in range(batch.copies)]
        await station.ask(jobs, text_of("purge"), "anyway=yes", _DISCARD)

    def _submission(self, batch: Batch, queued: Queued) -> Submission:
        if not queued.ids:
            failure = next(iter(queued.refused.values()))
            kind = LimitError if failure.retryable else SchedulerError
            raise kind(f"the scheduler took none of {batch.copies} copies: {failure.reason}")
        handles = {index: self._handle(Job(batch.stamp, index)) for index in sorted(queued.ids)}
        return Submission(handles=handles, failures=queued.refused)

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Read the records and the scheduler's listing: one command.

        Another one writes down final verdicts that rest on no exit code, when they are first seen.
        """
        return await self._each(handles, self._now_open().polls.status, FOREIGN)

    async def _polled(self, jobs: Collection[Job]) -> tuple[Mapping[Job, JobStatus], bool]:
        """Return the statuses, and whether the scheduler was asked for them."""
        station = self._station()
        look = await station.look(jobs)
        return await station.decide(look), look.listed

    async def fetch_output(
        self, handles: Collection[JobHandle], dest: str | os.PathLike[str]
    ) -> Mapping[JobHandle, JobOutput]:
        """Bring back what finished jobs wrote: one command where each has its final record, else two."""
        fetched = partial(self._fetched, self._station(), dest=Path(dest))
        return await self._each(handles, fetched, JobOutput(ok=False, reason="foreign"))

    async def _fetched(self, station: Station, jobs: list[Job], dest: Path) -> dict[Job, JobOutput]:
        with Parcel(jobs, dest, self._limits) as parcel:
            answer = await station.ask(jobs, station.look_part, parcel.part, streams=parcel.streams)
            look = await station.read(answer)
            over = [job for job, record in look.records.items() if record.over and not record.gone]
            outputs = await parcel.deliver(over, answer)
        if look.unnamed:
            look = await station.look([job for job in jobs if job not in outputs])
        if finals := look.to_settle:
            with Parcel(finals, dest, self._limits) as parcel:
                answer = await station.ask(finals, settling(finals), parcel.part, streams=parcel.streams)
                outputs |= await parcel.deliver(finals, answer)
        return {job: outputs.get(job) or _not_fetched(look.verdict(job)) for job in jobs}

    async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Note that we asked, have the scheduler end them, and read back: one command."""
        return await self._each(handles, partial(self._killed, self._station()), OpOutcome(ok=False, reason="foreign"))

    async def _killed(self, station: Station, jobs: list[Job]) -> dict[Job, OpOutcome]:
        ending = call("_ic_end_copies", self._scheduler.kill_script(), self._scheduler.status_script())
        answer = await station.ask(jobs, text_of("kill"), ending)
        look = await station.read(answer)
        if await station.learn(look.unnamed):
            answer = await station.ask(jobs, text_of("kill"), ending)
            look = await station.read(answer)
        natives = [record.native for record in look.records.values() if record.native]
        frame = said_of(answer, "kill")
        told: Mapping[str, OpOutcome] = {}
        if frame is not None:
            with parsing(self._scheduler, "parse_kill", frame):
                told = await aside(len(jobs), self._scheduler.parse_kill, natives, frame)
        return await aside(len(jobs), lambda: {job: _kill_outcome(look, job, told) for job in jobs})

    async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Remove everything of jobs that are over: one command where each has its final record, else two."""
        return await self._each(handles, partial(self._purged, self._station()), OpOutcome(ok=False, reason="foreign"))

    async def _purged(self, station: Station, jobs: list[Job]) -> dict[Job, OpOutcome]:
        answer = await station.ask(jobs, station.look_part, text_of("purge"), "anyway=", _DISCARD)
        look, gone = await station.read(answer), _purged(answer)
        if look.unnamed:
            look = await station.look([job for job in jobs if job not in gone])
        rest = [job for job in look.open if job not in gone and _is_purgeable(look.verdict(job))]
        if rest:
            answer = await station.ask(rest, text_of("purge"), "anyway=yes", _DISCARD)
            gone |= _purged(answer)
        why = answer.frame("purged").stderr.decode("utf-8", "replace").strip()[-_SAID:]
        return {job: OpOutcome(ok=True) if job in gone else _not_purged(look.verdict(job), why) for job in jobs}

    async def counts(self) -> JobCounts:
        """Count what is not over, of every submission in the root: one command."""
        station = self._station()
        every = f"{text_of('find')}\n{text_of('counts')}"
        look = await station.read(await station.ask((), station.look_part, calls=every))
        if await station.learn(look.unnamed):
            look = await station.read(await station.ask(look.records, station.look_part, calls=every))
        states = [look.verdict(job).state for job in look.records]
        running = states.count(JobState.RUNNING)
        return JobCounts(queued=sum(state in _LIVE for state in states) - running, running=running)

    async def find(self, tag: str) -> Sequence[JobHandle]:
        """Compare the tags there: one command, and more for a submission whose answer was lost."""
        station = self._station()
        doubtful = sorted(self._doubtful)
        fences = [call("_ic_fence", stamp) for stamp in doubtful]
        search = call("_ic_frame", "records", "_ic_call_with_tagged", quoted_tag(tag), "_ic_tell_copies")
        parts = [text_of("find"), "every_id=yes", *fences, search]
        look = await station.read(await station.ask((), *parts, calls=""))
        self._doubtful.difference_update(doubtful)
        unnamed = {job.stamp for job, record in look.records.items() if record.native is None and not record.gone}
        if await station.learn(unnamed, fence=True):
            look = await station.read(await station.ask(look.records, *parts, calls=""))
        return await aside(len(look.records), self._found, look)

    def _found(self, look: Look) -> list[JobHandle]:
        return [self._handle(job) for job in sorted(look.records) if look.records[job].taken]

    async def diagnostics(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, Diagnostics]:
        """Return the last 64 KiB of stdout and of stderr, one behind the other: one command."""
        return await self._each(handles, partial(self._shown, self._station()), Diagnostics(text=""))

    async def _shown(self, station: Station, jobs: list[Job]) -> dict[Job, Diagnostics]:
        answer = await station.ask(jobs, text_of("diagnostics"), f"most={_MOST_SHOWN}", "_ic_each _ic_show_output")
        names = {job: f"{job.stamp}.{job.copy}" for job in jobs}
        data = {job: answer.frame(name).stdout for job, name in names.items() if name in answer}
        return {job: Diagnostics(text=data.get(job, b"").decode("utf-8", "replace")) for job in jobs}

    def _handle(self, job: Job) -> JobHandle:
        return handle_of(self._resource, job)

    async def _each(
        self, handles: Collection[JobHandle], ask: Callable[[list[Job]], Awaitable[Mapping[Job, V]]], foreign: V
    ) -> dict[JobHandle, V]:
        """Ask about the jobs of this resource, if there are any; answer for exactly the handles that were asked."""
        named = {handle: job_of(self._resource, handle) for handle in each_handle(handles)}
        jobs = [job for job in named.values() if job is not None]
        told: Mapping[Job, V] = await ask(jobs) if jobs else {}
        return {handle: foreign if job is None else told[job] for handle, job in named.items()}


class _Opened:
    """What there is between entering and leaving."""

    def __init__(self, shell: Shell, station: Station, polls: Polls) -> None:
        self.shell = shell
        self.station = station
        self.polls = polls


def _not_fetched(status: JobStatus) -> JobOutput:
    word = "running" if status.state in _LIVE else "unknown"
    return JobOutput(
        ok=False, reason=f"{word}: it is {status.state}, {status.evidence or status.native or status.reason}"
    )


def _kill_outcome(look: Look, job: Job, told: Mapping[str, OpOutcome]) -> OpOutcome:
    record: Record = look.records[job]
    if record.gone:
        return OpOutcome(ok=False, reason="unknown", detail="nothing of it is there")
    if record.over:
        return OpOutcome(ok=True)
    if record.native is None:
        return OpOutcome(ok=False, reason="other", detail="nothing there tells what the scheduler calls it: ask again")
    if record.native in told:
        return told[record.native]
    status = look.verdict(job)
    if status.state in _LIVE:
        return OpOutcome(ok=False, reason="other", detail=f"the scheduler did not say that it will end; {status.state}")
    return OpOutcome(ok=True)


def _see_that_it_runs(answer: Answer, root: str, spec: SubmissionSpec) -> None:
    """See that what was sent can be executed where it lies. Each copy would fail with 126, which tells nothing of why."""
    if "program" in answer and answer.frame("program").returncode != 0:
        raise UnsupportedSpecError(
            f"the executable {str(spec.executable)!r} cannot run where it was sent to, below {root}: its file system is "
            "mounted noexec, or keeps no permissions. Set root to a directory on another one; or send it as an input, "
            "and name what is there to run it, as sh or python3",
            field="executable",
            value=spec.executable,
        )


def _purged(answer: Answer) -> set[Job]:
    return {Job(stamp, int(index)) for stamp, index in lines_of(answer, "purged")}


def _is_purgeable(status: JobStatus) -> bool:
    return status.state.final or status.reason == "lost"


def _not_purged(status: JobStatus, why: str) -> OpOutcome:
    if _is_purgeable(status) or status.reason == "purged":
        return OpOutcome(ok=False, reason="other", detail=f"it is {status.state}, and could not be removed: {why}")
    return OpOutcome(ok=False, reason="running", detail=f"it is {status.state}: kill it first, {status.evidence}")
