"""Finds and signals the processes that a command started: those of its group and session, and its descendants."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["ProcessTree"]

_PROC = Path("/proc")
_PER_TURN = 100
"""The number of processes that are read before other tasks run. Reading 100 processes takes one or two milliseconds."""
_CHILDREN_FIRST = frozenset({signal.SIGCONT, signal.SIGKILL})
_SUSPEND_SECONDS, _POLL_SECONDS = 1.0, 0.002
_MAX_DEPTH = 100
"""The maximum number of ancestors that are counted.

Processes come and go while they are read, so a chain of parents may seem to form a cycle.
"""


class _Process(NamedTuple):
    parent: int
    group: int
    session: int
    start: str
    state: bytes


class ProcessTree:
    """The processes that belong to one command.

    A process belongs to the command if the process itself, its parent, or the leader of its group or session does.
    The tree remembers each process by pid and start time, so it still recognises a process that becomes an orphan
    later. A process that left the session and lost its parent before it was ever seen is not recognised: it has
    detached itself.

    Args:
        leader: The pid of the command's own process. It leads a session and must not be reaped yet.
    """

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._known: dict[int, str] = {}
        self._has_running = False

    async def signal_all(self, *signals: signal.Signals) -> bool:
        """Send each signal once to every living process of the command, and return whether any process was living.

        Processes may start others meanwhile, so the caller repeats the call until it returns False.

        CONT and KILL go to children before their parents: Linux sends HUP to a stopped process group when the last
        parent that it has in its session ends.

        If /proc cannot be read, the signals go to the process group, and the result is False: another call would not
        reach any other process.
        """
        processes = await _read_processes()
        targets = self._find_targets(processes) if processes else [-self._leader]
        for number in signals:
            for target in reversed(targets) if number in _CHILDREN_FIRST else targets:
                # A process that has ended, or that belongs to another user, cannot be signalled.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(target, number)
        return bool(processes and targets)

    async def suspend(self) -> None:
        """Send STOP until every process of the command is stopped, or a second has passed.

        A caller that sends TERM calls this first. Otherwise a script that waits for another process could continue when
        that process ends before the script gets TERM.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + _SUSPEND_SECONDS
        while await self.signal_all(signal.SIGSTOP) and self._has_running and clock() < end:  # noqa: ASYNC110 -- polled
            await asyncio.sleep(_POLL_SECONDS)

    def _find_targets(self, processes: Mapping[int, _Process]) -> list[int]:
        """Return the targets for kill(2), parents first: pids, and negative numbers for groups of the command."""
        remembered = {
            pid: start for pid, start in self._known.items() if pid not in processes or processes[pid].start == start
        }
        members, known = set[int](), {self._leader, *remembered}
        while new := {pid for pid in processes.keys() - members if not known.isdisjoint((pid, *processes[pid][:3]))}:
            members |= new
            known |= new
        named = {number for pid in members for number in (pid, *processes[pid][1:3])}
        starts = remembered | {pid: processes[pid].start for pid in members}
        self._known = {pid: start for pid, start in starts.items() if pid in named}
        self._has_running = any(processes[pid].state not in (b"T", b"t") for pid in members)
        depth = {pid: _count_ancestors(pid, processes, members) for pid in members}
        targets = (
            -processes[pid].group if processes[pid].group in known else pid
            for pid in sorted(members, key=depth.__getitem__)
        )
        return list(dict.fromkeys(targets))


def _count_ancestors(pid: int, processes: Mapping[int, _Process], members: Collection[int]) -> int:
    """Count a process's ancestors, from its parent upwards, as long as they belong to the command."""
    steps = 0
    while processes[pid].parent in members and steps < _MAX_DEPTH:
        pid, steps = processes[pid].parent, steps + 1
    return steps


async def _read_processes() -> dict[int, _Process]:
    """Return pid -> living process. It is empty if /proc does not show the pid namespace of this process."""
    found: dict[int, _Process] = {}
    try:
        if str((_PROC / "self").readlink()) != str(os.getpid()):
            return {}
        pids = [int(name) for name in os.listdir(_PROC) if name.isdigit()]  # noqa: PTH208 -- names, no paths
    except OSError:
        return {}
    for count, pid in enumerate(pids, start=1):
        if count % _PER_TURN == 0:
            await asyncio.sleep(0)
        with contextlib.suppress(OSError):  # the process has ended in the meantime
            # Read the fields after the last parenthesis: a process name may contain anything.
            fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b") ")[2].split()
            if pid > 1 and (fields[0] not in (b"Z", b"X") or int(fields[17]) > 1):  # kill(-1) would signal everything
                found[pid] = _Process(int(fields[1]), int(fields[2]), int(fields[3]), fields[19].decode(), fields[0])
    return found
