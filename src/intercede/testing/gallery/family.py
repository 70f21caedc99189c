"""How a right implementation ends everything that a process of this machine started, as far as Linux tells.

``python family.py PID`` does so, for who can start that only; it may be one of those.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["end_family"]


def end_family(leader: int) -> None:
    """End a process with its group, its session, and its descendants with theirs, until none of them is left."""
    family = {leader}
    living = _living(family)
    with suppress(ProcessLookupError):  # all of it at once, and where there is no /proc, too
        os.killpg(leader, signal.SIGKILL)
    while living:
        for pid in living:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        living = _living(family)


def _living(family: set[int]) -> set[int]:
    """Return those that live, and add to the family whoever belongs to it: by a parent, a group or a session."""
    numbers: dict[int, set[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            state, *fields = path.read_text("utf-8", "replace").rpartition(") ")[2].split()
            if state not in "ZX":
                numbers[int(path.parent.name)] = {int(each) for each in fields[:3]}
    numbers.pop(os.getpid(), None)
    while new := {pid for pid, of in numbers.items() if pid not in family and of & family}:
        family |= new
    return family & numbers.keys()


if __name__ == "__main__":
    os.setsid()  # out of the group
    end_family(int(sys.argv[1]))
