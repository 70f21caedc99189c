"""Checks of constructing, entering and leaving, which backends and transports share."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol, TypeVar

from intercede.testing.clauses.support.processes import count_belongings, measure_growth, measure_pause
from intercede.testing.run.answers import expect_no_error
from intercede.testing.run.context import Context, Enterable, format_value
from intercede.testing.subjects.child import ChildFunction

__all__ = [
    "check_construction",
    "check_entering",
    "check_exception_passes",
    "check_leaving_twice",
    "check_loop_turns",
    "check_nothing_is_left",
]

_CYCLES, _FIRST = 10, 3
_LONG = 0.1
"""The longest allowed time, in seconds, between two iterations of the event loop."""
_PAUSES = 3
"""How many times a pause must be seen. The machine itself may cause one or two pauses."""


class _Driver(Protocol):
    @property
    def own(self) -> Enterable: ...


_E = TypeVar("_E", bound=Enterable)


async def check_construction(context: Context, watch: ChildFunction) -> None:
    """Expect the second construction in a child process to do no I/O.

    Args:
        context: The context of the check.
        watch: The function that constructs the object twice, and reports what the second time did.
    """
    seen = await context.run_child(watch, what="constructing it twice")
    context.expect(not seen, expected="constructing to do nothing outside of the object", observed=f"it did {seen}")


async def check_entering(context: Context, make: Callable[[], _E]) -> None:
    """Expect entering a new object to return that object."""
    made, entered = await context.enter(make)
    await context.record("__aexit__", "", made.__aexit__(None, None, None))
    context.expect(entered is made, expected="the object itself from entering it", observed=entered)


async def check_leaving_twice(opened: AbstractAsyncContextManager[_Driver]) -> None:
    """Expect that an object can be left more than once."""
    async with opened as driver:
        await driver.own.__aexit__(None, None, None)
        with expect_no_error("leaving a second time to do nothing", "__aexit__"):
            await driver.own.__aexit__(None, None, None)


async def check_exception_passes(context: Context, make: Callable[[], _E]) -> _E:
    """Expect an exception from the body of `async with` to pass through unchanged. Return the object after its exit."""
    raised = RuntimeError("raised by the conformance kit in the body")
    made, _ = await context.enter(make)
    passed: BaseException | None = None
    try:
        async with AsyncExitStack() as leaving:
            leaving.push_async_exit(made)
            raise raised  # noqa: TRY301 -- the question is whether it passes through the subject
    except Exception as error:  # noqa: BLE001 -- any other exception is reported
        passed = error
    context.expect(passed is raised, expected="the body's own exception to pass through", observed=format_value(passed))
    return made


async def check_nothing_is_left(context: Context, cycle: Callable[[], Awaitable[None]], verb: str) -> None:
    """Expect as many tasks, threads, descriptors and child processes after ten cycles as after three.

    Args:
        context: The context of the check.
        cycle: Enters a new object, uses it, and leaves it.
        verb: The name of the use of the object, for the message.
    """
    before: Mapping[str, int] = {}
    for number in range(1, _CYCLES + 1):
        await cycle()
        before = count_belongings() if number == _FIRST else before
    grown = await measure_growth(before, 5 * context.scale)
    context.expect(
        not grown,
        expected=f"as much after ten cycles of entering, {verb} and leaving as after three",
        observed=", ".join(f"{count} more {what}" for what, count in grown.items()),
    )


async def check_loop_turns(context: Context, what: str, run: Callable[[], Awaitable[object]]) -> None:
    """Expect that the event loop is not blocked while something runs. A pause counts only if it is seen three times.

    Args:
        context: The context of the check.
        what: The name of what runs, for the message.
        run: Runs it once.
    """
    pauses = [await measure_pause(run())]
    while pauses[-1] > _LONG and len(pauses) < _PAUSES:
        pauses.append(await measure_pause(run()))
    context.expect(
        min(pauses) <= _LONG,
        expected=f"{what} to let the event loop turn every {1000 * _LONG:g} ms",
        observed=f"it blocked the loop for {' and '.join(f'{1000 * each:.0f}' for each in pauses)} ms",
    )
