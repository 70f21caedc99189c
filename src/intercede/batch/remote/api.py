"""The surroundings of a scheduler's fragment: the functions that it may call, and the command that runs it.

The kit's sandbox and the recorder load it by the same function as every verb does.
"""

import shlex
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, cast

from intercede.contract.errors import PluginContractError
from intercede.contract.scheduler import Scheduler, ToolEnvironment

__all__ = ["Verb", "api_of", "call", "load", "run_fragment", "text_of", "write_program"]

Verb = Literal["submit", "status", "kill", "list"]
"""What a fragment is for."""
SCRIPTS: Mapping[Verb, tuple[str, ...]] = {
    "submit": ("submit",),
    "status": ("remote/tidy", "records"),
    "kill": ("remote/tidy", "records", "kill"),
    "list": ("remote/tidy", "records"),
}
"""What is loaded for each, behind the prelude and the API."""


@cache
def text_of(name: str) -> str:
    """Return the text of a script of batch, such as ``purge`` or ``remote/boot``."""
    return (Path(__file__).parents[1] / f"{name}.sh").read_text("utf-8")


def call(*words: str) -> str:
    """Write a command of these words, whatever is in them."""
    return " ".join(shlex.quote(word) for word in words)


def api_of(scheduler: Scheduler) -> str:
    """Write the functions that this scheduler's fragments may call.

    Raises:
        PluginContractError: Its ``tool_environment`` is no method, raises, or returns no valid ToolEnvironment.
    """
    environment = _tool_environment(scheduler)
    keep, always, inside = map(" | ".join, (environment.keep, environment.unset, environment.unset_in_job))
    lines = [
        f"    {keep}) return 1 ;;" if keep else "",
        f"    {always}) ;;" if always else "",
        f'    {inside}) [ -n "${{{environment.job_variable}-}}" ] ;;' if inside else "",
        "    *) return 1 ;;",
    ]
    return "\n".join(
        [
            text_of("remote/api"),
            f"_ic_patterns={'yes' if always or inside else ''}",
            "_ic_is_strange() {",
            "    case $1 in",
            *filter(None, lines),
            "    esac",
            "}\n",
        ]
    )


def load(api: str, *scripts: str) -> str:
    """Write the beginning of a program: the prelude, the API, and these scripts."""
    return "\n".join(
        [text_of("remote/prelude"), f"ic_api={shlex.quote(api)}", 'eval "$ic_api"', *map(text_of, scripts)]
    )


def run_fragment(verb: Verb, fragment: str, copies: int = 1) -> str:
    """Write the command that runs a fragment."""
    return call("_ic_run_as_found", str(copies), fragment) if verb == "submit" else call("_ic_run_plainly", fragment)


def write_program(verb: Verb, api: str, fragment: str, copies: int = 1) -> str:
    """Write a program that runs a fragment where a verb would, in the same surroundings, and does nothing else."""
    return f"{load(api, *SCRIPTS[verb])}\n{run_fragment(verb, fragment, copies)}\n"


def _tool_environment(scheduler: Scheduler) -> ToolEnvironment:
    if getattr(type(scheduler), "tool_environment", None) is None:
        return ToolEnvironment()
    whose = f"tool_environment of {type(scheduler).__name__}"
    method: object = getattr(scheduler, "tool_environment")  # noqa: B009 -- the protocol does not have it
    if not callable(method):
        raise _broken(f"{whose} must be a method that returns a ToolEnvironment, not {method!r}")
    try:
        environment = cast("Callable[[], object]", method)()
        if isinstance(environment, ToolEnvironment):
            return ToolEnvironment.model_validate(environment.model_dump())  # it may have been made without validation
    except Exception as error:
        raise _broken(f"{whose} must return a valid ToolEnvironment: {error}") from error
    raise _broken(f"{whose} must return a ToolEnvironment, not {environment!r}")


def _broken(what: str) -> PluginContractError:
    return PluginContractError(what, violations=(what,))
