"""Schedulers that answer with wrong types or attack their process. Each must turn a check red and not break the kit."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from intercede.contract import Batch, CommandResult, CopyFailure, JobStatus, OpOutcome, Queued
from intercede.testing.gallery.schedulers.right import PlainQueue


class FragmentsAreNone(PlainQueue):
    """Returns None and bytes as fragments."""

    def submit_script(self, batch: Batch) -> None:  # type: ignore[override]  # this is the intended mistake
        return None

    def status_script(self) -> None:  # type: ignore[override]  # this is the intended mistake
        return None

    def list_script(self, submission_id: str) -> bytes:  # type: ignore[override]  # this is the intended mistake
        return b"plainq list"


class AnswersAreNone(PlainQueue):
    """Returns None from every parser."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> None:  # type: ignore[override]  # this is the intended mistake
        return None

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> None:  # type: ignore[override]  # this is the intended mistake
        return None

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> None:  # type: ignore[override]  # this is the intended mistake
        return None

    def parse_list(self, result: CommandResult) -> None:  # type: ignore[override]  # this is the intended mistake
        return None


class AnswersArePlain(PlainQueue):
    """Returns plain strings, numbers and lists from every parser."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> list[str]:  # type: ignore[override]  # this is the intended mistake
        return ["17"]

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> dict[str, str]:  # type: ignore[override]  # this is the intended mistake
        return dict.fromkeys(ids, "DONE")

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> dict[int, bool]:  # type: ignore[override]  # this is the intended mistake
        return {0: True}

    def parse_list(self, result: CommandResult) -> dict[str, int]:  # type: ignore[override]  # this is the intended mistake
        return {"0": 17}


class QueuedIsUnchecked(PlainQueue):
    """Returns a Queued that was made without validation, with fields of wrong types."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        return Queued.model_construct(ids={"0": 17, None: []}, refused=CopyFailure(reason="no"))


class _Trap(Mapping[str, JobStatus]):
    """A mapping whose methods all raise."""

    def __getitem__(self, key: str) -> JobStatus:
        raise RuntimeError("a trap")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("a trap")

    def __len__(self) -> int:
        raise RuntimeError("a trap")

    def __repr__(self) -> str:
        raise RuntimeError("a trap")


class AnswersAreTraps(PlainQueue):
    """Returns, from parse_status, a mapping whose methods all raise."""

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        return _Trap()


class ParserEndsTheProcess(PlainQueue):
    """Ends the process with exit code 0 in parse_status."""

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        os._exit(0)


class ParserExits(PlainQueue):
    """Calls sys.exit in parse_kill."""

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        sys.exit("no such job")


class NeverAnswers(PlainQueue):
    """Waits for ever in parse_list."""

    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        while True:
            time.sleep(1)


class TalksAlways(PlainQueue):
    """Prints a fake answer of the kit in parse_status, and closes stdout."""

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        os.write(1, b'\n{"answer": null}\n[]\n')
        os.close(1)
        return super().parse_status(ids, result)


class WritesHalves(PlainQueue):
    """Returns fragments that contain a lone surrogate or a NUL, which no shell can be given."""

    def status_script(self) -> str:
        return "echo \ud800"

    def list_script(self, submission_id: str) -> str:
        return "echo a\0b"


class _Unnamed(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]  # this is the intended attack
        raise RuntimeError("it has no name")


class _UnnamedError(Exception, metaclass=_Unnamed):
    """An exception whose class raises if its name is read."""


class RaisesTheUnnamed(PlainQueue):
    """Raises, in parse_status, an exception whose class has no readable name."""

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        raise _UnnamedError


class PrintsWithoutEnd(PlainQueue):
    """Prints on stderr without an end in parse_list."""

    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        while True:
            os.write(2, b"x" * (1 << 20))
