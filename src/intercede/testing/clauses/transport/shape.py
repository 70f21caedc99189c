"""IC-TRANSPORT: a transport has the methods of the contract, and ``run`` returns a ``CommandResult``."""

from intercede.registry.gate import find_violations
from intercede.testing.clauses import clause
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import CheckFailed, Context, format_value
from intercede.testing.run.driver import open_transport


@clause(
    "IC-TRANSPORT-10",
    title="The methods run, __aenter__ and __aexit__ exist, are async, and take the contract's parameters.",
    level=MUST,
    hint=(
        "The signature must be `async def run(self, argv, *, stdin=None, stdout=None)`, with __aenter__ and "
        "__aexit__ beside it. commands_in_flight is optional: a plain method that returns a number from 1 on. The "
        "registry refuses an object of any other shape, with the sentence above."
    ),
)
async def check_shape(context: Context) -> None:
    """Make a transport, and check it with the registry's gate."""
    try:
        transport = context.make_transport()
    except Exception as error:
        raise CheckFailed("a transport to be made", f"making it raised {format_value(error)}") from error
    found = find_violations(transport, "transports")
    context.expect(not found, expected="an object of a transport's shape", observed="; ".join(found))


@clause(
    "IC-TRANSPORT-20",
    title="run returns a CommandResult: a code from 0 to 255, stdout and stderr as bytes.",
    level=MUST,
    depends=("IC-TRANSPORT-10", "IC-TRANSPORT-12"),
    hint=(
        "The exception or the value that run gave for a command as plain as `true`. The answer must be "
        "`CommandResult(returncode=..., stdout=..., stderr=...)`. If it is made without validation "
        "(model_construct), it may hold text, None or a negative code. A client library that returns text has an "
        "option for bytes. A TransportError says that the machine was not reached: try its address and credentials "
        "with the client itself."
    ),
)
async def check_answer(context: Context) -> None:
    """Run `true`, and check the types of the result."""
    async with open_transport(context) as transport:
        await transport.run(["true"])
