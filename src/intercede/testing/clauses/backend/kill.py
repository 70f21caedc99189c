"""IC-KILL: killed jobs end, and no other jobs do."""

import asyncio
from collections.abc import Sequence

from intercede.contract.job import CopyVars, JobHandle, JobState, OpOutcome
from intercede.testing.clauses import clause
from intercede.testing.clauses.support import payloads
from intercede.testing.clauses.support.handles import make_strange_handles
from intercede.testing.clauses.support.job_processes import expect_none_left, wait_until_seen
from intercede.testing.isolation.timeouts import Deadline
from intercede.testing.model.clause import MUST, SHOULD
from intercede.testing.run.answers import describe_status
from intercede.testing.run.context import CheckFailed, Context, format_value
from intercede.testing.run.driver import BackendDriver, open_backend

_LONG = "exec sleep 60"
_PATIENCE = 60.0
"""Seconds that a resource may allow a killed job to exit on its own."""


@clause(
    "IC-KILL-01",
    title="A running job that is killed ends KILLED.",
    level=MUST,
    capability="kill",
    depends=("IC-STATUS-06", "IC-STATUS-10", "IC-SHAPE-01"),
    hint=(
        "The resource reports a killed job as failed, cancelled or gone, with the exit code of a signal. Record "
        "that a kill was requested, and report KILLED (killed_by_user). A signal that reaches only a wrapper, which "
        "then exits with 0."
    ),
)
async def check_running_job(context: Context) -> None:
    """Kill a job that is RUNNING."""
    async with open_backend(context) as backend:
        handle = await backend.submit_job(context.sh(_LONG))
        await backend.wait_for_state(handle, JobState.RUNNING)
        (outcome,) = await backend.kill([handle])
        context.expect(outcome.ok, expected="killing a running job to be ok", observed=outcome)
        status = await backend.get_final_status(handle)
        context.expect(
            status.state is JobState.KILLED, expected="the job to end KILLED", observed=describe_status(status)
        )


@clause(
    "IC-KILL-02",
    title="A job that is killed right after submit never reaches its last line.",
    level=MUST,
    capability="kill",
    depends=("IC-STATUS-06", "IC-KILL-01", "IC-SUBMIT-03"),
    seconds=120,
    hint=(
        "A kill that looks for a process or a native id that does not exist yet, and reports ok all the same. Leave "
        "a note that the job finds when it starts, or delay the kill until it can be carried out."
    ),
)
async def check_early_kill(context: Context) -> None:
    """Kill jobs right after ``submit`` returns. If a job does not end KILLED, repeat with a longer payload."""
    endings: list[str] = []
    async with open_backend(context) as backend:
        for seconds in payloads.growing_durations(context):
            handle = await backend.submit_job(context.sh(f"{payloads.sleep_script(seconds)}; exit 77"))
            (outcome,) = await backend.kill([handle])
            context.expect(outcome.ok, expected="killing a job that was just submitted to be ok", observed=outcome)
            status = await backend.get_final_status(handle, within=seconds + 30)
            if status.state is JobState.KILLED:
                return
            endings.append(describe_status(status))
    durations = payloads.growing_durations(context)
    expected = f"one of the payloads of {durations} seconds, killed right after submit, to end KILLED"
    raise CheckFailed(expected, f"they ended {endings}")


@clause(
    "IC-KILL-03",
    title="Killing a finished job is ok and changes nothing.",
    level=MUST,
    capability="kill",
    depends=("IC-KILL-01", "IC-STATUS-08"),
    hint=(
        "The resource's own complaint that the job does not run any more. A note of the kill that later turns DONE "
        "into KILLED: a job that ended before the kill keeps its state."
    ),
)
async def check_finished_job(context: Context) -> None:
    """Kill a job that has exited, and a job that has ended itself with a signal."""
    async with open_backend(context) as backend:
        handles = await backend.submit_jobs(context.sh("exit 3"))
        handles += await backend.submit_jobs(context.sh('kill -s SEGV "$$"; exit 3'))
        before = await backend.wait_until_final(handles)
        for outcome in await backend.kill(handles):
            context.expect(outcome.ok, expected="killing a finished job to be ok", observed=outcome)
        for handle, new in zip(handles, await backend.get_statuses(handles), strict=True):
            old = before[handle]
            unchanged = (old.state, old.exit_code, old.signal) == (new.state, new.exit_code, new.signal)
            context.expect(
                unchanged,
                expected=f"the job to stay as it ended: {describe_status(old)}",
                observed=describe_status(new),
            )


@clause(
    "IC-KILL-04",
    title="Killing an unknown, purged or foreign job is not ok, and does not spoil the others.",
    level=MUST,
    capability="kill",
    depends=("IC-KILL-02", "IC-KILL-06", "IC-PURGE-01", "IC-PURGE-04", "IC-SUBMIT-02", "IC-SHAPE-05"),
    hint=(
        "An `ok` for every job about which the resource did not complain. An exception for the whole call. Read "
        "back the record of each job, and match foreign handles against a pattern before anything is asked."
    ),
)
async def check_unknown_jobs(context: Context) -> None:
    """Kill a running job together with handles that name no job."""
    async with open_backend(context) as backend:
        good, gone = await backend.submit_jobs(context.sh(_LONG), copies=2)
        strangers = make_strange_handles(context, good)
        if "purge" in context.capabilities:
            await backend.kill([gone])
            await backend.wait_until_final([gone])
            await backend.purge([gone])
            strangers.append(gone)
        asked = [*strangers, good]
        answers = await backend.ask_each("kill", asked, expected="an outcome for every handle")
        *bad, fine = answers.get_each(OpOutcome, asked)
        for handle, outcome in zip(strangers, bad, strict=True):
            context.expect(not outcome.ok, expected=f"killing {handle!r} not to be ok", observed=outcome)
        context.expect(fine.ok, expected="the running job among them to be killed", observed=fine)
        status = await backend.get_final_status(good)
        context.expect(
            status.state is JobState.KILLED, expected="that job to end KILLED", observed=describe_status(status)
        )


@clause(
    "IC-KILL-05",
    title="Killing a job twice is ok.",
    level=MUST,
    capability="kill",
    depends=("IC-KILL-01", "IC-KILL-02", "IC-KILL-03", "IC-STATUS-08", "IC-LIFE-10"),
    hint=(
        "The second kill finds no process, or a job that is already being cancelled, and reports an error. A caller "
        "that lost the first answer asks again."
    ),
)
async def check_killing_twice(context: Context) -> None:
    """Kill a job once, then twice concurrently, and once more after the job has ended."""
    async with open_backend(context) as backend:
        handles = await backend.submit_jobs(context.sh(_LONG))
        rounds = [await backend.kill(handles)]
        rounds += await asyncio.gather(backend.kill(handles), backend.kill(handles * 2))
        await backend.wait_until_final(handles)
        rounds.append(await backend.kill(handles))
        for number, (outcome, *_) in enumerate(rounds, start=1):
            context.expect(outcome.ok, expected=f"kill number {number} of the same job to be ok", observed=outcome)
        (status,) = await backend.get_statuses(handles)
        context.expect(
            status.state is JobState.KILLED, expected="the job to be KILLED", observed=describe_status(status)
        )


@clause(
    "IC-KILL-06",
    title="Only the copies asked for are killed.",
    level=MUST,
    capability="kill",
    depends=("IC-KILL-02", "IC-STATUS-09", "IC-STATUS-11"),
    seconds=180,
    hint=(
        "A native id that stands for the whole array: `scancel 17` ends all tasks, `scancel 17_2` only one. One "
        "process group for all copies. An index that is off by one."
    ),
)
async def check_other_copies(context: Context) -> None:
    """Kill the middle copy of three. If that copy does not end KILLED, repeat with payloads that run longer."""
    endings: list[str] = []
    async with open_backend(context) as backend:
        for seconds in payloads.growing_durations(context):
            handles = await backend.submit_jobs(context.sh(f"{payloads.sleep_script(seconds)}; exit 3"), copies=3)
            (outcome,) = await backend.kill([handles[1]])
            context.expect(outcome.ok, expected="killing one copy of three to be ok", observed=outcome)
            statuses = await backend.wait_until_final(handles, within=3 * seconds + 30)
            for copy in (0, 2):
                status = statuses[handles[copy]]
                lived = status.state is JobState.FAILED and status.exit_code == 3  # noqa: PLR2004 -- the exit code of the payload
                expected = f"copy {copy}, which was not killed, to end by itself with 3"
                context.expect(lived, expected=expected, observed=describe_status(status))
            if statuses[handles[1]].state is JobState.KILLED:
                return
            endings.append(describe_status(statuses[handles[1]]))
    raise CheckFailed(
        f"the killed copy of payloads of {payloads.growing_durations(context)} seconds to end KILLED",
        f"it ended {endings}",
    )


@clause(
    "IC-KILL-07",
    title="The children of a killed job end, too.",
    level=SHOULD,
    capability="kill",
    depends=("IC-KILL-01",),
    seconds=90,
    hint=(
        "A signal to the payload's own process only. Start the payload as the leader of a process group or session, "
        "or in a cgroup, and kill that."
    ),
)
async def check_children(context: Context) -> None:
    """Kill a job that waits for a child process. Let another job search for that child process."""
    # The `:` after a command makes the shell fork that command: a shell may exec the last command of a script.
    await _expect_gone(context, "sh -c 'sleep 30; :' \"$1\"; :", "the child of a killed job to be gone")


async def _expect_gone(context: Context, script: str, expected: str) -> None:
    """Kill a job that runs a script. Before and after the kill, other jobs search for the processes of that job.

    The processes have a random word among their arguments.
    """
    word = context.make_token()
    async with open_backend(context) as backend:
        handle = await backend.submit_job(context.sh(script, word))
        await backend.wait_for_state(handle, JobState.RUNNING)
        await wait_until_seen(backend, word)
        await backend.kill([handle])
        await backend.wait_until_final([handle])
        await expect_none_left(backend, word, expected)


@clause(
    "IC-KILL-08",
    title="The answer's keys are exactly the handles asked for; asked for no handles, kill kills no job.",
    level=MUST,
    capability="kill",
    depends=("IC-KILL-01", "IC-KILL-02", "IC-KILL-06", "IC-SUBMIT-02"),
    hint=(
        "A command that kills all of the user's jobs if it is given no ids, as `condor_rm -all` does, or a filter "
        "that is left empty: return before calling it. Handles given twice are answered once: use `dict.fromkeys` "
        "on the handles."
    ),
)
async def check_kill_keys(context: Context) -> None:
    """Call ``kill`` with an empty list, and then with a list that holds the first of two jobs twice.

    Check that the second job has not ended.
    """
    async with open_backend(context) as backend:
        handles = await backend.submit_jobs(context.sh(_LONG), copies=2)
        nothing = (await backend.ask_each("kill", [])).keys
        context.expect(
            not nothing, expected="an empty mapping for no handles", observed=f"keys {format_value(nothing)}"
        )
        keys = (await backend.ask_each("kill", handles[:1] * 2)).keys
        context.expect(
            keys == handles[:1],
            expected="one key for one job that was given twice",
            observed=f"keys: {format_value(keys)}",
        )
        await backend.wait_until_final(handles[:1])
        (other,) = await backend.get_statuses(handles[1:])
        expected = "the job that was not to be killed to live"
        context.expect(not other.state.final, expected=expected, observed=describe_status(other))


@clause(
    "IC-KILL-09",
    title="A killed job that handles the signal, and exits, is KILLED, whatever its exit code is.",
    level=MUST,
    capability="kill",
    depends=("IC-KILL-06", "IC-SUBMIT-06"),
    seconds=90,
    hint=(
        "An exit code that overrides the kill: programs that save their state catch TERM and exit with 0. Record "
        "that a kill was requested before the job ended, or ask the resource why it ended. The code may stand "
        "beside KILLED."
    ),
)
async def check_handled_kill(context: Context) -> None:
    """Kill jobs that wait for a signal and then exit: with 0, with 3, and with 0 after a second."""
    endings = ((0, ""), (3, ""), (0, "1"))
    payload = context.sh(f"{payloads.HANDLER}count 60; exit 77")
    copies = [CopyVars(environment={"IC_CODE": f"{code}", "IC_SECONDS": seconds}) for code, seconds in endings]
    async with open_backend(context) as backend:
        handles = await backend.submit_jobs(payload, copies)
        # The jobs are killed one after the other, because the resource may have only one slot.
        for handle, (code, seconds) in zip(handles, endings, strict=True):
            await backend.wait_for_state(handle, JobState.RUNNING)
            await _wait_until_started(context, backend, [handle])
            await backend.kill([handle])
            status = await backend.get_final_status(handle)
            kept = status.state is JobState.KILLED and status.exit_code in {None, code}
            handler = f"exits with {code}{' after a second' if seconds else ''}"
            expected = f"KILLED, with the exit code {code} or none, for a killed job whose handler {handler}"
            context.expect(kept, expected=expected, observed=describe_status(status))


async def _wait_until_started(context: Context, backend: BackendDriver, handles: Sequence[JobHandle]) -> None:
    """Give the payloads of the given jobs time to set their signal handlers.

    Run a separate job, and wait at most five seconds for its end. The wait is short, because a resource with few slots
    starts the separate job only after the given jobs have ended. If the backend has ``diagnostics``, then poll the
    diagnostics of each given job until they hold the line READY of its payload, for at most five seconds.
    """
    control = await backend.submit_job(context.sh("exit 0"))
    await backend.wait_for_state(control, within=5, patient=False)
    if "diagnostics" in context.capabilities:
        await _wait_until_ready(context, backend, handles)


async def _wait_until_ready(context: Context, backend: BackendDriver, handles: Sequence[JobHandle]) -> None:
    patience = Deadline(5 * context.scale)
    while patience.seconds_left:
        try:
            diagnostics = await backend.get_diagnostics(handles)
        except Exception:  # noqa: BLE001 -- the error is ignored, because IC-DIAG-01 checks ``diagnostics``
            return
        if all(payloads.READY in each.text for each in diagnostics):
            return
        await asyncio.sleep(0.1)


@clause(
    "IC-KILL-10",
    title="Everything that a killed job started ends, in whatever process group or session.",
    level=SHOULD,
    capability="kill",
    depends=("IC-KILL-07",),
    seconds=90,
    hint=(
        "A signal to one process group: `timeout` makes a group of its own, so do shells with job control, and "
        "setsid makes a session. Kill a cgroup, or look for descendants by parent, group and session, again and "
        "again until none is left."
    ),
)
async def check_leavers(context: Context) -> None:
    """Kill a job whose child processes left its process group and its session. Let another job search for them."""
    await _expect_gone(context, f"{payloads.LEAVERS}sleep 60", "everything that a killed job started to be gone")


@clause(
    "IC-KILL-11",
    title="A killed job that ignores the signal ends all the same.",
    level=MUST,
    capability="kill",
    depends=("IC-KILL-01", "IC-KILL-06"),
    seconds=150,
    hint=(
        "Only TERM is sent: a program may ignore it, and runs on to its end, as DONE. After a grace period send "
        "KILL, from a place that still does so if this process is gone; or use a command of the resource that does "
        "it for you."
    ),
)
async def check_deaf_job(context: Context) -> None:
    """Kill a job that ignores every signal that can be ignored, and that would run for two minutes."""
    async with open_backend(context) as backend:
        handle = await backend.submit_job(context.sh(f"{payloads.DEAF}count 120"))
        await backend.wait_for_state(handle, JobState.RUNNING)
        await _wait_until_started(context, backend, [handle])
        (outcome,) = await backend.kill([handle])
        context.expect(outcome.ok, expected="killing a job that ignores signals to be ok", observed=outcome)
        status = await backend.get_final_status(handle, within=_PATIENCE)
        expected = "a killed job that ignores signals to end KILLED"
        context.expect(status.state is JobState.KILLED, expected=expected, observed=describe_status(status))


@clause(
    "IC-KILL-12",
    title="A job that is reported as KILLED is over.",
    level=MUST,
    capability="kill",
    depends=("IC-KILL-11",),
    seconds=150,
    hint=(
        "KILLED is reported because a kill was requested, or because the resource does not list the job any more, "
        "while its process lives: a caller that waited for the end starts the next job beside it. Report KILLED "
        "when no process of it is left; until then it is RUNNING."
    ),
)
async def check_killed_is_over(context: Context) -> None:
    """Kill a job that ignores signals. When the job is reported as KILLED, let another job search for its process."""
    word = context.make_token()
    async with open_backend(context) as backend:
        handle = await backend.submit_job(context.sh(f"{payloads.DEAF}count 120", word))
        await backend.wait_for_state(handle, JobState.RUNNING)
        await _wait_until_started(context, backend, [handle])
        await backend.kill([handle])
        await backend.wait_until_final([handle], within=_PATIENCE)
        await expect_none_left(backend, word, "the process of a job that is reported as KILLED to be gone")
