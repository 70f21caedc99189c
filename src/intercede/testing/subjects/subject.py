"""The subject of an inspection: something that can be built any number of times, here and in a child process."""

import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import module_from_spec, spec_from_file_location
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol, cast

from intercede.contract.backend import JobBackend
from intercede.contract.transport import Transport
from intercede.testing.model.role import Role

if TYPE_CHECKING:
    from intercede.config import Configuration
    from intercede.plugin import Plugin
    from intercede.registry import Registry

__all__ = [
    "FactorySubject",
    "RegistrySubject",
    "Subject",
    "fresh_registry",
    "load_configuration",
    "refuse_recursion",
    "remade",
]

"""What a subject is, and what a clause is about."""

SubjectSpec = Mapping[str, object]
"""Plain data from which a child process builds the same subject."""

_PARTS = ("transport", "scheduler")
"""The parts of a composed backend."""
_DIRECT = "intercede:direct"
"""What runs the jobs of a transport under inspection, whatever covers that name."""


class Subject(Protocol):
    """A backend, a transport or a scheduler under inspection."""

    @property
    def id(self) -> str:
        """Short and unique among the subjects of a run: what stands in the brackets of a check's id."""
        ...

    @property
    def role(self) -> Role:
        """What it is."""
        ...

    @property
    def config(self) -> Mapping[str, object] | str:
        """Its configuration: data, or a name."""
        ...

    @property
    def recipe(self) -> SubjectSpec:
        """What ``remade`` makes it from in another process."""
        ...

    def part(self) -> object:
        """Make a fresh object of what it is, not entered.

        Raises:
            IntercedeError: The registry cannot.
        """
        ...

    def build(self) -> JobBackend:
        """Make a fresh backend, not entered: the part itself, or the transport with jobs run by ``direct``.

        Raises:
            IntercedeError: The registry cannot. It is a scheduler, which makes no backend by itself.
        """
        ...


@dataclass(frozen=True)
class RegistrySubject:
    """What the registry makes of a configuration."""

    id: str
    config: Mapping[str, object] | str
    file: str | None = None
    """The configuration file whose tables and pins count."""
    table: str | None = None
    """The table of that file which holds the configuration: it is asked for by name, so that errors tell the place."""
    role: Role = "backend"

    @property
    def recipe(self) -> SubjectSpec:
        """The configuration itself, or its name."""
        return {"config": self._asked, "configuration": self.file, "role": self.role}

    @property
    def _asked(self) -> Mapping[str, object] | str:
        return self.config if self.table is None else self.table

    @cached_property
    def registry(self) -> "Registry":
        """The registry that is asked: one, so that a subject's environment is scanned once."""
        return fresh_registry(self.file)

    def plugins(self) -> tuple["Plugin", ...]:
        """Resolve the names in the configuration, importing nothing. What is missing is for ``part`` to tell.

        Raises:
            ConfigError: The file is wrong.
            PluginError: A name is not there, ambiguous, denied or wrongly pinned.
        """
        config = {"type": self.config} if isinstance(self.config, str) else self.config
        named = [(f"{self.role}s", config.get("type"))]
        if self.role == "backend":
            named += [(f"{each}s", self._type_of(f"{each}s", config.get(each))) for each in _PARTS]
        if self.role == "transport":
            named.append(("schedulers", _DIRECT))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the examination in a child records what the registry warns of
            return tuple(self.registry.resolve(group, name) for group, name in named if isinstance(name, str))

    @property
    def whole(self) -> Mapping[str, object] | str:
        """The configuration with the tables that it names in their places."""
        if isinstance(self.config, str) or self.role != "backend":
            return self.config
        parts = {each: self._table_of(f"{each}s", self.config[each]) for each in _PARTS if each in self.config}
        return {**self.config, **parts}

    def _table_of(self, group: str, part: object) -> object:
        """Return the table that a part of a composed backend is or names; a registered name stays one."""
        if isinstance(part, str) and self.file is not None:
            return load_configuration(self.file).tables(group).get(part, part)
        return part

    def _type_of(self, group: str, part: object) -> object:
        """Return the registered name that a part of a composed backend means."""
        table = self._table_of(group, part)
        return cast("Mapping[str, object]", table).get("type") if isinstance(table, Mapping) else table

    def part(self) -> object:
        """Ask the registry."""
        make = {"backend": self.registry.backend, "transport": self.registry.transport}
        return make.get(self.role, self.registry.scheduler)(self._asked)

    def build(self) -> JobBackend:
        """Ask the registry, which composes a transport with the built-in ``direct``."""
        if self.role == "transport":
            return self.registry.backend({"transport": self._asked, "scheduler": _DIRECT})
        return self.registry.backend(self._asked)


_remaking: list[str] = []
"""The file that is being loaded to remake a subject, in the process of a child."""


def refuse_recursion() -> None:
    """Refuse to inspect while the file of a subject is loaded: a child would start children without end.

    Raises:
        RuntimeError: It is.
    """
    if _remaking:
        raise RuntimeError(
            f"{_remaking[0]} is loaded in a child process to make its subject there, and would inspect it once more: put "
            'what inspects below `if __name__ == "__main__":`'
        )


@dataclass(frozen=True)
class FactorySubject:
    """What a callable makes: a class, for instance. No registry and no gate stand between it and the checks."""

    factory: Callable[[], object]
    role: Role = "backend"

    @property
    def id(self) -> str:
        """The callable's own name."""
        return str(getattr(self.factory, "__name__", type(self.factory).__name__))

    @property
    def config(self) -> Mapping[str, object] | str:
        """There is none but the name."""
        return self.id

    @property
    def recipe(self) -> SubjectSpec:
        """The file and the name in it: the module need not be importable by its own name in the child."""
        name = getattr(self.factory, "__qualname__", None)
        return {"file": inspect.getsourcefile(self.factory), "name": name, "role": self.role}

    def part(self) -> object:
        """Call it."""
        return self.factory()

    def build(self) -> JobBackend:
        """Call it, and compose a transport with the built-in ``direct``."""
        made = self.factory()
        return _compose(cast("Transport", made)) if self.role == "transport" else cast("JobBackend", made)


# The registry is met here, at the edge, only: hence the imports at use.


def fresh_registry(file: str | None = None) -> "Registry":
    """Make a registry over the running environment, with the tables and pins of a configuration file."""
    from intercede import registry  # noqa: PLC0415 -- as above

    return registry.Registry(file)


def load_configuration(file: str) -> "Configuration":
    """Read a configuration file.

    Raises:
        ConfigError: It is wrong.
    """
    from intercede.config import load  # noqa: PLC0415 -- as above

    return load(file)


def _compose(transport: Transport) -> JobBackend:
    from intercede.batch import BatchBackend  # noqa: PLC0415 -- as above

    return BatchBackend(transport, fresh_registry().scheduler(_DIRECT))


def remade(recipe: SubjectSpec) -> Subject:
    """Return the subject of a recipe, in this process."""
    role = cast("Role", recipe["role"])
    if "file" in recipe:
        return FactorySubject(_from_file(str(recipe["file"]), str(recipe["name"])), role)
    config = cast("Mapping[str, object] | str", recipe["config"])
    return RegistrySubject("", config, cast("str | None", recipe["configuration"]), role=role)


def _from_file(file: str, name: str) -> Callable[[], object]:
    spec = spec_from_file_location("intercede_subject", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} holds no module to build {name} from", path=file)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    _remaking.append(file)
    spec.loader.exec_module(module)
    _remaking.clear()
    return cast("Callable[[], object]", attrgetter(name)(module))
