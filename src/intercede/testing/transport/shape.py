"""IC-TRANSPORT: what a transport looks like, and what it answers."""

from intercede.registry.gate import violations
from intercede.testing.clauses import MUST, clause
from intercede.testing.context import CheckFailed, Context, shown
from intercede.testing.transport.runs import ran


@clause(
    "IC-TRANSPORT-10",
    title="run and entering and leaving are there, async, with the contract's parameters.",
    level=MUST,
    look_at=(
        "The signature of `async def run(self, argv, *, stdin=None, stdout=None)`, and __aenter__ and __aexit__ beside it. "
        "The registry refuses an object of any other shape, with the sentence above."
    ),
)
async def check_shape(context: Context) -> None:
    """Make one, and let the registry's gate look at it."""
    try:
        transport = context.transport()
    except Exception as error:
        raise CheckFailed("a transport to be made", f"making it raised {shown(error)}") from error
    found = violations(transport, "transports")
    context.expect(not found, expected="an object of a transport's shape", observed="; ".join(found))


@clause(
    "IC-TRANSPORT-20",
    title="run answers a CommandResult: a code from 0 to 255, stdout and stderr as bytes.",
    level=MUST,
    depends=("IC-TRANSPORT-12",),
    look_at=(
        "What run raised or returned for a command as plain as `true`. The answer is "
        "`CommandResult(returncode=..., stdout=..., stderr=...)`; made without validation (model_construct), it may hold "
        "text, None or a negative code. A client library that returns text has an option for bytes."
    ),
)
async def check_answer(context: Context) -> None:
    """Run `true`, and look at the types of what comes back."""
    async with context.connected() as transport:
        await ran(context, transport, ["true"])


@clause(
    "IC-TRANSPORT-30",
    title="commands_in_flight, where a transport has it, tells a number from 1 on.",
    level=MUST,
    depends=("IC-TRANSPORT-12",),
    look_at=(
        "commands_in_flight is a plain method without parameters, `def commands_in_flight(self) -> int`. It tells how many "
        "runs a caller should have out at most: sshd lets 10 sessions into a connection, say. Leave it out, and 8 are "
        "assumed."
    ),
)
async def check_in_flight(context: Context) -> None:
    """Ask, when it is entered."""
    async with context.connected() as transport:
        asked: object = getattr(transport, "commands_in_flight", None)
        if asked is None:
            return
        context.expect(callable(asked), expected="commands_in_flight to be a method", observed=asked)
        told = asked() if callable(asked) else None
        context.expect(
            type(told) is int and told >= 1, expected="a number from 1 on from commands_in_flight()", observed=told
        )
