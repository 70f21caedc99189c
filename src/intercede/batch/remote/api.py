"""The shell functions that a scheduler's fragment may call, and the command that runs the fragment.

Every verb, the kit's sandbox and the recorder of answers use the same functions of this module.
"""

import shlex
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, cast

from intercede.contract.errors import PluginContractError
from intercede.contract.scheduler import Scheduler, ToolEnvironment

__all__ = ["Verb", "load_script", "write_api", "write_call", "write_fragment_call", "write_preamble", "write_program"]

Verb = Literal["submit", "status", "kill", "list"]
"""The operation for which a scheduler writes a fragment."""
SCRIPTS: Mapping[Verb, tuple[str, ...]] = {
    "submit": ("submit",),
    "status": ("remote/tidy", "records"),
    "kill": ("remote/tidy", "records", "kill"),
    "list": ("remote/tidy", "records"),
}
"""Verb -> the scripts that a program for the verb contains, after ``remote/prelude`` and the text of ``write_api``."""


@cache
def load_script(name: str) -> str:
    """Return the text of a script of this package, such as ``purge`` or ``remote/boot``."""
    return (Path(__file__).parents[1] / f"{name}.sh").read_text("utf-8")


def write_call(*words: str) -> str:
    """Return a shell command with each word quoted."""
    return " ".join(shlex.quote(word) for word in words)


def write_api(scheduler: Scheduler) -> str:
    """Return the text of the shell functions that this scheduler's fragments may call.

    Raises:
        PluginContractError: The scheduler's ``tool_environment`` is not a method, raises, or does not return a valid
            ToolEnvironment.
    """
    environment = _get_tool_environment(scheduler)
    keep, always, inside = map(" | ".join, (environment.keep, environment.unset, environment.unset_in_job))
    lines = [
        f"    {keep}) return 1 ;;" if keep else "",
        f"    {always}) ;;" if always else "",
        f'    {inside}) [ -n "${{{environment.job_variable}-}}" ] ;;' if inside else "",
        "    *) return 1 ;;",
    ]
    return "\n".join(
        [
            load_script("remote/api"),
            f"_ic_patterns={'yes' if always or inside else ''}",
            "_ic_is_tool_variable() {",
            "    case $1 in",
            *filter(None, lines),
            "    esac",
            "}\n",
        ]
    )


def write_preamble(api: str, *scripts: str) -> str:
    """Return the beginning of a remote program: the script ``remote/prelude``, the text ``api``, and ``scripts``.

    Args:
        api: The text of ``write_api``.
        scripts: The names of scripts for ``load_script``.
    """
    return "\n".join(
        [load_script("remote/prelude"), f"ic_api={shlex.quote(api)}", 'eval "$ic_api"', *map(load_script, scripts)]
    )


def write_fragment_call(verb: Verb, fragment: str, copies: int = 1) -> str:
    """Return the shell command that runs a fragment.

    Args:
        verb: The operation that the fragment is for.
        fragment: The fragment.
        copies: The number of copies, for a fragment that submits.
    """
    return (
        write_call("_ic_run_unchanged", str(copies), fragment)
        if verb == "submit"
        else write_call("_ic_run_clean", fragment)
    )


def write_program(verb: Verb, api: str, fragment: str, copies: int = 1) -> str:
    """Return a shell program that runs a fragment and nothing else.

    The fragment has the same functions and variables as in a run by a BatchBackend.
    """
    return f"{write_preamble(api, *SCRIPTS[verb])}\n{write_fragment_call(verb, fragment, copies)}\n"


def _get_tool_environment(scheduler: Scheduler) -> ToolEnvironment:
    if getattr(type(scheduler), "tool_environment", None) is None:
        return ToolEnvironment()
    whose = f"tool_environment of {type(scheduler).__name__}"
    method: object = getattr(scheduler, "tool_environment")  # noqa: B009 -- the protocol does not have the method
    if not callable(method):
        raise _make_contract_error(f"{whose} must be a method that returns a ToolEnvironment, not {method!r}")
    try:
        environment = cast("Callable[[], object]", method)()
        if isinstance(environment, ToolEnvironment):
            # The plugin may have made the object with model_construct, which does not validate the values.
            return ToolEnvironment.model_validate(environment.model_dump())
    except Exception as error:
        raise _make_contract_error(f"{whose} must return a valid ToolEnvironment: {error}") from error
    raise _make_contract_error(f"{whose} must return a ToolEnvironment, not {environment!r}")


def _make_contract_error(what: str) -> PluginContractError:
    return PluginContractError(what, violations=(what,))
