"""Whether the contract's methods are there."""

from collections.abc import Callable
from pathlib import Path

from intercede.registry.gate import find_violations
from intercede.testing.clauses.scheduler.experiments.asking import made


def experiment(part: Callable[[], object], _tmp: Path) -> list[str]:
    """Return what the registry's gate would say."""
    return list(find_violations(made(part), "schedulers"))
