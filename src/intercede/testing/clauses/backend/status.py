"""IC-STATUS: status reports the correct state of each job for each handle."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import groupby

from intercede.contract.errors import UnsupportedSpecError
from intercede.contract.job import CopyVars, JobHandle, JobState, JobStatus, SubmissionSpec
from intercede.testing.clauses import clause
from intercede.testing.clauses.support import payloads
from intercede.testing.clauses.support.handles import make_foreign_handles, make_strange_handles
from intercede.testing.clauses.support.job_processes import expect_none_left
from intercede.testing.clauses.support.outputs import read_output_file
from intercede.testing.model.clause import MUST, SHOULD
from intercede.testing.run.answers import describe_status
from intercede.testing.run.context import CheckFailed, Context, format_value
from intercede.testing.run.driver import BackendDriver, open_backend

_CODES = (1, 2, 99, 100, 126, 127, 255)
_AGAIN = 20
"""How many more times the status of ended jobs is queried: enough to see an answer that is wrong one time in ten."""
_SIGHTINGS = 3
"""How many times a job must be seen RUNNING, so that a return to an earlier state would be noticed."""
_SHORT = 0.5
"""Seconds that the shortest watched job takes."""
_POLLING = 8.0
_SIGNALS: Mapping[str, int] = {"KILL": 9, "TERM": 15, "USR1": 10}
_UNLIMITED = 9
"""The exit code of a job that ran to its end because its time limit was not enforced."""
_COPIES = (3, 4, 5)
"""The exit codes of the copies of a submission."""
_ORDER = {JobState.QUEUED: 0, JobState.HELD: 0, JobState.RUNNING: 1}


@clause(
    "IC-STATUS-01",
    title="The answer's keys are exactly the handles that were asked for.",
    level=MUST,
    depends=("IC-SUBMIT-01",),
    hint=(
        "An answer with every job that the resource listed, instead of those that were asked for. An answer without "
        "the jobs that it did not list. Keys that are native ids or strings instead of the handles themselves."
    ),
)
async def check_keys(context: Context) -> None:
    """Query the status of two of three copies."""
    async with open_backend(context) as backend:
        handles = await backend.submit_jobs(context.sh("exit 0"), copies=3)
        answers = await backend.ask_each("status", handles[:2])
        answers.get_each(JobStatus, handles[:2])
        more = set(answers.keys) - set(handles[:2])
        context.expect(
            not more, expected="no other keys than the two handles asked", observed=f"also {format_value(more)}"
        )


@clause(
    "IC-STATUS-02",
    title="Asked for no handles, status answers an empty mapping.",
    level=MUST,
    depends=("IC-STATUS-01",),
    hint=(
        "A query that lists all jobs if it is given no ids, as squeue and condor_q do. A command that fails without "
        "operands."
    ),
)
async def check_none_asked(context: Context) -> None:
    """Call ``status`` with an empty list while a job exists."""
    async with open_backend(context) as backend:
        await backend.submit_jobs(context.sh("exit 0"))
        for nothing in (tuple[JobHandle, ...](), list[JobHandle](), set[JobHandle]()):
            keys = (await backend.ask_each("status", nothing)).keys
            context.expect(not keys, expected="an empty mapping for no handles", observed=f"keys {format_value(keys)}")


@clause(
    "IC-STATUS-03",
    title="Unknown, purged and foreign handles are UNKNOWN in the answer: never dropped, and no error.",
    level=MUST,
    depends=("IC-STATUS-05", "IC-STATUS-11", "IC-SUBMIT-02", "IC-SHAPE-05"),
    hint=(
        "Add the jobs that the resource does not know after asking it. A handle of another resource, or one that "
        "does not look like your own, is UNKNOWN (foreign) before anything is asked: match `job` against a pattern "
        "first. One bad handle must not spoil the others."
    ),
)
async def check_unknown_handles(context: Context) -> None:
    """Query the status of an existing job, of a purged job, and of handles that name no job."""
    async with open_backend(context) as backend:
        good, gone = await backend.submit_jobs(context.sh("exit 0"), copies=2)
        await backend.wait_until_final([good, gone])
        strangers = make_strange_handles(context, good)
        if "purge" in context.capabilities:
            with suppress(Exception):  # an error is ignored, because IC-PURGE-01 checks whether `purge` works
                await backend.purge([gone])
            strangers.append(gone)
        asked = [*strangers, good]
        answers = await backend.ask_each("status", asked, expected="an answer for every handle, unknown ones too")
        pairs = zip(asked, answers.get_each(JobStatus, asked), strict=True)
        for handle, status in (
            (one, other) for one, other in pairs if one != gone
        ):  # the purged job is left out, because IC-PURGE-01 checks its status
            wanted = JobState.DONE if handle == good else JobState.UNKNOWN
            expected = f"{wanted} for {handle!r}" + (", beside unknown ones" if handle == good else "")
            context.expect(status.state is wanted, expected=expected, observed=describe_status(status))


@clause(
    "IC-STATUS-04",
    title="A handle that is given twice is answered once.",
    level=MUST,
    depends=("IC-STATUS-01", "IC-HANDLE-01", "IC-SUBMIT-02"),
    hint=(
        "Zipping handles with the lines of an answer: the resource may report each job only once. Use "
        "`dict.fromkeys` on the handles before asking."
    ),
)
async def check_duplicates(context: Context) -> None:
    """Query the status of two jobs in one call, with one of the two handles given three times."""
    async with open_backend(context) as backend:
        handles = await backend.submit_jobs(context.sh("exit 0"), copies=2)
        asked = [handles[0], handles[1], JobHandle(**handles[0].model_dump(include={"resource", "job"})), handles[0]]
        answers = await backend.ask_each("status", asked, expected="a handle that is given twice to be answered once")
        answers.get_each(JobStatus, handles)
        keys = answers.keys
        context.expect(
            len(keys) == len(handles),
            expected="two keys for two jobs, one given three times",
            observed=f"keys: {format_value(keys)}",
        )


@clause(
    "IC-STATUS-05",
    title="Exit code 0 is DONE, with exit_code 0.",
    level=MUST,
    depends=("IC-STATUS-01",),
    hint=(
        "The state to which you map the end of a job, and whether you read its exit code at all: many resources "
        "report it in another query than the state. Absence is never success, and 0 is not None."
    ),
)
async def check_success(context: Context) -> None:
    """Run a payload that succeeds."""
    async with open_backend(context) as backend:
        (status,) = await backend.run_jobs(context.sh("exit 0"))
        good = status.state is JobState.DONE and status.exit_code == 0
        context.expect(
            good, expected="DONE with exit_code 0 for a payload that exits 0", observed=describe_status(status)
        )


async def _submit_each(context: Context, backend: BackendDriver, scripts: Sequence[str]) -> list[JobHandle]:
    """Submit each script in its own submission, so that no exit code depends on the variables of a copy."""
    return [handle for each in scripts for handle in await backend.submit_jobs(context.sh(each))]


async def _run_each(context: Context, backend: BackendDriver, scripts: Sequence[str]) -> list[JobStatus]:
    """Run each script as a separate job. Query each job separately, so that no answer can mix up jobs."""
    handles = await _submit_each(context, backend, scripts)
    return [await backend.get_final_status(handle) for handle in handles]


@clause(
    "IC-STATUS-06",
    title="Exit code n is FAILED, with exit_code n.",
    level=MUST,
    depends=("IC-STATUS-05", "IC-SUBMIT-02"),
    jobs=7,
    hint=(
        "A wait status that was not decoded (256 for 1). Codes to which the resource gives a meaning of its own, "
        "like Grid Engine's 99 and 100, or to which a shell does, like 126 and 127: let a wrapper write the "
        "payload's code to a file. A code above 128 is a signal only if one was sent. If the code is that of an "
        "earlier job, an end was stored under a number that the next submission uses again."
    ),
)
async def check_failures(context: Context) -> None:
    """Run a job for each exit code that often gets lost, and query the status of each job separately."""
    async with open_backend(context) as backend:
        statuses = await _run_each(context, backend, [f"exit {code}" for code in _CODES])
    wrong = [
        f"exit {code} is reported as {describe_status(status)}"
        for code, status in zip(_CODES, statuses, strict=True)
        if status.state is not JobState.FAILED or status.exit_code != code
    ]
    context.expect(not wrong, expected=f"FAILED with the exit codes {_CODES}", observed="; ".join(wrong))


@clause(
    "IC-STATUS-07",
    title="Death by signal is FAILED, with the signal.",
    level=MUST,
    depends=("IC-STATUS-06",),
    hint=(
        "A shell reports death by signal n as 128 + n, subprocess as -n, waitpid in the lower bits, and a wrapper "
        "that exits normally as 0. No kill was requested, so the state is FAILED, not KILLED."
    ),
)
async def check_signals(context: Context) -> None:
    """Let jobs send signals to themselves, and query the status of each job separately."""
    async with open_backend(context) as backend:
        statuses = await _run_each(context, backend, [f'kill -s {name} "$$"; sleep 5' for name in _SIGNALS])
    wrong = [
        f"SIG{name} is reported as {describe_status(status)}"
        for (name, number), status in zip(_SIGNALS.items(), statuses, strict=True)
        if status.state is not JobState.FAILED or (status.signal != number and status.exit_code != 128 + number)
    ]
    context.expect(
        not wrong,
        expected=f"FAILED with the signal, or with 128 + its number, for {', '.join(_SIGNALS)}",
        observed="; ".join(wrong),
    )


@clause(
    "IC-STATUS-08",
    title="A final state does not change.",
    level=MUST,
    depends=("IC-STATUS-06", "IC-HANDLE-02"),
    hint=(
        "A resource that forgets ended jobs after a while, or after the first query: write the result down where "
        "every process finds it. An exit code that comes from another source the second time."
    ),
)
async def check_final_states_stay(context: Context) -> None:
    """Query the status of ended jobs many times, through the same instance and through another instance."""
    async with open_backend(context) as backend:
        handles = await _submit_each(context, backend, ["exit 0", "exit 3"])
        first = [await backend.get_final_status(handle) for handle in handles]
        again = [await _get_one_by_one(backend, handles) for _ in range(_AGAIN)]
    async with open_backend(context) as other:
        again.append(await _get_one_by_one(other, handles))
    for number, statuses in enumerate(again, start=2):
        for before, after in zip(first, statuses, strict=True):
            same = (before.state, before.exit_code, before.signal) == (after.state, after.exit_code, after.signal)
            expected = f"a job that was {describe_status(before)} to stay so"
            context.expect(same, expected=expected, observed=f"{describe_status(after)}, in answer number {number}")


async def _get_one_by_one(backend: BackendDriver, handles: Sequence[JobHandle]) -> list[JobStatus]:
    """Query the status of each job in a separate call, because another clause checks answers about several jobs."""
    return [status for handle in handles for status in await backend.get_statuses([handle])]


async def _get_history(context: Context, code: int, behind: float = 0) -> list[JobStatus]:
    """Watch a job until it ends. Return its statuses in order, one for each change of state.

    If the job was not seen RUNNING several times, a longer job is watched: on a busy machine, one query may take as
    long as a short job.

    Args:
        context: The context of the check.
        code: The exit code of the job.
        behind: Seconds for which the job is watched after its end.
    """
    looks: list[JobStatus] = []
    async with open_backend(context) as backend:
        for seconds in payloads.growing_durations(context):
            script = f"{payloads.sleep_script(max(seconds, _SHORT))}; exit {code}"
            handle = await backend.submit_job(context.sh(script))
            looks = await _watch_job(backend, handle, seconds + 30 * context.scale, behind)
            running = sum(status.state is JobState.RUNNING for status in looks)
            if running >= _SIGHTINGS or not _has_only_gone_forward(looks):
                break
    return [next(same) for _, same in groupby(looks, key=lambda status: status.state)]


def _has_only_gone_forward(looks: Sequence[JobStatus]) -> bool:
    """Return whether a job ended and never returned to an earlier state."""
    ranks = [_ORDER.get(status.state, 2) for status in looks]
    return ranks == sorted(ranks) and looks[-1].state.final


async def _watch_job(backend: BackendDriver, handle: JobHandle, seconds: float, behind: float) -> list[JobStatus]:
    """Poll a job until some time after its end, but not longer than a time limit. Return every status."""
    begun, ended_at, looks = time.monotonic(), 0.0, list[JobStatus]()
    while True:
        looks += await backend.get_statuses([handle])
        now = time.monotonic()
        ended_at = (ended_at or now) if looks[-1].state.final else 0.0
        if now - begun > seconds or (ended_at and now - ended_at >= behind):
            return looks
        await asyncio.sleep(0.02)


@clause(
    "IC-STATUS-09",
    title="No other state follows a final state.",
    level=MUST,
    depends=("IC-STATUS-06", "IC-STATUS-08"),
    seconds=180,
    hint=(
        "A job that is not listed yet, or not any more, and is reported as ended. A final state that rests on one "
        "source while another still says that the job runs. Report a final state only on evidence that cannot be "
        "taken back."
    ),
)
async def check_nothing_follows(context: Context) -> None:
    """Watch a job until after its end. Repeat with longer jobs until one is seen RUNNING several times."""
    history = await _get_history(context, 3, behind=0.2)
    descriptions = [describe_status(status) for status in history]
    finals = [status for status in history[:-1] if status.state.final]
    context.expect(not finals, expected="one final state, at the end", observed=" -> ".join(descriptions))


@clause(
    "IC-STATUS-10",
    title="A running job is RUNNING.",
    level=MUST,
    depends=("IC-STATUS-05", "IC-SUBMIT-03"),
    seconds=120,
    hint=(
        "The mapping from the resource's own words to states. A status that knows only submitted and ended. An "
        "answer from a cache that is older than the question."
    ),
)
async def check_running(context: Context) -> None:
    """Poll a job that takes some time. Repeat with longer jobs until one is seen RUNNING."""
    endings: list[str] = []
    async with open_backend(context) as backend:
        for seconds in payloads.growing_durations(context):
            handle = await backend.submit_job(context.sh(payloads.sleep_script(seconds)))
            status = await backend.wait_for_state(handle, JobState.RUNNING, within=seconds + 30)
            if status.state is JobState.RUNNING:
                return
            endings.append(describe_status(status))
    raise CheckFailed(
        f"one of the payloads of {payloads.growing_durations(context)} seconds to be seen RUNNING",
        f"none was seen; they ended {endings}",
    )


@clause(
    "IC-STATUS-11",
    title="Jobs that ended differently are reported correctly, each with its own state and code, in one answer.",
    level=MUST,
    depends=("IC-STATUS-06", "IC-STATUS-08", "IC-LIFE-10", "IC-OUTPUT-01"),
    jobs=5,
    hint=(
        "One state or one exit code for a whole submission or a whole answer. Lines of an answer that are matched "
        "with the handles by position: the resource may sort them. An index of copies that is off by one."
    ),
)
async def check_mixed_batch(context: Context) -> None:
    """Query jobs that ended differently: all in one call, in two orders of handles, and in fifty concurrent calls.

    Then query the status of copies of one submission that ended differently.
    """
    codes = [0, 4, 0, 5, 6]
    async with open_backend(context) as backend:
        handles = await _submit_each(context, backend, [f"exit {code}" for code in codes])
        await backend.wait_until_final(handles)
        # A backend that answers in a fixed order can be right for one order of handles, but not for both.
        for order in ([4, 3, 2, 1, 0], [1, 2, 3, 4, 0]):
            wanted = [codes[index] for index in order]
            statuses = await backend.get_statuses([handles[index] for index in order])
            observed = [status.exit_code for status in statuses]
            expected = f"the exit codes {', '.join(map(str, wanted))}, in this order"
            context.expect(observed == wanted, expected=expected, observed=observed)
        await _expect_apart(context, backend, handles, codes)
        if "output" in context.capabilities:
            await _expect_copies_apart(context, backend)


async def _expect_copies_apart(context: Context, backend: BackendDriver) -> None:
    """Compare the reported exit code of each copy with the exit code that the copy wrote to its stdout.

    A copy that wrote another code than expected is ignored: IC-SUBMIT-06 checks the variables of copies.
    """
    copies = [CopyVars(environment={"IC_CODE": f"{code}"}) for code in _COPIES]
    payload = context.sh('printf %s "$IC_CODE"; exit "${IC_CODE:-0}"')
    handles = await backend.submit_jobs(payload, copies)
    await backend.wait_until_final(handles)
    statuses, outputs = await backend.get_statuses(handles), await backend.fetch_outputs(handles)
    wrote = [
        output.stdout is not None and read_output_file(output.stdout, "stdout") == f"{code}".encode()
        for code, output in zip(_COPIES, outputs, strict=True)
    ]
    reported = [status.exit_code for status in statuses]
    expected = f"copies 0, 1, 2 to have ended with {_COPIES}, which each wrote to its own stdout"
    mixed = any(is_right and code != other for is_right, code, other in zip(wrote, _COPIES, reported, strict=True))
    context.expect(not mixed, expected=expected, observed=reported)


async def _expect_apart(
    context: Context, backend: BackendDriver, handles: Sequence[JobHandle], codes: list[int]
) -> None:
    """Query one job in each of fifty concurrent calls: a backend may mix up the answers, or refuse some calls."""
    calls = [(handle, code) for handle, code in zip(handles, codes, strict=True)] * 10
    answers = await asyncio.gather(*(backend.get_statuses([handle]) for handle, _ in calls), return_exceptions=True)
    for (handle, code), answer in zip(calls, answers, strict=True):
        expected = f"job {handle.job}, asked for in one of {len(calls)} calls at once, to have ended with {code}"
        if isinstance(answer, BaseException):
            raise CheckFailed(expected, f"status raised {format_value(answer)}") from answer
        context.expect(answer[0].exit_code == code, expected=expected, observed=describe_status(answer[0]))


@clause(
    "IC-STATUS-12",
    title="Polling changes nothing.",
    level=MUST,
    depends=("IC-STATUS-06", "IC-STATUS-08", "IC-LIFE-10", "IC-SUBMIT-03"),
    seconds=120,
    hint=(
        "A status that reaps, restarts, requeues, renews or removes jobs. Reading a pipe or a queue that reading "
        "empties: the first caller gets the answer, the second gets none."
    ),
)
async def check_polling(context: Context) -> None:
    """Poll one of two copies often, also in concurrent calls, and check how both copies end."""
    async with open_backend(context) as backend:
        for copy, status in enumerate(await _poll_often(context, backend)):
            context.expect(
                status.state is JobState.FAILED and status.exit_code == 3,  # noqa: PLR2004 -- the exit code of the payload
                expected="both copies to end with 3, the one that was polled and the other",
                observed=f"copy {copy} {'was' if copy == 0 else 'was not'} polled and ended {describe_status(status)}",
            )


async def _poll_often(context: Context, backend: BackendDriver) -> list[JobStatus]:
    """Return the final statuses of two copies, of which the first was polled often while it ran.

    If the copy ended too early for that, longer copies are run.
    """
    statuses: list[JobStatus] = []
    for seconds in payloads.growing_durations(context):
        handles = await backend.submit_jobs(context.sh(f"{payloads.sleep_script(seconds)}; exit 3"), copies=2)
        polled = [await backend.get_statuses(handles[:1])]
        patience = time.monotonic() + _POLLING  # a resource may make callers wait between two queries
        for number in range(8):
            if number < 2 or time.monotonic() < patience:  # noqa: PLR2004 -- at least twice
                polled += await asyncio.gather(*(backend.get_statuses(handles[:1]) for _ in range(4)))
        await backend.wait_until_final(handles, within=seconds + 30)
        statuses = await backend.get_statuses(handles)
        if not polled[-1][0].state.final or any(status.exit_code != 3 for status in statuses):  # noqa: PLR2004 -- the exit code of the payload
            break
    return statuses


@clause(
    "IC-STATUS-13",
    title="A job that cannot start ends FAILED.",
    level=MUST,
    depends=("IC-STATUS-06", "IC-SUBMIT-10"),
    hint=(
        "A launch that fails after the resource accepted the job, and leaves no exit code: the job must neither "
        "stay QUEUED for ever nor be DONE. For a program that is not on PATH, a shell exits with 127."
    ),
)
async def check_cannot_start(context: Context) -> None:
    """Submit a program that is not on PATH, and a script whose interpreter does not exist."""
    script = context.tmp / "script"
    script.write_text("#!/intercede/no/such/interpreter\n", "utf-8")
    async with open_backend(context) as backend:
        for executable in (f"intercede-no-such-{context.make_token()}", script):
            spec = SubmissionSpec(executable=executable, tag=f"ic-{context.make_token()}")
            try:
                submission = await backend.submit(spec)
            except UnsupportedSpecError:
                continue  # this error is allowed, because a backend may check the program before it submits the job
            for status in (await backend.wait_until_final(list(submission.handles.values()))).values():
                expected = "FAILED for a program that does not exist"
                context.expect(status.state is JobState.FAILED, expected=expected, observed=describe_status(status))


@clause(
    "IC-STATUS-14",
    title="A wall-time limit, if it is honoured, ends the job FAILED, with the reason timeout.",
    level=SHOULD,
    depends=("IC-STATUS-05", "IC-STATUS-07", "IC-STATUS-09", "IC-SUBMIT-06"),
    hint=(
        "How the resource reports that a limit was reached: often as a signal and a word of its own, like TIMEOUT, "
        "and only in accounting. A job that handles the signal and exits with a code reached its limit all the "
        "same. You may ignore the request; do not end the job without reporting why."
    ),
)
async def check_wall_time(context: Context) -> None:
    """Run jobs that request a time limit of one second and take longer, with and without a signal handler.

    If a job runs to its end, the backend does not honour the limit.
    """
    endings = ((None, ""), (0, ""), (3, ""), (0, "1"))
    spec = context.sh(f"{payloads.HANDLER}count 3; exit {_UNLIMITED}", resources={"wall_time_s": 1})
    copies = [
        CopyVars(environment={"IC_CODE": "" if code is None else f"{code}", "IC_SECONDS": seconds})
        for code, seconds in endings
    ]
    async with open_backend(context) as backend:
        try:
            statuses = await backend.run_jobs(spec, copies)
        except UnsupportedSpecError:
            return
        for (code, seconds), status in zip(endings, statuses, strict=True):
            limited = (
                status.state is JobState.FAILED and status.reason == "timeout" and status.exit_code in {None, code}
            )
            late = " after a second" if seconds else ""
            handler = "without a handler" if code is None else f"whose handler exits with {code}{late}"
            expected = f"FAILED (timeout) for a job {handler}, or its own end if limits are not honoured"
            context.expect(
                limited or status.exit_code == _UNLIMITED, expected=expected, observed=describe_status(status)
            )


@clause(
    "IC-STATUS-15",
    title="States go forward only: QUEUED or HELD, then RUNNING, then a final one.",
    level=SHOULD,
    depends=("IC-STATUS-09", "IC-STATUS-10"),
    seconds=180,
    hint=(
        "Two sources that disagree for a moment: a queue listing that lags behind a record on disk. Real queues "
        "requeue, so this is not a MUST; but a job that starts once should be seen to start once."
    ),
)
async def check_forward(context: Context) -> None:
    """Watch a job until its end. Repeat with longer jobs until one is seen RUNNING several times."""
    history = await _get_history(context, 0)
    ranks = [_ORDER.get(status.state, 2) for status in history]
    observed = " -> ".join(describe_status(status) for status in history)
    context.expect(ranks == sorted(ranks), expected="QUEUED or HELD, RUNNING, a final state", observed=observed)


@clause(
    "IC-STATUS-16",
    title="A handle of another resource is reported as foreign.",
    level=MUST,
    depends=("IC-STATUS-03",),
    hint=(
        "Compare `handle.resource` with your own before anything is asked, and report UNKNOWN with the reason "
        "`foreign`. The reason `lost` would say that one of your jobs is gone, and its caller would submit it "
        "again."
    ),
)
async def check_foreign_handle(context: Context) -> None:
    """Query the status of a handle that has the job of an existing handle and the name of another resource."""
    async with open_backend(context) as backend:
        handle = await backend.submit_job(context.sh("exit 0"))
        elsewhere, *_ = make_foreign_handles(context, handle)
        status = await backend.get_status(elsewhere)
        is_foreign = status.state is JobState.UNKNOWN and status.reason == "foreign"
        expected = "UNKNOWN (reason=foreign) for a handle of another resource"
        context.expect(is_foreign, expected=expected, observed=describe_status(status))


@clause(
    "IC-STATUS-17",
    title="A job that signals its own process group, and goes on, ends by its exit code.",
    level=MUST,
    depends=("IC-STATUS-06", "IC-SUBMIT-06"),
    hint=(
        "A wrapper in the payload's process group that dies of the signal, and takes the exit code with it; or one "
        "that mistakes the signal for a kill. Scripts end their children by `kill 0`. Catch the signals that can be "
        "caught, and ask the resource."
    ),
)
async def check_own_signal(context: Context) -> None:
    """Let jobs send TERM to their own process group, handle it, and exit with 0 and with 3."""
    codes = (0, 3)
    payload = context.sh('trap : TERM; kill -s TERM 0; exit "$IC_CODE"')
    async with open_backend(context) as backend:
        statuses = await backend.run_jobs(payload, [CopyVars(environment={"IC_CODE": f"{n}"}) for n in codes])
        for code, status in zip(codes, statuses, strict=True):
            state = JobState.FAILED if code else JobState.DONE
            right = status.state is state and status.exit_code == code
            expected = f"{state} with exit_code {code} for a job that sent TERM to its own group, and exits with {code}"
            context.expect(right, expected=expected, observed=describe_status(status))


@clause(
    "IC-STATUS-18",
    title="A job that is reported as timed out is over.",
    level=MUST,
    depends=("IC-STATUS-05", "IC-STATUS-09", "IC-SUBMIT-04"),
    seconds=150,
    hint=(
        "FAILED (timeout) is reported because the time has passed, or because TERM was sent, while the process "
        "lives: it may ignore the signal, and runs on beside the job that is started in its place. Send KILL after "
        "a grace period, and report the end when the job has ended; until then it is RUNNING."
    ),
)
async def check_timeout_is_over(context: Context) -> None:
    """Run a job that has a time limit of one second, and ignores signals for eight seconds.

    When the job is reported as timed out, let another job search for its process.
    """
    expected = "the process of a job that is reported as timed out to be gone"
    await _expect_no_process_after_timeout(context, f"{payloads.DEAF}count 8; exit {_UNLIMITED}", 1, expected)


async def _expect_no_process_after_timeout(context: Context, script: str, seconds: int, expected: str) -> None:
    """Run a job with a time limit. If the job is reported as timed out, let another job search for its processes."""
    word = context.make_token()
    async with open_backend(context) as backend:
        try:
            handle = await backend.submit_job(context.sh(script, word, resources={"wall_time_s": seconds}))
        except UnsupportedSpecError:
            return
        status = await backend.get_final_status(handle, within=60)
        if status.reason == "timeout":
            await expect_none_left(backend, word, expected)


@clause(
    "IC-STATUS-19",
    title="When a job times out, everything that it started ends, in whatever process group or session.",
    level=SHOULD,
    depends=("IC-STATUS-18",),
    seconds=150,
    hint=(
        "A limit that ends one process or one process group: `timeout` makes a group of its own, so do shells with "
        "job control, and setsid makes a session. Do the same as for a kill: end a cgroup, or look for descendants "
        "by parent, group and session, again and again until none is left."
    ),
)
async def check_leavers_time_out(context: Context) -> None:
    """Run a job that starts children outside its process group and session.

    The job exceeds its time limit of two seconds. When the job is reported as timed out, let another job search for
    the children.
    """
    expected = "everything that a job started to be gone when it is reported as timed out"
    await _expect_no_process_after_timeout(context, f"{payloads.LEAVERS}sleep 8; exit {_UNLIMITED}", 2, expected)
