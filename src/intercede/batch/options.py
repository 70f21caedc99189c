"""Numbers that configure a BatchBackend, whether its caller gives them or a plugin hints at them."""

from collections.abc import Callable
from typing import TypeVar, cast

from intercede.contract.errors import ConfigError, PluginContractError
from intercede.plugin_tools.options import check_number

__all__ = ["LONGEST", "MOST", "hinted"]

N = TypeVar("N", int, float)
MOST = 2**53
"""What awk, where numbers are doubles, still counts exactly."""
LONGEST = 10**9
"""Seconds that every sleep and every timeout can be told."""


def hinted(  # noqa: PLR0917 -- the number's bounds belong to it
    owner: object, name: str, given: object, default: N, least: int, most: int, kind: type[N]
) -> N:
    """Return an option's value: as given, else what the plugin says, else the default.

    Raises:
        ConfigError: What is given is no such number, or out of these bounds.
        PluginContractError: What the plugin says is none, or what it has under that name is no method.
    """
    if given is not None:
        return check_number(name, given, kind, least=least, most=most)
    if getattr(type(owner), name, None) is None:
        return default
    method: object = getattr(owner, name)
    whose = f"{name} of {type(owner).__name__}"
    if not callable(method):
        raise _broken(f"{whose} must be a method that answers the number, not {method!r}")
    try:
        return check_number(name, cast("Callable[[], object]", method)(), kind, least=least, most=most)
    except ConfigError as error:
        raise _broken(f"{whose} must answer {error.expected}, not {error.value!r}") from None


def _broken(what: str) -> PluginContractError:
    return PluginContractError(what, violations=(what,))
