"""The contract's verbs, each with arguments that do no harm, for checks of every verb."""

from collections.abc import Callable, Mapping, Sequence
from inspect import isawaitable
from types import MappingProxyType

from intercede.contract.backend import Capability, JobBackend
from intercede.contract.errors import NotOpenError
from intercede.contract.job import JobHandle, Submission
from intercede.testing.isolation.timeouts import TimeLimitExceeded, limit_time
from intercede.testing.run.context import SECONDS, CheckFailed, Context, format_value

__all__ = ["OPTIONAL", "Verb", "call_verb", "expect_not_open", "get_method", "list_verbs", "make_arguments"]

Verb = Callable[..., object]

OPTIONAL: Mapping[str, Capability] = MappingProxyType(
    {
        "fetch_output": "output",
        "kill": "kill",
        "purge": "purge",
        "counts": "load",
        "find": "find",
        "diagnostics": "diagnostics",
    }
)
"""Each optional verb and its capability. ``purge`` follows ``fetch_output`` and ``kill``, because it removes jobs."""


def list_verbs(context: Context) -> list[str]:
    """Return the names of the essential verbs, and of the verbs of every capability that the subject claims."""
    optional = [verb for verb, capability in OPTIONAL.items() if capability in context.capabilities]
    return ["submit", "status", *optional]


def make_arguments(context: Context, verb: str, handles: Sequence[JobHandle] = ()) -> dict[str, object]:
    """Map the parameter names of a verb, in positional order, to harmless arguments.

    For ``submit``, the payload ends at once.
    """
    if verb == "submit":
        spec = context.sh("exit 0")
        context.tags[str(spec.tag)] = None  # the jobs of a cancelled call are found and purged by this tag
        return {"spec": spec, "copies": 1}
    if verb == "find":
        return {"tag": context.make_token()}
    if verb == "counts":
        return {}
    asked_of: dict[str, object] = {"handles": list(handles)}
    return asked_of | {"dest": context.tmp / context.make_token()} if verb == "fetch_output" else asked_of


def get_method(backend: JobBackend, verb: str) -> Verb:
    """Return the method of a backend that has the given name.

    Raises:
        CheckFailed: The backend has no method of that name.
    """
    found: object = getattr(backend, verb, None)
    if not callable(found):
        raise CheckFailed(f"a method {verb}", f"{verb} is {format_value(found)}")
    return found


async def call_verb(context: Context, backend: JobBackend, verb: str, handles: Sequence[JobHandle] = ()) -> object:
    """Await a verb with harmless arguments and a time limit, and return its answer.

    The jobs of ``submit`` are ended and purged when the check has ended.

    Raises:
        CheckFailed: The verb cannot be awaited, or does not end in time.
    """
    pending = get_method(backend, verb)(*make_arguments(context, verb, handles).values())
    if not isawaitable(pending):
        raise CheckFailed(f"{verb} to be awaitable", f"{format_value(pending)} from the call itself")
    try:
        answer = await limit_time(SECONDS * context.scale, pending)
    except TimeLimitExceeded as late:
        raise CheckFailed(f"{verb} to answer within {SECONDS * context.scale:g} s", f"{verb} {late}") from late
    if isinstance(answer, Submission):
        context.remember(answer.handles.values())
    return answer


async def expect_not_open(context: Context, backend: JobBackend, when: str) -> None:
    """Expect every claimed verb to raise NotOpenError. Verbs that take handles get an empty list."""
    for verb in list_verbs(context):
        try:
            answer = await call_verb(context, backend, verb)
        except NotOpenError:
            continue
        except Exception as error:  # noqa: BLE001 -- any exception of the subject is reported
            answer = error
        raise CheckFailed(f"{verb} {when} to raise NotOpenError", f"{_describe_outcome(answer)}")


def _describe_outcome(answer: object) -> str:
    return (
        f"it raised {format_value(answer)}" if isinstance(answer, Exception) else f"it answered {format_value(answer)}"
    )
