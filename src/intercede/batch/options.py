"""Numbers that configure a BatchBackend, whether its caller gives them or a plugin hints at them."""

from collections.abc import Callable
from typing import TypeVar, cast

from intercede.contract.errors import ConfigError

__all__ = ["LONGEST", "MOST", "hinted", "within"]

N = TypeVar("N", int, float)
MOST = 2**53
"""What awk, where numbers are doubles, still counts exactly."""
LONGEST = 10**9
"""Seconds that every sleep and every timeout can be told."""


def within(field: str, value: object, least: int, most: int, kind: type[N]) -> N:
    """Return a number of that kind; for float an int will do.

    Raises:
        ConfigError: It is no such number, or out of these bounds.
    """
    if isinstance(value, int | kind) and not isinstance(value, bool) and least <= value <= most:
        return kind(value)
    expected = f"{'a whole number' if kind is int else 'a number'} from {least} to {most}"
    raise ConfigError(f"{field} must be {expected}, not {value!r}", field=field, value=value, expected=expected)


def hinted(owner: object, name: str, given: float | None, default: float) -> object:
    """Return an option's value: as given, else what the plugin says, whatever that is, else the default.

    Raises:
        ConfigError: What the plugin has under that name is no method.
    """
    if given is not None:
        return given
    if getattr(type(owner), name, None) is None:
        return default
    method: object = getattr(owner, name)
    if not callable(method):
        expected = "a method that answers the number"
        raise ConfigError(
            f"{name} of {type(owner).__name__} must be {expected}, not {method!r}",
            field=name,
            value=method,
            expected=expected,
        )
    return cast("Callable[[], object]", method)()
