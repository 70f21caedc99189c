"""Read fetched files, and the results of payloads that check something themselves."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from intercede.contract.job import CopyVars, JobState, SubmissionSpec
from intercede.testing.isolation.files import read_regular
from intercede.testing.run.answers import describe_status, expect_type
from intercede.testing.run.context import CheckFailed
from intercede.testing.run.driver import BackendDriver

__all__ = ["expect_payload_ok", "group_by_text", "read_output_file"]


def read_output_file(path: object, what: str) -> bytes:
    """Return the content of a file that ``fetch_output`` named in its answer.

    Raises:
        CheckFailed: The path is None, or names no regular file that can be read.
    """
    if path is None:
        raise CheckFailed(f"a path to {what}", "None")
    try:
        return read_regular(expect_type(Path, path, f"the path to {what}"))
    except (OSError, ValueError, TypeError) as error:  # the path holds a NUL, or is of a broken subclass of Path
        raise CheckFailed(f"{what} to be at the path in the answer", f"{type(error).__name__}: {error}") from error


async def expect_payload_ok(
    backend: BackendDriver,
    spec: SubmissionSpec,
    copies: int | Sequence[CopyVars] = 1,
    *,
    expected: str,
    codes: Callable[[int], str | None],
) -> None:
    """Run a payload that exits with 0 if all is right; ``codes`` explains its other exit codes."""
    wrong: list[tuple[int, str]] = []
    for index, status in enumerate(await backend.run_jobs(spec, copies)):
        meaning = codes(status.exit_code or 0)
        reason = f", which means: {meaning}" if meaning else ""
        if status.state is not JobState.DONE:
            wrong.append((index, f"ended {describe_status(status)}{reason}"))
    backend.context.expect(not wrong, expected=expected, observed=group_by_text(wrong))


def group_by_text(texts: Iterable[tuple[int, str]]) -> str:
    """Join the texts of copies. A text that several copies have is written once: ``copies 0, 2 ended FAILED``."""
    same: dict[str, list[str]] = {}
    for index, text in texts:
        same.setdefault(text, []).append(str(index))
    return "; ".join(
        f"{'copy' if len(each) == 1 else 'copies'} {', '.join(each)} {text}" for text, each in same.items()
    )
