"""The role of a plugin."""

from typing import Literal

__all__ = ["Role"]

Role = Literal["backend", "transport", "scheduler"]
