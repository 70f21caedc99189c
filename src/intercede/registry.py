"""From a name to a thing that works: the functions of one default ``Registry``.

::

    from intercede import registry

    async with registry.backend({"transport": "ssh", "scheduler": "slurm", "host": "login.example.org"}) as backend: ...

Making an object connects nowhere; entering it may.
"""

from __future__ import annotations

import os
import sys

from intercede import discovery
from intercede.contract.errors import ConfigError, PluginDeniedError, PluginNotFoundError
from intercede.plugin import Plugin, fold
from intercede.precedence import (
    POLICY,
    PREFER,
    Explanation,
    Pin,
    allowed,
    decide,
    described,
    known_group,
    nearest,
    pin,
    pins,
)

TYPE_CHECKING = False  # importing typing for it would cost more than this module
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Never

    from intercede.config import Configuration
    from intercede.contract.backend import JobBackend
    from intercede.contract.credentials import CredentialProvider
    from intercede.contract.scheduler import Scheduler
    from intercede.contract.transport import Transport
    from intercede.options import Target

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

CONFIG = "INTERCEDE_CONFIG"

_warned: set[tuple[str, str]] = set()  # once a name and process, whatever number of registries there are
_running: dict[tuple[str, str], str] = {}  # distribution and package -> the version whose code is loaded


class PluginShadowWarning(UserWarning):
    """A distribution covers a built-in by being installed alone. A pin for the name accepts or refuses it."""


class Registry:
    """One view of what is installed, with its own snapshot, pins and remembered failures.

    The environment is scanned when something is first asked, and again after ``refresh()``.

    Args:
        configuration: What names tables and pins: a Configuration or a file. None: the file that
            ``INTERCEDE_CONFIG`` names, where it names one.
    """

    def __init__(self, configuration: Configuration | str | os.PathLike[str] | None = None) -> None:
        self._given = configuration
        self._pins: dict[tuple[str, str], Pin] = {}
        self._forget()

    def _forget(self) -> None:
        self._found: dict[tuple[str, str], list[Plugin]] | None = None
        self._problems: tuple[str, ...] = ()
        self._read: Configuration | None = None
        self._decided: dict[tuple[str, str], Explanation] = {}
        self._decided_for: tuple[str, str] | None = None
        self._failures: dict[Plugin, BaseException] = {}

    # Objects

    def backend(self, config: str | Mapping[str, object], credentials: CredentialProvider | None = None) -> JobBackend:
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
            PluginDeniedError: Policy keeps it out, or it covers a built-in and would get credentials unpinned.
            PluginLoadError: Importing or making it failed.
            PluginContractError: It has not the contract's shape.
        """
        from intercede.contract.backend import JobBackend  # noqa: PLC0415 -- loads pydantic

        table, where = self._table("backends", config)
        whole, composed = "type" in table, {"transport", "scheduler"} & set(table)
        if whole and not composed:
            made = self._whole("backends", table, where, credentials)
        elif len(composed) > 1 and not whole:
            made = self._composed(table, where, credentials)
        else:
            raise _neither(table, where)
        assert isinstance(made, JobBackend)  # noqa: S101 -- the gate said so; this tells the type checkers
        return made

    def transport(self, config: str | Mapping[str, object], credentials: CredentialProvider | None = None) -> Transport:
        """Make a transport from ``{"type": NAME, **options}``, a table's name, or a registered name.

        Raises:
            ConfigError: As ``backend``, and so are the others.
        """
        from intercede.contract.transport import Transport  # noqa: PLC0415 -- loads pydantic

        made = self._whole("transports", *self._table("transports", config), credentials)
        assert isinstance(made, Transport)  # noqa: S101 -- as above
        return made

    def scheduler(self, config: str | Mapping[str, object]) -> Scheduler:
        """Make a scheduler from ``{"type": NAME, **options}``, a table's name, or a registered name.

        Raises:
            ConfigError: As ``backend``, and so are the others.
        """
        from intercede.contract.scheduler import Scheduler  # noqa: PLC0415 -- loads pydantic

        made = self._whole("schedulers", *self._table("schedulers", config))
        assert isinstance(made, Scheduler)  # noqa: S101 -- as above
        return made

    # Names

    def resolve(self, group: str, name: str) -> Plugin:
        """Return what a name means by the rule of precedence; imports nothing.

        ``DISTRIBUTION:NAME`` means that distribution's, whatever the pins.

        Raises:
            ConfigError: No such group, or ``INTERCEDE_PREFER``, ``INTERCEDE_PLUGINS`` or the configuration is wrong.
            PluginNotFoundError: Nothing bears the name.
            PluginAmbiguousError: Several distributions do, and no pin decides.
            PluginPinError: The pin for it matches nothing.
            PluginDeniedError: Policy keeps it out.

        Warns:
            PluginShadowWarning: It covers a built-in and nobody pinned it; once a name and process.
        """
        distribution, colon, plain = name.partition(":")
        if colon:
            return self._qualified(group, fold(distribution), plain)
        explanation = self.explain(group, name)
        if explanation.winner is None:
            self._fail(explanation)
        if explanation.covered is not None:
            _warn(explanation.winner, explanation.covered)
        return explanation.winner

    def plugins(self, group: str | None = None) -> tuple[Plugin, ...]:
        """Return every candidate of every name, sorted, each with its status and the reason; imports nothing.

        Raises:
            ConfigError: As ``resolve``.
        """
        group = group if group is None else known_group(group)
        names = sorted(key for key in self._snapshot() if group in {None, key[0]})
        return tuple(plugin for key in names for plugin in self.explain(*key).plugins)

    def problems(self) -> tuple[str, ...]:
        """Return what could not be read while looking for plugins, a sentence each."""
        self._snapshot()
        return self._problems

    def explain(self, group: str, name: str) -> Explanation:
        """Tell how an unqualified name is decided; printing it shows the rule's steps. Imports nothing.

        Raises:
            ConfigError: As ``resolve``.
        """
        setting = os.environ.get(PREFER, ""), os.environ.get(POLICY, "")
        if setting != self._decided_for:
            self._decided.clear()
            self._decided_for = setting
        known = self._decided.get((group, name))
        if known is None:
            known = self._decided[group, name] = self._decide(known_group(group), name, *setting)
        return known

    def prefer(self, group: str, name: str, distribution: str) -> None:
        """Pin a name to a distribution, above all other pins; ``intercede`` means the built-in.

        Raises:
            ConfigError: No such group, or name or distribution cannot be one. Whether it is there, resolving tells.
        """
        self._pins[group, name] = pin(group, name, distribution, "registry.prefer")
        self._decided.clear()

    def refresh(self) -> None:
        """Forget the snapshot, the configuration file and failures: what was installed since is found. Pins stay."""
        import importlib  # noqa: PLC0415 -- not before it is asked for

        importlib.invalidate_caches()
        self._forget()

    def check(self, plugin: Plugin, seconds: float = 20) -> tuple[str, ...]:
        """Load and gate a candidate in a child process, and return the problems, a sentence each.

        A target that needs options is judged by its class, where it is one. What is malformed is not loaded: its
        reason is the problem. What is denied or ignored is neither loaded nor a problem.

        Args:
            plugin: One of ``plugins()``.
            seconds: How long the child may take; then it is killed, and what it started with it.
        """
        from intercede.trial import tried  # noqa: PLC0415 -- loads subprocess

        if plugin.status in {"denied", "ignored"}:
            return ()
        return (plugin.reason,) if plugin.status == "malformed" else tried(plugin, seconds)

    # How a name is decided

    def _snapshot(self) -> dict[tuple[str, str], list[Plugin]]:
        if self._found is None:
            found: dict[tuple[str, str], list[Plugin]] = {}
            plugins, problems = discovery.scan(sys.path)
            for plugin in plugins:
                found.setdefault((plugin.group, plugin.name), []).append(plugin)
                _note_running(plugin, loading=False)
            self._found, self._problems = found, tuple(problems)
        return self._found

    def _decide(self, group: str, name: str, preferred: str, policy: str) -> Explanation:
        explanation = decide(
            group,
            name,
            self._snapshot().get((group, name), ()),
            chosen=self._pins.get((group, name))
            or pins(preferred).get((group, name))
            or self._configured_pin(group, name),
            policy=allowed(policy),
        )
        explanation.plugins = tuple(map(_marked_if_stale, explanation.plugins))
        return explanation

    def _configuration(self) -> Configuration | None:
        if self._read is None:
            named = self._given if self._given is not None else os.environ.get(CONFIG)
            if not named:
                return None
            from intercede.config import Configuration, load  # noqa: PLC0415 -- loads tomllib, for those with a file

            self._read = named if isinstance(named, Configuration) else load(named)
        return self._read

    def _configured_pin(self, group: str, name: str) -> Pin | None:
        configuration = self._configuration()
        distribution = configuration and configuration.prefer.get(f"{group}:{name}")
        return (
            pin(group, name, distribution, f"[prefer] of {configuration.path}")
            if configuration and distribution
            else None
        )

    def _qualified(self, group: str, distribution: str, name: str) -> Plugin:
        explanation = self.explain(group, name)
        own = [each for each in explanation.plugins if each.distribution == distribution]
        plugin = next((each for each in own if each.status not in {"denied", "ignored", "malformed"}), None)
        if plugin is not None:
            return plugin
        if own:
            kind = PluginDeniedError if own[0].status == "denied" else PluginNotFoundError
            raise kind(
                f"{group}:{name} of {described(own[0])} does not count, it is {own[0].status}: {own[0].reason}",
                **_facts(own[0]),
            )
        who = ", ".join(sorted({each.distribution for each in explanation.plugins}))
        raise PluginNotFoundError(
            f"{distribution} does not provide {group}:{name}; "
            + (f"it is provided by {who}" if who else f"nothing does{nearest(name, self._names(group))}"),
            group=group,
            name=name,
            distribution=distribution,
            available=self._names(group),
        )

    def _fail(self, explanation: Explanation) -> Never:
        error = explanation.error
        group, name = explanation.group, explanation.name
        names = self._names(group)
        if isinstance(error, PluginNotFoundError):
            error.available = names
        if error is not None and (explanation.plugins or not isinstance(error, PluginNotFoundError)):
            raise error.with_traceback(None)
        elsewhere = [
            f"{each} has one" for each in ("transports", "schedulers", "backends") if name in self._names(each)
        ]
        raise PluginNotFoundError(
            f"nothing provides {group}:{name}{nearest(name, names)}; there are: {', '.join(names) or 'none'}"
            + "".join(f"; {each} of that name" for each in elsewhere)
            + "".join(f"; {problem}" for problem in self._problems)
            + f". Where each comes from: intercede plugins {group}",
            group=group,
            name=name,
            available=names,
        )

    def _names(self, group: str) -> tuple[str, ...]:
        counting = {"active", "pinned", "shadowed", "ambiguous"}
        return tuple(sorted({each.name for each in self.plugins(group) if each.status in counting}))

    # How an object is made

    def _table(self, group: str, config: object) -> tuple[Mapping[str, object], str]:
        """Return the mapping that a configuration means, and where it stands."""
        if isinstance(config, str):
            configuration = self._configuration()
            table = configuration.table(group, config) if configuration else None
            if configuration is None or table is None:
                return {"type": config}, _DATA
            return table, f"{configuration.path} [{group}.{config}]"
        return _mapping(config, group, _DATA), _DATA

    def _whole(
        self, group: str, table: Mapping[str, object], where: str, credentials: CredentialProvider | None = None
    ) -> object:
        chosen = self._chosen(group, table, where)
        return self._object(chosen, credentials)

    def _composed(self, table: Mapping[str, object], where: str, credentials: CredentialProvider | None) -> object:
        from intercede.batch import BatchBackend  # noqa: PLC0415 -- loads asyncio
        from intercede.options import bind, split  # noqa: PLC0415 -- loads inspect

        transport = self._chosen("transports", *self._table_in("transports", table, where), prefix="transport.")
        scheduler = self._chosen("schedulers", *self._table_in("schedulers", table, where), prefix="scheduler.")
        batch = _mapping(table.get("batch", {}), "batch", where)
        flat = {name: value for name, value in table.items() if name not in {"transport", "scheduler", "batch"}}
        transport.flat, scheduler.flat = split(flat, transport.target, scheduler.target, where=where)
        options = bind(BatchBackend, batch, where=where, prefix="batch.", reserved=("transport", "scheduler"))
        compose: Target = BatchBackend
        return compose(self._object(transport, credentials), self._object(scheduler, None), **options)

    def _table_in(self, group: str, table: Mapping[str, object], where: str) -> tuple[Mapping[str, object], str]:
        """Return what the key ``transport`` or ``scheduler`` means, which is a name or a table of its own."""
        given = table[group.removesuffix("s")]
        if isinstance(given, str):
            found, place = self._table(group, given)
            return found, where if place == _DATA else place
        return _mapping(given, group.removesuffix("s"), where), where

    def _chosen(self, group: str, table: Mapping[str, object], where: str, prefix: str = "") -> _Chosen:
        name = table.get("type")
        if not isinstance(name, str):
            given = "is missing" if name is None else f"must be a name, not {name!r}"
            raise _wrong(
                f"{prefix}type", name, given, f'{{"type": NAME}} with one of {", ".join(self._names(group))}', where
            )
        plugin = self.resolve(group, name)
        options = {key: value for key, value in table.items() if key != "type"}
        covers = ":" not in name and self.explain(group, name).covered is not None
        return _Chosen(plugin, self._loaded(plugin), options, where=where, prefix=prefix, covers=covers)

    def _loaded(self, plugin: Plugin) -> Target:
        """Import a target, once: what failed stays failed until refresh(), as half-imported modules are no second try."""
        from intercede.loading import imported, load_error  # noqa: PLC0415 -- loads the contract, and so pydantic

        if plugin not in self._failures:
            _note_running(plugin, loading=True)
            try:
                return imported(plugin)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 -- SystemExit too: one broken plugin spoils one name
                self._failures[plugin] = error
        cause = self._failures[plugin]
        raise load_error(plugin, "imported", cause, self._instead(plugin)) from cause

    def _instead(self, plugin: Plugin) -> str:
        others = [each for each in self.explain(plugin.group, plugin.name).plugins if each.status == "shadowed"]
        return " or ".join(each.pin for each in others if each.target != plugin.target)

    def _object(self, chosen: _Chosen, credentials: CredentialProvider | None) -> object:
        from intercede.loading import construct  # noqa: PLC0415 -- as above
        from intercede.options import bind, needed, takes_credentials  # noqa: PLC0415 -- as above

        plugin = chosen.plugin
        options = bind(chosen.target, chosen.options, where=chosen.where, prefix=chosen.prefix)
        if credentials is not None and takes_credentials(chosen.target):
            if chosen.covers:
                raise _untrusted(plugin)
            options["credentials"] = credentials
        elif "credentials" in needed(chosen.target):
            call = f"registry.{plugin.group.removesuffix('s')}(config, credentials=provider)"
            raise _wrong(
                f"{chosen.prefix}credentials", None, f"are missing: {plugin.name} needs them", call, chosen.where
            )
        return construct(plugin, chosen.target, options, self._instead(plugin))


_DATA = "the configuration"  # where a mapping given in code is said to lie


class _Chosen:
    """One half of a configuration, decided and imported, before it is called."""

    def __init__(
        self, plugin: Plugin, target: Target, options: dict[str, object], *, where: str, prefix: str, covers: bool
    ) -> None:
        self.plugin = plugin
        self.target = target
        self.nested = options
        self.flat: dict[str, object] = {}
        self.where = where
        self.prefix = prefix
        self.covers = covers  # a built-in, and no person said that it should

    @property
    def options(self) -> dict[str, object]:
        twice = sorted(set(self.nested) & set(self.flat))
        if twice:
            raise _wrong(
                twice[0], self.flat[twice[0]], f"stands twice, there and in {self.prefix}", "one of them", self.where
            )
        return self.nested | self.flat


def _mapping(given: object, field: str, where: str) -> Mapping[str, object]:
    """Return data as a mapping of options.

    Raises:
        ConfigError: It is something else.
    """
    from collections.abc import Mapping  # noqa: PLC0415 -- not before it is asked for
    from typing import cast  # noqa: PLC0415 -- as above

    if isinstance(given, Mapping):
        table = cast("Mapping[object, object]", given)
        if all(isinstance(key, str) for key in table):
            return cast("Mapping[str, object]", table)
    raise _wrong(field, given, f"must be a name or a table, not {given!r}", '{"type": NAME, ...}', where)


def _wrong(field: str, value: object, what: str, expected: str, where: str) -> ConfigError:
    return ConfigError(
        f"{field} {what}, in {where}; what would do: {expected}",
        field=field,
        value=value,
        expected=expected,
        where=where,
    )


def _neither(table: Mapping[str, object], where: str) -> ConfigError:
    keys = [key for key in ("type", "transport", "scheduler") if key in table]
    lone = {"transport": "scheduler", "scheduler": "transport"}
    if "type" in keys:
        field, what = "type", f"stands beside {' and '.join(keys[1:])}: keep one form"
    elif keys:
        field, what = lone[keys[0]], f"is missing beside {keys[0]}"
    else:
        field, what = "type", f"is missing{nearest('type', table) or nearest('transport', table)}"
    forms = '{"type": NAME, ...} or {"transport": NAME, "scheduler": NAME, ...}'
    return _wrong(field, table.get(field), what, forms, where)


def _untrusted(plugin: Plugin) -> PluginDeniedError:
    return PluginDeniedError(
        f"{described(plugin)} covers the built-in {plugin.group}:{plugin.name} by being installed alone, so it is "
        f"handed no credentials. If it is meant to have them: {plugin.pin}; to restore the built-in: "
        f"INTERCEDE_PREFER={plugin.group}:{plugin.name}=intercede",
        **_facts(plugin),
    )


def _warn(winner: Plugin, builtin: Plugin) -> None:
    if (winner.group, winner.name) in _warned:
        return
    _warned.add((winner.group, winner.name))
    import warnings  # noqa: PLC0415 -- for those who are warned

    warnings.warn(
        f"{winner.group}:{winner.name} is {winner.target} of {described(winner)}, which covers the built-in. "
        f"To keep it, without this warning: {winner.pin}; to restore the built-in: {builtin.pin}",
        PluginShadowWarning,
        stacklevel=_level_outside(),
    )


def _level_outside() -> int:
    """Count the frames up to whoever called intercede, for the warning to name that line."""
    level, frame = 1, sys._getframe(1)  # noqa: SLF001 -- warnings.warn counts frames, and how many there are varies
    while frame.f_back is not None and frame.f_globals.get("__name__") == __name__:
        level, frame = level + 1, frame.f_back
    return level - 1


def _note_running(plugin: Plugin, *, loading: bool) -> None:
    """Remember the version of code when it is loaded, or first seen loaded."""
    package = plugin.target.partition(":")[0].partition(".")[0]
    if loading or package in sys.modules:
        _running.setdefault((plugin.distribution, package), plugin.version)


def _marked_if_stale(plugin: Plugin) -> Plugin:
    package = plugin.target.partition(":")[0].partition(".")[0]
    running = _running.get((plugin.distribution, package), plugin.version)
    if running == plugin.version or package not in sys.modules:
        return plugin
    stale = f"restart needed: the code of {running} is loaded, {plugin.version} is installed"
    return plugin.judged(plugin.status, f"{plugin.reason}; {stale}")


def _facts(plugin: Plugin) -> dict[str, object]:
    return {field: vars(plugin)[field] for field in ("group", "name", "distribution", "version", "target")}


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
