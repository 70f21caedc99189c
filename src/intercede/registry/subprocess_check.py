"""Load a candidate in a child process, and check the object that it makes. The child has a time limit."""

import json
import os
import signal
import tempfile
from math import ceil
from typing import IO, cast

from intercede.contract.errors import ConfigError, PluginContractError, PluginLoadError
from intercede.forkserver import ForkServer, ForkServerError
from intercede.plugin import Plugin
from intercede.registry.gate import find_class_violations
from intercede.registry.loading import construct, import_target, make_load_error
from intercede.registry.options import Target, find_required

__all__ = ["check_in_subprocess"]

_SERVER = ForkServer(__name__)
_SOURCE = "from intercede.registry.subprocess_check import _run_child\n_run_child(fields, seconds)\n"
_ANSWER = 3
"""The file descriptor to which the child writes its answer."""


def check_in_subprocess(plugin: Plugin, seconds: float) -> tuple[str, ...]:
    """Load a candidate in a child process, check the object that it makes, and return the problems as sentences.

    The child and all that it started are killed at its end, or after ``seconds``.
    """
    with tempfile.TemporaryFile() as answer:
        try:
            code = _start_and_wait(plugin, seconds, answer)
        except TimeoutError:
            return (f"it was not loaded within {seconds:g} s: importing or making it hangs",)
        except ForkServerError as error:
            return (f"it was not loaded: {error}",)
        return _parse_answer(answer, code)


def _start_and_wait(plugin: Plugin, seconds: float, answer: IO[bytes]) -> int:
    """Start a child process that writes its answer to a file, wait for its end, and return its exit code."""
    given = {"fields": json.dumps(vars(plugin)), "seconds": ceil(seconds) + 1}
    child = _SERVER.start(_SOURCE, given, {_ANSWER: answer.fileno()})
    try:
        return child.wait(seconds)
    finally:
        child.close()


def _parse_answer(answer: IO[bytes], code: int) -> tuple[str, ...]:
    answer.seek(0)
    text = answer.read()
    try:
        problems = cast("object", json.loads(text))
    except ValueError:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return (f"loading it ended the process, with {how}",)
    return tuple(map(str, cast("list[object]", problems)))


def _run_child(fields: str, seconds: int) -> None:
    """Write the problems of a candidate to the descriptor ``_ANSWER``, and exit.

    The exit runs no exit handlers, because the exit handlers of a plugin may hang.
    """
    signal.alarm(seconds)  # the alarm ends this process even if the parent has ended
    os.write(_ANSWER, json.dumps(_find_problems(Plugin(**json.loads(fields)))).encode())
    os._exit(0)


def _find_problems(plugin: Plugin) -> tuple[str, ...]:
    try:
        target = import_target(plugin)
    except BaseException as error:  # noqa: BLE001 -- KeyboardInterrupt as well, which only the plugin can raise in the child
        return (str(make_load_error(plugin, "imported", error)),)
    if find_required(target):
        return _check_class(target, plugin.group)
    try:
        construct(plugin, target, {})
    except ConfigError:  # the target requires options that are optional in its signature
        return _check_class(target, plugin.group)
    except PluginContractError as error:
        return error.violations
    except PluginLoadError as error:
        return (str(error),)
    return ()


def _check_class(target: Target, group: str) -> tuple[str, ...]:
    """Return the violations of a target that needs options, if the target is a class.

    For any other target the result is empty, because only a class can be checked without a call.
    """
    return find_class_violations(cast("type[object]", target), group) if isinstance(target, type) else ()
