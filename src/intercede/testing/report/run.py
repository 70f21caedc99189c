"""How a run was made: what a reader needs to make it again, and nothing of who made it, or on which host."""

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from intercede.testing.report.plain import plain_text

__all__ = ["Run"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """How the checks of a run were done."""

    started: datetime
    seconds: float = 0.0
    """How long it took."""
    scales: Mapping[str, float] = field(default_factory=dict[str, float])
    """The timeout scale of each subject; 1 if none is given."""
    jobs: int | None = None
    """How many jobs of one subject were out at once, at most; None: nobody said."""
    repeat: int = 1
    """How often each check was done."""
    pytest: str | None = None
    """Its version; None: it ran without pytest."""
    plugins: Mapping[str, str] = field(default_factory=dict[str, str])
    """The installed plugins of pytest that took part, with their versions."""

    def of(self, subject: str) -> dict[str, object]:
        """Put it into plain data, for one subject."""
        return {
            "scale": self.scales.get(subject, 1.0),
            "jobs": self.jobs,
            "repeat": self.repeat,
            "seconds": round(self.seconds, 1),
            "platform": _platform(),
            "pytest": self.pytest and plain_text(self.pytest),
            "plugins": {plain_text(name): plain_text(self.plugins[name]) for name in sorted(self.plugins)},
        }


def _platform() -> str:
    """Name the system, its kernel's numbers and the machine. A kernel's own suffix may be anybody's name."""
    numbers = re.match(r"[0-9.]*", platform.release())
    return " ".join(filter(None, [platform.system(), numbers and numbers[0].strip("."), platform.machine()]))
