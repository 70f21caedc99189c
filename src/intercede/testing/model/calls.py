"""A call that a check made to its subject, as data: the verb, the arguments, the times and the outcome."""

from dataclasses import dataclass
from types import GetSetDescriptorType
from typing import cast

__all__ = ["Call", "get_class_name", "shorten"]

_NAME = cast("GetSetDescriptorType", vars(type)["__name__"])


@dataclass
class Call:
    """One call that a check made to its subject."""

    verb: str
    arguments: str
    start: float
    """The time when the call began, in seconds since the check began."""
    seconds: float | None = None
    """The number of seconds that the call took, or None while the call has not returned."""
    outcome: str = "has not returned"

    def __str__(self) -> str:
        took = "" if self.seconds is None else f" after {self.seconds:.3f} s"
        return f"{self.start:7.3f} s  {self.verb}({self.arguments}): {shorten(self.outcome, 240)}{took}"


def get_class_name(value: object) -> str:
    """Return the real name of a value's class, even if the class overrides ``__name__``."""
    return str(_NAME.__get__(type(value)))


def shorten(text: str, max_length: int = 300) -> str:
    """Put a text into one line of at most ``max_length`` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= max_length else f"{flat[: max_length - 3]}..."
