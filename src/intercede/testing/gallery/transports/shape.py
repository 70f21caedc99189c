"""Wrong in their shape. Every class in this file is wrong, on purpose: its docstring says how."""

# ruff: noqa: D102 -- the class says what its methods do otherwise

from collections.abc import AsyncIterable, Sequence

from intercede.contract import ByteSink, CommandResult, TransportError
from intercede.testing.gallery.transports.right import Plain


class RunIsNotAsync(Plain):
    """run answers at once instead of being awaited."""

    caught_by = "IC-TRANSPORT-10"
    message_contains = "run is not async"

    def run(  # type: ignore[override]  # the mistake
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        return CommandResult(returncode=0)


class RunTakesNoSink(Plain):
    """run has no parameter for a sink."""

    caught_by = "IC-TRANSPORT-10"
    message_contains = "lacks the keyword stdout"

    async def run(self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None) -> CommandResult:  # type: ignore[override]  # the mistake
        return await super().run(argv, stdin=stdin)


class RunTakesAnEnvironmentToo(Plain):
    """run requires a parameter that the contract does not have."""

    caught_by = "IC-TRANSPORT-10"
    message_contains = "env"

    async def run(  # type: ignore[override]  # the mistake
        self,
        argv: Sequence[str],
        env: dict[str, str],
        *,
        stdin: AsyncIterable[bytes] | None = None,
        stdout: ByteSink | None = None,
    ) -> CommandResult:
        return await super().run(argv, stdin=stdin, stdout=stdout)


class CannotRun(Plain):
    """Every run raises."""

    caught_by = "IC-TRANSPORT-20"
    message_contains = "no route to host"

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        await super().run(argv)
        raise TransportError("no route to host")


class AnswersACode(Plain):
    """run answers the exit code alone."""

    caught_by = "IC-TRANSPORT-20"
    message_contains = "it answered 0"

    async def run(  # type: ignore[override]  # the mistake
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> int:
        return (await super().run(argv, stdin=stdin, stdout=stdout)).returncode


class LetsNoneInFlight(Plain):
    """Reports that a caller may have no command running."""

    caught_by = "IC-TRANSPORT-10"
    message_contains = "commands_in_flight of LetsNoneInFlight must return a whole number from 1"

    def commands_in_flight(self) -> int:
        return 0


class InFlightIsANumber(Plain):
    """commands_in_flight is a number instead of a method."""

    caught_by = "IC-TRANSPORT-10"
    message_contains = "must be a method that returns the number"

    commands_in_flight = 8
