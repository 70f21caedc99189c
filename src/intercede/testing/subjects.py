"""What is inspected: a backend that can be built any number of times, here and in a child process."""

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import module_from_spec, spec_from_file_location
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol, cast

from intercede.contract.backend import JobBackend

if TYPE_CHECKING:
    from intercede.registry import Registry

__all__ = ["FactorySubject", "RegistrySubject", "Subject", "builder"]

Recipe = Mapping[str, object]
"""Plain data from which a child process builds the same subject."""


class Subject(Protocol):
    """A backend under inspection."""

    @property
    def id(self) -> str:
        """Short and unique among the subjects of a run: what stands in the brackets of a check's id."""
        ...

    @property
    def config(self) -> Mapping[str, object] | str:
        """Its configuration: data, or a name."""
        ...

    @property
    def recipe(self) -> Recipe:
        """What ``builder`` makes it from in another process."""
        ...

    def build(self) -> JobBackend:
        """Make a fresh object, not entered.

        Raises:
            IntercedeError: The registry cannot.
        """
        ...


@dataclass(frozen=True)
class RegistrySubject:
    """What the registry makes of a configuration."""

    id: str
    config: Mapping[str, object] | str
    configuration: str | None = None
    """The configuration file whose pins count."""

    @property
    def recipe(self) -> Recipe:
        """The configuration itself."""
        return {"config": self.config, "configuration": self.configuration}

    @cached_property
    def registry(self) -> "Registry":
        """The registry that is asked: one, so that a subject's environment is scanned once."""
        from intercede.config import load  # noqa: PLC0415 -- the registry is met here, at the edge, only
        from intercede.registry import Registry  # noqa: PLC0415 -- as above

        return Registry(load(self.configuration)) if self.configuration else Registry()

    def build(self) -> JobBackend:
        """Ask the registry."""
        return self.registry.backend(self.config)


@dataclass(frozen=True)
class FactorySubject:
    """What a callable makes: a class, for instance. No registry and no gate stand between it and the checks."""

    factory: Callable[[], JobBackend]

    @property
    def id(self) -> str:
        """The callable's own name."""
        return str(getattr(self.factory, "__name__", type(self.factory).__name__))

    @property
    def config(self) -> Mapping[str, object] | str:
        """There is none but the name."""
        return self.id

    @property
    def recipe(self) -> Recipe:
        """The file and the name in it: the module need not be importable by its own name in the child."""
        return {"file": inspect.getsourcefile(self.factory), "name": getattr(self.factory, "__qualname__", None)}

    def build(self) -> JobBackend:
        """Call it."""
        return self.factory()


def builder(recipe: Recipe) -> Callable[[], JobBackend]:
    """Return what builds the subject of a recipe, in this process."""
    if "file" in recipe:
        return _from_file(str(recipe["file"]), str(recipe["name"]))
    config, configuration = recipe["config"], recipe["configuration"]
    return RegistrySubject("", cast("Mapping[str, object] | str", config), cast("str | None", configuration)).build


def _from_file(file: str, name: str) -> Callable[[], JobBackend]:
    spec = spec_from_file_location("intercede_subject", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} holds no module to build {name} from", path=file)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return cast("Callable[[], JobBackend]", attrgetter(name)(module))
