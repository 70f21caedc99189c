"""IC-DIAG: diagnostics return the output of a job so far, and change nothing."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from intercede.contract.job import CopyVars, Diagnostics, JobHandle, JobState, JobStatus
from intercede.testing.clauses import clause
from intercede.testing.clauses.support import payloads
from intercede.testing.clauses.support.handles import make_strange_handles
from intercede.testing.clauses.support.outputs import read_output_file
from intercede.testing.model.clause import MUST, SHOULD
from intercede.testing.run.answers import describe_status
from intercede.testing.run.context import CheckFailed, Context, format_value
from intercede.testing.run.driver import BackendDriver, open_backend
from intercede.testing.run.waiting import poll

_LINES = 40
_WRITING = f'i=0; while [ $i -lt {_LINES} ]; do echo "$IC_WORD $i"; i=$((i + 1)); done\n'
"""A script that writes forty lines. They fill more than one screen, and are too few for a backend to truncate."""


def _make_text(word: str) -> str:
    return "".join(f"{word} {number}\n" for number in range(_LINES))


async def _get_texts(backend: BackendDriver, handles: Sequence[JobHandle]) -> list[str]:
    return [each.text for each in await backend.get_diagnostics(handles)]


async def _wait_for_text(
    backend: BackendDriver, handles: Sequence[JobHandle], is_enough: Callable[[JobHandle, str], bool], within: float
) -> tuple[JobHandle | None, list[str]]:
    """Poll ``diagnostics`` until the text of an unfinished job satisfies ``is_enough``, or until all jobs have ended.

    Return a job whose text satisfies the condition, or None if there is no such job, and the last texts of all jobs.
    """
    texts: list[str] = []

    async def ask() -> dict[JobHandle, JobStatus]:
        texts[:] = await _get_texts(backend, handles)
        return dict(zip(handles, await backend.get_statuses(handles), strict=True))

    def find_job(statuses: Mapping[JobHandle, JobStatus]) -> JobHandle | None:
        pairs = zip(handles, texts, strict=True)
        return next((each for each, text in pairs if is_enough(each, text) and not statuses[each].state.final), None)

    def is_over(statuses: Mapping[JobHandle, JobStatus]) -> bool:
        return find_job(statuses) is not None or all(status.state.final for status in statuses.values())

    return find_job(await poll(ask, is_over, backend.context.start_wait(within))), texts


@clause(
    "IC-DIAG-01",
    title="Diagnostics return everything that an unfinished job has written to stdout so far, for each job its own.",
    level=MUST,
    capability="diagnostics",
    depends=("IC-STATUS-10", "IC-SUBMIT-06", "IC-SHAPE-05"),
    seconds=240,
    hint=(
        "Output that appears only when the job has ended: it is spooled on the node, or buffered on the way. A "
        "window of a line or a screen; a limit of some ten thousand bytes is fine. The output of the array instead "
        "of that of the task."
    ),
)
async def check_so_far(context: Context) -> None:
    """Poll ``diagnostics`` of two copies that write forty lines and then wait.

    If both copies end before the lines of one copy are in an answer, repeat with longer waits.
    """
    last: list[str] = []
    async with open_backend(context) as backend:
        for seconds in payloads.growing_durations(context):
            found, last = await _watch_both(context, backend, seconds)
            if found is not None:
                return
    jobs = f"one of the payloads of {payloads.growing_durations(context)} seconds"
    expected = f"the {_LINES} lines of {jobs} to be in the answer while it runs"
    raise CheckFailed(expected, f"the last texts were {format_value(last)}")


async def _watch_both(context: Context, backend: BackendDriver, seconds: float) -> tuple[JobHandle | None, list[str]]:
    """Poll ``diagnostics`` until it has returned the whole text of one copy, and then the whole text of the other copy.

    Stop early if both copies have ended.
    """
    words = [context.make_token(), context.make_token()]
    copies = [CopyVars(environment={"IC_WORD": word}) for word in words]
    handles = await backend.submit_jobs(context.sh(f"{_WRITING}{payloads.sleep_script(seconds)}"), copies)
    found: JobHandle | None = None

    def whole(handle: JobHandle, text: str) -> bool:
        index = handles.index(handle)
        expected = f"the text of copy {index} to hold nothing of the other copy's"
        context.expect(words[1 - index] not in text, expected=expected, observed=text)
        return _make_text(words[index]) in text and handle != found

    found, last = await _wait_for_text(backend, handles, whole, 2 * seconds + 30)
    await _wait_for_text(backend, handles, whole, 2 * seconds + 30)
    return found, last


@clause(
    "IC-DIAG-02",
    title="Asking for diagnostics can be repeated, and changes nothing; later output appears in later answers.",
    level=MUST,
    capability="diagnostics",
    depends=("IC-DIAG-01", "IC-STATUS-06", "IC-OUTPUT-01"),
    seconds=240,
    hint=(
        "A read that empties its source: a pipe, a queue, a file that is moved away, a stored offset. A signal that "
        "makes the job flush, or that ends it. A first answer that is kept and returned again."
    ),
)
async def check_repeatable(context: Context) -> None:
    """Call ``diagnostics`` of one job five times. Then poll until the answer holds a line that the job writes later.

    Check the exit code and the output of the job after its end.
    """
    word = context.make_token()
    wanted, late = _make_text(word), f"{word} late\n"
    copies = [CopyVars(environment={"IC_WORD": word})]
    last: list[str] = []
    async with open_backend(context) as backend:
        for seconds in payloads.growing_durations(context):
            sleep = payloads.sleep_script(seconds)
            script = f'{_WRITING}{sleep}; echo "$IC_WORD late"; {sleep}; exit 3'
            handles = await backend.submit_jobs(context.sh(script), copies)
            early, _ = await _wait_for_text(backend, handles, lambda _, text: wanted in text, 2 * seconds + 30)
            looked = early is not None and await _look_again(context, backend, handles, wanted)
            found, last = await _wait_for_text(backend, handles, lambda _, text: late in text, 2 * seconds + 30)
            await _expect_unharmed(context, backend, handles[0], wanted + late)
            if looked and found is not None:
                return
    durations = payloads.growing_durations(context)
    expected = f"later output to be in later answers, while one of the payloads of {durations} seconds runs"
    raise CheckFailed(expected, f"the last texts were {format_value(last)}")


async def _look_again(context: Context, backend: BackendDriver, handles: Sequence[JobHandle], wanted: str) -> bool:
    """Call ``diagnostics`` four more times, three of them concurrently, and compare the answers.

    Return whether the job is still running afterwards.
    """
    texts = await _get_texts(backend, handles)
    for each_texts in await asyncio.gather(*(_get_texts(backend, handles) for _ in range(3))):
        texts += each_texts
    (status,) = await backend.get_statuses(handles)
    for number, text in enumerate(texts, start=2):
        expected = f"the text of the first answer to be in answer number {number}"
        context.expect(wanted in text or status.state.final, expected=expected, observed=text)
    return not status.state.final


async def _expect_unharmed(context: Context, backend: BackendDriver, handle: JobHandle, wrote: str) -> None:
    status = await backend.get_final_status(handle, within=90)
    harmless = status.state is JobState.FAILED and status.exit_code == 3  # noqa: PLR2004 -- the exit code of the payload
    context.expect(
        harmless, expected="the job to end with 3 after diagnostics were asked for", observed=describe_status(status)
    )
    if "output" in context.capabilities:
        (output,) = await backend.fetch_outputs([handle])
        stdout = read_output_file(output.stdout, "stdout").decode(errors="replace")
        expected = "the whole stdout of the job to be fetched after diagnostics were asked for"
        context.expect(stdout == wrote, expected=expected, observed=stdout)


@clause(
    "IC-DIAG-03",
    title=(
        "The answer's keys are exactly the handles asked for; an unknown job has an empty text, and does not spoil "
        "the others."
    ),
    level=MUST,
    capability="diagnostics",
    depends=("IC-DIAG-01", "IC-STATUS-03", "IC-PURGE-01", "IC-PURGE-04"),
    hint=(
        "One exception for the whole call because one job is missing. Handles that are dropped from the answer, or "
        "used as a path before they were matched against a pattern. For no handles, answer an empty mapping."
    ),
)
async def check_diagnostics_keys(context: Context) -> None:
    """Call ``diagnostics`` with a list that holds the handle of a job twice, and handles that name no job.

    Then call ``diagnostics`` with an empty list.
    """
    async with open_backend(context) as backend:
        good, gone, _ = await backend.submit_jobs(context.sh("echo here"), copies=3)
        strangers = make_strange_handles(context, good)
        if "purge" in context.capabilities:
            await backend.wait_until_final([gone])
            await backend.purge([gone])
            strangers.append(gone)
        expected = "an answer for every handle"
        answers = await backend.ask_each("diagnostics", [*strangers, good, good], expected)
        *bad, _ = answers.get_each(Diagnostics, [*strangers, good])
        for handle, diagnostics in zip(strangers, bad, strict=True):
            context.expect(diagnostics.text == "", expected=f"an empty text for {handle!r}", observed=diagnostics.text)
        keys = answers.keys
        exact = len(keys) == len(set(keys)) and set(keys) == {*strangers, good}
        context.expect(
            exact, expected="exactly the handles asked as keys, each once", observed=f"keys: {format_value(keys)}"
        )
        nothing = (await backend.ask_each("diagnostics", [], expected)).keys
        context.expect(
            not nothing, expected="an empty mapping for no handles", observed=f"keys {format_value(nothing)}"
        )


@clause(
    "IC-DIAG-04",
    title="Diagnostics return an unfinished job's stderr, too.",
    level=SHOULD,
    capability="diagnostics",
    depends=("IC-DIAG-01",),
    seconds=240,
    hint=(
        "Only stdout is read. The reason why a job hangs is mostly on stderr. If the resource keeps the two apart, "
        "return one after the other."
    ),
)
async def check_stderr_so_far(context: Context) -> None:
    """Poll ``diagnostics`` of a payload that writes to stderr and then waits.

    If the payload ends before its stderr is in an answer, repeat with longer waits.
    """
    word = context.make_token()
    last: list[str] = []
    async with open_backend(context) as backend:
        for seconds in payloads.growing_durations(context):
            handles = await backend.submit_jobs(context.sh(f'echo "$1" >&2; {payloads.sleep_script(seconds)}', word))
            found, last = await _wait_for_text(backend, handles, lambda _, text: word in text, seconds + 30)
            if found is not None:
                return
            await backend.wait_until_final(handles, within=seconds + 30)
    raise CheckFailed(
        f"{word!r}, written to stderr, to be in the answer while the job runs",
        f"the last texts were {format_value(last)}",
    )
