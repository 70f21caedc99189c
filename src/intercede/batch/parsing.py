"""Check the results of a scheduler's parsers.

If a parser fails, the error names the plugin as the cause, and warns that jobs may be running.
"""

import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from intercede.contract.errors import IntercedeError, SchedulerError
from intercede.contract.scheduler import Batch, Queued, Scheduler
from intercede.contract.transport import CommandResult

__all__ = ["check_ids", "check_queued", "convert_parser_errors"]

_NATIVE = re.compile(r"(?!-)[A-Za-z0-9._;@\[\]-]{1,200}", re.ASCII)
_ID = "an id is 1 to 200 letters, digits and any of . _ ; @ [ ] -, and begins with no -"
_MAX_SHOWN = 500


@contextmanager
def convert_parser_errors(
    scheduler: Scheduler, method: str, answer: CommandResult, submission_id: str = ""
) -> Generator[None]:
    """A context manager that turns unexpected exceptions of a parser into SchedulerErrors that name the plugin.

    The parser is called inside the ``with`` block.

    Args:
        scheduler: The scheduler that has the parser.
        method: The name of the parser.
        answer: The answer that the parser gets. The error quotes it.
        submission_id: The id of the submission whose jobs may be running, or an empty text.

    Raises:
        IntercedeError: The parser raised it on purpose.
        SchedulerError: The parser raised anything else.
    """
    try:
        yield
    except IntercedeError:
        raise
    except Exception as error:
        stdout = answer.stdout.decode("utf-8", "replace")[:_MAX_SHOWN]
        raise SchedulerError(
            f"the scheduler plugin {type(scheduler).__name__} is at fault, not the request: its {method} raised "
            f"{_format_error(error)}, for the answer {stdout!r}.{_describe_running(submission_id)}",
            returncode=answer.returncode,
            stderr=answer.stderr.decode("utf-8", "replace")[-_MAX_SHOWN:],
        ) from error


def check_queued(batch: Batch, queued: Queued) -> Queued:
    """Check a scheduler's answer to a submission, and return the answer if it is complete and valid.

    A complete answer has exactly one entry for each copy: a valid native id or a refusal.

    Raises:
        SchedulerError: The answer lacks copies, has copies that were not submitted, or has an invalid id.
    """
    answered = sorted([*queued.ids, *queued.refused])
    if answered != list(range(batch.copies)):
        problem = f"the scheduler answered for {len(answered)} of {batch.copies} copies"
        raise SchedulerError(
            f"{problem}, or for copies that were not submitted.{_describe_running(batch.submission_id)}"
        )
    check_ids("parse_submit", queued.ids.values(), batch.submission_id)
    return queued


def check_ids(method: str, ids: Iterable[str], submission_id: str = "") -> None:
    """Check that a parser returned valid native ids.

    Raises:
        SchedulerError: An id is invalid.
    """
    for native in ids:
        if not _NATIVE.fullmatch(native):
            raise SchedulerError(
                f"the scheduler plugin is at fault, not the request: {method} returned the id {native!r}; {_ID}."
                f"{_describe_running(submission_id)}"
            )


def _describe_running(submission_id: str) -> str:
    return (
        f" Jobs that were queued may run: in the queue they are named {submission_id}, and find returns them by their "
        "tag once the plugin is repaired"
        if submission_id
        else ""
    )


def _format_error(error: Exception) -> str:
    """Return an error as one line. An error of pydantic has several lines; the last line, a URL, is left out."""
    lines = [line.strip() for line in str(error).splitlines() if "For further information" not in line]
    text = f"{type(error).__name__}: {' '.join(lines)}"[:_MAX_SHOWN]
    return f"{text} ({_ID})" if "should match pattern" in text else text
