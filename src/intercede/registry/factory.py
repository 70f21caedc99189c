"""Make objects from configurations: resolve the names, import the targets, check the options, and gate the results."""

from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from intercede import contract
from intercede.contract.backend import JobBackend
from intercede.contract.errors import ConfigError, IntercedeError, PluginDeniedError
from intercede.contract.scheduler import Scheduler
from intercede.contract.transport import Transport
from intercede.location import Location
from intercede.plugin import GROUPS, Plugin, suggest
from intercede.redaction import remove_secrets
from intercede.registry.loading import construct, import_target, make_load_error
from intercede.registry.options import (
    Options,
    Target,
    bind,
    find_required,
    read_options,
    split_options,
    takes_credentials,
)
from intercede.registry.precedence import describe
from intercede.registry.resolver import Resolver, note_running

__all__ = ["Factory"]

Credentials = contract.CredentialProvider | None

_IN_CODE = Location("the configuration")
"""The location that errors name for a configuration that the caller passed as an argument."""


@dataclass(frozen=True)
class _LoadedPlugin:
    """A candidate and its imported target."""

    plugin: Plugin
    target: Target
    shadows_builtin: bool
    """True if the plugin shadows a built-in, and the user has not pinned it."""


class Factory:
    """Makes backends, transports and schedulers for one registry. It remembers the imports that failed."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._failures: dict[Plugin, BaseException] = {}

    def make_backend(self, config: object, credentials: Credentials) -> JobBackend:
        """Make a backend from a backend plugin, or a BatchBackend from a transport and a scheduler."""
        made = self._make("backends", config, credentials)
        assert isinstance(made, JobBackend)  # noqa: S101 -- for type checkers: the gate has checked the type
        return made

    def make_transport(self, config: object, credentials: Credentials) -> Transport:
        """Make a transport."""
        made = self._make("transports", config, credentials)
        assert isinstance(made, Transport)  # noqa: S101 -- as above
        return made

    def make_scheduler(self, config: object) -> Scheduler:
        """Make a scheduler."""
        made = self._make("schedulers", config, None)
        assert isinstance(made, Scheduler)  # noqa: S101 -- as above
        return made

    def _make(self, group: str, config: object, credentials: Credentials) -> object:
        """Make a plugin: a backend, a transport or a scheduler. Errors hide every value that may be secret."""
        try:
            table = self._find_table(group, config)
            parts = {"transport", "scheduler"} & set(table.values) if group == "backends" else set[str]()
            if not parts and ("type" in table.values or group != "backends"):
                return self._construct(self._load(group, table), table.without("type"), credentials)
            if len(parts) > 1 and "type" not in table.values:
                return self._compose(table, credentials)
            raise _make_form_error(table)
        except IntercedeError as error:
            read = self._resolver.configuration
            tables = [read.get_tables(each) for each in GROUPS] if read else []
            remove_secrets(error, tables if isinstance(config, str) else [config, *tables])
            raise

    def _find_table(self, group: str, config: object) -> Options:
        """Return the options in a configuration, which is a table or the name of a table."""
        if isinstance(config, str):
            return self._look_up(group, config, _IN_CODE)
        return read_options(config, group, _IN_CODE)

    def _find_part(self, role: str, table: Options) -> Options:
        """Return the options of a backend's transport or scheduler.

        In the backend's table, the value of the key ``role`` is a table of options, or the name of such a table.
        """
        given = table.values[role]
        if isinstance(given, str):
            part = self._look_up(f"{role}s", given, table.location)
        else:
            part = read_options(given, role, table.location)
        return replace(part, location=Location(part.location.source, f"{role}."))

    def _look_up(self, group: str, name: str, location: Location) -> Options:
        """Return the options in the configuration file's table of this name.

        If there is no such table, use the name as the name of a plugin without options.
        """
        configuration = self._resolver.read_configuration()
        table = configuration.get_tables(group).get(name) if configuration else None
        if configuration is None or table is None:
            return Options({"type": name}, location)
        return Options(table, Location(f"{configuration.path} [{group}.{name}]"))

    def _compose(self, table: Options, credentials: Credentials) -> object:
        """Make a BatchBackend from the transport and the scheduler of a table."""
        from intercede.batch import BatchBackend  # noqa: PLC0415 -- loads asyncio, which not every object needs

        transport_table, scheduler_table = self._find_part("transport", table), self._find_part("scheduler", table)
        transport, scheduler = self._load("transports", transport_table), self._load("schedulers", scheduler_table)
        beside = table.without("transport", "scheduler", "batch")
        batch = read_options(table.values.get("batch", {}), "batch", table.location)
        batch = replace(batch, location=Location(batch.location.source, "batch."))
        # To a type checker, a ``Target`` accepts any options, because options are checked at run time.
        compose = cast("Target", BatchBackend)
        for_transport, for_scheduler = split_options(beside, transport.target, scheduler.target, compose)
        # The two None take the places of the transport and the scheduler, so these two parameters are not options.
        arguments = bind(partial(compose, None, None), batch)
        parts = (
            self._construct(transport, transport_table.without("type").add_unprefixed(for_transport), credentials),
            self._construct(scheduler, scheduler_table.without("type").add_unprefixed(for_scheduler), None),
        )
        try:
            return compose(*parts, **arguments)
        except ConfigError as error:
            raise batch.location.complete(error) from error

    def _load(self, group: str, table: Options) -> _LoadedPlugin:
        """Resolve the name under the key ``type``, and import the target of the plugin."""
        name = table.values.get("type")
        if not isinstance(name, str):
            problem = "is missing" if name is None else f"must be a name, not {name!r},"
            expected = f'{{"type": NAME}} with one of {", ".join(self._resolver.list_available(group))}'
            raise table.location.make_error("type", problem, value=name, expected=expected)
        plugin = self._resolver.resolve(group, name)
        shadowed = self._resolver.explain(group, name).shadowed_builtin
        return _LoadedPlugin(plugin, self._import(plugin), shadowed is not None)

    def _import(self, plugin: Plugin) -> Target:
        """Import the target of a plugin.

        An import that failed is not tried again, because Python would find a module that is only half imported.
        """
        if plugin not in self._failures:
            try:
                return import_target(plugin)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 -- SystemExit as well: a broken plugin breaks one name only
                self._failures[plugin] = error
            finally:
                note_running(plugin)
        cause = self._failures[plugin]
        raise make_load_error(plugin, "imported", cause, self._list_other_pins(plugin)) from cause

    def _list_other_pins(self, plugin: Plugin) -> str:
        others = [
            each for each in self._resolver.explain(plugin.group, plugin.name).plugins if each.status == "shadowed"
        ]
        return " or ".join(each.pin for each in others if each.target != plugin.target)

    def _construct(self, loaded: _LoadedPlugin, options: Options, credentials: Credentials) -> object:
        """Call a target with options, and return the plugin if it has the shape that the contract requires."""
        plugin, target, location = loaded.plugin, loaded.target, options.location
        arguments = bind(target, options)
        if credentials is not None and takes_credentials(target):
            if loaded.shadows_builtin:
                raise _make_trust_error(plugin)
            arguments["credentials"] = credentials
        elif "credentials" in find_required(target):
            call = f"registry.{plugin.group.removesuffix('s')}(config, credentials=provider)"
            advice = f"{plugin.name} needs them: {call}"
            raise location.make_error("credentials", "are missing", value=None, expected=call, advice=advice)
        try:
            return construct(plugin, target, arguments, self._list_other_pins(plugin))
        except ConfigError as error:
            raise location.complete(error) from error


def _make_form_error(table: Options) -> ConfigError:
    """Return the error for a table of a wrong form. A table has either ``type``, or ``transport`` and ``scheduler``."""
    keys = [key for key in ("type", "transport", "scheduler") if key in table.values]
    lone = {"transport": "scheduler", "scheduler": "transport"}
    near = ""
    if "type" in keys:
        field, problem = "type", f"cannot be combined with {' and '.join(keys[1:])}"
    elif keys:
        field, problem = lone[keys[0]], f"is missing beside {keys[0]}"
    else:
        field, problem = "type", "is missing"
        near = suggest("type", table.values) or suggest("transport", table.values)
    expected = '{"type": NAME, ...} or {"transport": NAME, "scheduler": NAME, ...}'
    value = table.values.get(field)
    return table.location.make_error(
        field, problem, value=value, expected=expected, advice=f"expected {expected}{near}"
    )


def _make_trust_error(plugin: Plugin) -> PluginDeniedError:
    return PluginDeniedError(
        f"{describe(plugin)} shadows the built-in {plugin.group}:{plugin.name} because it is installed, so it does not "
        f"receive credentials. To hand them over: {plugin.pin}; to restore the built-in: "
        f"INTERCEDE_PREFER={plugin.group}:{plugin.name}=intercede",
        **plugin.error_attributes,
    )
