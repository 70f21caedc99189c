"""Check the numeric options of a BatchBackend, which come from the caller or from a plugin."""

from collections.abc import Callable
from typing import TypeVar, cast

from intercede.contract.errors import ConfigError, PluginContractError
from intercede.plugin_tools.options import check_number

__all__ = ["LONGEST", "MOST", "get_option"]

N = TypeVar("N", int, float)
MOST = 2**53
"""The largest number up to which awk counts exactly: 2**53. awk stores numbers as doubles."""
LONGEST = 10**9
"""The largest number of seconds that every sleep and every timeout accepts."""


def get_option(  # noqa: PLR0917 -- the bounds belong to the number
    plugin: object, name: str, given: object, default: N, least: int, most: int, kind: type[N]
) -> N:
    """Return the value of an option: the caller's, or else the plugin's, or else the default.

    Args:
        plugin: The plugin. If it has a method with the name of the option, the method returns the value.
        name: The name of the option.
        given: The caller's value, or None if the caller gave none.
        default: The value if neither the caller nor the plugin supplies one.
        least: The lower bound.
        most: The upper bound.
        kind: The type, int or float.

    Raises:
        ConfigError: The caller's value is not a number of this type within these bounds.
        PluginContractError: The plugin's value is not such a number, or its attribute of that name is not a method.
    """
    if given is not None:
        return check_number(name, given, kind, least=least, most=most)
    if getattr(type(plugin), name, None) is None:
        return default
    method: object = getattr(plugin, name)
    whose = f"{name} of {type(plugin).__name__}"
    if not callable(method):
        raise _make_contract_error(f"{whose} must be a method that returns the number, not {method!r}")
    try:
        return check_number(
            f"the result of {whose}", cast("Callable[[], object]", method)(), kind, least=least, most=most
        )
    except ConfigError as error:
        raise _make_contract_error(str(error)) from None


def _make_contract_error(what: str) -> PluginContractError:
    return PluginContractError(what, violations=(what,))
