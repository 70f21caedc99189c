"""The measurements, as their lines hold them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan
from typing import Self, cast

__all__ = ["Results", "Taken"]

Line = Mapping[str, object]


@dataclass(frozen=True)
class Taken:
    """A measurement of one operation in one run."""

    peer: str
    copies: int
    rtt: int
    operation: str
    seconds: float
    cpu: float
    """The client's processor time, in seconds."""
    grown_mib: float
    blocked_ms: float
    """The longest block of its event loop, in milliseconds."""
    blocked_cpu_ms: float
    """The longest block that was work of the client itself, in milliseconds of processor time."""
    still_there: int
    """The number of jobs that were still in Slurm."""
    counts: Mapping[str, int]
    why: str
    """The reason why there is no measurement; empty if there is one."""

    @classmethod
    def read(cls, line: Line) -> Self:
        """Return the measurement of a line."""
        return cls(
            peer=str(line["peer"]),
            copies=cast("int", line["copies"]),
            rtt=cast("int", line["rtt_ms"]),
            operation=str(line["operation"]),
            seconds=cast("float", line["seconds"]),
            cpu=cast("float", line["cpu"]),
            grown_mib=cast("float", line["grown_mib"]),
            blocked_ms=cast("float", line["blocked_ms"]),
            blocked_cpu_ms=cast("float", line["blocked_cpu_ms"]),
            still_there=cast("int", line.get("still_there", 0)),
            counts=cast("Mapping[str, int]", line["counts"]),
            why="failed" if "failed" in line else str(line.get("left_out", "")),
        )


class Results:
    """All measurements, and the best of each operation."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._taken = [Taken.read(line) for line in lines]
        self._best: dict[tuple[str, int, int, str], Taken] = {}
        for taken in sorted(self._taken, key=lambda each: -each.seconds):
            self._best[taken.peer, taken.copies, taken.rtt, taken.operation] = taken

    def get(self, peer: str, copies: int, rtt: int, operation: str) -> Taken | None:
        """Return the best measurement, or None if no run was complete."""
        taken = self._best.get((peer, copies, rtt, operation))
        return taken if taken and not taken.why else None

    def seconds(self, peer: str, copies: int, rtt: int, operation: str) -> float:
        """Return the seconds of the best measurement, or nan."""
        taken = self.get(peer, copies, rtt, operation)
        return taken.seconds if taken else nan

    def why(self, peer: str, copies: int, rtt: int, operation: str) -> str:
        """Return the reason why there is no measurement."""
        taken = self._best.get((peer, copies, rtt, operation))
        return taken.why if taken else ""

    def numbers(self, rtt: int) -> list[int]:
        """Return the numbers of jobs that were measured with a delay."""
        return sorted({taken.copies for taken in self._taken if taken.rtt == rtt})

    def distances(self) -> list[int]:
        """Return the delays, in milliseconds."""
        return sorted({taken.rtt for taken in self._taken})

    def runs(self, rtt: int) -> list[tuple[str, int]]:
        """Return the programs, and their numbers of jobs, that were measured with a delay."""
        return sorted({(taken.peer, taken.copies) for taken in self._taken if taken.rtt == rtt})

    def all(self, peer: str, operation: str = "") -> list[Taken]:
        """Return all measurements of a program, for one operation or for any."""
        mine = [taken for taken in self._taken if taken.peer == peer and not taken.why]
        return [taken for taken in mine if operation in {"", taken.operation}]
