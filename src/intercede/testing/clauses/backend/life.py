"""IC-LIFE: a backend can be constructed, entered and left, and its verbs can be cancelled.

None of this changes the caller's process.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from inspect import isawaitable
from typing import cast

from intercede.contract.job import JobHandle, JobState
from intercede.testing.clauses import clause
from intercede.testing.clauses.support import child_functions, life
from intercede.testing.clauses.support.verbs import (
    Verb,
    call_verb,
    expect_not_open,
    get_method,
    list_verbs,
    make_arguments,
)
from intercede.testing.isolation.timeouts import Deadline
from intercede.testing.model.clause import MUST, SHOULD
from intercede.testing.run.answers import describe_status, expect_no_error, expect_type
from intercede.testing.run.context import CheckFailed, Context, format_value
from intercede.testing.run.driver import BackendDriver, open_backend

_SHARES = (1, 0.5, 0.2)
"""Factors by which the time before a cancellation is multiplied.

If the verb ended before the cancellation, the next factor is tried.
"""
_CANCELLED = 10.0
"""Seconds in which a cancelled verb must end."""


@clause(
    "IC-LIFE-01",
    title="The constructor connects nowhere, starts no process or thread, and writes no file.",
    level=MUST,
    hint=(
        "The constructor connects a client, makes a working directory, or starts a pool or a test command. Move "
        "that to __aenter__, or to the first verb that needs it. Callers make objects just to inspect or list them, "
        "and then throw them away."
    ),
)
async def check_construction(context: Context) -> None:
    """Construct the subject twice in a child process. An audit hook watches the second construction."""
    await life.check_construction(context, child_functions.watch_backend)


@clause(
    "IC-LIFE-02",
    title="Entering works, and returns the object itself.",
    level=MUST,
    depends=("IC-SHAPE-01",),
    hint=(
        "First the exception of entering, if there was one: until entering works, no other clause can be checked. "
        "Over a transport: argv must arrive as given, without a shell (use shlex.join if it goes through `sh -c`), "
        "and stdin and stdout must be streamed unchanged. If nothing was raised, __aenter__ must end with `return "
        "self`: without it, `async with ... as backend` gives None. A connection or a session returned in its place "
        "has none of the verbs."
    ),
)
async def check_entering(context: Context) -> None:
    """Enter a backend, and check that ``__aenter__`` returns the same backend."""
    await life.check_entering(context, context.make_backend)


@clause(
    "IC-LIFE-03",
    title="Leaving twice is allowed.",
    level=MUST,
    depends=("IC-LIFE-02",),
    hint=(
        "A close() that may be called only once, or an attribute that the first leaving deletes. Exit stacks and "
        "error paths leave objects that are already closed."
    ),
)
async def check_leaving_twice(context: Context) -> None:
    """Enter an object once, and leave it twice."""
    await life.check_leaving_twice(open_backend(context))


@clause(
    "IC-LIFE-04",
    title="A verb before entering raises NotOpenError, also with an empty list.",
    level=MUST,
    depends=("IC-SHAPE-02",),
    hint=(
        "An early `return {}` for an empty list, before the check that the object is open. An AttributeError or a "
        "TypeError from a connection that does not exist yet. Check first, in every verb."
    ),
)
async def check_before_entering(context: Context) -> None:
    """Await every verb of an object that was never entered."""
    await expect_not_open(context, context.make_backend(), "before entering")


@clause(
    "IC-LIFE-05",
    title="A verb after leaving raises NotOpenError, also with an empty list.",
    level=MUST,
    depends=("IC-SHAPE-02",),
    hint=(
        "__aexit__ must record that the object was left: by a flag, or by a connection set to None. A verb that "
        "reopens what it needs hides the fact that no caller will close it."
    ),
)
async def check_after_leaving(context: Context) -> None:
    """Await every verb of an object that was entered and left."""
    async with open_backend(context) as backend:
        pass
    await expect_not_open(context, backend.own, "after leaving")


@clause(
    "IC-LIFE-06",
    title="An exception in the body of `async with` passes through, and everything is closed.",
    level=MUST,
    depends=("IC-LIFE-05",),
    hint=(
        "The return value of __aexit__: a true value swallows the exception. An __aexit__ that raises, or that "
        "closes only if there was no exception."
    ),
)
async def check_exception_in_the_body(context: Context) -> None:
    """Raise an exception in the body, and check which exception `async with` raises."""
    backend = await life.check_exception_passes(context, context.make_backend)
    await expect_not_open(context, backend, "after an exception in the body")


@clause(
    "IC-LIFE-07",
    title="Leaving leaves no task, thread, open descriptor or child process behind.",
    level=MUST,
    exclusive=True,
    depends=("IC-SUBMIT-01", "IC-STATUS-01"),
    hint=(
        "__aexit__ must end everything that entering or a verb started. Look for background tasks that are not "
        "cancelled and awaited, executors without shutdown(), pipes and files that are not closed, and processes "
        "that are not waited for. Only growth from one cycle to the next counts, so caches and pools of a fixed "
        "size are fine."
    ),
)
async def check_nothing_is_left(context: Context) -> None:
    """Enter, use and leave an object ten times.

    Compare the numbers of tasks, threads, open descriptors and child processes after the third and the tenth time.
    """

    async def submit_and_ask() -> None:
        async with open_backend(context) as backend:
            await backend.get_status(await backend.submit_job(context.sh("exit 0")))

    await life.check_nothing_is_left(context, submit_and_ask, "submitting")


@clause(
    "IC-LIFE-08",
    title="Two instances do not disturb each other.",
    level=MUST,
    depends=("IC-STATUS-05",),
    hint=(
        "State on the class or the module that belongs on the instance: a shared connection that is closed by the "
        "first instance that leaves, a mutable default, a lock file. A clean-up at leaving that also removes the "
        "other instance's jobs."
    ),
)
async def check_two_instances(context: Context) -> None:
    """Use one instance while another is entered and left."""
    async with open_backend(context) as backend:
        handle = await backend.submit_job(context.sh("exit 0"))
        async with open_backend(context) as other:
            await other.submit_job(context.sh("exit 0"))
        with expect_no_error("an instance to work after another was left", "status"):
            status = await backend.get_final_status(handle)
        context.expect(
            status.state is JobState.DONE,
            expected="a job to end DONE though another instance was left meanwhile",
            observed=describe_status(status),
        )


@clause(
    "IC-LIFE-09",
    title="A cancelled verb ends in bounded time and leaves the instance usable.",
    level=MUST,
    depends=(
        "IC-STATUS-03",
        "IC-STATUS-05",
        "IC-OUTPUT-05",
        "IC-KILL-03",
        "IC-PURGE-01",
        "IC-LOAD-01",
        "IC-FIND-01",
        "IC-DIAG-03",
    ),
    seconds=120,
    hint=(
        "A lock, or a connection in the middle of an answer, that the cancelled call leaves to the next one: "
        "release it in a `finally`, or hold it by `async with`. An `except BaseException` or `except "
        "CancelledError` that goes on as if the call had not been cancelled. A `finally` that waits for an event "
        "that never happens."
    ),
)
async def check_cancelled_verbs(context: Context) -> None:
    """Cancel each verb at the beginning, in the middle and near the end of the time that it takes."""
    async with open_backend(context) as backend:
        handles = await backend.submit_jobs(context.sh("exit 0"))
        for verb in list_verbs(context):
            began = time.monotonic()
            await call_verb(context, backend.own, verb, handles)
            took = time.monotonic() - began
            for part in (0, 0.3, 0.7):
                for share in _SHARES:  # cancel earlier until the verb is still running at that time
                    seconds = part * took * share
                    early = await _cancel_verb(context, backend, verb, handles, seconds)
                    await _expect_usable(backend, verb, seconds, handles)
                    if early:
                        break
        status, *_ = await backend.run_jobs(context.sh("exit 0"))
        expected = "a job submitted after cancelled calls to end DONE"
        context.expect(status.state is JobState.DONE, expected=expected, observed=describe_status(status))


async def _cancel_verb(
    context: Context, backend: BackendDriver, verb: str, handles: Sequence[JobHandle], seconds: float
) -> bool:
    """Cancel a verb after a number of seconds, and return whether it was still running."""
    # The verb has no time limit here, because the limit would end it even if the subject ignored the cancellation.
    bare = _await_verb(get_method(backend.own, verb), make_arguments(context, verb, handles))
    task = asyncio.ensure_future(context.record(verb, f"..., cancelled after {seconds:.3f} s", bare))
    await asyncio.wait({task}, timeout=seconds)
    early = task.cancel()
    await Deadline(_CANCELLED * context.scale).wait_for_tasks({task})
    context.expect(
        task.done(),
        expected=f"{verb}, cancelled after {seconds:.3f} s, to end within {_CANCELLED * context.scale:g} s",
        observed="it has not ended",
    )
    if not task.cancelled():
        task.exception()  # any result is accepted: it is enough that the verb has ended
    return early


async def _await_verb(verb: Verb, arguments: Mapping[str, object]) -> None:
    answer = verb(*arguments.values())
    if isawaitable(answer):
        await answer


async def _expect_usable(backend: BackendDriver, verb: str, seconds: float, handles: Sequence[JobHandle]) -> None:
    try:
        await backend.get_statuses(handles)
    except Exception as error:
        usable = f"the instance to be usable after a cancelled {verb}, ended {seconds:.3f} s after it began"
        if isinstance(error, CheckFailed):
            raise CheckFailed(f"{usable}: {error.expected}", error.observed) from error
        raise CheckFailed(usable, f"status raised {format_value(error)}") from error


@clause(
    "IC-LIFE-10",
    title="Verbs may run concurrently.",
    level=MUST,
    depends=("IC-STATUS-05", "IC-KILL-03"),
    hint=(
        "One connection, file or buffer that two calls use at once: guard it with a lock that waits, or give each "
        "call its own. An instance that refuses a second call because it is busy."
    ),
)
async def check_concurrent_verbs(context: Context) -> None:
    """Call every verb three times, all concurrently, on jobs that have ended."""
    async with open_backend(context) as backend:
        handles = await backend.submit_jobs(context.sh("exit 0"), copies=2)
        await backend.wait_until_final(handles)
        verbs = [verb for verb in list_verbs(context) if verb != "purge"] * 3
        calls = (call_verb(context, backend.own, verb, handles) for verb in verbs)
        answers: list[object] = await asyncio.gather(*calls, return_exceptions=True)
        for verb, answer in zip(verbs, answers, strict=True):
            context.expect(
                not isinstance(answer, BaseException),
                expected=f"{verb} to work while {len(verbs) - 1} other calls are under way",
                observed=f"it raised {format_value(answer)}",
            )
        for status in await backend.get_statuses(handles):
            context.expect(
                status.state is JobState.DONE, expected="the jobs still to be DONE", observed=describe_status(status)
            )


@clause(
    "IC-LIFE-11",
    title="The event loop is never blocked for 100 ms.",
    level=SHOULD,
    exclusive=True,
    depends=("IC-SUBMIT-01", "IC-SHAPE-05"),
    hint=(
        "Calls that wait without `await`: time.sleep, subprocess.run, a synchronous client, reading or packing "
        "large files. Use asyncio.to_thread for them. The rest of the process stops while such a call runs."
    ),
)
async def check_blocking(context: Context) -> None:
    """Measure the longest pause of the loop during each verb. A pause counts only if it is seen three times."""
    async with open_backend(context) as backend:
        handles = await backend.submit_jobs(context.sh("exit 0"))
        for verb in list_verbs(context):
            await life.check_loop_turns(context, verb, partial(call_verb, context, backend.own, verb, handles))


@clause(
    "IC-LIFE-12",
    title="After leaving, the process is as before: working directory, umask, signal handlers, environment.",
    level=MUST,
    depends=("IC-SUBMIT-01", "IC-SHAPE-05"),
    hint=(
        "os.chdir, os.umask, signal.signal and os.environ change the whole process. Give a child its own values "
        "through `cwd=`, `env=` and `umask=` of subprocess, and set the mode of a file when you open it."
    ),
)
async def check_process(context: Context) -> None:
    """Use every verb in a child process, and compare the state of that process before entering and after leaving."""
    tag = context.make_token()
    context.tags[tag] = None
    reported = await context.run_child(
        child_functions.report_changes, tag, str(context.tmp), what="using every verb", jobs=True
    )
    changed = cast("list[object]", expect_type(list, reported, "the report of the child process"))
    observed = f"changed: {', '.join(map(str, changed))}"
    context.expect(not changed, expected="the process to be as it was before entering", observed=observed)
