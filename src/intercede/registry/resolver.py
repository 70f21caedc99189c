"""Resolve the names of plugins, with a snapshot of the environment, the pins and the rule of precedence."""

import os
import sys

from intercede import discovery
from intercede.contract.errors import PluginDeniedError, PluginNotFoundError
from intercede.plugin import GROUPS, Plugin, canonicalize_name, is_name, suggest
from intercede.registry.precedence import (
    POLICY,
    PREFER,
    Explanation,
    Pin,
    check_group,
    decide,
    describe,
    make_pin,
    parse_pins,
    parse_policy,
)

TYPE_CHECKING = False  # importing typing would cost more than this whole module
if TYPE_CHECKING:
    from typing import Never

    from intercede.config import Configuration
else:
    # typing.get_type_hints can evaluate the annotations only if the names in them exist at run time.
    Configuration, Never = object, None

__all__ = ["PluginShadowWarning", "Resolver", "note_running"]

CONFIG = "INTERCEDE_CONFIG"

# The names for which a registry of this process has already issued a PluginShadowWarning.
_warned: set[tuple[str, str]] = set()
# Maps a distribution and its package to the version of the package that this process has loaded.
_running: dict[tuple[str, str], str] = {}


class PluginShadowWarning(UserWarning):
    """A distribution shadows a built-in only because the distribution is installed: no pin asks for that.

    A pin for the name accepts or rejects the distribution.
    """


class Resolver:
    """Resolves names. It keeps a snapshot of the environment, the configuration file, pins and decisions.

    Args:
        configuration: The tables and pins: a Configuration or a file. None means the file in ``INTERCEDE_CONFIG``, if
            there is one.
    """

    def __init__(self, configuration: "Configuration | str | os.PathLike[str] | None" = None) -> None:
        self._given = configuration
        self._pins: dict[tuple[str, str], Pin] = {}
        self._decided_for: tuple[str, str] | None = None
        self._decisions: dict[tuple[str, str], Explanation] = {}
        self._snapshot: dict[tuple[str, str], list[Plugin]] | None = None
        self._problems: tuple[str, ...] = ()
        self.configuration: Configuration | None = None
        """The configuration, or None before it is read."""

    # The methods of Registry

    def resolve(self, group: str, name: str) -> Plugin:
        """Return the plugin that is chosen for a name. ``Registry.resolve`` has the details."""
        explanation = self.explain(group, name)
        if explanation.winner is None:
            self._raise_error(explanation)
        if explanation.shadowed_builtin is not None:
            _warn_once(explanation.winner, explanation.shadowed_builtin)
        return explanation.winner

    def explain(self, group: str, name: str) -> Explanation:
        """Return an explanation of how a name is resolved. ``Registry.explain`` has the details."""
        setting = os.environ.get(PREFER, ""), os.environ.get(POLICY, "")
        if setting != self._decided_for:
            self._decisions.clear()
            self._decided_for = setting
        decision = self._decisions.get((group, name))
        if decision is None:
            qualified = ":" in name
            decision = self._decide_qualified(group, name) if qualified else self._decide(group, name, *setting)
            self._decisions[group, name] = decision
        return decision

    def list_plugins(self, group: str | None) -> tuple[Plugin, ...]:
        """Return all candidates for all names. ``Registry.plugins`` has the details."""
        group = group if group is None else check_group(group)
        names = sorted(key for key in self._scan() if group in {None, key[0]})
        return tuple(plugin for key in names for plugin in self.explain(*key).plugins)

    def list_problems(self) -> tuple[str, ...]:
        """Return the problems in the environment. ``Registry.problems`` has the details."""
        self._scan()
        return self._problems

    def prefer(self, group: str, name: str, distribution: str) -> None:
        """Pin a name to a distribution. ``Registry.prefer`` has the details."""
        self._pins[group, name] = make_pin(group, name, distribution, "registry.prefer")
        self._decisions.clear()

    def forget(self) -> None:
        """Forget the snapshot, the configuration and the decisions. The pins that ``prefer`` has set are kept."""
        self._decisions.clear()
        self._snapshot = None
        self.configuration = None

    # Helpers of the methods above

    def list_available(self, group: str) -> tuple[str, ...]:
        """Return the names in a group that have an eligible candidate, even names that cannot be resolved."""
        eligible = {"active", "pinned", "shadowed", "ambiguous"}
        return tuple(sorted({each.name for each in self.list_plugins(group) if each.status in eligible}))

    def read_configuration(self) -> "Configuration | None":
        """Return the configuration, or None if no configuration is given.

        Raises:
            ConfigError: The configuration file cannot be read, or is invalid.
        """
        if self.configuration is None:
            given = self._given if self._given is not None else os.environ.get(CONFIG)
            if not given:
                return None
            from intercede import config  # noqa: PLC0415 -- loads tomllib, and most users have no file

            self.configuration = given if isinstance(given, config.Configuration) else config.load(given)
        return self.configuration

    def _scan(self) -> dict[tuple[str, str], list[Plugin]]:
        if self._snapshot is None:
            found: dict[tuple[str, str], list[Plugin]] = {}
            plugins, problems = discovery.scan(sys.path)
            for plugin in plugins:
                found.setdefault((plugin.group, plugin.name), []).append(plugin)
                note_running(plugin)
            self._snapshot, self._problems = found, tuple(problems)
        return self._snapshot

    def _decide(self, group: str, name: str, preferred: str, policy: str) -> Explanation:
        check_group(group)
        decision = decide(
            group,
            name,
            self._scan().get((group, name), ()),
            chosen=self._pins.get((group, name))
            or parse_pins(preferred).get((group, name))
            or self._find_configured_pin(group, name),
            policy=parse_policy(policy),
        )
        return decision.change_plugins(_mark_if_stale)

    def _find_configured_pin(self, group: str, name: str) -> Pin | None:
        configuration = self.read_configuration()
        distribution = configuration and configuration.prefer.get(f"{group}:{name}")
        if not configuration or not distribution:
            return None
        return make_pin(group, name, distribution, f"[prefer] of {configuration.path}")

    def _decide_qualified(self, group: str, name: str) -> Explanation:
        """Resolve ``DISTRIBUTION:NAME`` to the eligible candidate of that distribution. Pins have no effect."""
        prefix, _, plain = name.partition(":")
        distribution = canonicalize_name(prefix)
        plugins = self.explain(group, plain).plugins if is_name(plain) else ()
        own = [each for each in plugins if each.distribution == distribution]
        eligible = [each for each in own if each.status not in {"denied", "ignored", "malformed"}]
        return Explanation(
            group,
            name,
            winner=eligible[0] if eligible else None,
            plugins=plugins,
            steps=(f"a qualified name means the entry of {distribution}, whatever the pins",),
            error=None if eligible else self._make_qualified_error(group, name, plugins, own),
        )

    # Errors

    def _make_qualified_error(
        self, group: str, name: str, plugins: tuple[Plugin, ...], own: list[Plugin]
    ) -> PluginDeniedError | PluginNotFoundError:
        prefix, _, plain = name.partition(":")
        if own:
            kind = PluginDeniedError if own[0].status == "denied" else PluginNotFoundError
            why = f"is {own[0].status}: {own[0].reason}"
            return kind(f"{group}:{plain} of {describe(own[0])} {why}", **own[0].error_attributes)
        providers = ", ".join(sorted({each.distribution for each in plugins}))
        hint = (
            f"it is provided by {providers}"
            if providers
            else f"no other does{suggest(plain, self.list_available(group))}"
        )
        return PluginNotFoundError(
            f"{canonicalize_name(prefix)} does not provide {_show_name(group, plain)}; {hint}"
            + "".join(f"; {problem}" for problem in self._problems),
            group=group,
            name=plain,
            distribution=canonicalize_name(prefix),
        )

    def _raise_error(self, explanation: Explanation) -> "Never":
        error = explanation.error
        group, name = explanation.group, explanation.name
        names = self.list_available(group)
        if isinstance(error, PluginNotFoundError):
            error.available = names
        if error is not None and (explanation.plugins or ":" in name or not isinstance(error, PluginNotFoundError)):
            raise error.with_traceback(None)
        configuration = self.read_configuration()
        tables = sorted(configuration.get_tables(group)) if configuration else []
        parts = [f"no plugin provides {_show_name(group, name)}", f"the names are: {', '.join(names) or 'none'}"]
        if configuration and tables:
            parts.append(f"the tables of {configuration.path} are: {', '.join(tables)}")
        parts += [*self._advise(group, name), *self._problems]
        near = suggest(name, [*tables, *names])
        raise PluginNotFoundError(
            f"{'; '.join(parts)}{near or '.'} `intercede plugins {group}` lists them all",
            group=group,
            name=name,
            available=names,
        )

    def _advise(self, group: str, name: str) -> list[str]:
        """Return advice about a name that was not found in a group.

        The name may belong to another group: most backends have no name, but are made from a transport and a scheduler.
        """
        elsewhere = [each for each in GROUPS if name in self.list_available(each)]
        if group == "backends" and not elsewhere:
            return [f"a transport and a scheduler make a backend: {_COMPOSED}"]
        return [f"the group {each} has that name: write {_write_config(each, name)}" for each in elsewhere]


_COMPOSED = '{"transport": "local", "scheduler": "direct"}'


def _write_config(group: str, name: str) -> str:
    """Return an example of a backend's configuration that names a given plugin."""
    if group == "backends":
        return f'{{"type": "{name}"}}'
    return _COMPOSED.replace("local" if group == "transports" else "direct", name)


def _show_name(group: str, name: str) -> str:
    return f"{group}:{name}" if name else f"{group}:'' (the name is empty)"


def _warn_once(winner: Plugin, builtin: Plugin) -> None:
    if (winner.group, winner.name) in _warned:
        return
    _warned.add((winner.group, winner.name))
    import warnings  # noqa: PLC0415 -- most processes warn of nothing

    warnings.warn(
        f"{winner.group}:{winner.name} is {winner.target} of {describe(winner)}, which shadows the built-in. "
        f"To keep it, without this warning: {winner.pin}; to restore the built-in: {builtin.pin}",
        PluginShadowWarning,
        stacklevel=_count_own_frames(),
    )


def _count_own_frames() -> int:
    """Return the number of stack frames up to the caller of the registry, so that a warning names the caller's line."""
    level, frame = 1, sys._getframe(1)  # noqa: SLF001 -- warnings.warn counts frames, and their number varies
    while frame.f_back is not None and f"{frame.f_globals.get('__name__')}.".startswith("intercede.registry."):
        level, frame = level + 1, frame.f_back
    return level


def note_running(plugin: Plugin) -> None:
    """Record the version of a plugin whose package is loaded, so that a later upgrade of the plugin is noticed."""
    package = plugin.target.partition(":")[0].partition(".")[0]
    if package in sys.modules:
        _running.setdefault((plugin.distribution, package), plugin.version)


def _mark_if_stale(plugin: Plugin) -> Plugin:
    package = plugin.target.partition(":")[0].partition(".")[0]
    running = _running.get((plugin.distribution, package), plugin.version)
    if running == plugin.version or package not in sys.modules:
        return plugin
    stale = f"restart needed: the code of {running} is loaded, {plugin.version} is installed"
    return plugin.with_status(plugin.status, f"{plugin.reason}; {stale}")
