"""Answers of unknown types: they are red, with a message, and never an error of the kit."""

# ruff: noqa: D102 -- the class says what its methods do otherwise

import asyncio
from collections.abc import AsyncIterable, Sequence

from intercede.contract import ByteSink, CommandResult
from intercede.testing.gallery.transports.right import Plain


class _Answers(Plain):
    """Answers a value that a subclass sets."""

    answer: object = None

    async def run(  # type: ignore[override]  # the mistake
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> object:
        return self.answer


class RunAnswersNone(_Answers):
    """run answers None."""


class RunAnswersATuple(_Answers):
    """run answers a tuple."""

    answer = (0, b"", b"")


class RunAnswersText(_Answers):
    """stdout and stderr are text."""

    answer = CommandResult.model_construct(returncode=0, stdout="text", stderr="text")


class RunAnswers300(_Answers):
    """A code that is not a number."""

    answer = CommandResult.model_construct(returncode=300, stdout=b"", stderr=b"")


class RunAnswersAnEmptyResult(_Answers):
    """A result without any of its fields."""

    answer = CommandResult.model_construct()


class _Dumb(bytes):
    def decode(self, *_: object, **__: object) -> None:  # type: ignore[override]  # the attack
        return None


class StreamsAreNotDecoded(_Answers):
    """stdout and stderr are bytes of a class of its own, whose text is None."""

    answer = CommandResult.model_construct(returncode=1, stdout=_Dumb(b"out"), stderr=_Dumb(b"err"))


class SinksGetNone(Plain):
    """Gives a sink None, and text."""

    async def read(self, pipe: asyncio.StreamReader | None, sink: ByteSink) -> None:
        await super().read(pipe, sink)
        await sink.write(None)  # type: ignore[arg-type]  # the mistake
        await sink.write("text")  # type: ignore[arg-type]  # the mistake


class RaisesSystemExit(Plain):
    """run raises SystemExit."""

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        raise SystemExit(3)


class CancelsItself(Plain):
    """run raises CancelledError, although it was not cancelled."""

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        raise asyncio.CancelledError
