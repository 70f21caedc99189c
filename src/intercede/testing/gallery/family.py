"""Kill a process with everything that it started, as far as Linux shows it.

``python family.py PID`` does the same from a shell script. It may itself be one of the processes that PID started.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["end_family"]


def end_family(leader: int) -> None:
    """Kill a process, its descendants, and the process groups and sessions of all of them, until none is left."""
    family = {leader}
    living = _living(family)
    with suppress(ProcessLookupError):  # the whole group at once, even without /proc
        os.killpg(leader, signal.SIGKILL)
    while living:
        for pid in living:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        living = _living(family)


def _living(family: set[int]) -> set[int]:
    """Return the members of a family that are alive, after adding processes whose parent, group or session is in it."""
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
    os.setsid()  # leave the process group that is to be killed
    end_family(int(sys.argv[1]))
