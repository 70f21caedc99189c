"""Schedulers whose answers are of unknown types, or that attack the process that asks."""

# ruff: noqa: D102 -- the class says what its methods do otherwise

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from intercede.contract import Batch, CommandResult, CopyFailure, JobStatus, OpOutcome, Queued
from intercede.testing.gallery.schedulers.right import PlainQueue


class FragmentsAreNone(PlainQueue):
    """It has no fragments."""

    def submit_script(self, batch: Batch) -> None:  # type: ignore[override]  # the mistake
        return None

    def status_script(self) -> None:  # type: ignore[override]  # the mistake
        return None

    def list_script(self, submission_id: str) -> bytes:  # type: ignore[override]  # the mistake
        return b"plainq list"


class AnswersAreNone(PlainQueue):
    """Every parser answers None."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> None:  # type: ignore[override]  # the mistake
        return None

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> None:  # type: ignore[override]  # the mistake
        return None

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> None:  # type: ignore[override]  # the mistake
        return None

    def parse_list(self, result: CommandResult) -> None:  # type: ignore[override]  # the mistake
        return None


class AnswersArePlain(PlainQueue):
    """Every parser answers words, numbers and lists."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> list[str]:  # type: ignore[override]  # the mistake
        return ["17"]

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> dict[str, str]:  # type: ignore[override]  # the mistake
        return dict.fromkeys(ids, "DONE")

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> dict[int, bool]:  # type: ignore[override]  # the mistake
        return {0: True}

    def parse_list(self, result: CommandResult) -> dict[str, int]:  # type: ignore[override]  # the mistake
        return {"0": 17}


class QueuedIsUnchecked(PlainQueue):
    """A Queued whose fields are of the wrong types."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        return Queued.model_construct(ids={"0": 17, None: []}, refused=CopyFailure(reason="no"))


class _Trap(Mapping[str, JobStatus]):
    """Every method raises."""

    def __getitem__(self, key: str) -> JobStatus:
        raise RuntimeError("a trap")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("a trap")

    def __len__(self) -> int:
        raise RuntimeError("a trap")

    def __repr__(self) -> str:
        raise RuntimeError("a trap")


class AnswersAreTraps(PlainQueue):
    """A mapping that raises when it is read."""

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        return _Trap()


class ParserEndsTheProcess(PlainQueue):
    """A parser ends its process without a message."""

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        os._exit(0)


class ParserExits(PlainQueue):
    """A parser exits, as a script would."""

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        sys.exit("no such job")


class NeverAnswers(PlainQueue):
    """A parser that does not come to an end."""

    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        while True:
            time.sleep(1)


class TalksAlways(PlainQueue):
    """Prints what looks like an answer of the kit's own, and closes stdout."""

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        os.write(1, b'\n{"told": null}\n[]\n')
        os.close(1)
        return super().parse_status(ids, result)


class WritesHalves(PlainQueue):
    """A fragment holds half of a surrogate pair, another a NUL: no shell can be given either."""

    def status_script(self) -> str:
        return "echo \ud800"

    def list_script(self, submission_id: str) -> str:
        return "echo a\0b"


class _Unnamed(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]  # the attack
        raise RuntimeError("it has no name")


class _UnnamedError(Exception, metaclass=_Unnamed):
    """Its class has no readable name."""


class RaisesTheUnnamed(PlainQueue):
    """A parser raises an exception whose class has no name."""

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        raise _UnnamedError


class PrintsWithoutEnd(PlainQueue):
    """A parser prints on stderr, and does not stop."""

    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        while True:
            os.write(2, b"x" * (1 << 20))
