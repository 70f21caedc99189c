"""IC-SHAPE: a backend has the methods of its capabilities, and they take the parameters of the contract."""

from collections.abc import Callable
from functools import partial
from inspect import isawaitable

from intercede.contract.backend import JobBackend, capabilities
from intercede.testing.clauses import clause
from intercede.testing.clauses.support.verbs import OPTIONAL, call_verb, get_method, list_verbs, make_arguments
from intercede.testing.isolation.timeouts import limit_time
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import CheckFailed, Context, format_value
from intercede.testing.run.driver import open_backend

_SECONDS = 3.0
"""The time limit of a call that only shows whether a verb takes its parameters."""


@clause(
    "IC-SHAPE-01",
    title="The object has the verbs of every claimed capability, as methods.",
    level=MUST,
    hint=(
        "A verb is missing, or is a flag or a string instead of a method. If you do not have a capability, "
        "leave its verb out or set it to None. Anything else under the verb's name claims the capability."
    ),
)
async def check_verbs_are_there(context: Context) -> None:
    """Make an object, and check that each claimed verb is a method."""
    backend = context.make_backend()
    for verb in ("__aenter__", "__aexit__", *list_verbs(context)):
        found: object = getattr(backend, verb, None)
        context.expect(callable(found), expected=f"{verb} to be a method", observed=f"{verb} is {format_value(found)}")


@clause(
    "IC-SHAPE-02",
    title="Every claimed verb is async: the value that a call returns can be awaited.",
    level=MUST,
    depends=("IC-SHAPE-03",),
    hint=(
        "A verb written with `def` that answers at once, instead of `async def`. A decorator that calls the "
        "coroutine function and returns its result. Move blocking work into a thread, inside an async verb."
    ),
)
async def check_verbs_are_async(context: Context) -> None:
    """Call each verb, and check what the call returns before awaiting it.

    Errors that are raised while the answer is awaited belong to other clauses.
    """
    async with open_backend(context) as backend:
        for verb in list_verbs(context):
            try:
                await call_verb(context, backend.own, verb)
            except CheckFailed:
                raise
            except Exception:  # noqa: BLE001, S112 -- this clause is about awaiting only
                continue


@clause(
    "IC-SHAPE-03",
    title="Every claimed verb takes the contract's parameters, by position and by keyword.",
    level=MUST,
    depends=("IC-LIFE-02", "IC-SHAPE-04"),
    hint=(
        "The names of the parameters must be: submit(spec, copies=1), status(handles), fetch_output(handles, dest), "
        "kill(handles), purge(handles), counts(), find(tag), diagnostics(handles). You may add parameters that have "
        "defaults. Do not put a `/` or a `*` among the contract's own parameters."
    ),
)
async def check_parameters(context: Context) -> None:
    """Call each verb by position and by keyword. Only TypeError counts here; other errors belong to other clauses."""
    seconds = _SECONDS * context.scale
    async with open_backend(context) as backend:
        for verb in list_verbs(context):
            function = get_method(backend.own, verb)
            # A submission of zero copies is refused, so this call starts no job.
            arguments = make_arguments(context, verb) | ({"copies": 0} if verb == "submit" else {})
            names = ", ".join(arguments)
            await _expect_taken(partial(function, *arguments.values()), f"{verb}({names}), by position", seconds)
            await _expect_taken(partial(function, **arguments), f"{verb}({names}), by keyword", seconds)


async def _expect_taken(calling: Callable[[], object], how: str, seconds: float) -> None:
    try:
        answer = calling()
        if isawaitable(answer):
            await limit_time(seconds, answer)
    except TypeError as error:
        raise CheckFailed(f"to be callable as {how}", f"TypeError: {error}") from error
    except Exception:  # noqa: BLE001, S110 -- this clause is about parameters only
        pass


@clause(
    "IC-SHAPE-04",
    title="The claimed capabilities are complete, and are the same for every instance, before and after entering.",
    level=MUST,
    depends=("IC-LIFE-02",),
    hint=(
        "A verb that exists only through __getattr__: claims are read statically, so callers cannot see it. A verb "
        "that entering adds, or sets to None. Claim a capability on the class, or not at all."
    ),
)
async def check_claims(context: Context) -> None:
    """Compare the claimed capabilities with the methods of a new object and of an entered object."""
    backend = context.make_backend()
    _expect_whole(context, backend, "of a new object")
    async with open_backend(context) as entered:
        _expect_whole(context, entered.own, "after entering")


def _expect_whole(context: Context, backend: JobBackend, when: str) -> None:
    claims = capabilities(backend)
    for verb, capability in OPTIONAL.items():
        reachable = callable(getattr(backend, verb, None))
        context.expect(
            reachable == (capability in claims) == (capability in context.capabilities),
            expected=f"{capability} to be claimed by a method {verb}, always, or not at all",
            observed=f"{when}: {'' if capability in claims else 'not '}claimed, "
            f"{verb} {'can' if reachable else 'cannot'} be called; "
            f"the first instance {'claimed' if capability in context.capabilities else 'did not claim'} it",
        )


@clause(
    "IC-SHAPE-05",
    title="A claimed verb is no stub: it does not raise NotImplementedError.",
    level=MUST,
    depends=("IC-SUBMIT-01",),
    hint=(
        "A verb that is kept for later, or inherited from a base class that only raises. Leave it out, or set it to "
        "None: the capability is then not claimed, and the rest can still be conformant."
    ),
)
async def check_no_stubs(context: Context) -> None:
    """Call each verb with a job. An empty list is not enough, because a stub might return an empty answer for it."""
    async with open_backend(context) as backend:
        handles = await backend.submit_jobs(context.sh("exit 0"))
        for verb in list_verbs(context):
            try:
                await call_verb(context, backend.own, verb, handles)
            except NotImplementedError as error:
                raise CheckFailed(f"{verb} to be implemented", f"it raised {format_value(error)}") from error
            except CheckFailed:
                raise
            except Exception:  # noqa: BLE001, S112 -- this clause is about NotImplementedError only
                continue
