"""Transports whose methods have a wrong shape. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

from collections.abc import AsyncIterable, Sequence

from intercede.contract import ByteSink, CommandResult, TransportError
from intercede.testing.gallery.transports.right import Plain


class RunIsNotAsync(Plain):
    """Has a run that is not async."""

    caught_by = "IC-TRANSPORT-10"
    message_contains = "run is not async"

    def run(  # type: ignore[override]  # this is the intended mistake
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        return CommandResult(returncode=0)


class RunTakesNoSink(Plain):
    """Has a run without the parameter stdout."""

    caught_by = "IC-TRANSPORT-10"
    message_contains = "lacks the keyword stdout"

    async def run(self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None) -> CommandResult:  # type: ignore[override]  # this is the intended mistake
        return await super().run(argv, stdin=stdin)


class RunTakesAnEnvironmentToo(Plain):
    """Has a run with a required parameter that is not in the contract."""

    caught_by = "IC-TRANSPORT-10"
    message_contains = "env"

    async def run(  # type: ignore[override]  # this is the intended mistake
        self,
        argv: Sequence[str],
        env: dict[str, str],
        *,
        stdin: AsyncIterable[bytes] | None = None,
        stdout: ByteSink | None = None,
    ) -> CommandResult:
        return await super().run(argv, stdin=stdin, stdout=stdout)


class CannotRun(Plain):
    """Raises in every run."""

    caught_by = "IC-TRANSPORT-20"
    message_contains = "no route to host"

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        await super().run(argv)
        raise TransportError("no route to host")


class AnswersACode(Plain):
    """Returns only the exit code from run."""

    caught_by = "IC-TRANSPORT-20"
    message_contains = "it answered 0"

    async def run(  # type: ignore[override]  # this is the intended mistake
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> int:
        return (await super().run(argv, stdin=stdin, stdout=stdout)).returncode


class LetsNoneInFlight(Plain):
    """Returns 0 from commands_in_flight, so that a caller may run no command."""

    caught_by = "IC-TRANSPORT-10"
    message_contains = "the result of commands_in_flight of LetsNoneInFlight must be a whole number from 1"

    def commands_in_flight(self) -> int:
        return 0


class InFlightIsANumber(Plain):
    """Has a commands_in_flight that is a number and not a method."""

    caught_by = "IC-TRANSPORT-10"
    message_contains = "must be a method that returns the number"

    commands_in_flight = 8
