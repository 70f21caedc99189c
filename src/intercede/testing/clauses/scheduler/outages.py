"""IC-SCHEDULER: a parser raises an error for a command that failed."""

from collections.abc import Callable, Iterator
from pathlib import Path

from intercede.contract.errors import IntercedeError
from intercede.contract.scheduler import Scheduler
from intercede.testing.clauses import clause
from intercede.testing.clauses.support.probe import ALL_SECONDS, run_probe
from intercede.testing.clauses.support.recordings import (
    KillRecording,
    ListRecording,
    Raises,
    Recording,
    StatusRecording,
    load_recordings,
)
from intercede.testing.clauses.support.scheduler_questions import (
    expect,
    list_answers,
    list_questions,
    make_result,
    make_scheduler,
    parse,
    parse_recording,
)
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import Context, format_value

_CODES = (1, 2, 126, 127, 137, 143, 255)
_STDERRS = (b"", b"sh: 1: not found\n")


@clause(
    "IC-SCHEDULER-04",
    title="A command that failed raises SchedulerError, whatever it printed; it is never an empty answer.",
    level=MUST,
    seconds=ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-09",),
    hint=(
        "A parser that does not check `returncode`, or checks it only if stdout is empty: an outage then reads as "
        "'there are no jobs', or half a list as the whole, and jobs as lost. If your command can succeed with this "
        "code, record that answer, or let the script tell both cases apart. The kit sees an outage with exit code 0 "
        "only in recordings."
    ),
)
async def check_outages(context: Context) -> None:
    """Give every parser an exit code that is not zero: with an empty stdout, and with recorded answers."""
    await run_probe(context, probe_outages)


def probe_outages(part: Callable[[], object], _tmp: Path) -> None:
    """Give every parser exit codes other than 0: with an empty stdout, and with recorded answers."""
    scheduler = make_scheduler(part)
    ids = next((each.ids for each in list_answers(scheduler, StatusRecording) if each.ids), ("17",))
    for code, said in ((code, said) for code in _CODES for said in _STDERRS):
        for method, arguments in list_questions(ids, make_result(b"", code, said)):
            if code not in _list_good_codes(scheduler, method):
                _expect_error(parse(scheduler, method, *arguments), method, code, "nothing")
    for each in _list_whole_answers(scheduler):
        method = f"parse_{each.verb}"
        for code in set(_CODES) - _list_good_codes(scheduler, method):
            failed = each.model_copy(update={"returncode": code})
            _expect_error(parse_recording(scheduler, failed), method, code, format_value(each.stdout))


def _expect_error(found: object, method: str, code: int, stdout: str) -> None:
    expected = f"{method} to raise SchedulerError if the command exited with code {code} and printed {stdout} on stdout"
    expect(isinstance(found, IntercedeError), expected, found)


def _list_whole_answers(scheduler: Scheduler) -> Iterator[Recording]:
    """Yield recorded answers, except those of submissions: a submission that fails may have started some copies."""
    for kind in (StatusRecording, KillRecording, ListRecording):
        yield from list_answers(scheduler, kind)


def _list_good_codes(scheduler: Scheduler, method: str) -> set[int]:
    """Return the exit codes of the recorded answers that a parser must accept."""
    mine = [each for each in load_recordings(scheduler) if f"parse_{each.verb}" == method]
    return {each.returncode for each in mine if not isinstance(each.expected, Raises)}
