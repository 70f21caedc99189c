"""From a candidate to its object: import the target, call it, let the gate judge what came.

What a plugin raises here, ``SystemExit`` included, is the failure of that one name and stops nobody else.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from intercede.contract.errors import ConfigError, PluginContractError, PluginLoadError
from intercede.plugin import Plugin, how_to_install
from intercede.registry.gate import find_class_violations, find_violations
from intercede.registry.options import Target
from intercede.registry.precedence import describe

__all__ = ["construct", "imported", "load_error"]


def imported(plugin: Plugin) -> Target:
    """Import a candidate's target.

    Raises:
        BaseException: Whatever importing it raises.
        TypeError: It is there and cannot be called.
    """
    module, _, attribute = plugin.target.partition(":")
    target: object = import_module(module)
    for name in filter(None, attribute.split(".")):
        target = getattr(target, name)
    if not callable(target):
        raise TypeError(f"{plugin.target} is not callable, it is {type(target).__name__}: name a class or a factory")
    return target


def construct(plugin: Plugin, target: Target, options: Mapping[str, object], instead: str = "") -> object:
    """Call a target with its options, and return what the gate lets in.

    Args:
        plugin: The candidate.
        target: Its target, imported.
        options: Its keyword arguments.
        instead: The pins that would choose another candidate, for the errors.

    Raises:
        ConfigError: It says that an option will not do.
        PluginLoadError: It raised something else.
        PluginContractError: What came does not have the contract's shape.
    """
    missing = _unmade(target, plugin.group)
    if missing:
        raise _contract_error(plugin, missing, instead)
    try:
        made = target(**options)
    except (KeyboardInterrupt, ConfigError):
        raise
    except BaseException as error:
        raise load_error(plugin, "made", error, instead) from error
    found = find_violations(made, plugin.group)
    if found:
        raise _contract_error(plugin, found, instead)
    return made


def _unmade(target: Target, group: str) -> tuple[str, ...]:
    """Judge a class that Python will not make an object of, because methods of a protocol it inherits are missing."""
    if isinstance(target, type) and getattr(target, "__abstractmethods__", None):
        return find_class_violations(cast("type[object]", target), group)
    return ()


def load_error(plugin: Plugin, what: str, cause: BaseException, instead: str = "") -> PluginLoadError:
    """Say that a candidate could not be imported or made, and what would restore the name."""
    return PluginLoadError(
        f"{plugin.group}:{plugin.name} could not be {what}: {type(cause).__name__}: {cause}. It is {plugin.target} of "
        f"{describe(plugin)}; {_mended(plugin, cause)}{_or(instead)}",
        **plugin.error_attributes,
    )


def _mended(plugin: Plugin, cause: BaseException) -> str:
    """What to do about it. A built-in that lacks a library has an extra of its own name."""
    if plugin.builtin and isinstance(cause, ModuleNotFoundError):
        return f"install its extra from where this intercede came from, a path or a URL: {how_to_install(plugin.name)}"
    return f"repair or uninstall {plugin.distribution}"


def _contract_error(plugin: Plugin, found: tuple[str, ...], instead: str) -> PluginContractError:
    heading = (
        f"{plugin.group}:{plugin.name} does not keep the contract: {plugin.target} of {describe(plugin)}"
        f"{', ' if instead else ''}{_or(instead).removeprefix(', or ')}"
    )
    return PluginContractError("\n  ".join([heading, *found]), violations=found, **plugin.error_attributes)


def _or(instead: str) -> str:
    return f", or choose another: {instead}" if instead else ""
