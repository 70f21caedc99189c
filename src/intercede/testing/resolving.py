"""From what stands on a command line to subjects, and what can be known of them before any check runs.

Names are resolved here, in this process, from metadata. The plugin itself is first loaded in a child process: it may
hang, exit or crash there.
"""

import asyncio
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from intercede.contract.backend import Capability
from intercede.contract.errors import ConfigError, IntercedeError
from intercede.contract.transport import CommandResult
from intercede.testing import bounded
from intercede.testing.child import run_child
from intercede.testing.subjects import RegistrySubject, Role, loaded
from intercede.testing.verdict import Facts

__all__ = ["examine", "resolve"]

_LOAD_SECONDS = 20.0
_UNFIT = re.compile(r"[^A-Za-z0-9._+:#-]+|:(?=:)")
"""What an id cannot hold: it stands in a node id and in a file's name."""


def resolve(
    asked: Iterable[tuple[Role, str | Mapping[str, object]]], file: str | None = None
) -> tuple[RegistrySubject, ...]:
    """Turn each role and argument into a subject: a table of the file, else a registered name, else JSON; or data.

    Equal ones fold; further ones of the same id are ``#2`` and so on.

    Raises:
        ConfigError: The file or the JSON is wrong.
        PluginError: A name is not there, ambiguous, denied or wrongly pinned.
    """
    file = file or os.environ.get("INTERCEDE_CONFIG") or None
    subjects: list[RegistrySubject] = []
    for role, argument in asked:
        subject = _subject(role, argument, file)
        if not any((each.role, _plain(each.config)) == (role, _plain(subject.config)) for each in subjects):
            alike = sum(each.id.partition("#")[0] == subject.id for each in subjects)
            numbered = f"{subject.id}#{alike + 1}" if alike else subject.id
            subjects.append(replace(subject, id=numbered))
    return tuple(subjects)


def _plain(config: Mapping[str, object] | str) -> Mapping[str, object]:
    return {"type": config} if isinstance(config, str) else config


def _subject(role: Role, argument: str | Mapping[str, object], file: str | None) -> RegistrySubject:
    """Find what an argument means. A transport's id names what runs its jobs, too."""
    beside = "+direct" if role == "transport" else ""
    if not isinstance(argument, str) or argument.lstrip().startswith("{"):
        config = _from_json(argument) if isinstance(argument, str) else argument
        return _resolved(RegistrySubject(f"{_id_of(config)}{beside}", config, file, role=role))
    tables: Mapping[str, Mapping[str, object]] = loaded(file).tables(f"{role}s") if file else {}
    if argument in tables:
        config = cast("Mapping[str, object]", _thawed(tables[argument]))
        return _resolved(RegistrySubject(f"{argument}{beside}", config, file, table=argument, role=role))
    return _resolved(RegistrySubject(f"{argument}{beside}", argument, file, role=role))


def _resolved(subject: RegistrySubject) -> RegistrySubject:
    subject.plugins()
    return replace(subject, id=_UNFIT.sub("_", subject.id))


def _from_json(argument: str) -> Mapping[str, object]:
    try:
        config: object = json.loads(argument)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{argument!r} is neither a name nor JSON: {error}", where=argument) from None
    return cast("Mapping[str, object]", config)  # what opens with a brace is an object


def _id_of(config: Mapping[str, object]) -> str:
    """Name a configuration by its type, else by its transport and scheduler."""
    parts = [config["type"]] if "type" in config else [config.get("transport"), config.get("scheduler")]
    return "+".join(_type_in(part) or "?" for part in parts)


def _type_in(part: object) -> str | None:
    """Return the name that a table or the name itself holds."""
    inner = cast("Mapping[str, object]", part).get("type") if isinstance(part, Mapping) else part
    return inner if isinstance(inner, str) else None


def _thawed(value: object) -> object:
    """Copy read-only data into what pickles and is JSON."""
    if isinstance(value, Mapping):
        return {key: _thawed(inner) for key, inner in cast("Mapping[str, object]", value).items()}
    return [_thawed(each) for each in cast("list[object]", value)] if isinstance(value, list) else value


# What a child process finds out


_EXAMINATION = """
import json, pathlib, sys, warnings
from intercede.contract import capabilities
from intercede.contract.errors import ConfigError, PluginContractError, PluginError, PluginLoadError
answer = {}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        part()
        answer["capabilities"] = sorted(capabilities(build())) if arguments[1] != "scheduler" else []
    except (PluginLoadError, PluginContractError) as error:
        answer["refusal"] = str(error)
    except (ConfigError, PluginError) as error:
        answer["usage"] = str(error)
    except BaseException as error:
        answer["refusal"] = f"building it raised {type(error).__name__}: {error}"
answer["warnings"] = [str(each.message) for each in caught if each.category.__name__ == "PluginShadowWarning"]
pathlib.Path(arguments[0]).write_text(json.dumps(answer))
"""


def examine(subjects: Sequence[RegistrySubject], scale: float = 1.0) -> tuple[Facts, ...]:
    """Load each subject in a child process of its own and tell what it claims, or why it was refused.

    Raises:
        IntercedeError: Its configuration is wrong.
    """

    async def all_of_them() -> list[Facts]:
        return await asyncio.gather(*(_examined(each, seconds) for each in subjects))

    seconds = _LOAD_SECONDS * max(scale, 1.0)  # a fast resource makes no interpreter start faster
    return tuple(bounded.run(all_of_them, 2 * seconds).get())


async def _examined(subject: RegistrySubject, seconds: float) -> Facts:
    with tempfile.TemporaryDirectory(prefix="intercede-") as directory:
        path = Path(directory, "answer")
        try:
            child = await bounded.within(seconds, run_child(subject, _EXAMINATION, [str(path), subject.role]))
        except bounded.TookTooLong:
            return _facts(subject, {"refusal": f"it did not load within {seconds:g} s"})
        answer = _read(path) or {"refusal": _died(child)}
    if "usage" in answer:
        raise IntercedeError(str(answer["usage"]))
    return _facts(subject, answer)


def _read(path: Path) -> dict[str, object]:
    return cast("dict[str, object]", json.loads(path.read_text())) if path.exists() else {}


def _died(child: CommandResult) -> str:
    last = child.stderr.decode(errors="backslashreplace").strip().rpartition("\n")[2]
    return f"loading it ended the process, with exit code {child.returncode}{f': {last}' if last else ''}"


def _facts(subject: RegistrySubject, answer: Mapping[str, object]) -> Facts:
    plugins = subject.plugins()
    return Facts(
        id=subject.id,
        config=subject.config,
        name=subject.id,
        role=subject.role,
        origins=tuple(dict.fromkeys((each.distribution, each.version) for each in plugins)),
        capabilities=frozenset(cast("Iterable[Capability]", answer.get("capabilities", ()))),
        refusal=cast("str | None", answer.get("refusal")),
        warnings=tuple(cast("Iterable[str]", answer.get("warnings", ()))),
    )
