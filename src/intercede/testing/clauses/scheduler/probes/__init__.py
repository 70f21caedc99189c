"""Probes on a scheduler, each a module NAME with a function ``probe_NAME``. They run in child processes.

A parser may hang with the interpreter's lock held, or end the process, and nothing but another process survives that.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import cast

from intercede.testing.run.context import CheckFailed
from intercede.testing.subjects.child import STANDALONE_SOURCE

__all__ = ["SOURCE", "run_probe"]

SOURCE = "from intercede.testing.clauses.scheduler import probes\nprobes.run_probe(request, make_plugin, tell)\n"
"""The program of the child process."""
_SEED = "PYTHONHASHSEED"


def run_probe(request: Mapping[str, object], part: Callable[[], object], tell: Callable[[object], None]) -> None:
    """Run a probe, and report its result.

    Args:
        request: The request to this process. Its arguments are the probe's name, an empty directory for it, and the
            seed of this process's hashes; empty: any.
        part: Makes a fresh scheduler.
        tell: Takes what came of it.
    """
    name, tmp, seed = cast("Sequence[str]", request["arguments"])
    if seed and os.environ.get(_SEED) != seed:
        _start_again(request, Path(tmp), seed)
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = tmp  # it keeps tables, else in the user's working directory
    ending: dict[str, object]
    try:
        ending = {"told": getattr(import_module(f"{__name__}.{name}"), f"probe_{name}")(part, Path(tmp))}
    except CheckFailed as failed:
        ending = {"expected": failed.expected, "observed": failed.observed}
    except BaseException:  # noqa: BLE001 -- what a subject raised is a CheckFailed by now: this is ours, and handed on
        ending = {"error": traceback.format_exc()}
    tell(ending)


def _start_again(request: Mapping[str, object], tmp: Path, seed: str) -> None:
    """Become another child process that is asked the same: the hash seed is set when an interpreter starts."""
    with (tmp / "request").open("w+b") as file:
        file.write(json.dumps({**request, "path": sys.path}).encode())
        file.seek(0)
        os.dup2(file.fileno(), 0)
        os.execve(sys.executable, [sys.executable, "-c", STANDALONE_SOURCE], {**os.environ, _SEED: seed})  # noqa: S606 -- as above
