"""Make an object from a candidate: import the target, call it, and check that the result has the contract's shape.

Any exception of a plugin, ``SystemExit`` included, fails that name only.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from intercede.contract.errors import ConfigError, PluginContractError, PluginLoadError
from intercede.plugin import Plugin, how_to_install
from intercede.registry.gate import find_class_violations, find_violations
from intercede.registry.options import Target
from intercede.registry.precedence import describe

__all__ = ["construct", "import_target", "make_load_error"]


def import_target(plugin: Plugin) -> Target:
    """Import and return the target of a candidate.

    Raises:
        BaseException: Any exception that the import raises.
        TypeError: The target cannot be called.
    """
    module, _, attribute = plugin.target.partition(":")
    target: object = import_module(module)
    for name in filter(None, attribute.split(".")):
        target = getattr(target, name)
    if not callable(target):
        raise TypeError(f"{plugin.target} is not callable, it is {type(target).__name__}: name a class or a factory")
    return target


def construct(plugin: Plugin, target: Target, options: Mapping[str, object], other_pins: str = "") -> object:
    """Call a target with its options, and return the object if it has the contract's shape.

    Args:
        plugin: The candidate.
        target: Its imported target.
        options: The keyword arguments.
        other_pins: The pins that choose another candidate, for the errors.

    Raises:
        ConfigError: The target reports an invalid option.
        PluginLoadError: The target raised another error.
        PluginContractError: The object does not have the contract's shape.
    """
    missing = _find_abstract_violations(target, plugin.group)
    if missing:
        raise _make_contract_error(plugin, missing, other_pins)
    try:
        made = target(**options)
    except (KeyboardInterrupt, ConfigError):
        raise
    except BaseException as error:
        raise make_load_error(plugin, "made", error, other_pins) from error
    found = find_violations(made, plugin.group)
    if found:
        raise _make_contract_error(plugin, found, other_pins)
    return made


def _find_abstract_violations(target: Target, group: str) -> tuple[str, ...]:
    """Return the violations of a class that has abstract methods, so that Python cannot instantiate the class.

    For any other target the result is empty.
    """
    if isinstance(target, type) and getattr(target, "__abstractmethods__", None):
        return find_class_violations(cast("type[object]", target), group)
    return ()


def make_load_error(plugin: Plugin, step: str, cause: BaseException, other_pins: str = "") -> PluginLoadError:
    """Return the error for a candidate whose target could not be imported, or raised an error when it was called.

    Args:
        plugin: The candidate.
        step: ``imported`` or ``made``.
        cause: The exception that was raised.
        other_pins: The pins that choose another candidate for the name.
    """
    return PluginLoadError(
        f"{plugin.group}:{plugin.name} could not be {step}: {type(cause).__name__}: {cause}. It is {plugin.target} of "
        f"{describe(plugin)}; {_advise(plugin, cause)}{_offer(other_pins)}",
        **plugin.error_attributes,
    )


def _advise(plugin: Plugin, cause: BaseException) -> str:
    """Return advice about a candidate that failed. A built-in may need a pip extra with the built-in's name."""
    if plugin.builtin and isinstance(cause, ModuleNotFoundError):
        return f"install its extra from where this intercede came from, a path or a URL: {how_to_install(plugin.name)}"
    return f"repair or uninstall {plugin.distribution}"


def _make_contract_error(plugin: Plugin, found: tuple[str, ...], other_pins: str) -> PluginContractError:
    heading = (
        f"{plugin.group}:{plugin.name} does not keep the contract: {plugin.target} of {describe(plugin)}"
        f"{', ' if other_pins else ''}{_offer(other_pins).removeprefix(', or ')}"
    )
    return PluginContractError("\n  ".join([heading, *found]), violations=found, **plugin.error_attributes)


def _offer(other_pins: str) -> str:
    return f", or choose another: {other_pins}" if other_pins else ""
