"""The contract's verbs, each with arguments that do no harm: what the clauses about every verb call."""

from collections.abc import Callable, Mapping, Sequence
from inspect import isawaitable
from types import MappingProxyType

from intercede.contract.backend import Capability, JobBackend
from intercede.contract.errors import NotOpenError
from intercede.contract.job import JobHandle, Submission
from intercede.testing.isolation.timeouts import TimeLimitExceeded, limit_time
from intercede.testing.run.context import CheckFailed, Context, format_value

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
"""The verb of each capability, in an order in which each still finds something to do."""
_SECONDS = 20.0


def list_verbs(context: Context) -> list[str]:
    """Name the essential verbs, and those of every capability that the subject claims."""
    optional = [verb for verb, capability in OPTIONAL.items() if capability in context.capabilities]
    return ["submit", "status", *optional]


def make_arguments(context: Context, verb: str, handles: Sequence[JobHandle] = ()) -> dict[str, object]:
    """Make arguments for a verb, by name and in order. A submitted payload ends at once."""
    if verb == "submit":
        spec = context.sh("exit 0")
        context.tags[str(spec.tag)] = None  # so that what a cancelled one started is found and purged
        return {"spec": spec, "copies": 1}
    if verb == "find":
        return {"tag": context.make_token()}
    if verb == "counts":
        return {}
    asked_of: dict[str, object] = {"handles": list(handles)}
    return asked_of | {"dest": context.tmp / context.make_token()} if verb == "fetch_output" else asked_of


def get_method(backend: JobBackend, verb: str) -> Verb:
    """Return a verb of a backend.

    Raises:
        CheckFailed: There is nothing by that name that could be called.
    """
    found: object = getattr(backend, verb, None)
    if not callable(found):
        raise CheckFailed(f"a method {verb}", f"{verb} is {format_value(found)}")
    return found


async def call_verb(context: Context, backend: JobBackend, verb: str, handles: Sequence[JobHandle] = ()) -> object:
    """Await a verb with harmless arguments, in bounded time. Its jobs are remembered.

    Raises:
        CheckFailed: It cannot be awaited, or does not end.
    """
    answer = get_method(backend, verb)(*make_arguments(context, verb, handles).values())
    if not isawaitable(answer):
        raise CheckFailed(f"{verb} to be awaitable", f"{format_value(answer)} from the call itself")
    try:
        told = await limit_time(_SECONDS * context.scale, answer)
    except TimeLimitExceeded as late:
        raise CheckFailed(f"{verb} to answer within {_SECONDS * context.scale:g} s", f"{verb} {late}") from late
    if isinstance(told, Submission):
        context.remember(told.handles.values())
    return told


async def expect_not_open(context: Context, backend: JobBackend, when: str) -> None:
    """Expect every claimed verb to raise NotOpenError, with an empty list as with anything else."""
    for verb in list_verbs(context):
        try:
            answer = await call_verb(context, backend, verb)
        except NotOpenError:
            continue
        except Exception as error:  # noqa: BLE001 -- the subject's; which it is is the finding
            answer = error
        raise CheckFailed(f"{verb} {when} to raise NotOpenError", f"{_describe_outcome(answer)}")


def _describe_outcome(answer: object) -> str:
    return (
        f"it raised {format_value(answer)}" if isinstance(answer, Exception) else f"it answered {format_value(answer)}"
    )
