"""Numbers that configure a BatchBackend, whether its caller gives them or a plugin hints at them."""

from collections.abc import Callable
from typing import TypeVar, cast

from intercede.contract.errors import ConfigError, PluginContractError

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


def hinted(  # noqa: PLR0917 -- the number's bounds belong to it
    owner: object, name: str, given: object, default: N, least: int, most: int, kind: type[N]
) -> N:
    """Return an option's value: as given, else what the plugin says, else the default.

    Raises:
        ConfigError: What is given is no such number, or out of these bounds.
        PluginContractError: What the plugin says is none, or what it has under that name is no method.
    """
    if given is not None:
        return within(name, given, least, most, kind)
    if getattr(type(owner), name, None) is None:
        return default
    method: object = getattr(owner, name)
    whose = f"{name} of {type(owner).__name__}"
    if not callable(method):
        raise _broken(f"{whose} must be a method that answers the number, not {method!r}")
    try:
        return within(name, cast("Callable[[], object]", method)(), least, most, kind)
    except ConfigError as error:
        raise _broken(f"{whose} must answer {error.expected}, not {error.value!r}") from None


def _broken(what: str) -> PluginContractError:
    return PluginContractError(what, violations=(what,))
