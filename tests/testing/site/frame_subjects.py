"""Backends for the tests of the kit's frame: right, and wrong in whatever their options say."""

import asyncio
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Self

from intercede.contract import JobHandle, JobOutput, JobState, JobStatus, Submission, SubmissionSpec


class Tiny:
    """Runs nothing: every job is DONE at once.

    Args:
        red: The clauses that are to be red.
        enter: What entering does: ``hang``, ``block``, ``raise``, ``skip`` or ``crash``.
    """

    def __init__(self, red: str = "", enter: str = "") -> None:
        self.red = red.split(",")
        self._enter = enter

    async def __aenter__(self) -> Self:
        """Misbehave, or be there."""
        match self._enter:
            case "hang":
                await _hang()
            case "block":
                time.sleep(1000)  # noqa: ASYNC251 -- that is what it is for
            case "raise":
                raise LookupError("the site is gone")
            case "skip":
                import pytest  # noqa: PLC0415 -- as a plugin would that wants to hide

                pytest.skip("not today")
            case "crash":
                os._exit(9)
            case _:
                pass
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    async def submit(self, spec: SubmissionSpec, copies: object = 1) -> Submission:
        """Accept."""
        return Submission(handles={0: JobHandle(resource="tiny", job=spec.tag or "job")})

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Tell that all is done."""
        return dict.fromkeys(handles, JobStatus(state=JobState.DONE, exit_code=0))


class TinyOutput(Tiny):
    """Claims output as well."""

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Mapping[JobHandle, JobOutput]:
        """Bring what the job wrote."""
        return dict.fromkeys(handles, JobOutput(ok=True, stdout=_written(dest)))


def _written(dest: Path) -> Path:
    dest.mkdir(parents=True, exist_ok=True)
    stdout = dest / "stdout"
    stdout.write_text("what the payload wrote\n")
    return stdout


async def _hang() -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
