"""Probes: functions that call a scheduler in a child process, and check its answers there.

A parser may hang with the interpreter's lock held, or end the process. Only another process survives that.
"""

import os
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

from intercede.testing.run.context import CheckFailed, Context
from intercede.testing.subjects.child import ChildContext

__all__ = ["ALL_SECONDS", "SECONDS", "Probe", "call_probe", "run_probe"]

SECONDS = 60.0
"""The time limit of a probe, in seconds."""
ALL_SECONDS = 300.0
"""The time limit of a check that runs a probe, in seconds.

The check waits for the child processes of other checks, and these processes may hang.
"""
_SEED = "PYTHONHASHSEED"

Probe = Callable[[Callable[[], object], Path], object]
"""A function that takes a scheduler factory and an empty directory, and returns plain data."""


async def run_probe(context: Context, probe: Probe, seed: str = "", within: float = SECONDS) -> object:
    """Run a probe in a child process, and return its result.

    Args:
        context: The context of the check.
        probe: The probe, a function of a module.
        seed: The seed of the child's string hashes, or an empty string for any seed.
        within: The time limit in seconds, before it is multiplied by the scale.

    Raises:
        CheckFailed: The scheduler does not do what the probe asks of it.
        RuntimeError: The probe itself raised an error.
    """
    name = f"{probe.__module__}:{probe.__qualname__}"
    tmp = context.tmp / f"probe{seed}"
    tmp.mkdir()
    # A failure names this action, because a parser may end the child process.
    what = "asking the scheduler"
    report = await context.run_child(call_probe, name, str(tmp), seed, what=what, within=within)
    ending = cast("dict[str, object]", report)
    if "error" in ending:
        raise RuntimeError(f"the probe {name} broke:\n{ending['error']}")
    if "expected" in ending:
        raise CheckFailed(str(ending["expected"]), str(ending["observed"]))
    return ending["result"]


def call_probe(child: ChildContext) -> None:
    """Call a probe in this process, and report its result, or how the scheduler failed.

    The arguments are the probe's name, its directory, and the seed of the string hashes.
    """
    name, tmp, seed = child.arguments
    # The interpreter is started again with the seed, because it reads the seed only when it starts.
    if seed and os.environ.get(_SEED) != seed:
        child.start_again(Path(tmp, "request"), **{_SEED: seed})
    # Without this variable, hypothesis writes Unicode tables to the working directory.
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = tmp
    child.report(_describe_end(name, child.subject.make_plugin, Path(tmp)))


def _describe_end(name: str, make: Callable[[], object], tmp: Path) -> dict[str, object]:
    module, _, function = name.partition(":")
    try:
        probe = cast("Probe", getattr(import_module(module), function))
        return {"result": probe(make, tmp)}
    except CheckFailed as failed:
        return {"expected": failed.expected, "observed": failed.observed}
    except BaseException:  # noqa: BLE001 -- errors of the scheduler are CheckFailed: this one is the kit's, and is reported
        return {"error": traceback.format_exc()}
