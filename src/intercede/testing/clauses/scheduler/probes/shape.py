"""Whether the contract's methods are there, and the optional one answers as it must."""

from collections.abc import Callable
from pathlib import Path

from intercede.batch.remote.api import write_api
from intercede.contract.errors import PluginContractError
from intercede.registry.gate import find_violations
from intercede.testing.clauses.scheduler.probes.ask import make_scheduler


def probe_shape(part: Callable[[], object], _tmp: Path) -> list[str]:
    """Return what the registry's gate would say, and what a backend would say of ``tool_environment``."""
    scheduler = make_scheduler(part)
    problems = list(find_violations(scheduler, "schedulers"))
    try:
        write_api(scheduler)
    except PluginContractError as error:
        problems += (" ".join(each.split()) for each in error.violations)  # a report shows the first line only
    return problems
