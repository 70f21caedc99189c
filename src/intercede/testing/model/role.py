"""What a plugin is: its role."""

from typing import Literal

__all__ = ["Role"]

Role = Literal["backend", "transport", "scheduler"]
