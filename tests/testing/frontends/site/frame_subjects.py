"""Backends for the tests of the front ends. Their options say what they do wrong."""

import asyncio
import inspect
import json
import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Self

from intercede.contract import CommandResult, JobHandle, JobOutput, JobState, JobStatus, Submission, SubmissionSpec

BEGAN: list[float] = []
"""Seconds by the monotonic clock when jobs were submitted."""
ASKED: list[float] = []
"""Seconds by the monotonic clock when a status was queried."""


class Tiny:
    """A backend that runs nothing. Each job is DONE at once.

    Args:
        red: The clauses that shall be red, with commas.
        enter: What entering does: ``hang``, ``block``, ``raise``, ``skip``, ``orders``, ``recursion`` or ``crash``.
        seconds: The seconds that each job runs.
        flaky: Of this many submissions the last is refused.
    """

    def __init__(self, red: str = "", enter: str = "", seconds: float = 0, flaky: int = 0) -> None:
        self.red = red.split(",")
        self._enter, self._seconds, self._flaky = enter, seconds, flaky

    async def __aenter__(self) -> Self:
        """Misbehave as the option says, or return the backend."""
        match self._enter:
            case "hang":
                await _hang()
            case "block":
                time.sleep(1000)  # noqa: ASYNC251 -- the mistake
            case "raise":
                raise LookupError("the site is gone")
            case "skip":
                import pytest  # noqa: PLC0415 -- as a plugin does that hides its import

                pytest.skip("not today")
            case "orders":
                raise RuntimeError("it said:\n::error::pwned\n  ::stop-commands::x\n\x1b[31mred")
            case "recursion":
                sys.setrecursionlimit(len(inspect.stack(0)) + 20)
            case "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            case _:
                pass
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave the backend; nothing is open."""

    async def submit(self, spec: SubmissionSpec, copies: object = 1) -> Submission:
        """Accept a job."""
        BEGAN.append(time.monotonic())
        if self._flaky and len(BEGAN) % self._flaky == 0:
            raise ConnectionError("busy")
        return Submission(handles={0: JobHandle(resource="tiny", job=spec.tag or "job")})

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Return RUNNING until the time of the jobs has passed since the first query, then DONE."""
        ASKED.append(time.monotonic())
        self._began = min(getattr(self, "_began", ASKED[-1]), ASKED[-1])
        if ASKED[-1] - self._began < self._seconds:
            return dict.fromkeys(handles, JobStatus(state=JobState.RUNNING))
        return dict.fromkeys(handles, JobStatus(state=JobState.DONE, exit_code=0))


class TinyOutput(Tiny):
    """A backend that claims output as well."""

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Mapping[JobHandle, JobOutput]:
        """Write the output of the jobs."""
        return dict.fromkeys(handles, JobOutput(ok=True, stdout=_write_output(dest)))


class Talkative(Tiny):
    """A backend whose errors cite its configuration, at length and in several spellings."""

    def __init__(self, password: str) -> None:
        super().__init__()
        self._password = password

    async def submit(self, spec: SubmissionSpec, copies: object = 1) -> Submission:
        """Print, log and raise the password."""
        print("printed and", self._password)  # noqa: T201 -- the subject prints
        logging.getLogger(__name__).warning("logged %s", self._password)
        warnings.warn(f"warned of {self._password}", stacklevel=1)
        said = {"url": "ftp://me:open-sesame@h/x", "argv": ["login", self._password], "as text": str(self._password)}
        raise ConnectionError(f"login failed: {said}; {json.dumps(said)}; {self._password}", self._password)


class Chatty:
    """A transport whose error at login holds the password."""

    def __init__(self, password: str) -> None:
        self._password = password

    async def __aenter__(self) -> Self:
        """Raise an error with the password."""
        raise ConnectionError(f"login failed with {self._password}")

    async def __aexit__(self, *_: object) -> None:
        """Leave the transport; nothing is open."""

    async def run(self, argv: object, *, stdin: object = None, stdout: object = None) -> CommandResult:
        """Raise, since no command is run."""
        raise NotImplementedError


def _write_output(dest: Path) -> Path:
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
