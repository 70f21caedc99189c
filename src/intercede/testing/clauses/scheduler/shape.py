"""IC-SCHEDULER: a scheduler has the methods of the contract."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

from intercede.batch.remote.api import write_api
from intercede.contract.errors import PluginContractError
from intercede.registry.gate import find_violations
from intercede.testing.clauses import clause
from intercede.testing.clauses.support.probe import ALL_SECONDS, run_probe
from intercede.testing.clauses.support.scheduler_questions import make_scheduler
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import Context


@clause(
    "IC-SCHEDULER-08",
    title="The registry loads the scheduler, and its methods exist: sync, with the contract's parameters.",
    level=MUST,
    seconds=ALL_SECONDS,
    jobs=0,
    hint=(
        "The methods are: stages_own_files(), submit_script(batch), parse_submit(batch, result), status_script(), "
        "parse_status(ids, result), kill_script(), parse_kill(ids, result), list_script(submission_id), "
        "parse_list(result). All of them are plain `def`: the methods of a scheduler are never awaited. "
        "tool_environment() is optional: "
        "it returns a ToolEnvironment whose patterns are names of variables, or the beginning of a name and `*`, "
        "and match no variable that fragments need."
    ),
)
async def check_shape(context: Context) -> None:
    """Check a new object with the gate of the registry, and call ``tool_environment``."""
    problems = cast("list[str]", await run_probe(context, probe_shape))
    expected = "every method of the contract's Scheduler"
    context.expect(not problems, expected=expected, observed="; ".join(problems))


def probe_shape(part: Callable[[], object], _tmp: Path) -> list[str]:
    """Return the problems that the registry's gate finds, and the problems of the answer of ``tool_environment``."""
    scheduler = make_scheduler(part)
    problems = list(find_violations(scheduler, "schedulers"))
    try:
        write_api(scheduler)
    except PluginContractError as error:
        # Each problem is joined into one line, because a report shows only its first line.
        problems += (" ".join(each.split()) for each in error.violations)
    return problems
