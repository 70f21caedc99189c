"""IC-TRANSPORT: a run ends properly if it is cancelled, or if its sink or its iterator fails."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Collection, Mapping
from contextlib import suppress

from intercede.contract.transport import CommandResult
from intercede.testing.clauses import clause
from intercede.testing.clauses.support import commands
from intercede.testing.isolation.timeouts import Deadline
from intercede.testing.model.clause import MUST, SHOULD
from intercede.testing.run.context import CheckFailed, Context, format_value
from intercede.testing.run.driver import TransportDriver, open_transport

_ENDS_WITHIN = 10.0
"""Seconds in which a run must end."""
_MOMENTS = (0.0, 0.001, 0.003, 0.01, None)
"""Seconds after which a run is cancelled. None means the moment when the command has written something."""
_GROW_FILES = """
d=$1
beat() {
    i=0
    while [ -d "$d" ] && [ "$i" -lt 300 ]; do
        echo >> "$d/$1"; i=$((i + 1)); sleep 0.1 || sleep 1
    done 2>/dev/null
}
: > "$d/itself"; : > "$d/child"
beat child &
echo begun
beat itself
"""
"""A script that appends to one file while its child process appends to another.

Both end after half a minute, or when the directory of the files is removed.
"""
_WAIT = """
i=0
while [ "$i" -lt 8 ]; do i=$((i + 1)); sleep 0.1 || sleep 1; done 2>/dev/null
"""
"""A script that takes as long as _GROW_FILES needs for eight lines: enough to notice a file that is still growing."""


def _long_command(context: Context) -> list[str]:
    """Return a command that writes a line, and then takes far longer than its run may take."""
    return commands.sh_argv('echo begun; exec sleep "$1"', str(int(3 * _ENDS_WITHIN * context.scale) + 1))


async def _expect_end(context: Context, run: commands.Run, when: str) -> None:
    """Expect a run to end in time.

    The run must have no time limit of its own, because such a limit would end the run in any case.
    """
    await Deadline(_ENDS_WITHIN * context.scale).wait_for_tasks({run})
    context.expect(
        run.done(),
        expected=f"run, {when}, to end within {_ENDS_WITHIN * context.scale:g} s",
        observed="it has not ended",
    )


def _get_error(run: commands.Run) -> BaseException | None:
    return asyncio.CancelledError() if run.cancelled() else run.result().raised


def _describe_ending(run: commands.Run) -> str:
    error = _get_error(run)
    return f"it raised {format_value(error)}" if error else f"it answered {format_value(run.result().value)}"


async def _cancel_run(context: Context, run: commands.Run, when: str) -> None:
    run.cancel()
    await _expect_end(context, run, when)
    context.expect(
        isinstance(_get_error(run), asyncio.CancelledError),
        expected=f"run, {when}, to raise CancelledError",
        observed=_describe_ending(run),
    )


async def _expect_usable(context: Context, transport: TransportDriver, when: str) -> None:
    try:
        result = await transport.run(commands.sh_argv("echo usable"), within=_ENDS_WITHIN)
        observed = format_value(result.stdout)
    except Exception as error:  # noqa: BLE001 -- any exception of the subject is reported
        observed = error.observed if isinstance(error, CheckFailed) else f"it raised {format_value(error)}"
    context.expect(
        observed == format_value(b"usable\n"),
        expected=f"the next run to work, {when}",
        observed=observed,
    )


@clause(
    "IC-TRANSPORT-07",
    title="A cancelled run raises CancelledError in bounded time, and the transport stays usable.",
    level=MUST,
    depends=("IC-TRANSPORT-01", "IC-TRANSPORT-05"),
    seconds=120,
    hint=(
        "An `except BaseException` or `except CancelledError` that goes on as if the run had not been cancelled. A "
        "`finally` that waits for a command that is still running. In Python 3.11, asyncio.create_subprocess_exec "
        "that is cancelled while it starts waits for ever: shield it. A lock, or a channel, that the cancelled run "
        "leaves to the next one."
    ),
)
async def check_cancelling(context: Context) -> None:
    """Cancel runs of a long command as they start, a little later, and after the command has begun."""
    async with open_transport(context) as transport:
        for moment in _MOMENTS:
            sink = commands.RecordingSink()
            run = commands.begin_run(transport.run_unbounded(_long_command(context), stdout=sink))
            await commands.wait_unless_over(
                context, run, sink.begun.wait() if moment is None else asyncio.sleep(moment)
            )
            when = "cancelled once its command has begun" if moment is None else f"cancelled after {moment:g} s"
            await _cancel_run(context, run, when)
            await _expect_usable(context, transport, f"after one was {when}")


async def _fail_after_a_piece(error: Exception, after: commands.RecordingSink | None = None) -> AsyncIterator[bytes]:
    """Yield a piece. Then raise an error, either at once or after the given sink has received its first piece."""
    yield b"a piece"
    if after is not None:
        await after.begun.wait()
    raise error


@clause(
    "IC-TRANSPORT-08",
    title="A sink or an iterator that fails ends the run, and the same exception object is raised.",
    level=MUST,
    depends=("IC-TRANSPORT-07", "IC-TRANSPORT-28"),
    seconds=120,
    hint=(
        "An `except` of OSError, or of more, around both the iteration and the write: it mistakes an exception of "
        "the iterator, even a BrokenPipeError, for one of the pipe. Put only the write into it. A feeder or reader "
        "task whose exception is never awaited. An ExceptionGroup around the exception: raise the first one inside. "
        "Waiting for a command that still waits for its input: end it first."
    ),
)
async def check_failures(context: Context) -> None:
    """Let a sink and iterators raise errors of two types, and check which error ``run`` raises."""
    async with open_transport(context) as transport:
        for error in (
            _KitError("raised by the conformance kit"),
            BrokenPipeError("the kit's own, of no pipe of yours"),
        ):
            kind = type(error).__name__.lstrip("_")
            failing = transport.run_unbounded(_long_command(context), stdout=commands.FailingSink(error))
            await _expect_passes(context, failing, error, f"whose sink raises {kind}")
            failing = transport.run_unbounded(_long_command(context), stdin=_fail_after_a_piece(error))
            await _expect_passes(context, failing, error, f"whose iterator raises {kind}")
            failing = transport.run_unbounded(
                ["cat"], stdin=_fail_after_a_piece(error), stdout=commands.RecordingSink()
            )
            await _expect_passes(context, failing, error, f"of `cat`, whose iterator raises {kind}")
        await _expect_usable(context, transport, "after a sink and an iterator failed")


class _KitError(Exception):
    """An exception that a sink or an iterator of the kit raises."""


async def _expect_passes(context: Context, running: Awaitable[CommandResult], error: Exception, whose: str) -> None:
    run = commands.begin_run(running)
    await _expect_end(context, run, whose)
    context.expect(
        _get_error(run) is error,
        expected=f"run, {whose}, to raise the same exception object, {format_value(error)}",
        observed=_describe_ending(run),
    )


@clause(
    "IC-TRANSPORT-22",
    title="A run that ends early ends its remote command, with everything that the command started.",
    level=SHOULD,
    depends=("IC-TRANSPORT-07", "IC-TRANSPORT-08"),
    seconds=180,
    hint=(
        "Killing the client (ssh, docker exec) need not end the remote command. Killing only the command's own "
        "process leaves its children: signal at least its remote process group, which a session of its own (setsid) "
        "provides. IC-TRANSPORT-30 requires the end of all its descendants, so consider them at once. A command "
        "that goes on could write into files that another program uses by then."
    ),
)
async def check_remote_end(context: Context) -> None:
    """End runs by cancelling them, by an error of the sink, and by an error of the iterator.

    Check whether the files of the commands still grow.
    """
    async with open_transport(context) as transport:
        for how, end in {
            "cancelling": _end_by_cancelling,
            "a sink": _end_by_sink,
            "an iterator": _end_by_iterator,
        }.items():
            async with commands.make_directory(transport) as place:
                await end(transport, place)
                growing = await _find_growing(context, transport, place, {"itself": "it", "child": "its child"})
                context.expect(
                    not growing,
                    expected=f"{how}{'' if how == 'cancelling' else ' that raised'} to end a command and its child",
                    observed=f"{_ENDS_WITHIN * context.scale:g} s later {' and '.join(growing)} went on",
                )


async def _end_by_cancelling(transport: TransportDriver, place: str) -> None:
    context, sink = transport.context, commands.RecordingSink()
    run = commands.begin_run(transport.run_unbounded(commands.sh_argv(_GROW_FILES, place), stdout=sink))
    await commands.wait_unless_over(context, run, sink.begun.wait())
    await _cancel_run(context, run, "cancelled once its command has begun")


async def _end_by_sink(transport: TransportDriver, place: str) -> None:
    with suppress(_KitError):
        await transport.run(
            commands.sh_argv(_GROW_FILES, place), stdout=commands.FailingSink(_KitError()), within=_ENDS_WITHIN
        )


async def _end_by_iterator(transport: TransportDriver, place: str) -> None:
    sink = commands.RecordingSink()
    with suppress(_KitError):
        source = _fail_after_a_piece(_KitError(), after=sink)
        await transport.run(commands.sh_argv(_GROW_FILES, place), stdin=source, stdout=sink, within=_ENDS_WITHIN)


async def _find_growing(
    context: Context, transport: TransportDriver, place: str, names: Mapping[str, str]
) -> list[str]:
    """Return the descriptions of the files that still grow after the command has had time to end.

    The mapping is from the name of each file to its description.
    """
    patience = Deadline(_ENDS_WITHIN * context.scale)
    before = await _get_sizes(context, transport, place, names)
    while True:
        after = await _get_sizes(context, transport, place, names, behind=_WAIT)
        growing = [name for name, one, other in zip(names.values(), before, after, strict=True) if one != other]
        if not growing or not patience.seconds_left:
            return growing
        before = after


async def _get_sizes(
    context: Context, transport: TransportDriver, place: str, names: Collection[str], behind: str = ""
) -> list[bytes]:
    script = behind + 'cd "$1" && shift && for each; do echo $(($(wc -c < "$each"))); done 2>/dev/null'
    result = await transport.run(commands.sh_argv(script, place, *names))
    sizes = result.stdout.split()
    context.expect(
        len(sizes) == len(names),
        expected=f"the sizes of {len(names)} files",
        observed=f"{sizes}, {commands.describe_result(result)}",
    )
    return sizes


_LEAVERS = """
beat='i=0
while [ -d "$1" ] && [ "$i" -lt 300 ]; do echo >>"$1/$2"; i=$((i + 1)); sleep 0.1 || sleep 1; done 2>/dev/null'
begun() { until [ -s "$1" ]; do sleep 0.1 || sleep 1; done 2>/dev/null; }
: >"$1/group"; : >"$1/session"
command -v timeout >/dev/null && { timeout 60 sh -c "$beat" sh "$1" group & begun "$1/group"; }
command -v setsid >/dev/null && { setsid sh -c "$beat" sh "$1" session & begun "$1/session"; }
echo begun
wait
exec sleep 60
"""
"""A script that starts a child in a new process group and another child in a new session.

The first child is started only if the machine has the command ``timeout``, and the second only if it has ``setsid``.
Each child appends to a file.
"""


@clause(
    "IC-TRANSPORT-30",
    title="A cancelled run ends everything that its command started, in whatever process group or session.",
    level=SHOULD,
    depends=("IC-TRANSPORT-22",),
    seconds=90,
    hint=(
        "A signal to one process group: `timeout` makes a group of its own, so do shells with job control, and "
        "setsid makes a session. Look for descendants by parent, group and session, again and again until none is "
        "left. A process that has detached itself, that is, a session whose starter has ended, is not part of the "
        "command and has to live on."
    ),
)
async def check_leavers(context: Context) -> None:
    """Cancel a run whose command has children outside its process group and session. Check whether their files grow."""
    async with open_transport(context) as transport, commands.make_directory(transport) as place:
        sink = commands.RecordingSink()
        run = commands.begin_run(transport.run_unbounded(commands.sh_argv(_LEAVERS, place), stdout=sink))
        await commands.wait_unless_over(context, run, sink.begun.wait())
        await _cancel_run(context, run, "cancelled once its command has begun")
        names = {"group": "a child in a process group of its own", "session": "one in a session of its own"}
        growing = await _find_growing(context, transport, place, names)
        context.expect(
            not growing,
            expected="everything that a command started to be ended by cancelling",
            observed=f"{_ENDS_WITHIN * context.scale:g} s later {' and '.join(growing)} went on",
        )
