"""A trial: a candidate is loaded and gated in a child process, so that what it does harms nobody and ends in time."""

import json
import os
import tempfile
from math import ceil
from typing import IO, cast

from intercede.contract.errors import ConfigError, PluginContractError, PluginLoadError
from intercede.forkserver import ForkServer, ForkServerError
from intercede.plugin import Plugin
from intercede.registry.gate import find_class_violations
from intercede.registry.loading import construct, imported, load_error
from intercede.registry.options import Target, needed

__all__ = ["tried"]

_SERVER = ForkServer(__name__)
_SOURCE = """
import signal
signal.alarm(seconds)  # whoever waits for it may be gone
from intercede.registry.trial import _child
_child(fields)
"""
_ANSWER = 3
"""The descriptor for it, in the child."""


def tried(plugin: Plugin, seconds: float) -> tuple[str, ...]:
    """Load and gate a candidate in a child process, and return the problems, a sentence each.

    The child and what it started are killed when it is done, at the latest after ``seconds``.
    """
    with tempfile.TemporaryFile() as answer:
        try:
            code = _try(plugin, seconds, answer)
        except TimeoutError:
            return (f"it was not loaded within {seconds:g} s: importing or making it hangs",)
        except ForkServerError as error:
            return (f"it was not loaded: {error}",)
        return _answered(answer, code)


def _try(plugin: Plugin, seconds: float, answer: IO[bytes]) -> int:
    """Have a child write its answer, and return its exit code."""
    given = {"fields": json.dumps(vars(plugin)), "seconds": ceil(seconds) + 1}
    child = _SERVER.start(_SOURCE, given, {_ANSWER: answer.fileno()})
    try:
        return child.wait(seconds)
    finally:
        child.close()


def _answered(answer: IO[bytes], code: int) -> tuple[str, ...]:
    answer.seek(0)
    text = answer.read()
    try:
        problems = cast("object", json.loads(text))
    except ValueError:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return (f"loading it ended the process, with {how}",)
    return tuple(map(str, cast("list[object]", problems)))


def _child(fields: str) -> None:
    """Write the problems of one candidate to a descriptor, and end before anything of the plugin's can hang."""
    os.write(_ANSWER, json.dumps(_problems(Plugin(**json.loads(fields)))).encode())
    os._exit(0)


def _problems(plugin: Plugin) -> tuple[str, ...]:
    try:
        target = imported(plugin)
    except BaseException as error:  # noqa: BLE001 -- KeyboardInterrupt as well: here it can only be the plugin's
        return (str(load_error(plugin, "imported", error)),)
    if needed(target):
        return _of_class(target, plugin.group)
    try:
        construct(plugin, target, {})
    except ConfigError:  # it needs options, although its signature does not say so
        return _of_class(target, plugin.group)
    except PluginContractError as error:
        return error.violations
    except PluginLoadError as error:
        return (str(error),)
    return ()


def _of_class(target: Target, group: str) -> tuple[str, ...]:
    """Judge a target that cannot be called without options, as far as a class tells."""
    return find_class_violations(cast("type[object]", target), group) if isinstance(target, type) else ()
