"""The plugin that is checked. It can be made any number of times, in this process and in child processes."""

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
    "load_configuration",
    "make_registry",
    "make_subject_from_spec",
    "refuse_recursion",
]

SubjectSpec = Mapping[str, object]
"""Plain data from which a child process makes the same subject."""

_PARTS = ("transport", "scheduler")
"""The roles of the plugins that make up a composed backend."""
_DIRECT = "intercede:direct"
"""The scheduler that runs the jobs of a transport that is checked: the built-in, even if it is shadowed."""


class Subject(Protocol):
    """A backend, a transport or a scheduler that is checked."""

    @property
    def id(self) -> str:
        """A short name, unique among the subjects of a run. pytest shows it in the brackets of a check's node id."""
        ...

    @property
    def role(self) -> Role:
        """The subject's role."""
        ...

    @property
    def config(self) -> Mapping[str, object] | str:
        """The subject's configuration: data, or a registered name."""
        ...

    @property
    def spec(self) -> SubjectSpec:
        """Plain data from which ``make_subject_from_spec`` makes the same subject in another process."""
        ...

    def make_plugin(self) -> object:
        """Make a new object of the subject's role, not entered yet.

        Raises:
            IntercedeError: The registry cannot make it.
        """
        ...

    def make_backend(self) -> JobBackend:
        """Make a new backend, not entered yet: the subject, or a transport with the scheduler ``direct``.

        Raises:
            IntercedeError: The registry cannot make it, or the subject is a scheduler.
        """
        ...


@dataclass(frozen=True)
class RegistrySubject:
    """A subject that the registry makes from a configuration."""

    id: str
    config: Mapping[str, object] | str
    file: str | None = None
    """The configuration file with the tables and pins."""
    table: str | None = None
    """The table in the file that holds the configuration. The registry gets this name, so that errors show the name."""
    role: Role = "backend"

    @property
    def spec(self) -> SubjectSpec:
        """Plain data: the configuration or the name of its table, the file and the role."""
        return {"config": self._argument, "configuration": self.file, "role": self.role}

    @property
    def _argument(self) -> Mapping[str, object] | str:
        return self.config if self.table is None else self.table

    @cached_property
    def registry(self) -> "Registry":
        """The registry that makes this subject. The subject keeps it, so that the installed plugins are listed once."""
        return make_registry(self.file)

    def resolve_plugins(self) -> tuple["Plugin", ...]:
        """Return the candidate that the registry chooses for each name in the configuration. No plugin is imported.

        A key that the configuration lacks is no error here: ``make_plugin`` reports the key.

        Raises:
            ConfigError: The file is wrong.
            PluginError: A name is unknown, ambiguous, denied or wrongly pinned.
        """
        config = {"type": self.config} if isinstance(self.config, str) else self.config
        named = [(f"{self.role}s", config.get("type"))]
        if self.role == "backend":
            named += [(f"{each}s", self._find_type(f"{each}s", config.get(each))) for each in _PARTS]
        if self.role == "transport":
            named.append(("schedulers", _DIRECT))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the child process that loads the subject collects the warnings
            return tuple(self.registry.resolve(group, name) for group, name in named if isinstance(name, str))

    @property
    def full_config(self) -> Mapping[str, object] | str:
        """The configuration, with each name of a table replaced by the table."""
        if isinstance(self.config, str) or self.role != "backend":
            return self.config
        parts = {each: self._find_table(f"{each}s", self.config[each]) for each in _PARTS if each in self.config}
        return {**self.config, **parts}

    def _find_table(self, group: str, part: object) -> object:
        """Return the table of a composed backend's transport or scheduler. A registered name is returned as it is."""
        if isinstance(part, str) and self.file is not None:
            return load_configuration(self.file).get_tables(group).get(part, part)
        return part

    def _find_type(self, group: str, part: object) -> object:
        """Return the registered name of a composed backend's transport or scheduler."""
        table = self._find_table(group, part)
        return cast("Mapping[str, object]", table).get("type") if isinstance(table, Mapping) else table

    def make_plugin(self) -> object:
        """Let the registry make the plugin."""
        make = {"backend": self.registry.backend, "transport": self.registry.transport}
        return make.get(self.role, self.registry.scheduler)(self._argument)

    def make_backend(self) -> JobBackend:
        """Let the registry make the backend. A transport is combined with the built-in scheduler ``direct``."""
        if self.role == "transport":
            return self.registry.backend({"transport": self._argument, "scheduler": _DIRECT})
        return self.registry.backend(self._argument)


_loading: list[str] = []
"""The file that this child process is loading to make its subject, if it is loading one."""


def refuse_recursion() -> None:
    """Refuse to run checks while a child process loads the subject's file: it would start children without end.

    Raises:
        RuntimeError: This process is such a child.
    """
    if _loading:
        raise RuntimeError(
            f"{_loading[0]} is loaded in a child process to make its subject, and would run the checks once more: put "
            'the call that runs the checks below `if __name__ == "__main__":`'
        )


@dataclass(frozen=True)
class FactorySubject:
    """A subject that a callable makes, for instance a class. The registry and its gate are not involved."""

    factory: Callable[[], object]
    role: Role = "backend"

    @property
    def id(self) -> str:
        """The name of the callable."""
        return str(getattr(self.factory, "__name__", type(self.factory).__name__))

    @property
    def config(self) -> Mapping[str, object] | str:
        """The name of the callable: this subject has no configuration."""
        return self.id

    @property
    def spec(self) -> SubjectSpec:
        """Plain data: the callable's file and its name in the file. The child process need not be able to import it."""
        name = getattr(self.factory, "__qualname__", None)
        return {"file": inspect.getsourcefile(self.factory), "name": name, "role": self.role}

    def make_plugin(self) -> object:
        """Call the callable."""
        return self.factory()

    def make_backend(self) -> JobBackend:
        """Call the callable. A transport becomes a backend with the built-in scheduler ``direct``."""
        made = self.factory()
        return _compose_backend(cast("Transport", made)) if self.role == "transport" else cast("JobBackend", made)


# ``intercede.registry``, ``intercede.config`` and ``intercede.batch`` are imported only if a subject needs them.


def make_registry(file: str | None = None) -> "Registry":
    """Make a registry of the plugins in this environment, with the tables and pins of a configuration file."""
    from intercede import registry  # noqa: PLC0415 -- only if a subject needs it

    return registry.Registry(file)


def load_configuration(file: str) -> "Configuration":
    """Read a configuration file.

    Raises:
        ConfigError: The file is wrong.
    """
    from intercede.config import load  # noqa: PLC0415 -- only if a subject needs it

    return load(file)


def _compose_backend(transport: Transport) -> JobBackend:
    from intercede.batch import BatchBackend  # noqa: PLC0415 -- only if a subject needs it

    return BatchBackend(transport, make_registry().scheduler(_DIRECT))


def make_subject_from_spec(spec: SubjectSpec) -> Subject:
    """Make a subject in this process from the plain data that describes it."""
    role = cast("Role", spec["role"])
    if "file" in spec:
        return FactorySubject(_load_callable(str(spec["file"]), str(spec["name"])), role)
    config = cast("Mapping[str, object] | str", spec["config"])
    return RegistrySubject("", config, cast("str | None", spec["configuration"]), role=role)


def _load_callable(file: str, name: str) -> Callable[[], object]:
    spec = spec_from_file_location("intercede_subject", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} has no module to make {name} from", path=file)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    _loading.append(file)
    spec.loader.exec_module(module)
    _loading.clear()
    return cast("Callable[[], object]", attrgetter(name)(module))
