"""Experiments on a scheduler, each a module with a function ``experiment``. They run in child processes.

A parser may hang with the interpreter's lock held, or end the process, and nothing but another process survives that.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from intercede.testing.child import _BOOT
from intercede.testing.context import CheckFailed

__all__ = ["ENDING", "SOURCE", "run"]

SOURCE = "from intercede.testing.scheduler import experiments\nexperiments.run(part, arguments)\n"
"""What the child process executes."""
ENDING = "ending.json"
_SEED = "PYTHONHASHSEED"


def run(part: Callable[[], object], arguments: Sequence[str]) -> None:
    """Do an experiment, and leave in its directory what came of it: stdout is the subject's, too.

    Args:
        part: Makes a fresh scheduler.
        arguments: The experiment's name, an empty directory for it, and the seed of this process's hashes; empty: any.
    """
    name, tmp, seed = arguments
    if seed and os.environ.get(_SEED) != seed:
        _again(part, arguments, seed)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = tmp  # it keeps tables, else in the user's working directory
    ending: dict[str, object]
    try:
        ending = {"told": import_module(f"{__name__}.{name}").experiment(part, Path(tmp))}
    except CheckFailed as failed:
        ending = {"expected": failed.expected, "observed": failed.observed}
    except BaseException:  # noqa: BLE001 -- what a subject raised is a CheckFailed by now: this is ours, and handed on
        ending = {"error": traceback.format_exc()}
    Path(tmp, ENDING).write_text(json.dumps(ending))


def _again(part: Callable[[], object], arguments: Sequence[str], seed: str) -> None:
    """Become another child process of the same subject: hashes are seeded when an interpreter starts."""
    request = {
        "path": sys.path,
        "subject": part.__self__.recipe,  # type: ignore[attr-defined]  # a method of a subject's
        "source": SOURCE,
        "arguments": arguments,
    }
    with (Path(arguments[1]) / "request").open("w+b") as file:
        file.write(json.dumps(request, default=str).encode())
        file.seek(0)
        os.dup2(file.fileno(), 0)
        os.execve(sys.executable, [sys.executable, "-c", _BOOT], {**os.environ, _SEED: seed})  # noqa: S606 -- as above
