"""Processes that tests started to sleep are found by their environment."""

import contextlib
from pathlib import Path


def list_sleepers(word: str) -> list[int]:
    """Return the processes that sleep for 297 seconds and have this in their environment."""
    found: list[int] = []
    for at in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (at / "cmdline").read_bytes() == b"sleep\x00297\x00" and word.encode() in (at / "environ").read_bytes():
                found.append(int(at.name))
    return found
