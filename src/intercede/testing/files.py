"""Read what a subject points at: that may be anything, a device without an end and a pipe that nobody writes to too."""

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["MOST", "contents", "regular"]

MOST = 64 << 20
"""The most bytes that are read of one file: many times what any payload of ours writes."""


@contextmanager
def regular(path: Path) -> Generator[BinaryIO]:
    """Open a regular file.

    Raises:
        OSError: It is none, or cannot be opened.
    """
    _refuse_others(path.stat(), path)  # before it is opened: that alone does something to a device
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 -- a descriptor
        _refuse_others(os.fstat(file.fileno()), path)
        yield file


def contents(path: Path) -> bytes:
    """Read a regular file.

    Raises:
        OSError: It is none, cannot be read, or holds more than MOST bytes.
    """
    with regular(path) as file:
        read = file.read(MOST + 1)
    if len(read) > MOST:
        raise OSError(f"{path} holds more than {MOST} bytes")
    return read


def _refuse_others(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is no regular file, but {stat.filemode(status.st_mode)}")
