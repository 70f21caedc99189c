"""Write and read handles as data, and make handles that name no job."""

from typing import cast

from pydantic import ValidationError

from intercede.contract.job import JobHandle
from intercede.testing.run.answers import expect_type
from intercede.testing.run.context import CheckFailed, Context, format_value

__all__ = ["dump_handle", "make_foreign_handles", "make_strange_handles", "make_unknown_handle", "read_handles"]

_ROTATED = str.maketrans(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "nopqrstuvwxyzabcdefghijklmNOPQRSTUVWXYZABCDEFGHIJKLM"
)


def dump_handle(handle: JobHandle) -> str:
    """Write a handle as JSON.

    Raises:
        CheckFailed: The handle cannot be written as JSON.
    """
    try:
        return expect_type(str, handle.model_dump_json(include={"resource", "job"}), "a handle's JSON")
    except ValueError as error:
        raise CheckFailed("a handle that can be written as JSON", f"{type(error).__name__}: {error}") from error


def read_handles(reported: object) -> list[JobHandle]:
    """Read the handles that a child process reported.

    Raises:
        CheckFailed: The child process reported anything but a list of handles.
    """
    listed = cast("list[object]", expect_type(list, reported, "the report of the child process"))
    try:
        return [JobHandle.model_validate(each) for each in listed]
    except ValidationError as error:
        raise CheckFailed("handles from another process", f"{format_value(listed)}: {error}") from error


def make_unknown_handle(handle: JobHandle) -> JobHandle:
    """Make a handle that names no job, with the resource and the form of a given handle.

    Letters are rotated, and digits become nines, because a number of nines is far beyond any real number.
    """
    rotated = "".join("9" if letter.isdigit() else letter for letter in handle.job.translate(_ROTATED))
    if rotated.isdigit():
        rotated = rotated.rjust(9, "9")
    return JobHandle(resource=handle.resource, job=rotated)


def make_foreign_handles(context: Context, handle: JobHandle) -> list[JobHandle]:
    """Make handles that this resource cannot have made: one of another resource, and several of invalid forms."""
    # These texts do no harm if a backend uses them as a path, a pattern or a pid: none is "*" or "-1".
    malformed = ("../../intercede-no-such", "$(touch intercede-was-here)", "no-such-*", "a\nb", "'; exit 0; '", "ü")
    elsewhere = JobHandle(resource=f"elsewhere-{context.make_token()}", job=handle.job)
    return [elsewhere, *(JobHandle(resource=handle.resource, job=job) for job in malformed)]


def make_strange_handles(context: Context, handle: JobHandle) -> list[JobHandle]:
    """Make handles that name no job: one that resembles a given handle, and foreign ones."""
    return [make_unknown_handle(handle), *make_foreign_handles(context, handle)]
