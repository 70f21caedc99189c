"""Read what a subject points at: that may be anything, a device without an end and a pipe that nobody writes to too."""

import os
import stat
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import BinaryIO

__all__ = ["MOST", "read_regular", "regular", "remove", "scratch"]

MOST = 64 << 20
"""The most bytes that are read of one file: many times what any payload of ours writes."""
_SECONDS = 60


@contextmanager
def regular(path: Path | str) -> Generator[BinaryIO]:
    """Open a regular file.

    Raises:
        OSError: It is none, or cannot be opened.
    """
    path = os.fspath(path)  # one's own class may say anything of it
    _refuse_others(os.stat(path), path)  # noqa: PTH116 -- before it is opened: that alone does something to a device
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 -- a descriptor
        _refuse_others(os.fstat(file.fileno()), path)
        yield file


@contextmanager
def scratch(where: Path | str) -> Generator[Path]:
    """Make an empty directory, and remove it afterwards; where that cannot be done it is still there.

    Args:
        where: In which directory.

    Raises:
        OSError: It cannot be made.
    """
    made = Path(mkdtemp(prefix="intercede-", dir=where))
    try:
        yield made
    finally:
        remove(made)


def remove(directory: Path) -> None:
    """Remove a directory with whatever was put into it, however deep that lies, as far as that can be done."""
    try:
        rmtree(directory)
    except (OSError, RecursionError):  # deeper than Python goes, or somebody still writes there
        rm = ["rm", "-rf", "--", str(directory)]
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(rm, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603 -- a name of ours


def read_regular(path: Path | str) -> bytes:
    """Read a regular file.

    Raises:
        OSError: It is none, cannot be read, or holds more than MOST bytes.
    """
    with regular(path) as file:
        read = file.read(MOST + 1)
    if len(read) > MOST:
        raise OSError(f"{path} holds more than {MOST} bytes")
    return read


def _refuse_others(status: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is no regular file, but {stat.filemode(status.st_mode)}")
