"""What was measured, read back from its lines."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan
from typing import Self, cast

__all__ = ["Results", "Taken"]

Line = Mapping[str, object]


@dataclass(frozen=True)
class Taken:
    """One operation of one run."""

    peer: str
    copies: int
    rtt: int
    operation: str
    seconds: float
    cpu: float
    """Seconds of the client's own."""
    grown_mib: float
    blocked_ms: float
    """The longest time for which its event loop could do nothing else."""
    blocked_cpu_ms: float
    """How much of such a time it worked itself, at the longest."""
    still_there: int
    """How many jobs Slurm had not ended yet."""
    counts: Mapping[str, int]
    why: str
    """Why there is nothing of it."""

    @classmethod
    def read(cls, line: Line) -> Self:
        """Read a line."""
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
    """All that was taken, and the best of what was taken more than once."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._taken = [Taken.read(line) for line in lines]
        self._best: dict[tuple[str, int, int, str], Taken] = {}
        for taken in sorted(self._taken, key=lambda each: -each.seconds):
            self._best[taken.peer, taken.copies, taken.rtt, taken.operation] = taken

    def get(self, peer: str, copies: int, rtt: int, operation: str) -> Taken | None:
        """Return the best one, if there is one that came to its end."""
        taken = self._best.get((peer, copies, rtt, operation))
        return taken if taken and not taken.why else None

    def seconds(self, peer: str, copies: int, rtt: int, operation: str) -> float:
        """Return the least seconds that it took."""
        taken = self.get(peer, copies, rtt, operation)
        return taken.seconds if taken else nan

    def why(self, peer: str, copies: int, rtt: int, operation: str) -> str:
        """Tell why there is none."""
        taken = self._best.get((peer, copies, rtt, operation))
        return taken.why if taken else ""

    def numbers(self, rtt: int) -> list[int]:
        """Return every number of jobs at a distance."""
        return sorted({taken.copies for taken in self._taken if taken.rtt == rtt})

    def distances(self) -> list[int]:
        """Return every round trip, in milliseconds."""
        return sorted({taken.rtt for taken in self._taken})

    def runs(self, rtt: int) -> list[tuple[str, int]]:
        """Return who was measured at a distance, with how many."""
        return sorted({(taken.peer, taken.copies) for taken in self._taken if taken.rtt == rtt})

    def all(self, peer: str, operation: str = "") -> list[Taken]:
        """Return all that was taken of a peer, the worse, too; of one operation or of any."""
        mine = [taken for taken in self._taken if taken.peer == peer and not taken.why]
        return [taken for taken in mine if operation in {"", taken.operation}]
