"""Call the methods of a scheduler, and require the types and the errors of the contract."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar, cast

from intercede.batch.remote.api import write_api
from intercede.contract.errors import (
    IntercedeError,
    LimitError,
    PluginContractError,
    SchedulerError,
    UnsupportedSpecError,
)
from intercede.contract.job import CopyFailure, JobStatus, OpOutcome
from intercede.contract.scheduler import Batch, Queued, Scheduler
from intercede.contract.transport import CommandResult
from intercede.testing.clauses.support.recordings import (
    KillRecording,
    ListRecording,
    Raises,
    Recording,
    StatusRecording,
    SubmitRecording,
    load_recordings,
)
from intercede.testing.model.calls import get_class_name
from intercede.testing.run.context import CheckFailed, format_value

__all__ = [
    "SUBMISSION_ID",
    "call_method",
    "expect",
    "get_api",
    "get_question",
    "get_script",
    "list_answers",
    "list_questions",
    "make_batch",
    "make_result",
    "make_scheduler",
    "parse",
    "parse_recording",
]

SUBMISSION_ID = "a0123456789ab"
_REFUSALS: Mapping[str, tuple[type[IntercedeError], ...]] = {
    "submit_script": (UnsupportedSpecError,),
    "parse_submit": (SchedulerError, LimitError),
    "parse_status": (SchedulerError,),
    "parse_kill": (SchedulerError,),
    "parse_list": (SchedulerError,),
}
_R = TypeVar("_R", bound=Recording)


def make_scheduler(part: Callable[[], object]) -> Scheduler:
    """Make a scheduler.

    Raises:
        CheckFailed: Making the scheduler raised an error.
    """
    try:
        return cast("Scheduler", part())
    except BaseException as error:
        raise CheckFailed("a scheduler that can be made", f"making it raised {_describe_error(error)}") from error


def get_api(scheduler: Scheduler) -> str:
    """Return the shell functions that a scheduler's fragments may call: the text that a backend puts before a fragment.

    Raises:
        CheckFailed: The answer of the scheduler's ``tool_environment`` is invalid.
    """
    try:
        return write_api(scheduler)
    except PluginContractError as error:
        expected = "tool_environment, if there is one, to return a valid ToolEnvironment"
        raise CheckFailed(expected, str(error)) from error


def expect(condition: object, expected: str, observed: object) -> None:
    """Fail unless the condition holds.

    Raises:
        CheckFailed: The condition is false.
    """
    if not condition:
        raise CheckFailed(expected, observed if isinstance(observed, str) else format_value(observed))


def call_method(scheduler: Scheduler, method: str, *arguments: object) -> object:
    """Call a method, and return its answer, or the error that the contract allows.

    Raises:
        CheckFailed: The method raised another error.
    """
    refusals = _REFUSALS.get(method, ())
    try:
        return getattr(scheduler, method)(*arguments)
    except refusals as error:
        return error
    except BaseException as error:
        errors = f" or raise {' or '.join(each.__name__ for each in refusals)}" if refusals else ""
        asked = ", ".join(map(format_value, arguments))
        raise CheckFailed(
            f"{method} to answer{errors}, and nothing else", f"{_describe_error(error)} from {method}({asked})"
        ) from error


def get_script(scheduler: Scheduler, method: str, *arguments: object) -> str | None:
    """Return a fragment, or None if the scheduler raised UnsupportedSpecError.

    Raises:
        CheckFailed: The answer is no text, or text that a shell cannot read.
    """
    text = call_method(scheduler, method, *arguments)
    if isinstance(text, UnsupportedSpecError):
        return None
    if not isinstance(text, str) or not _is_script(text):
        raise CheckFailed(f"text from {method} that a shell can be given", format_value(text))
    return text


def _is_script(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def parse(scheduler: Scheduler, method: str, *arguments: object) -> object:
    """Call a parser, and return a copy of its answer, or the error that the parser raised.

    Raises:
        CheckFailed: The answer or the error is not of a type that the contract allows.
    """
    value = call_method(scheduler, method, *arguments)
    if isinstance(value, IntercedeError):
        return value
    wanted, plain = _TYPES[method]
    try:
        return plain(value)
    except Exception as error:
        observed = "it" if isinstance(error, _UnfitError) else f"{_describe_error(error)} when it was read, of"
        raise CheckFailed(f"{wanted} from {method}", f"{observed} {format_value(value)}".removeprefix("it ")) from error


def get_question(recording: Recording) -> tuple[str, tuple[object, ...]]:
    """Return the parser for a recording, and the arguments for that parser."""
    match recording:
        case SubmitRecording():
            return "parse_submit", (recording.batch, recording.result)
        case StatusRecording() | KillRecording():
            return f"parse_{recording.verb}", (recording.ids, recording.result)
        case ListRecording():
            return "parse_list", (recording.result,)


def parse_recording(scheduler: Scheduler, recording: Recording) -> object:
    """Parse a recorded answer, as ``parse`` does."""
    method, arguments = get_question(recording)
    return parse(scheduler, method, *arguments)


def list_answers(scheduler: Scheduler, kind: type[_R]) -> list[_R]:
    """Return the recordings of one kind that a parser must accept without an error."""
    mine = [each for each in load_recordings(scheduler) if isinstance(each, kind)]
    return [each for each in mine if not isinstance(each.expected, Raises)]


def _describe_error(error: BaseException) -> str:
    return f"{get_class_name(error)}: {format_value(error)}"


class _UnfitError(Exception):
    """A value is not of the type that the contract requires."""


def _copy_mapping(key: type, value: type, found: object) -> dict[object, object]:
    """Copy a mapping into a plain dictionary, and check the types of its keys and values."""
    if not isinstance(found, Mapping):
        raise _UnfitError
    copied = dict(cast("Mapping[object, object]", found).items())
    if not all(isinstance(each, key) and isinstance(said, value) for each, said in copied.items()):
        raise _UnfitError
    return copied


def _copy_queued(found: object) -> Queued:
    if not isinstance(found, Queued):
        raise _UnfitError
    ids, refused = _copy_mapping(int, str, found.ids), _copy_mapping(int, CopyFailure, found.refused)
    return Queued.model_construct(ids=ids, refused=refused)


_TYPES: Mapping[str, tuple[str, Callable[[object], object]]] = {
    "parse_submit": ("a Queued", _copy_queued),
    "parse_status": ("a mapping of ids to JobStatus", partial(_copy_mapping, str, JobStatus)),
    "parse_kill": ("a mapping of ids to OpOutcome", partial(_copy_mapping, str, OpOutcome)),
    "parse_list": ("a mapping of copies to ids", partial(_copy_mapping, int, str)),
}


def make_batch(copies: int = 1, **resources: object) -> Batch:
    """Make a submission with a number of copies."""
    return Batch.model_validate({"submission_id": SUBMISSION_ID, "copies": copies, "resources": resources})


def make_result(stdout: bytes = b"", returncode: int = 0, stderr: bytes = b"") -> CommandResult:
    """Make the answer of a fragment."""
    return CommandResult(returncode=returncode, stdout=stdout, stderr=stderr)


def list_questions(
    ids: Sequence[str], answered: CommandResult, copies: int = 1
) -> list[tuple[str, tuple[object, ...]]]:
    """Return each parser, with the arguments with which it parses an answer."""
    return [
        ("parse_submit", (make_batch(copies), answered)),
        ("parse_status", (ids, answered)),
        ("parse_kill", (ids, answered)),
        ("parse_list", (answered,)),
    ]
