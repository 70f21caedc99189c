"""IC-PURGE: a purged job leaves no data, and all other jobs stay."""

import time

from intercede.contract.job import JobState, OpOutcome
from intercede.testing.clauses import clause
from intercede.testing.clauses.support import payloads
from intercede.testing.clauses.support.handles import make_foreign_handles, make_unknown_handle
from intercede.testing.model.clause import MUST
from intercede.testing.run.answers import describe_status
from intercede.testing.run.context import CheckFailed, Context, format_value
from intercede.testing.run.driver import open_backend


@clause(
    "IC-PURGE-01",
    title="A purged job is UNKNOWN and cannot be fetched.",
    level=MUST,
    capability="purge",
    depends=("IC-STATUS-03", "IC-STATUS-05", "IC-LIFE-08", "IC-OUTPUT-05", "IC-SHAPE-05"),
    hint=(
        "Data that is left after purging: a record in a cache or on the instance, or accounting that still knows "
        "the job. A purged job must not come back, in this process or in another."
    ),
)
async def check_purged(context: Context) -> None:
    """Purge an ended job, and query its status through the same instance and through another. Then fetch its output."""
    async with open_backend(context) as backend:
        handles = await backend.submit_jobs(context.sh("echo here"))
        await backend.wait_until_final(handles)
        (outcome,) = await backend.purge(handles)
        context.expect(outcome.ok, expected="purging an ended job to be ok", observed=outcome)
        async with open_backend(context) as other:
            statuses = [*await backend.get_statuses(handles), *await other.get_statuses(handles)]
        for status in statuses:
            unknown = status.state is JobState.UNKNOWN
            context.expect(unknown, expected="a purged job to be UNKNOWN", observed=describe_status(status))
        if "output" in context.capabilities:
            (output,) = await backend.fetch_outputs(handles)
            context.expect(not output.ok, expected="a purged job's output not to be ok", observed=output)


@clause(
    "IC-PURGE-02",
    title="Purging an unfinished job is refused, and the job lives.",
    level=MUST,
    capability="purge",
    depends=("IC-PURGE-01", "IC-STATUS-06", "IC-STATUS-10"),
    seconds=120,
    hint=(
        "Removing a directory while a job still writes into it. Purging is not killing: for a job that is QUEUED, "
        "HELD or RUNNING, answer OpOutcome(ok=False, reason='running'), and do nothing."
    ),
)
async def check_unfinished_job(context: Context) -> None:
    """Purge a job that is running. Repeat with longer jobs if the job may have ended before ``purge`` returned."""
    async with open_backend(context) as backend:
        for seconds in payloads.growing_durations(context):
            script, submitted = f": > mark; {payloads.sleep_script(seconds)}; [ -e mark ] && exit 3", time.monotonic()
            handle = await backend.submit_job(context.sh(script))
            waited = await backend.wait_in_queue(handle, submitted)
            (outcome,) = await backend.purge([handle])
            went_on = time.monotonic() - waited < seconds
            status = await backend.get_status(handle)
            refused = not outcome.ok and outcome.reason == "running"
            if not (refused or went_on or status.state is JobState.RUNNING):
                continue  # the job may have ended before purge answered
            expected = "purging an unfinished job not to be ok, for the reason 'running'"
            context.expect(
                refused, expected=expected, observed=f"{outcome!r} for a job that is {describe_status(status)}"
            )
            status = await backend.get_final_status(handle, within=seconds + 30)
            lives = status.state is JobState.FAILED and status.exit_code == 3  # noqa: PLR2004 -- the exit code of the payload
            context.expect(lives, expected="the job to go on and end with 3", observed=describe_status(status))
            return
    expected = f"purge to answer while one of the payloads of {payloads.growing_durations(context)} seconds runs"
    raise CheckFailed(expected, "each one's time was over by then")


@clause(
    "IC-PURGE-03",
    title="Purging a job twice is ok.",
    level=MUST,
    capability="purge",
    depends=("IC-PURGE-01",),
    hint=(
        "The second purge finds no job, and reports an error. A purge promises that nothing of the job is left, and "
        "that is true: a job that is unknown to this resource is ok."
    ),
)
async def check_purging_twice(context: Context) -> None:
    """Purge an ended job twice. In the second call, the list holds the handle of the job twice."""
    async with open_backend(context) as backend:
        handles = await backend.submit_jobs(context.sh("exit 0"))
        await backend.wait_until_final(handles)
        for number, asked in enumerate((handles, handles * 2), start=1):
            outcome, *_ = await backend.purge(asked)
            context.expect(outcome.ok, expected=f"purge number {number} of the same job to be ok", observed=outcome)


@clause(
    "IC-PURGE-04",
    title="Purging a copy leaves the other copies alone.",
    level=MUST,
    capability="purge",
    depends=("IC-PURGE-01", "IC-SUBMIT-02", "IC-STATUS-08"),
    jobs=11,
    hint=(
        "A directory or a record that all copies share: remove it only with the last of them. A name that is the "
        "beginning of another, as 1 is of 10."
    ),
)
async def check_other_copies(context: Context) -> None:
    """Purge copy 1 of eleven copies. Then query the status of the other copies, and fetch their output."""
    async with open_backend(context) as backend:
        handles = await backend.submit_jobs(context.sh("echo here"), copies=11)
        await backend.wait_until_final(handles)
        await backend.purge([handles[1]])
        others = [handles[0], *handles[2:]]
        for handle, status in zip(others, await backend.get_statuses(others), strict=True):
            kept = status.state is JobState.DONE
            context.expect(kept, expected=f"job {handle.job} to be DONE still", observed=describe_status(status))
        if "output" in context.capabilities:
            for handle, output in zip(others, await backend.fetch_outputs(others), strict=True):
                context.expect(output.ok, expected=f"the output of {handle.job} to be ok still", observed=output)


@clause(
    "IC-PURGE-05",
    title=(
        "The answer's keys are exactly the handles asked for; a foreign job is not ok, and does not spoil the others."
    ),
    level=MUST,
    capability="purge",
    depends=("IC-PURGE-01", "IC-STATUS-03", "IC-STATUS-08"),
    hint=(
        "An `ok` for every job that you do not find: a job of another resource may well exist. One exception for "
        "the whole call. A handle that is used as a path before it was matched against a pattern. Asked for no "
        "handles, purge nothing."
    ),
)
async def check_purge_keys(context: Context) -> None:
    """Call ``purge`` with an empty list, and then with one of two ended jobs and with handles that name no job."""
    async with open_backend(context) as backend:
        gone, kept = await backend.submit_jobs(context.sh("exit 0"), copies=2)
        await backend.wait_until_final([gone, kept])
        nothing = (await backend.ask_each("purge", [])).keys
        context.expect(
            not nothing, expected="an empty mapping for no handles", observed=f"keys {format_value(nothing)}"
        )
        elsewhere, *malformed = make_foreign_handles(context, gone)
        asked = [elsewhere, *malformed, make_unknown_handle(gone), gone]
        answers = await backend.ask_each("purge", [*asked, gone], expected="an outcome for every handle")
        first, *_, last = answers.get_each(OpOutcome, asked)
        context.expect(not first.ok, expected="purging a job of another resource not to be ok", observed=first)
        context.expect(last.ok, expected="the ended job among them to be purged", observed=last)
        keys = answers.keys
        exact = len(keys) == len(asked) and set(keys) == set(asked)
        context.expect(
            exact, expected="exactly the handles asked as keys, each once", observed=f"keys: {format_value(keys)}"
        )
        status = await backend.get_status(kept)
        expected = "the job that was not to be purged to be DONE still"
        context.expect(status.state is JobState.DONE, expected=expected, observed=describe_status(status))
