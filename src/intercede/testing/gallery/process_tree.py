"""Kill a process with everything that it started, as far as Linux shows it.

``python process_tree.py PID`` does the same from a shell script, even if PID started that script.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["kill_process_tree"]


def kill_process_tree(leader: int) -> None:
    """Kill a process, its descendants, and the process groups and sessions of all of them, until none is left."""
    tree = {leader}
    alive = _add_and_list_living(tree)
    with suppress(ProcessLookupError):  # the whole group at once, even without /proc
        os.killpg(leader, signal.SIGKILL)
    while alive:
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        alive = _add_and_list_living(tree)


def _add_and_list_living(tree: set[int]) -> set[int]:
    """Return the members of a tree that are alive, after adding processes whose parent, group or session is in it."""
    numbers: dict[int, set[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # the process has ended
            state, *fields = path.read_text("utf-8", "replace").rpartition(") ")[2].split()
            if state not in "ZX":
                numbers[int(path.parent.name)] = {int(each) for each in fields[:3]}
    numbers.pop(os.getpid(), None)
    while new := {pid for pid, of in numbers.items() if pid not in tree and of & tree}:
        tree |= new
    return tree & numbers.keys()


if __name__ == "__main__":
    os.setsid()  # leave the process group that is to be killed
    kill_process_tree(int(sys.argv[1]))
