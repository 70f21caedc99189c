"""Turn the arguments of a command line into subjects, and learn about each subject before any check runs.

Names are resolved in this process, from metadata. The plugin itself is first loaded in a child process, where it may
hang, exit or crash.
"""

import asyncio
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import gettempdir
from typing import cast

from intercede.config import parse_config_argument
from intercede.contract.backend import CAPABILITIES, Capability
from intercede.contract.errors import IntercedeError
from intercede.redaction import make_scrubber
from intercede.testing.isolation import timeouts
from intercede.testing.isolation.files import make_scratch_directory
from intercede.testing.model.role import Role
from intercede.testing.model.verdict import SubjectInfo
from intercede.testing.subjects.child import Child, run_child
from intercede.testing.subjects.claims import report_claims
from intercede.testing.subjects.subject import RegistrySubject, load_configuration

__all__ = ["examine", "resolve"]

_LOAD_SECONDS = 20.0
_UNFIT = re.compile(r"[^A-Za-z0-9._+:#-]+|:(?=:)")
"""Characters that an id must not contain, because it becomes part of pytest's node ids and of file names."""


def resolve(
    asked: Iterable[tuple[Role, str | Mapping[str, object]]], file: str | None = None, spell: Callable[[str], str] = str
) -> tuple[RegistrySubject, ...]:
    """Turn each pair of a role and an argument into a subject.

    An argument is a configuration as data or as JSON, the name of a table in the file, or a registered name; a table
    takes precedence over a registered name. Equal subjects are one subject. If different subjects have the same id,
    ``#2`` and so on is appended.

    Args:
        asked: The pairs.
        file: The configuration file. The default is ``INTERCEDE_CONFIG``.
        spell: Returns how the user spells the option that names a subject of a role, for error messages.

    Raises:
        ConfigError: The file or the JSON is wrong.
        PluginError: A name is unknown, ambiguous, denied or wrongly pinned.
    """
    file = file or os.environ.get("INTERCEDE_CONFIG") or None
    file = file and str(Path(file).absolute())  # child processes have another working directory
    subjects: list[RegistrySubject] = []
    for role, argument in asked:
        subject = _make_subject(role, argument, file, spell(role))
        if not any((each.role, _as_mapping(each.config)) == (role, _as_mapping(subject.config)) for each in subjects):
            alike = sum(each.id.partition("#")[0] == subject.id for each in subjects)
            numbered = f"{subject.id}#{alike + 1}" if alike else subject.id
            subjects.append(replace(subject, id=numbered))
    return tuple(subjects)


def _as_mapping(config: Mapping[str, object] | str) -> Mapping[str, object]:
    return {"type": config} if isinstance(config, str) else config


def _make_subject(role: Role, argument: str | Mapping[str, object], file: str | None, source: str) -> RegistrySubject:
    """Make the subject that an argument means. The id of a transport also names the scheduler that runs its jobs."""
    suffix = "+direct" if role == "transport" else ""
    given = parse_config_argument(argument, source) if isinstance(argument, str) else argument
    if not isinstance(given, str):
        return _resolve_plugins(RegistrySubject(f"{_make_id(given)}{suffix}", given, file, role=role))
    tables: Mapping[str, Mapping[str, object]] = load_configuration(file).get_tables(f"{role}s") if file else {}
    if given in tables:
        config = cast("Mapping[str, object]", _copy_data(tables[given]))
        return _resolve_plugins(RegistrySubject(f"{given}{suffix}", config, file, table=given, role=role))
    return _resolve_plugins(RegistrySubject(f"{given}{suffix}", given, file, role=role))


def _resolve_plugins(subject: RegistrySubject) -> RegistrySubject:
    subject.resolve_plugins()
    return replace(subject, id=_UNFIT.sub("_", subject.id))


def _make_id(config: Mapping[str, object]) -> str:
    """Return an id for a configuration: its type, or else the types of its transport and scheduler."""
    parts = [config["type"]] if "type" in config else [config.get("transport"), config.get("scheduler")]
    return "+".join(_find_type(part) or "?" for part in parts)


def _find_type(part: object) -> str | None:
    """Return the registered name of a plugin: the ``type`` of a table, or ``part`` if ``part`` is a text.

    The result is None if there is no such text.
    """
    inner = cast("Mapping[str, object]", part).get("type") if isinstance(part, Mapping) else part
    return inner if isinstance(inner, str) else None


def _copy_data(value: object) -> object:
    """Copy read-only data into plain dictionaries and lists, which pickle and can be written as JSON."""
    if isinstance(value, Mapping):
        return {key: _copy_data(inner) for key, inner in cast("Mapping[str, object]", value).items()}
    return [_copy_data(each) for each in cast("list[object]", value)] if isinstance(value, list) else value


# Loading a subject in a child process


def examine(subjects: Sequence[RegistrySubject], scale: float = 1.0) -> tuple[SubjectInfo, ...]:
    """Load each subject in a child process of its own, and return what it claims or why it was refused.

    Args:
        subjects: The subjects.
        scale: The timeout scale. The time limit is multiplied by it if it is greater than 1.

    Raises:
        IntercedeError: The configuration of a subject is wrong.
    """

    async def examine_all() -> list[SubjectInfo]:
        return await asyncio.gather(*(_examine_one(each, seconds) for each in subjects))

    # A scale below 1 is ignored: an interpreter does not start faster because a resource is fast.
    seconds = _LOAD_SECONDS * max(scale, 1.0)
    return tuple(timeouts.run_in_thread(examine_all, 2 * seconds).get())


async def _examine_one(subject: RegistrySubject, seconds: float) -> SubjectInfo:
    with make_scratch_directory(gettempdir()) as directory:
        try:
            examination = run_child(subject, report_claims, [], directory, seconds=seconds)
            child = await timeouts.limit_time(seconds, examination)
        except timeouts.TimeLimitExceeded:
            return _make_info(subject, {"refusal": f"it did not load within {seconds:g} s"})
    answer = _parse_answer(child.report) or {"refusal": _describe_death(child)}
    if "usage" in answer:
        raise IntercedeError(make_scrubber(subject.full_config)(str(answer["usage"])))
    return _make_info(subject, answer)


def _parse_answer(value: object) -> dict[str, object] | None:
    """Return the child's answer, or None if its form is wrong: the subject may have changed it."""
    if not isinstance(value, dict):
        return None
    answer = cast("dict[str, object]", value)
    lists = [answer.get(each, []) for each in ("capabilities", "warnings")]
    texts = [answer.get(each, "") for each in ("refusal", "usage")]
    flat = [*texts, *(each for some in lists if isinstance(some, list) for each in cast("list[object]", some))]
    good = all(isinstance(each, list) for each in lists) and all(isinstance(each, str) for each in flat)
    return answer if good and set(cast("list[str]", lists[0])) <= set(CAPABILITIES) else None


def _describe_death(child: Child) -> str:
    return f"loading it ended the process, with exit code {child.code}: {child.last_words}"


def _make_info(subject: RegistrySubject, answer: Mapping[str, object]) -> SubjectInfo:
    plugins, scrub = subject.resolve_plugins(), make_scrubber(subject.full_config)
    refusal = cast("str | None", answer.get("refusal"))
    seen = cast("Iterable[str]", answer.get("warnings", ()))
    warned = [*_warn_as_init(), *subject.registry.problems(), *seen]
    return SubjectInfo(
        id=subject.id,
        config=cast("Mapping[str, object] | str", _copy_data(subject.full_config)),
        name=subject.id,
        role=subject.role,
        origins=tuple(dict.fromkeys((each.distribution, each.version) for each in plugins)),
        capabilities=frozenset(cast("Iterable[Capability]", answer.get("capabilities", ()))),
        refusal=None if refusal is None else scrub(refusal),
        warnings=tuple(map(scrub, warned)),
    )


def _warn_as_init() -> list[str]:
    """Return a warning if this process has the id 1, because process 1 becomes the parent of every orphaned process."""
    adopts = "this process is number 1, as in a container without an init, and becomes the parent of every daemon: "
    unseen = (
        "IC-LIFE-07 does not count the child processes that a subject leaves. It counts them if an init is number 1 "
        "(docker run --init)"
    )
    return [adopts + unseen] if os.getpid() == 1 else []
