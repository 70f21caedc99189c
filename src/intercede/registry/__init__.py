"""Make a working object from a name. The functions of this module use one default ``Registry``.

::

    from intercede import registry

    async with registry.backend({"transport": "ssh", "scheduler": "slurm", "host": "login.example.org"}) as backend: ...

Making an object opens no connection; entering it may.
"""

import os
from _collections_abc import Mapping  # importing collections.abc would load all of collections

from intercede import contract
from intercede.plugin import Plugin
from intercede.registry.precedence import Explanation
from intercede.registry.resolver import PluginShadowWarning, Resolver

TYPE_CHECKING = False  # importing typing would cost more than this whole module
if TYPE_CHECKING:
    from intercede.config import Configuration
    from intercede.registry.factory import Factory
else:
    # typing.get_type_hints can evaluate the annotations only if the names in them exist at run time.
    Configuration = Factory = object

__all__ = [
    "Explanation",
    "Plugin",
    "PluginShadowWarning",
    "Registry",
    "backend",
    "check",
    "explain",
    "plugins",
    "prefer",
    "problems",
    "refresh",
    "resolve",
    "scheduler",
    "transport",
]


class Registry:
    """Resolves the names of plugins, and makes plugins. Each registry has its own pins and snapshot of the environment.

    The environment is scanned at the first call that needs the snapshot, and again after ``refresh()``.

    Args:
        configuration: The tables and pins: a Configuration or a file. None means the file in ``INTERCEDE_CONFIG``, if
            there is one.
    """

    def __init__(self, configuration: "Configuration | str | os.PathLike[str] | None" = None) -> None:
        self._resolver = Resolver(configuration)
        self._factory: Factory | None = None

    # Names

    def resolve(self, group: str, name: str) -> Plugin:
        """Return the candidate that is chosen for a name. No plugin is imported.

        The rule of precedence makes the choice. ``DISTRIBUTION:NAME`` means the candidate of that distribution,
        whatever the pins are.

        Raises:
            ConfigError: There is no such group, or ``INTERCEDE_PREFER``, ``INTERCEDE_PLUGINS`` or the configuration is
                invalid.
            PluginNotFoundError: No plugin has that name.
            PluginAmbiguousError: Several distributions provide the name, and no pin decides.
            PluginPinError: The pin for the name matches nothing.
            PluginDeniedError: The policy denies every candidate.

        Warns:
            PluginShadowWarning: The candidate shadows a built-in and is not pinned. A process warns once about a name.
        """
        return self._resolver.resolve(group, name)

    def plugins(self, group: str | None = None) -> tuple[Plugin, ...]:
        """Return all candidates for all names, sorted, each with its status and the reason. This imports no plugin.

        Raises:
            ConfigError: For the same reasons as in ``resolve``.
        """
        return self._resolver.list_plugins(group)

    def problems(self) -> tuple[str, ...]:
        """Return the problems in the environment, one sentence each.

        Examples are an unreadable file, and an entry point in a group ``intercede.*`` that does not exist.
        """
        return self._resolver.list_problems()

    def explain(self, group: str, name: str) -> Explanation:
        """Return an explanation of how a name is resolved; ``print`` shows its steps. This imports no plugin.

        Raises:
            ConfigError: For the same reasons as in ``resolve``.
        """
        return self._resolver.explain(group, name)

    def prefer(self, group: str, name: str, distribution: str) -> None:
        """Pin a name to a distribution. The pin overrides ``INTERCEDE_PREFER`` and ``[prefer]``.

        The distribution ``intercede`` means the built-in.

        Raises:
            ConfigError: There is no such group, or the name or the distribution is invalid. ``resolve`` reports a
                distribution that is not installed.
        """
        self._resolver.prefer(group, name, distribution)

    def refresh(self) -> None:
        """Forget the snapshot, the configuration file and failed imports, so that new installations are found.

        The pins that ``prefer`` has set are kept.
        """
        import importlib  # noqa: PLC0415 -- most processes never refresh

        importlib.invalidate_caches()
        self._resolver.forget()
        self._factory = None

    # Objects

    def backend(
        self, config: "str | Mapping[str, object]", credentials: "contract.CredentialProvider | None" = None
    ) -> "contract.JobBackend":
        """Make a backend from its configuration, and return the backend.

        Args:
            config: ``{"type": NAME, **options}`` for a whole backend; ``{"transport": T, "scheduler": S, **options}``
                for a composed one, in which T and S are names or tables ``{"type": NAME, **options}``, and ``"batch"``
                has the options of BatchBackend; or a name: of a table ``[backends.NAME]`` in the configuration, or else
                a registered one without options. T and S as names are looked up in the same way.
            credentials: The provider of credentials. A target with a parameter of that name receives it.

        Raises:
            ConfigError: The data is invalid: the message has the field, the value, and what is valid.
            PluginNotFoundError: No plugin has that name.
            PluginAmbiguousError: Several distributions provide the name, and no pin decides.
            PluginPinError: The pin for the name matches nothing.
            PluginDeniedError: The policy denies the plugin, or the plugin shadows a built-in and would receive
                credentials unpinned.
            PluginLoadError: Importing or making the plugin failed.
            PluginContractError: The plugin does not have the contract's shape.
        """
        return self._get_factory().make_backend(config, credentials)

    def transport(
        self, config: "str | Mapping[str, object]", credentials: "contract.CredentialProvider | None" = None
    ) -> "contract.Transport":
        """Make a transport from its configuration, and return the transport.

        The configuration is ``{"type": NAME, **options}``, the name of a table ``[transports.NAME]`` in the
        configuration file, or the name of a plugin without options.

        Raises:
            IntercedeError: The same errors as in ``backend``.
        """
        return self._get_factory().make_transport(config, credentials)

    def scheduler(self, config: "str | Mapping[str, object]") -> "contract.Scheduler":
        """Make a scheduler from its configuration, and return the scheduler.

        The configuration is ``{"type": NAME, **options}``, the name of a table ``[schedulers.NAME]`` in the
        configuration file, or the name of a plugin without options.

        Raises:
            IntercedeError: The same errors as in ``backend``.
        """
        return self._get_factory().make_scheduler(config)

    def check(self, plugin: Plugin, seconds: float = 20) -> tuple[str, ...]:
        """Load a candidate in a child process, check the object that it makes, and return the problems as sentences.

        A target that needs options is not called: if the target is a class, the class is checked. A malformed candidate
        is not loaded, and its ``reason`` is the problem. A denied or ignored candidate is not loaded either, and has no
        problem.

        Args:
            plugin: One of ``plugins()``.
            seconds: The time limit of the child process, which is then killed with all that it started.
        """
        from intercede.registry.subprocess_check import check_in_subprocess  # noqa: PLC0415 -- loads subprocess

        if plugin.status in {"denied", "ignored"}:
            return ()
        return (plugin.reason,) if plugin.status == "malformed" else check_in_subprocess(plugin, seconds)

    def _get_factory(self) -> "Factory":
        if self._factory is None:
            from intercede.registry.factory import Factory  # noqa: PLC0415 -- loads pydantic and inspect

            self._factory = Factory(self._resolver)
        return self._factory


_default = Registry()

backend = _default.backend
transport = _default.transport
scheduler = _default.scheduler
resolve = _default.resolve
plugins = _default.plugins
problems = _default.problems
explain = _default.explain
prefer = _default.prefer
refresh = _default.refresh
check = _default.check
