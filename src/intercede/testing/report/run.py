"""The circumstances of a run: enough to repeat the run, without the user's name or the host's."""

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from intercede.testing.report.escape import escape_text

__all__ = ["Run"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """The circumstances of a run of the checks."""

    started: datetime
    seconds: float = 0.0
    """The duration of the run, in seconds."""
    scales: Mapping[str, float] = field(default_factory=dict[str, float])
    """Subject -> timeout scale. The scale of a subject that is absent is 1."""
    jobs: int | None = None
    """The largest number of jobs of one subject at once, or None if no limit was given."""
    repeat: int = 1
    """The number of times that each check ran."""
    pytest: str | None = None
    """The version of pytest, or None if the run did not use it."""
    plugins: Mapping[str, str] = field(default_factory=dict[str, str])
    """The versions of the pytest plugins that were active, by name."""

    def describe(self, subject: str) -> dict[str, object]:
        """Return plain data about the run of one subject."""
        return {
            "scale": self.scales.get(subject, 1.0),
            "jobs": self.jobs,
            "repeat": self.repeat,
            "seconds": round(self.seconds, 1),
            "platform": _name_platform(),
            "pytest": self.pytest and escape_text(self.pytest),
            "plugins": {escape_text(name): escape_text(self.plugins[name]) for name in sorted(self.plugins)},
        }


def _name_platform() -> str:
    """Name the system, the numbers of its kernel's version, and the machine.

    The rest of the kernel's version is left out, because it may hold the name of the host or of a user.
    """
    numbers = re.match(r"[0-9.]*", platform.release())
    return " ".join(filter(None, [platform.system(), numbers and numbers[0].strip("."), platform.machine()]))
