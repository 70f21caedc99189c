"""Drivers call a subject for a check. Each call has a time limit and is recorded, and each answer is checked."""

import time
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeVar, cast

from intercede.contract.backend import JobBackend, LoadReporter
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
from intercede.contract.transport import ByteSink, CommandResult, Transport
from intercede.testing.model.calls import shorten
from intercede.testing.run.answers import (
    Answers,
    describe_status,
    expect_handles,
    expect_no_error,
    expect_result,
    expect_submission,
    expect_type,
)
from intercede.testing.run.context import SECONDS, Context, Enterable, collect, format_value
from intercede.testing.run.waiting import IN_QUEUE, is_in_queue, poll

__all__ = ["BackendDriver", "TransportDriver", "open_backend", "open_transport"]

JobVerb = Literal["status", "fetch_output", "kill", "purge", "diagnostics", "find"]
"""The verbs that take the handles of jobs, and ``find``, which takes a tag."""
_END_SECONDS = 30.0
"""The seconds within which small payloads must end."""
_SHOWN_COPIES = 4

_D = TypeVar("_D")
_E = TypeVar("_E", bound=Enterable)


class BackendDriver:
    """Calls the verbs of a backend for a check.

    The context remembers the jobs that the driver submits. The jobs are killed and purged when the check has ended.

    Args:
        context: The context of the check.
        own: The backend that the subject made.
    """

    def __init__(self, context: Context, own: JobBackend) -> None:
        self.context, self.own = context, own

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Call ``submit``, remember the jobs in the context, and return the submission.

        If the call returns no handles, the context remembers the tag instead.
        """
        try:
            answer: object = await self.context.call(
                "submit", _format_submission(spec, copies), lambda: self.own.submit(spec, copies)
            )
            submission = expect_submission(answer)
            self.context.remember(collect(submission.handles.values()))
        except BaseException:
            self.context.remember_tag(spec.tag)
            raise
        self.context.forget_tag(spec.tag)
        return submission

    async def submit_jobs(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> list[JobHandle]:
        """Submit copies, require a handle for every copy, and return the handles in the order of the copies."""
        submission = await self.submit(spec, copies)
        count = copies if isinstance(copies, int) else len(copies)
        self.context.expect(
            sorted(submission.handles) == list(range(count)),
            expected=f"{count} copies to be started",
            observed=f"handles for {sorted(submission.handles)}, failures {format_value(submission.failures)}",
        )
        return [submission.handles[index] for index in range(count)]

    async def submit_job(self, spec: SubmissionSpec) -> JobHandle:
        """Submit one copy, and return its handle."""
        (handle,) = await self.submit_jobs(spec)
        return handle

    async def run_jobs(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> list[JobStatus]:
        """Submit copies, wait until every job is final, and return the statuses in the order of the copies."""
        handles = await self.submit_jobs(spec, copies)
        statuses = await self.wait_until_final(handles)
        return [statuses[handle] for handle in handles]  # copies that share a handle are not merged

    async def ask(self, verb: JobVerb, jobs: Collection[JobHandle] | str, dest: Path | None = None) -> object:
        """Call a verb that takes handles or a tag, and return the answer unchecked.

        Args:
            verb: The verb.
            jobs: The handles to ask about, or the tag for ``find``.
            dest: The directory for ``fetch_output``. If it is None, the directory is a new one.
        """
        more = [dest or self.context.make_directory_name()] if verb == "fetch_output" else []
        asked = format_value(jobs) if isinstance(jobs, str) else _format_handles(jobs)
        # The lambda looks the verb up, as the frame of a call: if the subject lacks the verb, the subject is at fault.
        return await self.context.call(
            verb, asked, lambda: cast("Callable[..., Awaitable[object]]", getattr(self.own, verb))(jobs, *more)
        )

    async def ask_each(self, verb: JobVerb, handles: Collection[JobHandle], expected: str = "") -> Answers:
        """Call a verb that takes handles, require that the answer is a mapping, and return the mapping as ``Answers``.

        Args:
            verb: The verb.
            handles: The handles to ask about.
            expected: The expectation, for the failure if the verb raises. If it is empty, the exception is not caught.
        """
        if not expected:
            return Answers(verb, await self.ask(verb, handles))
        with expect_no_error(expected, verb):
            return Answers(verb, await self.ask(verb, handles))

    async def get_statuses(self, handles: Sequence[JobHandle]) -> list[JobStatus]:
        """Ask once for the statuses of jobs, and return them in the handles' order."""
        return (await self.ask_each("status", handles)).get_each(JobStatus, handles)

    async def get_status(self, handle: JobHandle) -> JobStatus:
        """Ask once for the status of a job, and return the status."""
        (status,) = await self.get_statuses([handle])
        return status

    async def fetch_outputs(self, handles: Sequence[JobHandle], dest: Path | None = None) -> list[JobOutput]:
        """Fetch the outputs of jobs, and return them in the handles' order."""
        return Answers("fetch_output", await self.ask("fetch_output", handles, dest)).get_each(JobOutput, handles)

    async def kill(self, handles: Sequence[JobHandle]) -> list[OpOutcome]:
        """Kill jobs, and return the outcomes in the handles' order."""
        return (await self.ask_each("kill", handles)).get_each(OpOutcome, handles)

    async def purge(self, handles: Sequence[JobHandle]) -> list[OpOutcome]:
        """Purge jobs, and return the outcomes in the handles' order."""
        return (await self.ask_each("purge", handles)).get_each(OpOutcome, handles)

    async def get_diagnostics(self, handles: Sequence[JobHandle]) -> list[Diagnostics]:
        """Ask for the output so far of jobs, and return the diagnostics in the handles' order."""
        return (await self.ask_each("diagnostics", handles)).get_each(Diagnostics, handles)

    async def find(self, tag: str) -> list[JobHandle]:
        """Find the jobs with a tag, and return their handles."""
        return expect_handles(await self.ask("find", tag))

    async def get_counts(self) -> JobCounts:
        """Ask for the numbers of queued and of running jobs, and return the counts."""
        counts = await self.context.call("counts", "", lambda: cast("LoadReporter", self.own).counts())
        return expect_type(JobCounts, counts, "the answer of counts")

    async def wait_until_final(
        self, handles: Sequence[JobHandle], within: float = _END_SECONDS
    ) -> dict[JobHandle, JobStatus]:
        """Poll until every job is final, and return the status for each handle.

        Raises:
            CheckFailed: A job is not final after ``within`` seconds, times the scale.
        """
        statuses = await self._poll(handles, lambda each: each.state.final, within)
        for handle, status in statuses.items():
            expected = f"a final state within {within * self.context.scale:g} s for job {handle.job}"
            observed = f"it is {describe_status(status)}{f'; {IN_QUEUE}' if is_in_queue(status) else ''}"
            self.context.expect(status.state.final, expected=expected, observed=observed)
        return statuses

    async def get_final_status(self, handle: JobHandle, within: float = _END_SECONDS) -> JobStatus:
        """Poll until a job is final, and return its status.

        Raises:
            CheckFailed: The job is not final after ``within`` seconds, times the scale.
        """
        return (await self.wait_until_final([handle], within))[handle]

    async def wait_for_state(
        self, handle: JobHandle, *states: JobState, within: float = _END_SECONDS, patient: bool = True
    ) -> JobStatus:
        """Poll until the job is in one of the given states or a final state, and return the last status.

        If the time is up first, the last status has some other state. Time in a queue that makes progress counts only
        if ``patient`` is False.
        """

        def is_enough(status: JobStatus) -> bool:
            return status.state.final or status.state in states

        return (await self._poll([handle], is_enough, within, patient=patient))[handle]

    async def wait_in_queue(self, handle: JobHandle, submitted: float) -> float:
        """Poll until a job has left the queue. Return the last time at which the job was certainly in the queue.

        The last poll that found the job in the queue began at this time. If no poll found the job in the queue, the
        returned time is ``submitted``.
        """
        waited, asked = submitted, time.monotonic()

        def has_begun(status: JobStatus) -> bool:
            nonlocal waited, asked
            if is_in_queue(status):
                waited = asked
            asked = time.monotonic()
            return not is_in_queue(status)

        await self._poll([handle], has_begun, _END_SECONDS)
        return waited

    async def _poll(
        self,
        handles: Sequence[JobHandle],
        is_enough: Callable[[JobStatus], bool],
        within: float,
        *,
        patient: bool = True,
    ) -> dict[JobHandle, JobStatus]:
        async def ask() -> dict[JobHandle, JobStatus]:
            return dict(zip(handles, await self.get_statuses(handles), strict=True))

        def are_enough(statuses: Mapping[JobHandle, JobStatus]) -> bool:
            return all(map(is_enough, statuses.values()))

        return await poll(ask, are_enough, self.context.start_wait(within, patient=patient))


class TransportDriver:
    """Runs commands over a transport for a check.

    Args:
        context: The context of the check.
        own: The transport that the subject made.
    """

    def __init__(self, context: Context, own: Transport) -> None:
        self.context, self.own = context, own

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: AsyncIterable[bytes] | None = None,
        stdout: ByteSink | None = None,
        within: float = SECONDS,
    ) -> CommandResult:
        """Run a command, require a CommandResult that keeps the contract, and return the CommandResult.

        Raises:
            CheckFailed: ``run`` has not answered in ``within`` seconds, times the scale, or the answer is invalid.
        """
        asked = _format_command(argv, stdin, stdout)
        answer: object = await self.context.call(
            "run", asked, lambda: self.own.run(argv, stdin=stdin, stdout=stdout), within=within
        )
        return expect_result(answer, argv)

    async def run_unbounded(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run a command without a time limit, and return the unchecked result.

        Checks that observe how a command ends use this method, because a time limit would end the command as well.
        """
        asked = _format_command(argv, stdin, stdout)
        return await self.context.record("run", asked, self.own.run(argv, stdin=stdin, stdout=stdout))


class _OpenSubject(AbstractAsyncContextManager[_D]):
    """A context manager that enters a new object of the subject, and leaves it afterwards.

    The subject is entered and left in the task of the check, because the subject may hold a task group in between.
    """

    def __init__(self, context: Context, make: Callable[[], _E], drive: Callable[[Context, _E], _D]) -> None:
        async def enter() -> tuple[Enterable, _D]:
            own, _ = await context.enter(make)
            return own, drive(context, own)

        self._context, self._enter = context, enter

    async def __aenter__(self) -> _D:
        self._opened, driver = await self._enter()
        return driver

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        leaving = type(self._opened).__aexit__(self._opened, kind, error, traceback)
        try:
            await self._context.record("__aexit__", kind.__name__ if kind else "", leaving)
        except Exception as second:
            if error is None:
                raise
            with suppress(TypeError):  # ``error.__notes__`` may be no list
                # The exception of ``__aexit__`` must not replace the failure of the check.
                error.add_note(f"and leaving then raised {format_value(second)}")


def open_backend(context: Context) -> AbstractAsyncContextManager[BackendDriver]:
    """Return a context manager that makes a new backend, enters it, and leaves it afterwards."""
    return _OpenSubject(context, context.make_backend, BackendDriver)


def open_transport(context: Context) -> AbstractAsyncContextManager[TransportDriver]:
    """Return a context manager that makes a new transport, enters it, and leaves it afterwards."""
    return _OpenSubject(context, context.make_transport, TransportDriver)


def _format_command(argv: Sequence[str], stdin: object, stdout: object) -> str:
    return f"{format_value(list(argv))}{', stdin' if stdin else ''}{', stdout' if stdout else ''}"


def _format_submission(spec: SubmissionSpec, copies: int | Sequence[CopyVars]) -> str:
    """Return a text about a submission: the payload, the number of copies, and every field that is given."""
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
