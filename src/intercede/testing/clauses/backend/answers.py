"""Ask a subject, and read what it answers: what is missing or not of the contract's types is a finding, in words."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

from pydantic import BaseModel, ValidationError

from intercede.contract.backend import JobBackend
from intercede.contract.job import (
    CopyVars,
    JobHandle,
    JobOutput,
    JobState,
    JobStatus,
    OpOutcome,
    Submission,
    SubmissionSpec,
)
from intercede.testing.isolation.files import read_regular
from intercede.testing.model.calls import get_class_name
from intercede.testing.run.context import CheckFailed, Context, collect, format_value
from intercede.testing.run.waiting import ADVICE, is_in_queue

__all__ = [
    "describe_status",
    "dump_handle",
    "expect_answers",
    "expect_list",
    "expect_payload_ok",
    "expect_type",
    "fetch_outputs",
    "get_statuses",
    "group_by_text",
    "kill_jobs",
    "list_keys",
    "make_foreign_handles",
    "make_unknown_handle",
    "purge_jobs",
    "read_handles",
    "read_output_file",
    "run_jobs",
    "submit",
    "submit_jobs",
    "wait_for_state",
    "wait_in_queue",
    "wait_until_final",
]

_T = TypeVar("_T")


def expect_type(kind: type[_T], value: object, what: str) -> _T:
    """Require an instance of a type, and validate a model's fields again: `model_construct` skips that.

    Only the fields of the contract's own type count: a subclass may have more. Other clauses check handles.

    Raises:
        CheckFailed: It is not.
    """
    if not isinstance(value, kind):
        raise CheckFailed(f"{what} to be a {kind.__name__}", f"{format_value(value)} of type {get_class_name(value)}")
    if issubclass(kind, BaseModel) and kind not in {Submission, JobHandle}:
        try:
            kind.model_validate({name: held for name, held in vars(value).items() if name in kind.model_fields})
        except ValidationError as error:
            raise CheckFailed(f"{what} to be a {kind.__name__}", f"{format_value(value)}: {error}") from error
    return value


def expect_answers(kind: type[_T], answer: object, handles: Sequence[JobHandle], verb: str) -> list[_T]:
    """Return the answer for each of these handles, in their order; the mapping may hold others, too.

    Raises:
        CheckFailed: It is no mapping, one of them is not in it, or what stands there is of another type.
    """
    mapping = _expect_mapping(answer, verb)
    for handle in handles:
        if handle not in mapping:
            raise CheckFailed(f"an answer of {verb} for job {handle.job}", f"none in {format_value(answer)}")
    try:
        found = [mapping[handle] for handle in handles]
    except KeyError as error:
        raise CheckFailed(
            f"every key of the answer of {verb} to have a value", f"KeyError for {format_value(error)}"
        ) from error
    return [
        expect_type(kind, value, f"the answer of {verb} for job {handle.job}")
        for handle, value in zip(handles, found, strict=True)
    ]


def list_keys(answer: object, verb: str) -> list[object]:
    """Return the keys of an answer, including repeated ones."""
    return collect(_expect_mapping(answer, verb))


def _expect_mapping(answer: object, verb: str) -> Mapping[object, object]:
    if not isinstance(answer, Mapping):
        raise CheckFailed(
            f"the answer of {verb} to be a Mapping", f"{format_value(answer)} of type {get_class_name(answer)}"
        )
    return cast("Mapping[object, object]", answer)


class _Insisting:
    """Wraps a subject's submit, so that the context remembers only real handles."""

    def __init__(self, backend: JobBackend) -> None:
        self._backend = backend

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        submission = expect_type(Submission, await self._backend.submit(spec, copies), "the answer of submit")
        for index, handle in collect(_expect_mapping(submission.handles, "submit, in handles,").items()):
            expect_type(int, index, "an index in handles")
            expect_type(JobHandle, handle, f"the handle of copy {index}")
        _expect_mapping(submission.failures, "submit, in failures,")
        return submission


async def submit(
    context: Context, backend: JobBackend, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1
) -> Submission:
    """Submit, and require an answer of the contract's type."""
    return await context.submit(_Insisting(backend), spec, copies)


async def submit_jobs(
    context: Context, backend: JobBackend, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1
) -> list[JobHandle]:
    """Submit, require that every copy was started, and return their handles in order."""
    submission = await submit(context, backend, spec, copies)
    count = copies if isinstance(copies, int) else len(copies)
    context.expect(
        sorted(submission.handles) == list(range(count)),
        expected=f"{count} copies to be started",
        observed=f"handles for {sorted(submission.handles)}, failures {format_value(submission.failures)}",
    )
    return [submission.handles[index] for index in range(count)]


async def get_statuses(context: Context, backend: JobBackend, handles: Sequence[JobHandle]) -> list[JobStatus]:
    """Ask once for the statuses of jobs."""
    return expect_answers(JobStatus, await context.status(backend, handles), handles, "status")


async def _poll(
    context: Context,
    backend: JobBackend,
    handles: Sequence[JobHandle],
    enough: Callable[[JobStatus], bool],
    within: float,
    *,
    patient: bool = True,
) -> dict[JobHandle, JobStatus]:
    waiting, wait = context.start_wait(within, patient=patient), 0.005
    while True:
        statuses = dict(zip(handles, await get_statuses(context, backend, handles), strict=True))
        if all(map(enough, statuses.values())) or waiting.is_over(statuses):
            return statuses
        await asyncio.sleep(wait)
        wait = min(1.5 * wait, 0.3)


async def wait_until_final(
    context: Context, backend: JobBackend, handles: Sequence[JobHandle], within: float = 30
) -> dict[JobHandle, JobStatus]:
    """Poll until every job is final, and require that this happens within a number of seconds, times the scale."""
    statuses = await _poll(context, backend, handles, lambda each: each.state.final, within)
    expected = f"every job to be final within {within * context.scale:g} s"
    for handle, status in statuses.items():
        observed = f"job {handle.job} is {describe_status(status)}{f'; {ADVICE}' if is_in_queue(status) else ''}"
        context.expect(status.state.final, expected=expected, observed=observed)
    return statuses


async def wait_for_state(
    context: Context,
    backend: JobBackend,
    handle: JobHandle,
    *states: JobState,
    within: float = 30,
    patient: bool = True,
) -> JobStatus:
    """Poll until one of these states, or a final one, is seen; return the last status.

    Time in a queue that makes progress counts only if this is not ``patient``.
    """

    def enough(status: JobStatus) -> bool:
        return status.state.final or status.state in states

    return (await _poll(context, backend, [handle], enough, within, patient=patient))[handle]


async def wait_in_queue(context: Context, backend: JobBackend, handle: JobHandle, submitted: float) -> float:
    """Poll until a job has left the queue; return a time of the clock at which it had not begun yet.

    That is the start of the last look that found it in the queue, or the time at which it was ``submitted``.
    """
    waited, looked = submitted, time.monotonic()

    def has_begun(status: JobStatus) -> bool:
        nonlocal waited, looked
        if is_in_queue(status):
            waited = looked
        looked = time.monotonic()
        return not is_in_queue(status)

    await _poll(context, backend, [handle], has_begun, 30)
    return waited


async def run_jobs(
    context: Context, backend: JobBackend, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1
) -> list[JobStatus]:
    """Submit, wait until every copy is final, and return their statuses in order."""
    handles = await submit_jobs(context, backend, spec, copies)
    statuses = await wait_until_final(context, backend, handles)
    return [statuses[handle] for handle in handles]


async def expect_payload_ok(
    context: Context,
    backend: JobBackend,
    spec: SubmissionSpec,
    copies: int | Sequence[CopyVars] = 1,
    *,
    expected: str,
    codes: Callable[[int], str | None],
) -> None:
    """Run a payload that exits with 0 if all is right; ``codes`` explains its other exit codes."""
    wrong: list[tuple[int, str]] = []
    for index, status in enumerate(await run_jobs(context, backend, spec, copies)):
        meaning = codes(status.exit_code or 0)
        said = f", which means: {meaning}" if meaning else ""
        if status.state is not JobState.DONE:
            wrong.append((index, f"ended {describe_status(status)}{said}"))
    context.expect(not wrong, expected=expected, observed=group_by_text(wrong))


def group_by_text(told: Iterable[tuple[int, str]]) -> str:
    """Write a text for each copy, and the same text only once: ``copies 0, 2 ended FAILED``."""
    same: dict[str, list[str]] = {}
    for index, text in told:
        same.setdefault(text, []).append(str(index))
    return "; ".join(
        f"{'copy' if len(each) == 1 else 'copies'} {', '.join(each)} {text}" for text, each in same.items()
    )


async def fetch_outputs(
    context: Context, backend: JobBackend, handles: Sequence[JobHandle], dest: Path | None = None
) -> list[JobOutput]:
    """Fetch outputs, in the handles' order."""
    return expect_answers(JobOutput, await context.fetch(backend, handles, dest), handles, "fetch_output")


def read_output_file(path: object, what: str) -> bytes:
    """Read a file that an answer names.

    Raises:
        CheckFailed: It points at nothing that could be read, or at what is no regular file.
    """
    if path is None:
        raise CheckFailed(f"a path to {what}", "None")
    try:
        return read_regular(expect_type(Path, path, f"the path to {what}"))
    except (OSError, ValueError, TypeError) as error:  # a path with a NUL; one that is none in truth
        raise CheckFailed(f"{what} to be at the path in the answer", f"{type(error).__name__}: {error}") from error


async def kill_jobs(context: Context, backend: JobBackend, handles: Sequence[JobHandle]) -> list[OpOutcome]:
    """Kill, and return the outcomes in the handles' order."""
    return expect_answers(OpOutcome, await context.kill(backend, handles), handles, "kill")


async def purge_jobs(context: Context, backend: JobBackend, handles: Sequence[JobHandle]) -> list[OpOutcome]:
    """Purge, and return the outcomes in the handles' order."""
    return expect_answers(OpOutcome, await context.purge(backend, handles), handles, "purge")


def dump_handle(handle: JobHandle) -> str:
    """Write a handle as JSON.

    Raises:
        CheckFailed: It cannot be.
    """
    try:
        return expect_type(str, handle.model_dump_json(include={"resource", "job"}), "a handle's JSON")
    except ValueError as error:
        raise CheckFailed("a handle that can be written as JSON", f"{type(error).__name__}: {error}") from error


def describe_status(status: JobStatus) -> str:
    """Write a status in a few words."""
    told = status.model_dump(exclude={"state"}, exclude_none=True)
    each = (f"{key}={value if isinstance(value, str) else format_value(value)}" for key, value in told.items())
    return str(status.state) + (f" ({', '.join(each)})" if told else "")


def expect_list(told: object) -> list[object]:
    """Require that a child process reported a list.

    Raises:
        CheckFailed: It told something else.
    """
    return cast("list[object]", expect_type(list, told, "what the child process tells"))


def read_handles(told: Sequence[object]) -> list[JobHandle]:
    """Read the handles that a child process reported.

    Raises:
        CheckFailed: Something else stands there.
    """
    try:
        return [JobHandle.model_validate(each) for each in told]
    except ValidationError as error:
        raise CheckFailed("handles from another process", f"{format_value(told)}: {error}") from error


_TURNED = str.maketrans(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "nopqrstuvwxyzabcdefghijklmNOPQRSTUVWXYZABCDEFGHIJKLM"
)


def make_unknown_handle(handle: JobHandle) -> JobHandle:
    """Make a handle of the same resource and form that names no job.

    Letters are rotated, and digits become nines, which is far beyond any real number.
    """
    turned = "".join("9" if letter.isdigit() else letter for letter in handle.job.translate(_TURNED))
    if turned.isdigit():
        turned = turned.rjust(9, "9")
    return JobHandle(resource=handle.resource, job=turned)


def make_foreign_handles(context: Context, handle: JobHandle) -> list[JobHandle]:
    """Make handles that are not this resource's: of another resource, and of forms that no backend makes."""
    # These do no harm if they are used as a path, a pattern or a pid: no "*", no "-1".
    malformed = ("../../intercede-no-such", "$(touch intercede-was-here)", "no-such-*", "a\nb", "'; exit 0; '", "ü")
    elsewhere = JobHandle(resource=f"elsewhere-{context.make_token()}", job=handle.job)
    return [elsewhere, *(JobHandle(resource=handle.resource, job=job) for job in malformed)]
