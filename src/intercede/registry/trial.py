"""A trial: a candidate is loaded and gated in a child process, so that what it does harms nobody and ends in time."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import IO, cast

from intercede.contract.errors import ConfigError, PluginContractError, PluginLoadError
from intercede.plugin import Plugin
from intercede.registry.gate import violations_of_class
from intercede.registry.loading import construct, imported, load_error
from intercede.registry.options import Target, needed

__all__ = ["tried"]

_CHILD = "import sys; sys.path[:] = sys.argv[3:]; from intercede.registry.trial import _child; _child(sys.argv[1], sys.argv[2])"


def tried(plugin: Plugin, seconds: float) -> tuple[str, ...]:
    """Load and gate a candidate in a child process, and return the problems, a sentence each.

    The child and what it started are killed when it is done, at the latest after ``seconds``.
    """
    with tempfile.TemporaryFile() as answer:
        path = [entry for entry in sys.path if isinstance(cast("object", entry), str)]
        child = subprocess.Popen(  # noqa: S603 -- our own interpreter, no shell
            [sys.executable, "-P", "-c", _CHILD, json.dumps(vars(plugin)), str(answer.fileno()), *path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(answer.fileno(),),
            start_new_session=True,
        )
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            return (f"it was not loaded within {seconds:g} s: importing or making it hangs",)
        finally:
            _end(child)
        return _answered(answer, child.returncode)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the child's process group: what it started does not outlive it."""
    with suppress(ProcessLookupError):  # nothing of it is left
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _answered(answer: IO[bytes], code: int) -> tuple[str, ...]:
    answer.seek(0)
    text = answer.read()
    try:
        problems = cast("object", json.loads(text))
    except ValueError:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return (f"loading it ended the process, with {how}",)
    return tuple(map(str, cast("list[object]", problems)))


def _child(fields: str, descriptor: str) -> None:
    """Write the problems of one candidate to a descriptor, and end before anything of the plugin's can hang."""
    answer = json.dumps(_problems(Plugin(**json.loads(fields)))).encode()
    os.write(int(descriptor), answer)
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
    return violations_of_class(cast("type[object]", target), group) if isinstance(target, type) else ()
