"""Calling a scheduler's parsers. If one breaks, that is its plugin's fault, and jobs may run: the error says both."""

import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from intercede.contract.errors import IntercedeError, SchedulerError
from intercede.contract.scheduler import Batch, Queued, Scheduler
from intercede.contract.transport import CommandResult

__all__ = ["checked", "expect_ids", "parsing"]

_NATIVE = re.compile(r"(?!-)[A-Za-z0-9._;@\[\]-]{1,200}", re.ASCII)
_ID = "an id is 1 to 200 letters, digits and any of . _ ; @ [ ] -, and begins with no -"
_SHOWN = 500


@contextmanager
def parsing(scheduler: Scheduler, method: str, answer: CommandResult, submission_id: str = "") -> Generator[None]:
    """Call a parser in here.

    Args:
        scheduler: Whose parser it is.
        method: Which.
        answer: What it parses.
        submission_id: The submission that the answer is to, if what it started may run.

    Raises:
        IntercedeError: What the parser raised on purpose.
        SchedulerError: It raised anything else.
    """
    try:
        yield
    except IntercedeError:
        raise
    except Exception as error:
        said = answer.stdout.decode("utf-8", "replace")[:_SHOWN]
        raise SchedulerError(
            f"the scheduler plugin {type(scheduler).__name__} is at fault, not the request: its {method} raised "
            f"{_told(error)}, for the answer {said!r}.{_goes_on(submission_id)}",
            returncode=answer.returncode,
            stderr=answer.stderr.decode("utf-8", "replace")[-_SHOWN:],
        ) from error


def checked(batch: Batch, queued: Queued) -> Queued:
    """See that a scheduler answered for each copy, with ids that can be ids.

    Raises:
        SchedulerError: It did not.
    """
    answered = sorted([*queued.ids, *queued.refused])
    if answered != list(range(batch.copies)):
        told = f"the scheduler answered for {len(answered)} of {batch.copies} copies"
        raise SchedulerError(f"{told}, or for others than were submitted.{_goes_on(batch.submission_id)}")
    expect_ids("parse_submit", queued.ids.values(), batch.submission_id)
    return queued


def expect_ids(method: str, ids: Iterable[str], submission_id: str = "") -> None:
    """See that what a parser returned can be ids.

    Raises:
        SchedulerError: One cannot.
    """
    for native in ids:
        if not _NATIVE.fullmatch(native):
            raise SchedulerError(
                f"the scheduler plugin is at fault, not the request: {method} answered with the id {native!r}; {_ID}."
                f"{_goes_on(submission_id)}"
            )


def _goes_on(submission_id: str) -> str:
    return (
        f" What was queued may run: the queue knows it as {submission_id}, and find returns it by its tag once the plugin is "
        "mended"
        if submission_id
        else ""
    )


def _told(error: Exception) -> str:
    """Write an error in a line. pydantic's takes several, the last of which is an address."""
    lines = [line.strip() for line in str(error).splitlines() if "For further information" not in line]
    text = f"{type(error).__name__}: {' '.join(lines)}"[:_SHOWN]
    return f"{text} ({_ID})" if "should match pattern" in text else text
