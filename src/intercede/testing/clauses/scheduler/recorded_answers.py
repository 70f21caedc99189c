"""IC-SCHEDULER: recorded answers give the recorded results."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from pydantic import BaseModel

from intercede.contract.errors import ResourceError
from intercede.contract.scheduler import Queued
from intercede.testing.clauses import clause
from intercede.testing.clauses.support.probe import ALL_SECONDS, run_probe
from intercede.testing.clauses.support.recordings import Raises, Recording, load_recordings
from intercede.testing.clauses.support.scheduler_questions import expect, make_scheduler, parse_recording
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import Context, format_value


@clause(
    "IC-SCHEDULER-07",
    title="Recorded real answers give the recorded results.",
    level=MUST,
    seconds=ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-09",),
    hint=(
        "The recording that the message names, and the parser of its verb. In a status or an outcome, only the "
        "fields that the recording gives are compared. Change a recording only if the scheduler itself answers "
        "differently now, and keep the old one beside it."
    ),
)
async def check_recordings(context: Context) -> None:
    """Parse each recorded answer, and compare the result with the recorded one."""
    await run_probe(context, probe_recorded_answers)


def probe_recorded_answers(part: Callable[[], object], _tmp: Path) -> None:
    """Parse each recorded answer, and compare the result with the recorded one."""
    scheduler = make_scheduler(part)
    for each in load_recordings(scheduler):
        found = parse_recording(scheduler, each)
        expected = f"{format_value(each.expected)} for the recorded {_describe_recording(each)}"
        expect(_is_same(each.expected, found), expected, found)


def _describe_recording(recording: Recording) -> str:
    what = f" ({recording.what})" if recording.what else ""
    return f"{recording.verb}{what}, exit code {recording.returncode}, stdout {format_value(recording.stdout)}"


def _is_same(expected: object, found: object) -> bool:
    match expected:
        case Raises():
            retryable = found.retryable if isinstance(found, ResourceError) else None
            return type(found).__name__ == expected.raises and expected.retryable in {None, retryable}
        case Queued():
            return isinstance(found, Queued) and expected == found
        case Mapping():
            wanted, got = cast("Mapping[object, object]", expected), cast("Mapping[object, object]", found)
            if not isinstance(found, Mapping) or wanted.keys() != got.keys():
                return False
            return all(_has_given_fields(wanted[key], got[key]) for key in wanted)
        case _:
            return False


def _has_given_fields(expected: object, found: object) -> bool:
    """Return whether a result equals the recorded one in the fields that the recording gives."""
    if not isinstance(expected, BaseModel):
        return expected == found
    return all(getattr(found, name, None) == getattr(expected, name) for name in expected.model_fields_set)
