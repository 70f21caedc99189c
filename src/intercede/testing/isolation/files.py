"""Read files that a subject names. They may be anything: an endless device, or a pipe that never gets a writer."""

import os
import stat
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import BinaryIO

__all__ = ["MAX_BYTES", "make_scratch_directory", "open_regular", "read_regular", "remove_directory"]

MAX_BYTES = 64 << 20
"""The largest file that is read, in bytes. It is many times what the payload of any check writes."""
_SECONDS = 60


@contextmanager
def open_regular(path: Path | str) -> Generator[BinaryIO]:
    """Open a regular file for reading in binary mode.

    Raises:
        OSError: The path is not a regular file, or it cannot be opened.
    """
    path = os.fspath(path)  # a subclass of Path may override stat() and open()
    _refuse_others(os.stat(path), path)  # noqa: PTH116 -- before the open, because opening some devices has an effect
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 -- the flags need os.open
        _refuse_others(os.fstat(file.fileno()), path)
        yield file


@contextmanager
def make_scratch_directory(where: Path | str) -> Generator[Path]:
    """Make an empty directory and remove it afterwards. If it cannot be removed, it stays.

    Args:
        where: The parent directory.

    Raises:
        OSError: The directory cannot be made.
    """
    made = Path(mkdtemp(prefix="intercede-", dir=where))
    try:
        yield made
    finally:
        remove_directory(made)


def remove_directory(directory: Path) -> None:
    """Remove a directory and its contents, at any depth. Leave what cannot be removed."""
    try:
        rmtree(directory)
    except (OSError, RecursionError):  # the tree is too deep for Python, or a process still writes into it
        rm = ["rm", "-rf", "--", str(directory)]
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(rm, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603 -- the kit chose the name


def read_regular(path: Path | str) -> bytes:
    """Return the contents of a regular file.

    Raises:
        OSError: The path is not a regular file, cannot be read, or holds more than MAX_BYTES bytes.
    """
    with open_regular(path) as file:
        read = file.read(MAX_BYTES + 1)
    if len(read) > MAX_BYTES:
        raise OSError(f"{path} holds more than {MAX_BYTES} bytes")
    return read


def _refuse_others(status: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is not a regular file, but {stat.filemode(status.st_mode)}")
