"""Transports with a mistake in arguments or exit codes. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import asyncio
import shlex
from collections.abc import AsyncIterable, Sequence

from intercede.contract import ByteSink, CommandResult, TransportError
from intercede.testing.gallery.transports.right import Plain


class _EndsOtherwise(Plain):
    """Runs commands as Plain does. A subclass changes the exit code."""

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        result = await super().run(argv, stdin=stdin, stdout=stdout)
        return result.model_copy(update={"returncode": self.change_code(result.returncode)})

    def change_code(self, code: int) -> int:
        return code


class JoinsWithSpaces(Plain):
    """Joins the arguments with spaces into a command line for `sh -c`."""

    caught_by = "IC-TRANSPORT-01"
    message_contains = "wrote '[two][words][end]'"

    def make_command(self, argv: Sequence[str]) -> Sequence[str]:
        return ["sh", "-c", " ".join(argv)]


class LosesEmptyArguments(Plain):
    """Quotes the arguments for `sh -c`, but drops empty ones."""

    caught_by = "IC-TRANSPORT-01"
    message_contains = "['printf', '[%s]', '', 'end'] wrote '[end]'"

    def make_command(self, argv: Sequence[str]) -> Sequence[str]:
        return ["sh", "-c", " ".join(shlex.quote(each) for each in argv if each)]


class QuotesWithDoubleQuotes(Plain):
    """Puts each argument into double quotes for `sh -c`, so that $HOME is expanded."""

    caught_by = "IC-TRANSPORT-01"
    message_contains = "'$HOME', 'end'] wrote"

    def make_command(self, argv: Sequence[str]) -> Sequence[str]:
        return ["sh", "-c", " ".join(f'"{each}"' for each in argv)]


class StripsArguments(Plain):
    """Strips blanks and newlines from the ends of arguments."""

    caught_by = "IC-TRANSPORT-01"
    message_contains = "wrote '[two words][end]'"

    def make_command(self, argv: Sequence[str]) -> Sequence[str]:
        return [each.strip() for each in argv]


class QuotesAllButTheName(Plain):
    """Quotes the arguments for `sh -c`, but not the name of the command."""

    caught_by = "IC-TRANSPORT-09"
    message_contains = "|| true"

    def make_command(self, argv: Sequence[str]) -> Sequence[str]:
        return ["sh", "-c", f"{argv[0]} {shlex.join(argv[1:])}"]


class RaisesForAMissingCommand(Plain):
    """Raises if the command does not exist."""

    caught_by = "IC-TRANSPORT-09"
    message_contains = "run raised TransportError"

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        result = await super().run(argv, stdin=stdin, stdout=stdout)
        if result.returncode == 127 and b"No such file" in result.stderr:
            raise TransportError(f"{argv[0]}: not found")
        return result


class FindsEveryCommand(_EndsOtherwise):
    """Reports exit code 0 if the command does not exist."""

    caught_by = "IC-TRANSPORT-09"
    message_contains = "which does not exist; observed exit code 0"

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        result = await super().run(argv, stdin=stdin, stdout=stdout)
        return CommandResult(returncode=0) if b"No such file" in result.stderr else result


class KnowsGoodAndBad(_EndsOtherwise):
    """Reports exit code 1 for every exit code but 0."""

    caught_by = "IC-TRANSPORT-02"
    message_contains = "expected 2 from `sh -c 'exit 2'`; observed exit code 1"

    def change_code(self, code: int) -> int:
        return min(code, 1)


class AnswersAlways255(_EndsOtherwise):
    """Reports exit code 255 for every command."""

    caught_by = "IC-TRANSPORT-02"
    message_contains = "observed exit code 255"

    def change_code(self, code: int) -> int:
        return 255


class CutsTheHighestBit(_EndsOtherwise):
    """Subtracts 128 from exit codes of 128 and more."""

    caught_by = "IC-TRANSPORT-02"
    message_contains = "expected 128 from `sh -c 'exit 128'`; observed exit code 0"

    def change_code(self, code: int) -> int:
        return code & 127


class ReportsSignalsAs255(_EndsOtherwise):
    """Reports exit code 255 for a command that ended by a signal, as ssh does."""

    caught_by = "IC-TRANSPORT-02"
    message_contains = "kill -KILL $$'`; observed exit code 255"

    def __init__(self) -> None:
        super().__init__()
        self._signals = False

    def make_command(self, argv: Sequence[str]) -> Sequence[str]:
        self._signals = "kill" in "".join(argv)
        return argv

    def change_code(self, code: int) -> int:
        return 255 if self._signals else code


class Takes255ForItsOwn(_EndsOtherwise):
    """Raises for exit code 255, as if the connection were lost."""

    caught_by = "IC-TRANSPORT-21"
    message_contains = "the connection is lost"

    def change_code(self, code: int) -> int:
        if code == 255:
            raise TransportError("the connection is lost")
        return code


class SharesTheLastResult(Plain):
    """Keeps a result in the object for a moment, where a concurrent run overwrites it."""

    caught_by = "IC-TRANSPORT-06"
    message_contains = "should have ended with"

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        self._result = await super().run(argv, stdin=stdin, stdout=stdout)
        await asyncio.sleep(0.05)
        return self._result


class ForgetsOnceInTen(Plain):
    """Drops stdout of every tenth result."""

    caught_by = "IC-TRANSPORT-06"
    also_red = ("IC-TRANSPORT-22", "IC-TRANSPORT-30")
    message_contains = "5 did not"

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        result = await super().run(argv, stdin=stdin, stdout=stdout)
        self._count += 1
        return result if self._count % 10 else result.model_copy(update={"stdout": b""})


class RefusesTheEleventh(Plain):
    """Raises in run if ten commands are running."""

    caught_by = "IC-TRANSPORT-06"
    message_contains = "all channels are taken"

    def __init__(self) -> None:
        super().__init__()
        self._taken = 0

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        if self._taken == 10:
            raise TransportError("all channels are taken")
        self._taken += 1
        try:
            return await super().run(argv, stdin=stdin, stdout=stdout)
        finally:
            self._taken -= 1
