"""Commands for checks of transports: their scripts, inputs and sinks, and comparisons of their results."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import cast

from intercede.contract.transport import CommandResult
from intercede.testing.isolation.timeouts import Deadline, Outcome, capture_outcome
from intercede.testing.run.context import CheckFailed, Context
from intercede.testing.run.driver import TransportDriver

__all__ = [
    "FILLER",
    "FailingSink",
    "RecordingSink",
    "begin_run",
    "describe_result",
    "expect_bytes",
    "make_directory",
    "make_numbers",
    "numbers_script",
    "sh_argv",
    "wait_unless_over",
    "yield_pieces",
]

FILLER = bytes(range(256)) * 1024
"""A piece of 256 KiB."""
_TRIES = 10
_SHOWN = 40
_BEGINS_WITHIN = 20.0


def sh_argv(script: str, *arguments: str) -> list[str]:
    """Return the argument list that runs a script of POSIX sh."""
    return ["sh", "-c", script, "sh", *arguments]


def describe_result(result: CommandResult) -> str:
    """Describe the exit code and the end of stderr in one line."""
    said = result.stderr.decode(errors="backslashreplace").strip()[-300:]
    return f"exit code {result.returncode}" + (f", and on stderr {said!r}" if said else "")


def expect_bytes(context: Context, what: str, expected: bytes, observed: bytes) -> None:
    """Expect bytes to be equal, and show the first bytes that differ."""
    if observed == expected:
        return
    if expected.startswith(observed):
        came = f"the first {len(observed)} of them: the rest is missing" if observed else "no byte"
        raise CheckFailed(f"{len(expected)} bytes {what}", came)
    pairs = zip(expected, observed, strict=False)
    shorter = min(len(expected), len(observed))
    at = next((index for index, (one, other) in enumerate(pairs) if one != other), shorter)
    context.expect(
        False,  # noqa: FBT003 -- the line before compares them
        expected=f"{len(expected)} bytes {what}, {_describe_rest(expected, at)}",
        observed=f"{len(observed)} bytes, {_describe_rest(observed, at)}",
    )


def _describe_rest(data: bytes, index: int) -> str:
    return f"from {index} on {data[index : index + _SHOWN]!r}" if index < len(data) else f"ending at {len(data)}"


def numbers_script(last: int) -> str:
    """Return an sh command that writes the numbers from 1 to ``last``, one on each line, so that any loss shows."""
    return f"seq 1 {last}"


def make_numbers(last: int) -> bytes:
    """Return the output of the command of ``numbers_script``."""
    return "".join(f"{number}\n" for number in range(1, last + 1)).encode()


Run = asyncio.Future[Outcome[CommandResult]]
"""A run that was started and is not awaited yet."""


def begin_run(awaitable: Awaitable[CommandResult]) -> Run:
    """Start a run, and return a future whose result holds the run's answer or its error.

    The error is not raised in the task, because a SystemExit that a task raises would end the event loop.
    """
    return asyncio.ensure_future(capture_outcome(awaitable))


async def wait_unless_over(context: Context, run: Run, awaitable: Coroutine[object, object, object]) -> None:
    """Wait until an awaitable is done, or the run has ended.

    Raises:
        CheckFailed: Neither happened within 20 seconds, times ``scale``.
    """
    waited: asyncio.Future[object] = asyncio.ensure_future(awaitable)
    both = {cast("asyncio.Future[object]", run), waited}
    done = await Deadline(_BEGINS_WITHIN * context.scale).wait_for_tasks(both, asyncio.FIRST_COMPLETED)
    waited.cancel()
    expected = f"a command to begin to write within {_BEGINS_WITHIN * context.scale:g} s"
    context.expect(done, expected=expected, observed="no output came, and run has not returned")


async def yield_pieces(*data: bytes) -> AsyncIterator[bytes]:
    """Yield pieces of data, as an asynchronous iterator."""
    for each in data:
        yield each


class RecordingSink:
    """A sink that keeps its pieces, and notices if two pieces are written concurrently.

    Writing the first piece takes a number of seconds, or until a second piece is written at the same time.
    """

    def __init__(self, *, holds: float = 0) -> None:
        self.pieces: list[object] = []
        self._holds = holds
        self._second = asyncio.Event()
        self.begun = asyncio.Event()
        """The event that is set when the first piece is written."""
        self._busy = False

    @property
    def data(self) -> bytes:
        """The bytes of all pieces."""
        return b"".join(each for each in self.pieces if isinstance(each, bytes))

    async def write(self, data: bytes) -> None:
        """Store a piece of the output, and return after some iterations of the event loop."""
        if self._busy:
            self._second.set()
        self._busy = True
        self.pieces.append(data)
        if not self.begun.is_set():
            self.begun.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._second.wait(), self._holds)
        for _ in range(3):
            await asyncio.sleep(0)
        self._busy = False

    @property
    def has_overlap(self) -> bool:
        """Whether the write of one piece began before the write of another piece had returned."""
        return self._second.is_set()


class FailingSink:
    """A sink that raises an error for its first piece."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def write(self, data: bytes) -> None:  # noqa: ARG002 -- the piece is not kept
        """Raise the error."""
        raise self._error


@asynccontextmanager
async def make_directory(transport: TransportDriver) -> AsyncGenerator[str]:
    """Make a directory on the machine that the transport reaches, and remove it afterwards."""
    made = await transport.run(["mktemp", "-d"])
    name = made.stdout.decode(errors="replace").removesuffix("\n")
    if not name.startswith("/"):
        raise CheckFailed("`mktemp -d` to make a directory and name it", f"{name!r}, {describe_result(made)}")
    try:
        yield name
    except BaseException:
        with suppress(Exception):  # an error here must not replace the failure of the check
            await _remove(transport, name)
        raise
    await _remove(transport, name)


async def _remove(transport: TransportDriver, name: str) -> None:
    """Remove a directory without a shell, since a transport may garble scripts.

    A process that still writes into the directory may make one attempt fail, and stops when the directory is gone.
    """
    for _ in range(_TRIES):
        removed = await transport.run(["rm", "-rf", name])
        if removed.returncode == 0:
            return
        await asyncio.sleep(0.1)
