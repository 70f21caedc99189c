"""Everything that a command started, as far as Linux tells: its process group, its session, and its descendants with theirs."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["Family"]

_PROC = Path("/proc")
_AT_ONCE = 100
"""So many processes are looked at before the loop has its turn: a millisecond or two."""
_UPWARDS = frozenset({signal.SIGCONT, signal.SIGKILL})
_STILL_SECONDS, _LOOK_SECONDS = 1.0, 0.002
_DEEPEST = 100
"""A bound: what is read of processes while they come and go may be a circle."""


class _Process(NamedTuple):
    parent: int
    group: int
    session: int
    start: str
    state: bytes


class Family:
    """The processes that belong to a command of ours.

    A process belongs to it where it, its parent, or the leader of its group or session does. Who was seen once is
    remembered by number and start time, so that an orphan is still known. What left the session and lost its parent
    before anybody looked is not: it has detached itself.
    """

    def __init__(self, leader: int) -> None:
        """Begin with the command's own process, which leads a session and is not reaped yet."""
        self._leader = leader
        self._known: dict[int, str] = {}
        self._moves = False

    async def reach(self, *signals: signal.Signals) -> bool:
        """Send these signals to every one that lives, each once; tell whether there was any, so that one looks again.

        CONT and KILL go to those that were started before those that started them: Linux sends HUP to a process group
        that stands still when the last parent that it has in its session ends.

        Where /proc tells nothing they go to the process group, and no look would tell more.
        """
        there = await _processes()
        whom = self._left(there) if there else [-self._leader]
        for number in signals:
            for each in reversed(whom) if number in _UPWARDS else whom:
                # Ended meanwhile, or another user's: there is no more that we could do.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(each, number)
        return bool(there and whom)

    async def hold(self) -> None:
        """Have every one stand still, for a second at most. Until a process does, TERM may end it at once."""
        clock = asyncio.get_running_loop().time
        end = clock() + _STILL_SECONDS
        while await self.reach(signal.SIGSTOP) and self._moves and clock() < end:  # noqa: ASYNC110 -- no event tells that they do
            await asyncio.sleep(_LOOK_SECONDS)

    def _left(self, there: Mapping[int, _Process]) -> list[int]:
        """Return whom to signal, parents first: a process, or the negative of a group that belongs here whole."""
        remembered = {pid: start for pid, start in self._known.items() if pid not in there or there[pid].start == start}
        ours, known = set[int](), {self._leader, *remembered}
        while new := {pid for pid in there.keys() - ours if not known.isdisjoint((pid, *there[pid][:3]))}:
            ours |= new
            known |= new
        named = {number for pid in ours for number in (pid, *there[pid][1:3])}
        starts = remembered | {pid: there[pid].start for pid in ours}
        self._known = {pid: start for pid, start in starts.items() if pid in named}
        self._moves = any(there[pid].state not in (b"T", b"t") for pid in ours)
        depth = {pid: _depth(pid, there, ours) for pid in ours}
        whom = (-there[pid].group if there[pid].group in known else pid for pid in sorted(ours, key=depth.__getitem__))
        return list(dict.fromkeys(whom))


def _depth(pid: int, there: Mapping[int, _Process], ours: Collection[int]) -> int:
    """Return how many of its ancestors, one behind the other, belong here."""
    steps = 0
    while there[pid].parent in ours and steps < _DEEPEST:
        pid, steps = there[pid].parent, steps + 1
    return steps


async def _processes() -> dict[int, _Process]:
    """Return every process that lives, by number; none where /proc does not tell of the pid namespace that we are in."""
    found: dict[int, _Process] = {}
    try:
        if str((_PROC / "self").readlink()) != str(os.getpid()):
            return {}
        pids = [int(name) for name in os.listdir(_PROC) if name.isdigit()]  # noqa: PTH208 -- names, no paths
    except OSError:
        return {}
    for count, pid in enumerate(pids, start=1):
        if count % _AT_ONCE == 0:
            await asyncio.sleep(0)
        with contextlib.suppress(OSError):  # it has ended meanwhile
            # The fields behind the last parenthesis: a name may hold anything.
            fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b") ")[2].split()
            if pid > 1 and (fields[0] not in (b"Z", b"X") or int(fields[17]) > 1):  # -1 would be everybody
                found[pid] = _Process(int(fields[1]), int(fields[2]), int(fields[3]), fields[19].decode(), fields[0])
    return found
