"""Explain a red check: decide whether the subject or the kit is at fault, and show the facts that an author needs."""

import inspect
import sysconfig
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from traceback import (  # functions are imported by name, because a subject may replace attributes of modules
    extract_tb,
    format_exception_only,
    format_list,
)
from types import GetSetDescriptorType
from typing import cast

import pydantic

from intercede.testing.isolation import timeouts
from intercede.testing.isolation.timeouts import TimeLimitExceeded
from intercede.testing.model.calls import Call, get_class_name, shorten
from intercede.testing.model.clause import Clause
from intercede.testing.model.verdict import State
from intercede.testing.run.context import CheckFailed

__all__ = ["MARGIN", "Finding", "classify", "escape_unprintable", "format_error", "format_failure"]

_KIT = str(Path(__file__).parents[1])
_GALLERY = str(Path(_KIT, "gallery"))
_BOUNDS = str(Path(_KIT, "isolation", "timeouts.py"))
_FRAME = (_BOUNDS, *(str(Path(_KIT, "run", f"{name}.py")) for name in ("context", "driver", "waiting")))
"""The source files of the kit whose code runs between a check and its subject. Tracebacks leave out their frames."""
_STANDARD, _PYDANTIC = sysconfig.get_path("stdlib"), str(Path(pydantic.__file__).parent)
_CALLERS = frozenset(
    {
        "capture_outcome",
        "_await_answer",
        "<lambda>",
        "record",
        "call_verb",
        "_await_verb",
        "make_plugin",
        "make_backend",
    }
)
"""The functions of the kit that call the subject. If the innermost frame of an exception is in such a function, the
subject is at fault."""
_TRACEBACK = cast("GetSetDescriptorType", vars(BaseException)["__traceback__"])
"""Reads an exception's traceback, even if its class overrides ``__traceback__``."""
_FIRST_CALLS, _LAST_CALLS, _FORMAT_SECONDS, _LONGEST = 10, 30, 1.0, 20_000
MARGIN = "\n  | "
"""The prefix of every line after the first in a text of the subject. Without the prefix, a CI system would execute
lines that begin with ``::``."""
_MESSAGE = 180
"""The largest number of characters of the expectation in a message. A longer expectation is cut, so that there is space
for the observation."""


@dataclass(frozen=True)
class Finding:
    """The reason why a check is red."""

    state: State
    """FAILED, or ERROR if the check itself is broken."""
    expected: str
    observed: str

    @property
    def message(self) -> str:
        """The expectation and the observation in one line."""
        expected, observed = shorten(self.expected, _MESSAGE), shorten(self.observed.partition("\n")[0])
        return escape_unprintable(f"expected {expected}; observed {observed}")


def classify(clause: Clause, raised: BaseException | None) -> Finding | None:
    """Return a finding about the exception that a check raised. Return None if the check raised no exception."""
    if raised is None:
        return None
    if isinstance(raised, CheckFailed):
        return Finding(State.FAILED, str(raised.expected)[:_LONGEST], str(raised.observed)[:_LONGEST])
    if isinstance(raised, TimeLimitExceeded):
        return Finding(State.FAILED, "the check to end in time", str(raised))
    whole, text = _read_frames(raised)
    observed = f"raised {format_error(raised)}\n{text}".rstrip()
    if _is_raised_by_kit(clause, whole):
        return Finding(State.ERROR, "the check to work; this is the kit's own fault, please report it", observed)
    return Finding(State.FAILED, "no exception", observed)


def _read_frames(raised: BaseException) -> tuple[list[traceback.FrameSummary], str]:
    """Return the frames of an exception and their text, within a time limit.

    The time is limited, because a subject can claim a device without end, such as ``/dev/zero``, as its source file.
    """

    async def read_frames() -> tuple[list[traceback.FrameSummary], str]:
        whole = list(extract_tb(_TRACEBACK.__get__(raised)))
        return whole, "".join(format_list([each for each in whole if not each.filename.startswith(_FRAME)]))

    return timeouts.run_in_thread(read_frames, _FORMAT_SECONDS, _FORMAT_SECONDS).value or (
        [],
        "(the traceback could not be read)",
    )


def format_error(raised: BaseException) -> str:
    """Return the text of an exception in one line, within a time limit.

    The time is limited, because code of the subject makes the text, and this code may never end.
    """

    async def format_text() -> str:
        return "".join(format_exception_only(raised))[:_LONGEST]

    text = timeouts.run_in_thread(format_text, _FORMAT_SECONDS, _FORMAT_SECONDS).value
    return shorten(text or f"{get_class_name(raised)}, whose text could not be read")


def _is_raised_by_kit(clause: Clause, frames: Iterable[traceback.FrameSummary]) -> bool:
    """Return whether the kit itself raised an exception, and not the subject.

    The kit raised the exception if every frame outside of libraries belongs to the kit, and the innermost of these
    frames does not call the subject.
    """
    check = inspect.getsourcefile(clause.check), clause.check.__name__
    relevant = [each for each in frames if not _is_library(each.filename)]
    foreign = [each for each in relevant if (each.filename, each.name) != check and not _is_kit(each.filename)]
    return not foreign and bool(relevant) and not _is_caller(relevant[-1])


def _is_caller(frame: traceback.FrameSummary) -> bool:
    return frame.filename == _BOUNDS or frame.name in _CALLERS


def _is_kit(file: str) -> bool:
    return file.startswith(_KIT) and not file.startswith(_GALLERY)


def _is_library(file: str) -> bool:
    # The subject may be in ``site-packages``, which may be inside the directory of the standard library.
    return file.startswith(_PYDANTIC) or (file.startswith(_STANDARD) and "site-packages" not in file)


def format_failure(
    clause: Clause,
    finding: Finding,
    *,
    calls: Sequence[Call] = (),
    outputs: str = "",
    left: str = "",
    advice: str = "",
) -> str:
    """Return the report of a red check: the clause, the finding, the calls, the output of the jobs, and the hint.

    Args:
        clause: The clause of the check.
        finding: The reason why the check is red.
        calls: The calls that the check made.
        outputs: The output of the check's jobs, as text.
        left: A note about jobs that may be left.
        advice: The options that may make the check green.
    """
    parts = [
        f"{clause.id} ({clause.level}): {clause.title}",
        f"procedure: {clause.procedure}" if clause.procedure else "",
        f"expected: {finding.expected}",
        f"observed: {finding.observed}".replace("\n", MARGIN),
        f"the calls it made:\n{_format_calls(calls)}" if calls else "",
        outputs,
        left,
        f"options: {advice}" if advice else "",
        f"hint: {clause.hint}" if clause.hint else "",
    ]
    return escape_unprintable("\n".join(part for part in parts if part))


def escape_unprintable(text: str) -> str:
    """Escape control characters and lone surrogates, so that the text is safe in a terminal and in a file."""
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)


def _format_calls(calls: Sequence[Call]) -> str:
    """Return the first and the last calls as text. Equal calls in a row, which polling makes, become one line."""
    alike = [list(each) for _, each in groupby(calls, lambda call: (call.verb, call.arguments, call.outcome))]
    lines = [f"  {each[0]}{f' ({len(each)} times in a row)' if len(each) > 1 else ''}" for each in alike]
    left_out = len(lines) - _FIRST_CALLS - _LAST_CALLS
    if left_out > 0:
        lines[_FIRST_CALLS:-_LAST_CALLS] = [f"  ... {left_out} others"]
    return "\n".join(lines)
