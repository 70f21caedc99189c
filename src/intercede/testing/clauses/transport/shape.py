"""IC-TRANSPORT: what a transport looks like, and what it answers."""

from intercede.registry.gate import find_violations
from intercede.testing.clauses import clause
from intercede.testing.clauses.transport.runs import ran
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import CheckFailed, Context, shown


@clause(
    "IC-TRANSPORT-10",
    title="run and entering and leaving are there, async, with the contract's parameters.",
    level=MUST,
    hint=(
        "The signature of `async def run(self, argv, *, stdin=None, stdout=None)`, and __aenter__ and __aexit__ beside it. "
        "commands_in_flight, where there is one, is a plain method that answers a number from 1 on. The registry refuses an "
        "object of any other shape, with the sentence above."
    ),
)
async def check_shape(context: Context) -> None:
    """Make one, and let the registry's gate look at it."""
    try:
        transport = context.transport()
    except Exception as error:
        raise CheckFailed("a transport to be made", f"making it raised {shown(error)}") from error
    found = find_violations(transport, "transports")
    context.expect(not found, expected="an object of a transport's shape", observed="; ".join(found))


@clause(
    "IC-TRANSPORT-20",
    title="run answers a CommandResult: a code from 0 to 255, stdout and stderr as bytes.",
    level=MUST,
    depends=("IC-TRANSPORT-10", "IC-TRANSPORT-12"),
    hint=(
        "What run raised or returned for a command as plain as `true`. The answer is "
        "`CommandResult(returncode=..., stdout=..., stderr=...)`; made without validation (model_construct), it may hold "
        "text, None or a negative code. A client library that returns text has an option for bytes. A TransportError says "
        "that the machine was not reached: try its address and credentials with the client itself."
    ),
)
async def check_answer(context: Context) -> None:
    """Run `true`, and look at the types of what comes back."""
    async with context.connected() as transport:
        await ran(context, transport, ["true"])
