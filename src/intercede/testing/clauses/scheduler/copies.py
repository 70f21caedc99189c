"""IC-SCHEDULER: parse_submit reports on each copy of a submission."""

from collections.abc import Callable, Iterator
from pathlib import Path

from intercede.contract.scheduler import Queued, Scheduler
from intercede.testing.clauses import clause
from intercede.testing.clauses.support.probe import ALL_SECONDS, run_probe
from intercede.testing.clauses.support.recordings import SubmitRecording
from intercede.testing.clauses.support.scheduler_questions import expect, list_answers, make_scheduler, parse
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import Context, format_value


@clause(
    "IC-SCHEDULER-02",
    title="parse_submit answers for each copy of a submission exactly once, with an id of its own or a refusal.",
    level=MUST,
    seconds=ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-09",),
    hint=(
        "A parse_submit that gets fewer or more lines than copies: zip() silently drops the rest. Copies whose line "
        "is missing may run: raise SchedulerError, and they are found by the submission id. If a limit refused them, "
        "they are `refused`. The kit cannot check from here that the wrapper runs once for each remote index."
    ),
)
async def check_copies(context: Context) -> None:
    """Parse recorded submissions: as they are, for other numbers of copies, and with missing lines."""
    await run_probe(context, probe_copies)


def probe_copies(part: Callable[[], object], _tmp: Path) -> None:
    """Parse recorded answers as they are, for other numbers of copies, and without one of their lines."""
    scheduler = make_scheduler(part)
    for each in list_answers(scheduler, SubmitRecording):
        for what, asked in _make_variants(each):
            _expect_each_copy(scheduler, asked, what)


def _make_variants(recording: SubmitRecording) -> Iterator[tuple[str, SubmitRecording]]:
    yield "as it was recorded", recording
    copies = recording.batch.copies
    for number in {copies - 1, copies + 1, 7 * copies} - {0}:
        batch = recording.batch.model_copy(update={"copies": number})
        yield f"where {number} copies were asked for", recording.model_copy(update={"batch": batch})
    lines = recording.stdout.splitlines(keepends=True)
    for number in range(min(len(lines), 50)):
        stdout = "".join([*lines[:number], *lines[number + 1 :]])
        yield f"without its line {number + 1}", recording.model_copy(update={"stdout": stdout})


def _expect_each_copy(scheduler: Scheduler, asked: SubmitRecording, what: str) -> None:
    copies = asked.batch.copies
    queued = parse(scheduler, "parse_submit", asked.batch, asked.result)
    if not isinstance(queued, Queued):
        return  # the parser raised an error, as it should
    observed = f"for the answer {format_value(asked.stdout)} {what}: {format_value(queued)}"
    expected = f"parse_submit to answer for each of {copies} copies once, or to raise SchedulerError"
    expect(sorted([*queued.ids, *queued.refused]) == list(range(copies)), expected, observed)
    unique = len(set(queued.ids.values())) == len(queued.ids)
    expect(unique, "each copy to have an id of its own, or parse_submit to raise SchedulerError", observed)
