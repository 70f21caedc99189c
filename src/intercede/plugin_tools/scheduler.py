"""Helpers for schedulers: read a script and fill in values, and make the error for a command that failed."""

import re
import shlex
from collections.abc import Callable
from functools import cache
from pathlib import Path

from intercede.contract.errors import SchedulerError
from intercede.contract.transport import CommandResult

__all__ = ["read_script", "scheduler_error"]

_VARIABLE = re.compile(r"(?!(?i:_?ic_))[A-Za-z_][A-Za-z0-9_]*")
_SHOWN = 500


def read_script(module_file: str, name: str, /, **values: str | int | None) -> str:
    """Return one line ``VARIABLE=VALUE`` for each value, and then the text of a script in the module's folder.

    ::

        def list_script(self, submission_id):
            return read_script(__file__, "list.sh", submission_id=submission_id)

    Each value is quoted, so it reaches the script unchanged, whatever characters it holds. The file is read once.

    Args:
        module_file: The ``__file__`` of the module.
        name: The name of the script's file. It must be UTF-8 text. Let it end with a newline if more text follows.
        values: The variables that the script gets. None is written as an empty value.

    Raises:
        ValueError: A variable's name is not a name in sh, or begins with ``ic_`` or ``_ic_`` in any case; a value
            holds a NUL, which no shell can take; or the file is not UTF-8.
        OSError: The file cannot be read.
    """
    return "".join([*(_assign(*each) for each in values.items()), _read(str(Path(module_file).with_name(name)))])


@cache
def _read(path: str) -> str:
    return Path(path).read_text("utf-8")


def _assign(variable: str, value: str | int | None) -> str:
    if not _VARIABLE.fullmatch(variable):
        raise ValueError(
            f"{variable!r} is not a valid name for a variable of a script: expected letters, digits and _, not ic_..."
        )
    text = "" if value is None else str(value)
    if "\0" in text:
        raise ValueError(f"{variable} holds a NUL, which no shell can take: {text!r}")
    return f"{variable}={shlex.quote(text)}\n"


def scheduler_error(
    message: str, result: CommandResult, *, retryable: bool | Callable[[str], bool] = False, refused: bool = False
) -> SchedulerError:
    """Return the error for a command that failed: the message, and the end of what the command wrote to stderr.

    ::

        if result.returncode != 0:
            raise scheduler_error("plainq failed", result, retryable=lambda stderr: "no server" in stderr)

    Args:
        message: What failed, without a full stop.
        result: The result of the fragment. Its exit code and the last 500 characters of its stderr become attributes.
        retryable: True for an outage, so that the same call may succeed later; or a function that decides this from
            these characters of stderr.
        refused: True if the scheduler has certainly refused the submission as a whole.
    """
    stderr = result.stderr.decode("utf-8", "replace").strip()[-_SHOWN:]
    return SchedulerError(
        f"{message}: {stderr or f'exit code {result.returncode}'}",
        retryable=retryable(stderr) if callable(retryable) else retryable,
        refused=refused,
        returncode=result.returncode,
        stderr=stderr,
    )
