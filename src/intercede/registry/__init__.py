"""From a name to a thing that works: the functions of one default ``Registry``.

::

    from intercede import registry

    async with registry.backend({"transport": "ssh", "scheduler": "slurm", "host": "login.example.org"}) as backend: ...

Making an object connects nowhere; entering it may.
"""

from _collections_abc import Mapping  # collections.abc is the same, and would load all of collections

from intercede import contract
from intercede.contract.errors import ConfigError, IntercedeError, PluginDeniedError
from intercede.plugin import GROUPS, Plugin, suggest
from intercede.registry.names import Names, PluginShadowWarning, note_running
from intercede.registry.precedence import Explanation, describe

TYPE_CHECKING = False  # importing typing for it would cost more than this module
if TYPE_CHECKING:
    from intercede.registry.options import Target
else:
    Target = object  # for whoever evaluates annotations, as typing.get_type_hints does

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


class Registry(Names):
    """One view of what is installed, with its own snapshot, pins and remembered failures.

    The environment is scanned when something is first asked, and again after ``refresh()``; names mean what
    ``Names`` says.

    Args:
        configuration: What names tables and pins: a Configuration or a file. None: the file that
            ``INTERCEDE_CONFIG`` names, where it names one.
    """

    def _forget(self) -> None:
        super()._forget()
        self._failures: dict[Plugin, BaseException] = {}

    # Objects

    def backend(
        self, config: "str | Mapping[str, object]", credentials: "contract.CredentialProvider | None" = None
    ) -> "contract.JobBackend":
        """Make a backend.

        Args:
            config: ``{"type": NAME, **options}`` for a whole backend; ``{"transport": T, "scheduler": S, **options}``
                for a composed one, where T and S are names or tables ``{"type": NAME, **options}`` and options of
                BatchBackend lie under ``"batch"``; or a name: first that of a table ``[backends.NAME]`` of the
                configuration, else a registered one without options. T and S as names are looked up likewise.
            credentials: Who answers for credentials. Handed to a target that has a parameter of that name.

        Raises:
            ConfigError: Something in the data is wrong: the field, what was given, what would do.
            PluginNotFoundError: Nothing bears the name.
            PluginAmbiguousError: Several distributions do, and no pin decides.
            PluginPinError: The pin for it matches nothing.
            PluginDeniedError: Policy keeps it out, or it shadows a built-in and would get credentials unpinned.
            PluginLoadError: Importing or making it failed.
            PluginContractError: It has not the contract's shape.
        """
        from intercede.contract.backend import JobBackend  # noqa: PLC0415 -- loads pydantic

        made = self._made("backends", config, credentials)
        assert isinstance(made, JobBackend)  # noqa: S101 -- the gate said so; this tells the type checkers
        return made

    def transport(
        self, config: "str | Mapping[str, object]", credentials: "contract.CredentialProvider | None" = None
    ) -> "contract.Transport":
        """Make a transport from ``{"type": NAME, **options}``, a table's name, or a registered name.

        Raises:
            ConfigError: As ``backend``, and so are the others.
        """
        from intercede.contract.transport import Transport  # noqa: PLC0415 -- loads pydantic

        made = self._made("transports", config, credentials)
        assert isinstance(made, Transport)  # noqa: S101 -- as above
        return made

    def scheduler(self, config: "str | Mapping[str, object]") -> "contract.Scheduler":
        """Make a scheduler from ``{"type": NAME, **options}``, a table's name, or a registered name.

        Raises:
            ConfigError: As ``backend``, and so are the others.
        """
        from intercede.contract.scheduler import Scheduler  # noqa: PLC0415 -- loads pydantic

        made = self._made("schedulers", config)
        assert isinstance(made, Scheduler)  # noqa: S101 -- as above
        return made

    def check(self, plugin: Plugin, seconds: float = 20) -> tuple[str, ...]:
        """Load and gate a candidate in a child process, and return the problems, a sentence each.

        A target that needs options is judged by its class, where it is one. What is malformed is not loaded: its
        reason is the problem. What is denied or ignored is neither loaded nor a problem.

        Args:
            plugin: One of ``plugins()``.
            seconds: How long the child may take; then it is killed, and what it started with it.
        """
        from intercede.registry.trial import tried  # noqa: PLC0415 -- loads subprocess

        if plugin.status in {"denied", "ignored"}:
            return ()
        return (plugin.reason,) if plugin.status == "malformed" else tried(plugin, seconds)

    # How an object is made

    def _made(self, group: str, config: object, credentials: "contract.CredentialProvider | None" = None) -> object:
        """Make an object of a group. No error repeats what may be secret in its configuration."""
        try:
            table, where = self._table(group, config)
            parts = {"transport", "scheduler"} & set(table) if group == "backends" else set[str]()
            if not parts and ("type" in table or group != "backends"):
                return self._whole(group, table, where, credentials)
            if len(parts) > 1 and "type" not in table:
                return self._composed(table, where, credentials)
            raise _neither(table, where)
        except IntercedeError as error:
            from intercede.redaction import keep_secrets  # noqa: PLC0415 -- for errors only

            tables = [self._read.tables(each) for each in GROUPS] if self._read else []
            keep_secrets(error, tables if isinstance(config, str) else [config, *tables])
            raise

    def _table(self, group: str, config: object) -> "tuple[Mapping[str, object], str]":
        """Return the mapping that a configuration means, and where it stands."""
        if isinstance(config, str):
            configuration = self._configuration()
            table = configuration.tables(group).get(config) if configuration else None
            if configuration is None or table is None:
                return {"type": config}, _DATA
            return table, f"{configuration.path} [{group}.{config}]"
        return _mapping(config, group, _DATA), _DATA

    def _whole(
        self,
        group: str,
        table: "Mapping[str, object]",
        where: str,
        credentials: "contract.CredentialProvider | None" = None,
    ) -> object:
        chosen = self._chosen(group, table, where)
        return self._object(chosen, credentials)

    def _composed(
        self, table: "Mapping[str, object]", where: str, credentials: "contract.CredentialProvider | None"
    ) -> object:
        from typing import cast  # noqa: PLC0415 -- loaded by then

        from intercede.batch import BatchBackend  # noqa: PLC0415 -- loads asyncio
        from intercede.registry.options import bind, placed, split  # noqa: PLC0415 -- loads inspect

        transport = self._chosen("transports", *self._table_in("transports", table, where), prefix="transport.")
        scheduler = self._chosen("schedulers", *self._table_in("schedulers", table, where), prefix="scheduler.")
        batch = _mapping(table.get("batch", {}), "batch", where)
        flat = {name: value for name, value in table.items() if name not in {"transport", "scheduler", "batch"}}
        transport.flat, scheduler.flat = split(flat, transport.target, scheduler.target, BatchBackend, where=where)
        options = bind(BatchBackend, batch, where=where, prefix="batch.", reserved=("transport", "scheduler"))
        compose = cast("Target", BatchBackend)  # its options are checked by name and type, at run time
        parts = self._object(transport, credentials), self._object(scheduler, None)
        try:
            return compose(*parts, **options)
        except ConfigError as error:
            raise placed(error, where=where, prefix="batch.") from error

    def _table_in(self, group: str, table: "Mapping[str, object]", where: str) -> "tuple[Mapping[str, object], str]":
        """Return what the key ``transport`` or ``scheduler`` means, which is a name or a table of its own."""
        given = table[group.removesuffix("s")]
        if isinstance(given, str):
            found, place = self._table(group, given)
            return found, where if place == _DATA else place
        return _mapping(given, group.removesuffix("s"), where), where

    def _chosen(self, group: str, table: "Mapping[str, object]", where: str, prefix: str = "") -> "_Chosen":
        name = table.get("type")
        if not isinstance(name, str):
            given = "is missing" if name is None else f"must be a name, not {name!r}"
            raise _wrong(
                f"{prefix}type", name, given, f'{{"type": NAME}} with one of {", ".join(self.available(group))}', where
            )
        plugin = self.resolve(group, name)
        options = {key: value for key, value in table.items() if key != "type"}
        shadows = self.explain(group, name).shadowed_builtin is not None
        return _Chosen(plugin, self._loaded(plugin), options, where=where, prefix=prefix, shadows=shadows)

    def _loaded(self, plugin: Plugin) -> "Target":
        """Import a target. What failed stays failed until refresh(): a half-imported module is no second try.

        A failed call of the target is tried again, for it depends on options and credentials.
        """
        from intercede.registry.loading import imported, load_error  # noqa: PLC0415 -- loads the contract, and so pydantic

        if plugin not in self._failures:
            try:
                return imported(plugin)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 -- SystemExit too: one broken plugin spoils one name
                self._failures[plugin] = error
            finally:
                note_running(plugin)
        cause = self._failures[plugin]
        raise load_error(plugin, "imported", cause, self._instead(plugin)) from cause

    def _instead(self, plugin: Plugin) -> str:
        others = [each for each in self.explain(plugin.group, plugin.name).plugins if each.status == "shadowed"]
        return " or ".join(each.pin for each in others if each.target != plugin.target)

    def _object(self, chosen: "_Chosen", credentials: "contract.CredentialProvider | None") -> object:
        from intercede.registry.loading import construct  # noqa: PLC0415 -- as above
        from intercede.registry.options import bind, needed, placed, takes_credentials  # noqa: PLC0415 -- as above

        plugin = chosen.plugin
        options = bind(chosen.target, chosen.options, where=chosen.where, prefix=chosen.prefix, flat=chosen.flat)
        if credentials is not None and takes_credentials(chosen.target):
            if chosen.shadows:
                raise _untrusted(plugin)
            options["credentials"] = credentials
        elif "credentials" in needed(chosen.target):
            call = f"registry.{plugin.group.removesuffix('s')}(config, credentials=provider)"
            raise _wrong(
                f"{chosen.prefix}credentials", None, f"are missing: {plugin.name} needs them", call, chosen.where
            )
        try:
            return construct(plugin, chosen.target, options, self._instead(plugin))
        except ConfigError as error:
            raise placed(error, where=chosen.where, prefix=chosen.prefix, flat=chosen.flat) from error


_DATA = "the configuration"  # where a mapping given in code is said to lie


class _Chosen:
    """One half of a configuration, decided and imported, before it is called."""

    def __init__(
        self, plugin: Plugin, target: "Target", options: dict[str, object], *, where: str, prefix: str, shadows: bool
    ) -> None:
        self.plugin = plugin
        self.target = target
        self.nested = options
        self.flat: dict[str, object] = {}
        self.where = where
        self.prefix = prefix
        self.shadows = shadows  # a built-in, and no person said that it should

    @property
    def options(self) -> dict[str, object]:
        twice = sorted(set(self.nested) & set(self.flat))
        if twice:
            raise _wrong(
                twice[0], self.flat[twice[0]], f"stands twice, there and in {self.prefix}", "one of them", self.where
            )
        return self.nested | self.flat


def _mapping(given: object, field: str, where: str) -> "Mapping[str, object]":
    """Return data as a mapping of options.

    Raises:
        ConfigError: It is something else.
    """
    from typing import cast  # noqa: PLC0415 -- not before it is asked for

    if isinstance(given, Mapping):
        table = cast("Mapping[str, object]", given)
        if all(isinstance(cast("object", key), str) for key in table):
            return table
    shown = f"must be a name or a table, not {given!r}"
    raise _wrong(field, given, shown, '{"type": NAME, ...}', where)  # pyright: ignore[reportUnknownArgumentType] -- of any types


def _wrong(field: str, value: object, what: str, expected: str, where: str) -> ConfigError:
    return ConfigError(
        f"{field} {what}, in {where}; what would do: {expected}",
        field=field,
        value=value,
        expected=expected,
        where=where,
    )


def _neither(table: "Mapping[str, object]", where: str) -> ConfigError:
    keys = [key for key in ("type", "transport", "scheduler") if key in table]
    lone = {"transport": "scheduler", "scheduler": "transport"}
    if "type" in keys:
        field, what = "type", f"stands beside {' and '.join(keys[1:])}: keep one form"
    elif keys:
        field, what = lone[keys[0]], f"is missing beside {keys[0]}"
    else:
        field, what = "type", f"is missing{suggest('type', table) or suggest('transport', table)}"
    forms = '{"type": NAME, ...} or {"transport": NAME, "scheduler": NAME, ...}'
    return _wrong(field, table.get(field), what, forms, where)


def _untrusted(plugin: Plugin) -> PluginDeniedError:
    return PluginDeniedError(
        f"{describe(plugin)} shadows the built-in {plugin.group}:{plugin.name} by being installed alone, so it is "
        f"handed no credentials. If it is meant to have them: {plugin.pin}; to restore the built-in: "
        f"INTERCEDE_PREFER={plugin.group}:{plugin.name}=intercede",
        **plugin.error_attributes,
    )


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
