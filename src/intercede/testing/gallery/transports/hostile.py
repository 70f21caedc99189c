"""Transports that answer with wrong types. Each must turn a check red and not break the kit."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import asyncio
from collections.abc import AsyncIterable, Sequence

from intercede.contract import ByteSink, CommandResult
from intercede.testing.gallery.transports.right import Plain


class _Answers(Plain):
    """Returns from run a value that a subclass sets."""

    answer: object = None

    async def run(  # type: ignore[override]  # this is the intended mistake
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> object:
        return self.answer


class RunAnswersNone(_Answers):
    """Returns None from run."""


class RunAnswersATuple(_Answers):
    """Returns a tuple from run."""

    answer = (0, b"", b"")


class RunAnswersText(_Answers):
    """Returns a result whose stdout and stderr are strings."""

    answer = CommandResult.model_construct(returncode=0, stdout="text", stderr="text")


class RunAnswers300(_Answers):
    """Returns a result with the exit code 300, which no process can have."""

    answer = CommandResult.model_construct(returncode=300, stdout=b"", stderr=b"")


class RunAnswersAnEmptyResult(_Answers):
    """Returns a result without any field."""

    answer = CommandResult.model_construct()


class _Dumb(bytes):
    def decode(self, *_: object, **__: object) -> None:  # type: ignore[override]  # this is the intended attack
        return None


class StreamsAreNotDecoded(_Answers):
    """Returns a result whose stdout and stderr are of a subclass of bytes that decodes to None."""

    answer = CommandResult.model_construct(returncode=1, stdout=_Dumb(b"out"), stderr=_Dumb(b"err"))


class SinksGetNone(Plain):
    """Writes None and a string to a sink."""

    async def read(self, pipe: asyncio.StreamReader | None, sink: ByteSink) -> None:
        await super().read(pipe, sink)
        await sink.write(None)  # type: ignore[arg-type]  # this is the intended mistake
        await sink.write("text")  # type: ignore[arg-type]  # this is the intended mistake


class RaisesSystemExit(Plain):
    """Raises SystemExit in run."""

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        raise SystemExit(3)


class CancelsItself(Plain):
    """Raises CancelledError in run, although no caller cancelled it."""

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        raise asyncio.CancelledError
