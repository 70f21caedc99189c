"""Wrong in running commands and reporting their ends. Every class in this file is wrong, on purpose."""

# ruff: noqa: D102 -- the class says what its methods do otherwise

import asyncio
import shlex
from collections.abc import AsyncIterable, Sequence

from intercede.contract import ByteSink, CommandResult, TransportError
from intercede.testing.gallery.transports.right import Plain


class _EndsOtherwise(Plain):
    """Lets a mistake override the reported end without repeating run's parameters."""

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        result = await super().run(argv, stdin=stdin, stdout=stdout)
        return result.model_copy(update={"returncode": self.code(result.returncode)})

    def code(self, code: int) -> int:
        return code


class JoinsWithSpaces(Plain):
    """Joins argv with spaces into a line for `sh -c`."""

    caught_by = "IC-TRANSPORT-01"
    message_contains = "wrote '[two][words][end]'"

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        return ["sh", "-c", " ".join(argv)]


class LosesEmptyArguments(Plain):
    """Quotes each argument for `sh -c`, and leaves out the empty ones."""

    caught_by = "IC-TRANSPORT-01"
    message_contains = "['printf', '[%s]', '', 'end'] wrote '[end]'"

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        return ["sh", "-c", " ".join(shlex.quote(each) for each in argv if each)]


class QuotesWithDoubleQuotes(Plain):
    """Puts double quotes around each argument."""

    caught_by = "IC-TRANSPORT-01"
    message_contains = "'$HOME', 'end'] wrote"

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        return ["sh", "-c", " ".join(f'"{each}"' for each in argv)]


class StripsArguments(Plain):
    """Strips blanks and newlines from the ends of arguments."""

    caught_by = "IC-TRANSPORT-01"
    message_contains = "wrote '[two words][end]'"

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        return [each.strip() for each in argv]


class QuotesAllButTheName(Plain):
    """Quotes the arguments for `sh -c`, and not the command's name."""

    caught_by = "IC-TRANSPORT-09"
    message_contains = "|| true"

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        return ["sh", "-c", f"{argv[0]} {shlex.join(argv[1:])}"]


class RaisesForAMissingCommand(Plain):
    """A command that does not exist raises."""

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
    """A command that does not exist ends with 0."""

    caught_by = "IC-TRANSPORT-09"
    message_contains = "which does not exist; observed exit code 0"

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        result = await super().run(argv, stdin=stdin, stdout=stdout)
        return CommandResult(returncode=0) if b"No such file" in result.stderr else result


class KnowsGoodAndBad(_EndsOtherwise):
    """Reports 0 or 1."""

    caught_by = "IC-TRANSPORT-02"
    message_contains = "expected 2 from `sh -c 'exit 2'`; observed exit code 1"

    def code(self, code: int) -> int:
        return min(code, 1)


class AnswersAlways255(_EndsOtherwise):
    """Reports 255, as a client does if its connection fails, whatever the code."""

    caught_by = "IC-TRANSPORT-02"
    message_contains = "observed exit code 255"

    def code(self, code: int) -> int:
        return 255


class CutsTheHighestBit(_EndsOtherwise):
    """Cuts the highest bit of codes from 128 on."""

    caught_by = "IC-TRANSPORT-02"
    message_contains = "expected 128 from `sh -c 'exit 128'`; observed exit code 0"

    def code(self, code: int) -> int:
        return code & 127


class TellsSignalsAsAClientDoes(_EndsOtherwise):
    """Reports a death by signal as 255, as ssh does."""

    caught_by = "IC-TRANSPORT-02"
    message_contains = "kill -KILL $$'`; observed exit code 255"

    def __init__(self) -> None:
        super().__init__()
        self._signals = False

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        self._signals = "kill" in "".join(argv)
        return argv

    def code(self, code: int) -> int:
        return 255 if self._signals else code


class Takes255ForItsOwn(_EndsOtherwise):
    """Treats code 255 as a lost connection."""

    caught_by = "IC-TRANSPORT-21"
    message_contains = "the connection is lost"

    def code(self, code: int) -> int:
        if code == 255:
            raise TransportError("the connection is lost")
        return code


class SharesTheLastResult(Plain):
    """Keeps the result on the instance for a turn of the loop, so that it is right alone, and wrong among fifty."""

    caught_by = "IC-TRANSPORT-06"
    message_contains = "should have ended with"

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        self._result = await super().run(argv, stdin=stdin, stdout=stdout)
        await asyncio.sleep(0.05)
        return self._result


class ForgetsOnceInTen(Plain):
    """Every tenth result has lost its stdout."""

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
    """Has ten channels, and raises if all are taken."""

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
