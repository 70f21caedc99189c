"""The built-in schedulers, as pyproject.toml lists them, for tests that hold for each of them."""

import tomllib
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path

from intercede.contract.job import Resources
from intercede.contract.scheduler import Batch, Scheduler

ROOT = Path(__file__).parents[1]
ENTRY_POINTS: Mapping[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
    "intercede.schedulers"
]
#: Options with which the fragments of a scheduler are longer. Other schedulers are made without options.
OPTIONS: Mapping[str, Mapping[str, object]] = {
    "direct": {"slots": 2},
    "slurm": {"submit_arguments": ["--x=it's"], "clusters": ["a", "b"]},
}


def load_scheduler(name: str) -> type[Scheduler]:
    """Return the class of a built-in scheduler."""
    loaded: type[Scheduler] = EntryPoint(name, ENTRY_POINTS[name], "intercede.schedulers").load()
    return loaded


def make_scheduler(name: str) -> Scheduler:
    """Make a built-in scheduler with its options."""
    return load_scheduler(name)(**OPTIONS.get(name, {}))


def write_fragments(scheduler: Scheduler) -> dict[str, str]:
    """Return the fragment of each verb, for a submission of three copies."""
    batch = Batch(submission_id="a" * 13, copies=3, resources=Resources(wall_time_s=5))
    return {
        "submit": scheduler.submit_script(batch),
        "status": scheduler.status_script(),
        "kill": scheduler.kill_script(),
        "list": scheduler.list_script(batch.submission_id),
    }
