"""What was measured, read back from its lines."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self, cast

__all__ = ["Results", "Taken"]


@dataclass(frozen=True)
class Taken:
    """One operation of one run."""

    peer: str
    copies: int
    rtt: int
    operation: str
    seconds: float
    cpu: float
    """Seconds of this process's own."""
    grown_mib: float
    blocked_ms: float
    counts: Mapping[str, int]
    why: str
    """Why there is nothing of it."""

    @classmethod
    def read(cls, line: Mapping[str, object]) -> Self:
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
            counts=cast("Mapping[str, int]", line["counts"]),
            why=str(line.get("failed") or line.get("left_out") or ""),
        )


class Results:
    """All that was taken, the best of what was taken twice."""

    def __init__(self, lines: Iterable[Mapping[str, object]]) -> None:
        self._best: dict[tuple[str, int, int, str], Taken] = {}
        for line in lines:
            if "seconds" in line:
                taken = Taken.read(line)
                key = (taken.peer, taken.copies, taken.rtt, taken.operation)
                self._best[key] = min(self._best.get(key, taken), taken, key=lambda each: each.seconds)

    def get(self, peer: str, copies: int, rtt: int, operation: str) -> Taken | None:
        """Return one, if it was taken and came to its end."""
        taken = self._best.get((peer, copies, rtt, operation))
        return taken if taken and not taken.why else None

    def why(self, peer: str, copies: int, rtt: int, operation: str) -> str:
        """Tell why there is none."""
        taken = self._best.get((peer, copies, rtt, operation))
        return taken.why if taken else ""

    def numbers(self, rtt: int) -> list[int]:
        """Return every number of jobs at a distance."""
        return sorted({copies for _, copies, at, _ in self._best if at == rtt})

    def distances(self) -> list[int]:
        """Return every round trip, in milliseconds."""
        return sorted({rtt for _, _, rtt, _ in self._best})

    def runs(self, rtt: int) -> list[tuple[str, int]]:
        """Return who was measured at a distance, with how many."""
        return list(dict.fromkeys((peer, copies) for peer, copies, at, _ in self._best if at == rtt))

    def all(self, peer: str) -> list[Taken]:
        """Return all of a peer."""
        return [taken for taken in self._best.values() if taken.peer == peer and not taken.why]
