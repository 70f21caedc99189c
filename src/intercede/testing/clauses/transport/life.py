"""IC-TRANSPORT: a transport is constructed, entered and left, and leaves nothing in the process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from intercede.contract.errors import NotOpenError
from intercede.testing.clauses import clause
from intercede.testing.clauses.support import child_functions, commands, life, payloads
from intercede.testing.isolation.timeouts import Deadline
from intercede.testing.model.clause import MUST, SHOULD
from intercede.testing.run.answers import expect_no_error
from intercede.testing.run.context import CheckFailed, Context, format_value
from intercede.testing.run.driver import TransportDriver, open_transport

_MANY = 100_000
"""How many numbers a command writes, each on a line. The output is 0.6 MB."""


@clause(
    "IC-TRANSPORT-11",
    title="The constructor connects nowhere, starts nothing and writes nothing.",
    level=MUST,
    depends=("IC-TRANSPORT-10",),
    hint=(
        "The constructor connects a client, makes a directory for a control socket, or runs a test command. Move "
        "that to __aenter__. Callers make objects just to inspect or list them, and then throw them away."
    ),
)
async def check_construction(context: Context) -> None:
    """Construct the transport twice in a child process. An audit hook watches the second construction."""
    await life.check_construction(context, child_functions.watch_plugin)


@clause(
    "IC-TRANSPORT-12",
    title="Entering works, and returns the object itself.",
    level=MUST,
    depends=("IC-TRANSPORT-10",),
    hint=(
        "First the exception of entering, if there was one: until entering works, no other clause can be checked. "
        "If there was none, __aenter__ must end with `return self`: without it, `async with ... as transport` gives "
        "None."
    ),
)
async def check_entering(context: Context) -> None:
    """Enter the transport, and check that ``__aenter__`` returns the same transport."""
    await life.check_entering(context, context.make_transport)


@clause(
    "IC-TRANSPORT-13",
    title="Leaving twice is allowed.",
    level=MUST,
    depends=("IC-TRANSPORT-12",),
    hint=(
        "A close() that may be called only once, or an attribute that the first leaving deletes. Exit stacks and "
        "error paths leave objects that are already closed."
    ),
)
async def check_leaving_twice(context: Context) -> None:
    """Enter a transport once, and leave it twice."""
    await life.check_leaving_twice(open_transport(context))


async def _expect_not_open(transport: TransportDriver, when: str) -> None:
    try:
        answer = f"it answered {format_value(await transport.run(['true']))}"
    except NotOpenError:
        return
    except CheckFailed as late:
        answer = late.observed
    except Exception as error:  # noqa: BLE001 -- any exception of the subject is reported
        answer = f"it raised {format_value(error)}"
    raise CheckFailed(f"run {when} to raise NotOpenError", answer)


@clause(
    "IC-TRANSPORT-14",
    title="A run before entering raises NotOpenError.",
    level=MUST,
    depends=("IC-TRANSPORT-10",),
    hint=(
        "An AttributeError or a TypeError from a connection that does not exist yet. A transport that needs no "
        "connection must check this as well: code that works with it unopened would fail with another transport."
    ),
)
async def check_before_entering(context: Context) -> None:
    """Run `true` over a transport that was never entered."""
    await _expect_not_open(TransportDriver(context, context.make_transport()), "before entering")


@clause(
    "IC-TRANSPORT-15",
    title="A run after leaving raises NotOpenError.",
    level=MUST,
    depends=("IC-TRANSPORT-10", "IC-TRANSPORT-12"),
    hint=(
        "__aexit__ must record that the object was left: by a flag, or by a connection set to None. A run that "
        "reconnects hides the fact that no caller will close the connection."
    ),
)
async def check_after_leaving(context: Context) -> None:
    """Run `true` over a transport that was entered and left."""
    async with open_transport(context) as transport:
        pass
    await _expect_not_open(transport, "after leaving")


@clause(
    "IC-TRANSPORT-16",
    title="An exception in the body of `async with` passes through, and everything is closed.",
    level=MUST,
    depends=("IC-TRANSPORT-15",),
    hint=(
        "The return value of __aexit__: a true value swallows the exception. An __aexit__ that raises, or that "
        "closes only if there was no exception."
    ),
)
async def check_exception_in_the_body(context: Context) -> None:
    """Raise an exception in the body, and check which exception `async with` raises."""
    transport = await life.check_exception_passes(context, context.make_transport)
    await _expect_not_open(TransportDriver(context, transport), "after an exception in the body")


@clause(
    "IC-TRANSPORT-17",
    title="Leaving leaves no task, thread, open descriptor or child process behind.",
    level=MUST,
    exclusive=True,
    depends=("IC-TRANSPORT-07", "IC-TRANSPORT-08", "IC-TRANSPORT-09"),
    hint=(
        "Feeders and readers that a run starts and does not await when it is cancelled or its sink fails. Pipes "
        "that are not closed, processes that are not waited for, a client that outlives __aexit__. Only growth from "
        "one cycle to the next counts, so caches and pools of a fixed size are fine."
    ),
)
async def check_nothing_is_left(context: Context) -> None:
    """Ten times, enter a transport, let runs end in several ways, and leave the transport.

    Compare the counts of tasks, threads, open descriptors and child processes after the third time and after the tenth.
    """

    async def run_and_end() -> None:
        async with open_transport(context) as transport:
            await _use_transport(context, transport)

    await life.check_nothing_is_left(context, run_and_end, "running")


class _SinkFullError(Exception):
    """The error that a sink of the check raises."""


async def _use_transport(context: Context, transport: TransportDriver) -> None:
    """Do four runs: one succeeds, one names a missing command, one has a sink that fails, and one is cancelled."""
    await transport.run(["cat"], stdin=commands.yield_pieces(commands.FILLER), stdout=commands.RecordingSink())
    await transport.run([f"ic-{context.make_token()}"])
    with suppress(_SinkFullError):
        await transport.run(commands.sh_argv("echo begun; exec sleep 5"), stdout=commands.FailingSink(_SinkFullError()))
    sink = commands.RecordingSink()
    run = commands.begin_run(transport.run_unbounded(commands.sh_argv("echo begun; exec sleep 5"), stdout=sink))
    await commands.wait_unless_over(context, run, sink.begun.wait())
    run.cancel()
    await Deadline(10 * context.scale).wait_for_tasks({run})


@clause(
    "IC-TRANSPORT-18",
    title="Two instances do not disturb each other.",
    level=MUST,
    depends=("IC-TRANSPORT-01", "IC-TRANSPORT-05", "IC-TRANSPORT-15", "IC-TRANSPORT-28"),
    hint=(
        "State on the class or the module that belongs on the instance: a shared connection that is closed by the "
        "first instance that leaves, a mutable default, one path for every control socket."
    ),
)
async def check_two_instances(context: Context) -> None:
    """Keep a run of one instance waiting for its input while another instance is entered, used and left."""
    left = asyncio.Event()

    async def source() -> AsyncIterator[bytes]:
        yield b"before\n"
        await left.wait()
        yield b"after\n"

    sink = commands.RecordingSink()
    async with open_transport(context) as transport:
        run = commands.begin_run(transport.run(["cat"], stdin=source(), stdout=sink))
        try:
            await commands.wait_unless_over(context, run, sink.begun.wait())
            async with open_transport(context) as other:
                result = await other.run(commands.sh_argv("echo other"))
                commands.expect_bytes(context, "from the other instance", b"other\n", result.stdout)
        finally:
            left.set()
        with expect_no_error("an instance to work after another was left", "run"):
            (await run).get()
            again = await transport.run(commands.sh_argv("echo still"))
        commands.expect_bytes(context, "over an instance while another is used and left", b"before\nafter\n", sink.data)
        commands.expect_bytes(context, "over it after the other was left", b"still\n", again.stdout)


@clause(
    "IC-TRANSPORT-19",
    title="The event loop is never blocked for 100 ms.",
    level=SHOULD,
    exclusive=True,
    depends=("IC-TRANSPORT-24", "IC-TRANSPORT-29"),
    hint=(
        "Calls that wait without `await`: subprocess.run, Popen.wait, a synchronous client, time.sleep. Use "
        "asyncio.to_thread for them. The rest of the process stops while such a call runs."
    ),
)
async def check_blocking(context: Context) -> None:
    """Measure the longest pause of the loop while entering, running and leaving.

    A pause counts only if it is seen three times.
    """

    async def run() -> None:
        async with open_transport(context) as transport:
            numbers = commands.numbers_script(_MANY)
            script = f"cat > /dev/null; {payloads.sleep_script(0.3)}; {numbers}; {numbers} >&2"
            await transport.run(commands.sh_argv(script), stdin=commands.yield_pieces(commands.FILLER))

    await life.check_loop_turns(context, "entering, running and leaving", run)
