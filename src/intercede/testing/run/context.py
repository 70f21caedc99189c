"""The context of a check: its subject, the contract's verbs bounded in time and on record, and ``expect``."""

import asyncio
import re
import secrets
import string
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from enum import Enum
from inspect import isawaitable
from itertools import islice
from pathlib import Path
from reprlib import Repr
from types import TracebackType
from typing import Protocol, Self, TypeVar, cast

from pydantic import BaseModel

from intercede.contract.backend import (
    Cancellable,
    Capability,
    Findable,
    JobBackend,
    LiveDiagnostics,
    LoadReporter,
    OutputRetriever,
    Purgeable,
)
from intercede.contract.job import (
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
)
from intercede.contract.scheduler import Scheduler
from intercede.contract.transport import ByteSink, CommandResult, Transport
from intercede.testing.isolation import timeouts
from intercede.testing.model.calls import Call, get_class_name, shorten
from intercede.testing.model.clause import Clause
from intercede.testing.run.waiting import ADVICE, QueueActivity, Wait, is_in_queue
from intercede.testing.subjects.child import run_child
from intercede.testing.subjects.entering import Door, Semaphores
from intercede.testing.subjects.subject import Subject

__all__ = ["Check", "CheckFailed", "Context", "collect", "format_value", "get_check"]

_VERB_SECONDS = 20.0
"""How long one verb may take."""
_FINISH_SECONDS = 30.0
"""How long small payloads may take to end."""
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""Of an object, which another run does not repeat."""
_SHOWN_COPIES, _MOST = 4, 100_000
_FIRST_WAIT, _LONGEST_WAIT = 0.005, 0.5

_T = TypeVar("_T")


class _Enterable(Protocol):
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


_E = TypeVar("_E", bound=_Enterable)


class _ShortRepr(Repr):
    """Writes values briefly, and of data only what was given."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 300
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 8
        self.maxlevel = 5

    def repr_instance(self, x: object, level: int) -> str:
        """Write a value of a type that reprlib does not know."""
        if isinstance(x, Enum):
            return x.name
        if isinstance(x, JobHandle):
            return f"<{x.job}>"
        if isinstance(x, BaseModel):
            given = [name for name in type(x).model_fields if name in x.model_fields_set]
            return f"{type(x).__name__}({', '.join(f'{name}={self.repr1(getattr(x, name), level - 1)}' for name in given)})"
        if isinstance(x, Mapping):
            first = islice(cast("Mapping[object, object]", x).items(), self.maxdict + 1)  # it may have no end
            return self.repr_dict(dict(first), level)
        return _ADDRESS.sub("", super().repr_instance(x, level))


_BRIEF = _ShortRepr()


def format_value(value: object) -> str:
    """Write a value in a few hundred characters at most, whatever its own repr does."""
    try:
        return _BRIEF.repr(value)
    except Exception as error:  # noqa: BLE001 -- a stranger's repr
        return f"<{get_class_name(value)} whose repr raised {get_class_name(error)}>"


def collect(values: Iterable[_T]) -> list[_T]:
    """Copy what an answer holds.

    Raises:
        CheckFailed: It has no end, as far as can be seen.
    """
    found = list(islice(values, _MOST + 1))
    if len(found) > _MOST:
        raise CheckFailed("an answer that has an end", f"more than {_MOST} entries")
    return found


class CheckFailed(Exception):  # noqa: N818 -- a finding about a subject, not an error of ours
    """A subject does not do what a clause says.

    Args:
        expected: What the clause asks for.
        observed: The observation, as text.
    """

    def __init__(self, expected: str, observed: str) -> None:
        super().__init__(f"expected {expected}; observed {observed}")
        self.expected, self.observed = expected, observed

    def __reduce__(self) -> tuple[type["CheckFailed"], tuple[str, str]]:
        """Pickle with both."""
        return type(self), (self.expected, self.observed)


class _Submitting(Protocol):
    """A backend, as far as it submits."""

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Start jobs."""
        ...


class Context:
    """A check's view of its subject.

    The verbs do what the subject's own do. They also end in bounded time, stand in the journal, and remember the
    jobs, which are killed and purged when the check has ended.
    """

    def __init__(
        self,
        subject: Subject,
        tmp: Path,
        *,
        capabilities: frozenset[Capability] = frozenset(),
        scale: float = 1.0,
        children: Semaphores | None = None,
        traffic: QueueActivity | None = None,
        door: Door | None = None,
    ) -> None:
        self.subject = subject
        self._children = children or Semaphores(1)
        self.tmp = tmp
        """An empty directory of this check's own."""
        self.capabilities = capabilities
        """The capabilities that the subject claims."""
        self.scale = scale
        """Every bound is multiplied by it: real resources are slow. Checks multiply their own."""
        self.journal: list[Call] = []
        self.handles: dict[JobHandle, None] = {}
        self.tags: dict[str, None] = {}
        """Of payloads that no ``submit`` of ours has returned for: what a cancelled one started is found by them."""
        self._lost = set[str]()
        """Of those, what a ``submit`` was told and did not return for: another may, with the same tag."""
        self.began = time.monotonic()
        """When, by the monotonic clock."""
        self._fetched = 0
        self.traffic = traffic or QueueActivity()
        """Of the jobs of all checks."""
        self.door = door or Door()
        self._waits: list[Wait] = []

    @property
    def queue_seconds(self) -> float:
        """Seconds that its jobs have spent in a queue, behind others of the run: no bound counts them."""
        return sum(each.queued for each in self._waits)

    @property
    def config(self) -> Mapping[str, object] | str:
        """The subject's configuration: data, or a name."""
        return self.subject.config

    # What a check is about

    def make_backend(self) -> JobBackend:
        """Make a fresh object from the subject's configuration. It is not entered."""
        return self.subject.make_backend()

    def make_transport(self) -> Transport:
        """Make a fresh transport from the subject's configuration. It is not entered."""
        return cast("Transport", self.subject.make_plugin())

    def make_scheduler(self) -> Scheduler:
        """Make a fresh scheduler from the subject's configuration."""
        return cast("Scheduler", self.subject.make_plugin())

    def open_backend(self) -> AbstractAsyncContextManager[JobBackend]:
        """Make a fresh object, enter it, and leave it afterwards. The object is the subject's own, no proxy."""
        return _OpenSubject(self, self.make_backend)

    def open_transport(self) -> AbstractAsyncContextManager[Transport]:
        """Make a fresh transport, enter it, and leave it afterwards. The object is the subject's own, no proxy."""
        return _OpenSubject(self, self.make_transport)

    async def enter(self, make: Callable[[], _E]) -> tuple[_E, object]:
        """Make a fresh one and enter it. Return it, and what entering returned. The caller leaves it.

        Raises:
            TransportError: It makes no sense to try again, or all tries failed.
        """

        async def attempt() -> tuple[_E, object]:
            made = make()
            return made, await self.record("__aenter__", "", type(made).__aenter__(made))

        return await self.door.enter(attempt, self.scale)

    # Small things

    def make_token(self) -> str:
        """Return a new word of twelve letters and digits."""
        return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(12))

    def sh(self, script: str, *arguments: str, **fields: object) -> SubmissionSpec:
        """Describe a payload of POSIX sh, with a tag of its own unless one is given in the fields."""
        payload = {"executable": "sh", "arguments": ("-c", script, "sh", *arguments), "tag": f"ic-{self.make_token()}"}
        spec = SubmissionSpec.model_validate({**payload, **fields})
        if spec.tag is not None:
            self.tags[spec.tag] = None
        return spec

    def expect(self, condition: object, *, expected: str, observed: object) -> None:
        """Fail the check unless the condition holds.

        Raises:
            CheckFailed: It does not.
        """
        if not condition:
            told = isinstance(observed, str) and observed.strip()
            raise CheckFailed(expected, str(observed) if told else format_value(observed))

    # The verbs

    async def submit(
        self, backend: _Submitting, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1
    ) -> Submission:
        """Submit, and remember the jobs; the tag where it told of none."""
        try:
            submission = await self._ask(
                "submit", _format_submission(spec, copies), lambda: backend.submit(spec, copies)
            )
            self.remember(collect(submission.handles.values()))
        except BaseException:
            if spec.tag is not None:
                self._lost.add(spec.tag)
                self.tags[spec.tag] = None
            raise
        if spec.tag is not None and spec.tag not in self._lost:
            self.tags.pop(spec.tag, None)
        return submission

    def remember(self, handles: Iterable[JobHandle]) -> None:
        """See to it that these jobs are ended and purged when the check has ended."""
        self.handles.update(dict.fromkeys(handles))

    async def status(self, backend: JobBackend, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Ask for the status of jobs."""
        return await self._ask("status", _format_handles(handles), lambda: backend.status(handles))

    async def fetch(
        self, backend: JobBackend, handles: Collection[JobHandle], dest: Path | None = None
    ) -> Mapping[JobHandle, JobOutput]:
        """Fetch outputs, into a new directory of the check's unless one is given."""
        where = dest or self._new_directory()
        verb = cast("OutputRetriever", backend).fetch_output
        return await self._ask("fetch_output", _format_handles(handles), lambda: verb(handles, where))

    async def kill(self, backend: JobBackend, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Kill jobs."""
        return await self._ask("kill", _format_handles(handles), lambda: cast("Cancellable", backend).kill(handles))

    async def purge(self, backend: JobBackend, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Purge jobs."""
        return await self._ask("purge", _format_handles(handles), lambda: cast("Purgeable", backend).purge(handles))

    async def find(self, backend: JobBackend, tag: str) -> Sequence[JobHandle]:
        """Find the jobs of a tag."""
        return await self._ask("find", format_value(tag), lambda: cast("Findable", backend).find(tag))

    async def counts(self, backend: JobBackend) -> JobCounts:
        """Count the jobs that are there."""
        return await self._ask("counts", "", lambda: cast("LoadReporter", backend).counts())

    async def diagnostics(self, backend: JobBackend, handles: Collection[JobHandle]) -> Mapping[JobHandle, Diagnostics]:
        """Ask for the output so far."""
        verb = cast("LiveDiagnostics", backend).diagnostics
        return await self._ask("diagnostics", _format_handles(handles), lambda: verb(handles))

    async def run(
        self,
        transport: Transport,
        argv: Sequence[str],
        *,
        stdin: AsyncIterable[bytes] | None = None,
        stdout: ByteSink | None = None,
        within: float = _VERB_SECONDS,
    ) -> CommandResult:
        """Run a command over a transport."""
        asked = _format_command(argv, stdin, stdout)
        return await self._ask("run", asked, lambda: transport.run(argv, stdin=stdin, stdout=stdout), within=within)

    async def run_unbounded(
        self,
        transport: Transport,
        argv: Sequence[str],
        *,
        stdin: AsyncIterable[bytes] | None = None,
        stdout: ByteSink | None = None,
    ) -> CommandResult:
        """Run a command over a transport for as long as it likes: a bounded run would end whatever the subject does."""
        return await self.record(
            "run", _format_command(argv, stdin, stdout), transport.run(argv, stdin=stdin, stdout=stdout)
        )

    # Waiting for jobs

    async def wait_until_final(
        self, backend: JobBackend, handles: Collection[JobHandle], within: float | None = None
    ) -> Mapping[JobHandle, JobStatus]:
        """Poll until every job is final.

        Raises:
            CheckFailed: One is not, ``within`` seconds (30 unless given, times ``scale``) after the call.
        """
        seconds = _FINISH_SECONDS if within is None else within
        statuses = await self._poll(backend, handles, seconds, lambda each: each.state.final)
        for handle, status in statuses.items():
            expected = f"a final state within {seconds * self.scale:g} s for job {handle.job}"
            observed = f"{format_value(status)}; {ADVICE}" if is_in_queue(status) else format_value(status)
            self.expect(status.state.final, expected=expected, observed=observed)
        return statuses

    async def wait_until(
        self, backend: JobBackend, handle: JobHandle, *states: JobState, within: float | None = None
    ) -> JobStatus:
        """Poll until one of these states, or a final one, is seen, and return what was seen last."""
        seconds = _FINISH_SECONDS if within is None else within
        statuses = await self._poll(backend, [handle], seconds, lambda each: each.state.final or each.state in states)
        return statuses[handle]

    async def _poll(
        self,
        backend: JobBackend,
        handles: Collection[JobHandle],
        seconds: float,
        enough: Callable[[JobStatus], bool],
    ) -> Mapping[JobHandle, JobStatus]:
        waiting, wait = self.start_wait(seconds), _FIRST_WAIT
        while True:
            statuses = await self.status(backend, handles)
            for handle in handles:
                self.expect(handle in statuses, expected=f"a status of job {handle.job}", observed=statuses)
            asked = {handle: statuses[handle] for handle in handles}  # whatever else was told
            if all(map(enough, asked.values())) or waiting.is_over(asked):
                return asked
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, _LONGEST_WAIT)

    def start_wait(self, seconds: float, *, patient: bool = True) -> Wait:
        """Begin to wait for jobs: so many seconds, times ``scale``, and those in the queue, which ``queued`` sums up.

        Where a look is worth no more than those seconds, it is not ``patient``.
        """
        waiting = Wait(self.traffic if patient else QueueActivity(), seconds * self.scale, self.scale)
        self._waits.append(waiting)
        return waiting

    # A process of its own

    async def run_child(
        self, source: str, *arguments: str, what: str, jobs: bool = False, within: float = _VERB_SECONDS
    ) -> object:
        """Run Python source in a child process, and return what it told.

        These names are defined in the source: ``make_backend`` makes a new backend of the same subject, not entered yet;
        ``make_plugin`` makes the subject itself; ``arguments`` is a list of strings; ``tell`` takes the result as plain data.

        Args:
            source: What it does.
            arguments: Handed to it.
            what: What that is, for the finding where it does not work.
            jobs: Whether it starts jobs, which may be processes that go on.
            within: So many seconds it may take, times ``scale``.

        Raises:
            CheckFailed: It did not end in time, or well, or told nothing.
        """
        async with self._children.here:  # to wait for others is no part of its time
            seconds = within * self.scale * timeouts.get_load_factor()
            child = await self._ask(
                "child process",
                f"{what}{', ' if arguments else ''}{', '.join(map(format_value, arguments))}",
                lambda: run_child(self.subject, source, arguments, self.tmp, seconds=seconds, jobs=jobs),
                within=within,
            )
        said = f"it ended with exit code {child.code}: {child.last_words}"
        self.expect(
            child.code == 0 and child.told is not None, expected=f"{what} to work in a child process", observed=said
        )
        return child.told

    # Bounds and the record

    def _new_directory(self) -> Path:
        self._fetched += 1
        return self.tmp / f"fetched-{self._fetched}"

    async def _ask(
        self, verb: str, arguments: str, asked: Callable[[], Awaitable[_T]], within: float = _VERB_SECONDS
    ) -> _T:
        """Call a verb for a bounded time and write it down."""
        seconds = within * self.scale
        try:
            return await self.record(verb, arguments, timeouts.limit_time(seconds, _await_answer(verb, asked)))
        except timeouts.TimeLimitExceeded as late:
            raise CheckFailed(f"{verb} to answer within {seconds:g} s", f"{verb} {late}") from late

    async def record(self, verb: str, arguments: str, awaitable: Awaitable[_T]) -> _T:
        """Await and write it down."""
        call = Call(verb, arguments, start=time.monotonic() - self.began)
        self.journal.append(call)
        try:
            value = await awaitable
        except timeouts.TimeLimitExceeded as late:
            call.outcome = late.summary
            raise
        except BaseException as error:
            call.outcome = f"raised {format_value(error)}"
            raise
        else:
            call.outcome = format_value(value)
            return value
        finally:
            call.seconds = time.monotonic() - self.began - call.start


class _OpenSubject(AbstractAsyncContextManager[_E]):
    """A fresh backend or transport between entering and leaving.

    Both are awaited in the check's own task, as ``async with`` would: it may hold a task group meanwhile.
    """

    def __init__(self, context: Context, make: Callable[[], _E]) -> None:
        self._context, self._make = context, make

    async def __aenter__(self) -> _E:
        self._opened, _ = await self._context.enter(self._make)
        return self._opened

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        leaving = type(self._opened).__aexit__(self._opened, kind, error, traceback)
        try:
            await self._context.record("__aexit__", kind.__name__ if kind else "", leaving)
        except Exception as second:
            if error is None:
                raise
            with suppress(TypeError):  # its notes are no list
                error.add_note(
                    f"and leaving then raised {format_value(second)}"
                )  # it must not hide what the check found


async def _await_answer(verb: str, asked: Callable[[], Awaitable[_T]]) -> _T:
    answer = asked()
    if not isawaitable(answer):
        raise CheckFailed(f"{verb} to be awaitable", f"{format_value(answer)} from the call itself")
    return await answer


def _format_command(argv: Sequence[str], stdin: object, stdout: object) -> str:
    return f"{format_value(list(argv))}{', stdin' if stdin else ''}{', stdout' if stdout else ''}"


def _format_submission(spec: SubmissionSpec, copies: int | Sequence[CopyVars]) -> str:
    """Write what a submission asks for: the payload, how many copies, and every field that is given."""
    given = {name: getattr(spec, name) for name in type(spec).model_fields if name in spec.model_fields_set}
    payload = [given.pop(name, ()) for name in ("executable", "arguments")]
    fields = [f"{name}={format_value(value)}" for name, value in given.items()]
    count = copies if isinstance(copies, int) else len(copies)
    first: Sequence[CopyVars] = () if isinstance(copies, int) else copies[:_SHOWN_COPIES]
    own = [f"copies[{n}]={format_value(each)}" for n, each in enumerate(first)] + (
        ["..."] if 0 < len(first) < count else []
    )
    return ", ".join(
        shorten(each, 300) for each in (format_value(payload[1] or str(payload[0])), f"copies={count}", *fields, *own)
    )


def _format_handles(handles: Collection[JobHandle]) -> str:
    first = ", ".join(handle.job for handle in list(handles)[:3])
    return f"[{first}]" if len(handles) <= 3 else f"[{first}, ...: {len(handles)}]"  # noqa: PLR2004 -- three are shown


Check = Callable[[Context], Awaitable[None]]
"""A check returns if its clause is kept, and raises if it is not."""


def get_check(clause: Clause) -> Check:
    """Return the check of a clause, as what it is: a clause is data, and knows nothing of a Context."""
    return cast("Check", clause.check)
