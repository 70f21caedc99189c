"""The options and arguments of pytest, for the conformance suite."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from intercede.contract.errors import IntercedeError
from intercede.redaction import redact_json
from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.options import collect_options, list_options, make_spell
from intercede.testing.frontends.plan import IDLE_OPTIONS, ROOT, Plan, make_node_id, make_plan
from intercede.testing.model.clause import Clause
from intercede.testing.subjects.subject import Subject

__all__ = [
    "can_run_concurrently",
    "find_caller",
    "find_early_end",
    "find_idle_option",
    "guess_filter",
    "make_plan_from_options",
    "take_node_ids",
    "write_rerun_command",
]


def take_node_ids(config: pytest.Config) -> dict[str, str]:
    """Remove the node ids of checks from pytest's arguments, and return them.

    The node ids are removed, because pytest would search for files with these names.
    If there are no other arguments, pytest collects nothing but the checks.

    Returns:
        For each removed argument, the node id that the argument means, or the beginning of several node ids.
    """
    node_ids = {each: node for each in config.args if (node := _find_node_id(each, config)) is not None}
    explicit = config.args_source is pytest.Config.ArgsSource.ARGS
    config.args = [each for each in config.args if each not in node_ids] if explicit else []
    return node_ids


def _find_node_id(argument: str, config: pytest.Config) -> str | None:
    """Return the node id that an argument means, or None. The argument may be a node id, or only the id of a clause.

    A node id may be relative to the directory where pytest was started, because pytest shows node ids in that form.
    """
    if clause := CLAUSES.get(argument.upper()):
        argument = f"{ROOT}/{clause.area}::{clause.id}"
    path, colons, rest = argument.partition("::")
    here = Path(os.path.normpath(config.invocation_params.dir / path))
    inside = here.relative_to(config.rootpath) if here.is_relative_to(config.rootpath) else here
    known = next((each for each in (inside, Path(path)) if each.parts[:1] == (ROOT,)), None)
    return None if known is None or here.exists() else f"{known.as_posix()}{colons}{rest}"


def find_early_end(session: pytest.Session) -> str:
    """Return the reason why a run ended early or did not start, or an empty text."""
    if option := find_idle_option(session.config):
        return f"{option} in addopts"
    if session.shouldfail:
        return "-x"
    return "an interruption" if session.exitstatus == pytest.ExitCode.INTERRUPTED else ""


def find_idle_option(config: pytest.Config) -> str:
    """Return the given option that makes pytest run no test. If there is no such option, return an empty text."""
    return next((names[0] for name, names in IDLE_OPTIONS.items() if getattr(config.option, name, None)), "")


def find_caller() -> str:
    """Return the name of the module that called the current hook."""
    frame = sys._getframe(2)  # noqa: SLF001 -- it is documented, and pytest gives a hook no caller
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "pluggy":
        frame = frame.f_back
    return str(frame.f_globals.get("__name__"))


def make_plan_from_options(config: pytest.Config, ids: Sequence[str]) -> Plan:
    """Make the plan that the options ask for.

    Args:
        config: The configuration of pytest.
        ids: The node ids that select checks, or none to select all.

    Raises:
        UsageError: A name, a configuration, a capability, an id or an option is wrong.
    """
    values: dict[str, object] = {
        each.name: config.getoption(f"--intercede-{each.flag}") for each in list_options("pytest")
    }
    # The paths in these two options are relative to the directory where pytest was started.
    for name in ("known", "report"):
        if given := values[name]:
            values[name] = str(Path(config.invocation_params.dir, str(given)))
    options = collect_options("pytest", values)
    options["ids"] = ids or None
    try:
        return make_plan(
            config.option.intercede_subjects, probe=not find_idle_option(config), frontend="pytest", **options
        )
    except IntercedeError as error:
        raise pytest.UsageError(str(error)) from None


def write_rerun_command(config: pytest.Config, plan: Plan, subject: Subject, clause: Clause) -> str:
    """Return the command that checks a clause of a subject again, with all subjects of this run."""
    option, spell, scale = config.option, make_spell("pytest"), plan.scales[subject.id]
    parts = [spell(role, redact_json(each)) for role, each in option.intercede_subjects]
    parts += [spell("file", option.intercede_config)] if option.intercede_config else []
    parts += [spell("known", option.intercede_known)] if option.intercede_known else []
    parts += [spell("scale", f"{scale:g}")] if scale != 1 else []
    return shlex.join(["pytest", *parts, make_node_id(clause, subject.id)])


def can_run_concurrently(config: pytest.Config) -> bool:
    """Return whether checks may run concurrently.

    Checks may not run concurrently in a worker, in a fork, in a debugger, or with ``-x`` or ``--sw``.
    """
    option = config.option
    alone = any(getattr(option, each, False) for each in ("usepdb", "maxfail", "stepwise", "forked"))
    return not (hasattr(config, "workerinput") or alone)


def guess_filter(config: pytest.Config, *, selected: bool) -> str:
    """Return a guess at the reason why checks were filtered out: ``addopts``, ``conftest.py`` or ``a plugin``.

    Args:
        config: The configuration of pytest.
        selected: Whether the user selected some of the tests.
    """
    option = config.option
    if not selected and (option.keyword or option.markexpr or option.deselect or getattr(option, "lf", False)):
        return "addopts"
    has_conftest = any(name.endswith("conftest.py") for name, _ in config.pluginmanager.list_name_plugin())
    return "conftest.py" if has_conftest else "a plugin"
