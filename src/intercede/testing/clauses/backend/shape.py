"""IC-SHAPE: what an object must look like before anything can be asked of it."""

from collections.abc import Callable
from functools import partial
from inspect import isawaitable

from intercede.contract.backend import JobBackend, capabilities
from intercede.testing.clauses import clause
from intercede.testing.clauses.backend.answers import started
from intercede.testing.clauses.backend.verbs import OPTIONAL, asked, claimed, harmless, method
from intercede.testing.isolation.timeouts import within
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import CheckFailed, Context, shown

_SECONDS = 3.0
"""How long a verb is given to take offence at its parameters."""


@clause(
    "IC-SHAPE-01",
    title="The verbs of every claimed capability are there, as methods.",
    level=MUST,
    hint=(
        "A verb that is absent, or a flag or a string where a method should be. A capability that you do not have is "
        "left out, or set to None; anything else under its verb's name claims it."
    ),
)
async def check_verbs_are_there(context: Context) -> None:
    """Look at a fresh object."""
    backend = context.build()
    for verb in ("__aenter__", "__aexit__", *claimed(context)):
        found: object = getattr(backend, verb, None)
        context.expect(callable(found), expected=f"{verb} to be a method", observed=f"{verb} is {shown(found)}")


@clause(
    "IC-SHAPE-02",
    title="Every claimed verb is async: what calling it returns can be awaited.",
    level=MUST,
    depends=("IC-SHAPE-03",),
    hint=(
        "A verb written with `def` that answers at once instead of `async def`. A decorator that calls the coroutine "
        "function and returns its result. Blocking work belongs into a thread, inside of an async verb."
    ),
)
async def check_verbs_are_async(context: Context) -> None:
    """Call each, and look at what comes back before it is awaited. What awaiting it raises is another clause's matter."""
    async with context.opened() as backend:
        for verb in claimed(context):
            try:
                await asked(context, backend, verb)
            except CheckFailed:
                raise
            except Exception:  # noqa: BLE001, S112 -- it was awaited, which is all that this clause says
                continue


@clause(
    "IC-SHAPE-03",
    title="Every claimed verb takes the contract's parameters, by position and by keyword.",
    level=MUST,
    depends=("IC-LIFE-02", "IC-SHAPE-04"),
    hint=(
        "The names of the parameters: submit(spec, copies=1), status(handles), fetch_output(handles, dest), "
        "kill(handles), purge(handles), counts(), find(tag), diagnostics(handles). More are fine where they have "
        "defaults; a `/` or a `*` among the contract's own is not."
    ),
)
async def check_parameters(context: Context) -> None:
    """Call each both ways. Whatever else than TypeError comes of it is not this clause's matter."""
    seconds = _SECONDS * context.scale
    async with context.opened() as backend:
        for verb in claimed(context):
            function = method(backend, verb)
            # Zero copies: refused for another reason, so that nothing starts.
            arguments = harmless(context, verb) | ({"copies": 0} if verb == "submit" else {})
            names = ", ".join(arguments)
            await _expect_taken(partial(function, *arguments.values()), f"{verb}({names}), by position", seconds)
            await _expect_taken(partial(function, **arguments), f"{verb}({names}), by keyword", seconds)


async def _expect_taken(calling: Callable[[], object], how: str, seconds: float) -> None:
    try:
        answer = calling()
        if isawaitable(answer):
            await within(seconds, answer)
    except TypeError as error:
        raise CheckFailed(f"to be callable as {how}", f"TypeError: {error}") from error
    except Exception:  # noqa: BLE001, S110 -- the parameters were taken, which is all that this clause says
        pass


@clause(
    "IC-SHAPE-04",
    title="No capability is half there: what is claimed is the same for every instance, before and after entering.",
    level=MUST,
    depends=("IC-LIFE-02",),
    hint=(
        "A verb that appears only through __getattr__: claims are read statically, so it is invisible to whoever asks. "
        "A verb that entering adds or sets to None. Claim it on the class, or not at all."
    ),
)
async def check_claims(context: Context) -> None:
    """Compare what is claimed with what can be reached."""
    backend = context.build()
    _expect_whole(context, backend, "of a new object")
    async with context.opened() as entered:
        _expect_whole(context, entered, "after entering")


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
        "A verb kept for later, or inherited from a base class that only raises. Leave it out, or set it to None: the "
        "capability is then not claimed, and everything else can still be conformant."
    ),
)
async def check_no_stubs(context: Context) -> None:
    """Call each with a job, since a stub may answer an empty list."""
    async with context.opened() as backend:
        handles = await started(context, backend, context.sh("exit 0"))
        for verb in claimed(context):
            try:
                await asked(context, backend, verb, handles)
            except NotImplementedError as error:
                raise CheckFailed(f"{verb} to be implemented", f"it raised {shown(error)}") from error
            except CheckFailed:
                raise
            except Exception:  # noqa: BLE001, S112 -- it is there, which is all that this clause says
                continue
