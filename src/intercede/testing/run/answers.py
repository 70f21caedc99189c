"""Read the answers of a subject: a missing answer, or one that is not of the contract's types, fails the check."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar, cast

from pydantic import BaseModel, ValidationError

from intercede.contract.job import JobHandle, JobStatus, Submission
from intercede.contract.transport import CommandResult
from intercede.testing.model.calls import get_class_name
from intercede.testing.run.context import CheckFailed, collect, format_value

__all__ = [
    "Answers",
    "describe_status",
    "expect_handles",
    "expect_no_error",
    "expect_result",
    "expect_submission",
    "expect_type",
]

_FIELDS = ("returncode", "stdout", "stderr")

_T = TypeVar("_T")


def expect_type(kind: type[_T], value: object, what: str) -> _T:
    """Require an instance of a type, and return it.

    The fields of a model are validated again, because ``model_construct`` makes models without validation. Fields that
    a subclass adds are not validated. A Submission and a JobHandle are not validated either, because other clauses
    check them.

    Raises:
        CheckFailed: The value is of another type, or a field of it is invalid.
    """
    if not isinstance(value, kind):
        raise CheckFailed(f"{what} to be a {kind.__name__}", f"{format_value(value)} of type {get_class_name(value)}")
    if issubclass(kind, BaseModel) and kind not in {Submission, JobHandle}:
        try:
            kind.model_validate({name: held for name, held in vars(value).items() if name in kind.model_fields})
        except ValidationError as error:
            raise CheckFailed(f"{what} to be a {kind.__name__}", f"{format_value(value)}: {error}") from error
    return value


class Answers:
    """The answer of a verb that takes handles: a mapping from each handle to a value, as the subject returned it.

    Args:
        verb: The verb, for messages.
        answer: The value that the verb returned.

    Raises:
        CheckFailed: The answer is not a mapping.
    """

    def __init__(self, verb: str, answer: object) -> None:
        self._verb, self._mapping = verb, _expect_mapping(answer, verb)

    @property
    def keys(self) -> list[object]:
        """The keys of the mapping. A key that a faulty mapping yields twice is in the list twice.

        Raises:
            CheckFailed: The mapping has no end.
        """
        return collect(self._mapping)

    def get_each(self, kind: type[_T], handles: Sequence[JobHandle]) -> list[_T]:
        """Return the answer for each given handle, in the order of the handles. The mapping may have more keys.

        Raises:
            CheckFailed: A handle is missing, or the answer for it is of another type.
        """
        for handle in handles:
            if handle not in self._mapping:
                raise CheckFailed(
                    f"an answer of {self._verb} for job {handle.job}", f"none in {format_value(self._mapping)}"
                )
        try:
            found = [self._mapping[handle] for handle in handles]
        except KeyError as error:
            raise CheckFailed(
                f"every key of the answer of {self._verb} to have a value", f"KeyError for {format_value(error)}"
            ) from error
        return [
            expect_type(kind, value, f"the answer of {self._verb} for job {handle.job}")
            for handle, value in zip(handles, found, strict=True)
        ]


def _expect_mapping(answer: object, verb: str) -> Mapping[object, object]:
    if not isinstance(answer, Mapping):
        raise CheckFailed(
            f"the answer of {verb} to be a Mapping", f"{format_value(answer)} of type {get_class_name(answer)}"
        )
    return cast("Mapping[object, object]", answer)


def expect_submission(answer: object) -> Submission:
    """Require that ``submit`` returned a Submission that maps each index to a handle, and return the Submission.

    Raises:
        CheckFailed: The answer, an index or a handle is of another type.
    """
    submission = expect_type(Submission, answer, "the answer of submit")
    for index, handle in collect(_expect_mapping(submission.handles, "submit, in handles,").items()):
        expect_type(int, index, "an index in handles")
        expect_type(JobHandle, handle, f"the handle of copy {index}")
    _expect_mapping(submission.failures, "submit, in failures,")
    return submission


def expect_handles(answer: object) -> list[JobHandle]:
    """Require that ``find`` returned a sequence of handles, and return them as a list.

    Raises:
        CheckFailed: The answer or an item of it is of another type, or the answer has no end.
    """
    if not isinstance(answer, Sequence) or isinstance(answer, str | bytes):
        expected = "the answer of find to be a sequence of handles"
        raise CheckFailed(expected, f"{format_value(answer)} of type {type(answer).__name__}")
    return [
        expect_type(JobHandle, each, "an item of the answer of find")
        for each in collect(cast("Sequence[object]", answer))
    ]


def expect_result(answer: object, argv: Sequence[str]) -> CommandResult:
    """Require that ``run`` returned a CommandResult, and return a copy of the CommandResult.

    The streams of the copy are plain ``bytes``, even if the subject returned a subclass.

    Raises:
        CheckFailed: The answer is of another type, or a field of it is invalid.
    """
    problem = _describe_misfit(answer)
    if problem:
        expected = "run to answer a CommandResult: returncode from 0 to 255, stdout and stderr of bytes"
        raise CheckFailed(expected, f"{problem}, for {format_value(list(argv))}")
    result = cast("CommandResult", answer)
    stdout, stderr = (bytes(memoryview(each)) for each in (result.stdout, result.stderr))
    return CommandResult(returncode=result.returncode, stdout=stdout, stderr=stderr)


def _describe_misfit(answer: object) -> str:
    if not isinstance(answer, CommandResult):
        return f"it answered {format_value(answer)}"
    code, *streams = (getattr(answer, name, None) for name in _FIELDS)
    if type(code) is not int or not 0 <= code <= 255:  # noqa: PLR2004 -- exit codes are of a byte
        return f"returncode is {format_value(code)}"
    named = zip(_FIELDS[1:], streams, strict=True)
    return next((f"{name} is {format_value(each)}" for name, each in named if not isinstance(each, bytes)), "")


@contextmanager
def expect_no_error(expected: str, verb: str) -> Generator[None]:
    """Report an exception of the subject as a failure of the check: ``VERB raised ...``.

    Raises:
        CheckFailed: The body raised an Exception.
    """
    try:
        yield
    except CheckFailed:
        raise
    except Exception as error:
        raise CheckFailed(expected, f"{verb} raised {format_value(error)}") from error


def describe_status(status: JobStatus) -> str:
    """Return a text about a status: its state and the fields that are set."""
    fields = status.model_dump(exclude={"state"}, exclude_none=True)
    each = (f"{key}={value if isinstance(value, str) else format_value(value)}" for key, value in fields.items())
    return str(status.state) + (f" ({', '.join(each)})" if fields else "")
