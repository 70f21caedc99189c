"""Which candidate a name means: the snapshot of the environment, the pins, and what the rule makes of them."""

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

TYPE_CHECKING = False  # importing typing for it would cost more than this module
if TYPE_CHECKING:
    from typing import Never

    from intercede.config import Configuration
else:
    Configuration, Never = object, None  # for whoever evaluates annotations, as typing.get_type_hints does

__all__ = ["Names", "PluginShadowWarning", "note_running"]

CONFIG = "INTERCEDE_CONFIG"

_warned: set[tuple[str, str]] = set()  # once a name and process, whatever number of registries there are
_running: dict[tuple[str, str], str] = {}  # distribution and package -> the version whose code is loaded


class PluginShadowWarning(UserWarning):
    """A distribution shadows a built-in because it is installed. A pin for the name accepts or rejects it."""


class Names:
    """What names mean here and now. The environment is scanned when something is first asked, and after ``refresh()``.

    Args:
        configuration: What names tables and pins: a Configuration or a file. None: the file that
            ``INTERCEDE_CONFIG`` names, where it names one.
    """

    def __init__(self, configuration: "Configuration | str | os.PathLike[str] | None" = None) -> None:
        self._given = configuration
        self._pins: dict[tuple[str, str], Pin] = {}
        self._forget()

    def _forget(self) -> None:
        self._found: dict[tuple[str, str], list[Plugin]] | None = None
        self._problems: tuple[str, ...] = ()
        self._read: Configuration | None = None
        self._decided: dict[tuple[str, str], Explanation] = {}
        self._decided_for: tuple[str, str] | None = None

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
            PluginShadowWarning: It shadows a built-in and nobody pinned it; once a name and process.
        """
        explanation = self.explain(group, name)
        if explanation.winner is None:
            self._fail(explanation)
        if explanation.shadowed_builtin is not None:
            _warn(explanation.winner, explanation.shadowed_builtin)
        return explanation.winner

    def plugins(self, group: str | None = None) -> tuple[Plugin, ...]:
        """Return every candidate of every name, sorted, each with its status and the reason; imports nothing.

        Raises:
            ConfigError: As ``resolve``.
        """
        group = group if group is None else check_group(group)
        names = sorted(key for key in self._snapshot() if group in {None, key[0]})
        return tuple(plugin for key in names for plugin in self.explain(*key).plugins)

    def problems(self) -> tuple[str, ...]:
        """Return what could not be read while looking for plugins, or stands in no group, a sentence each."""
        self._snapshot()
        return self._problems

    def explain(self, group: str, name: str) -> Explanation:
        """Tell how a name is decided; printing it shows the rule's steps. Imports nothing.

        Raises:
            ConfigError: As ``resolve``.
        """
        setting = os.environ.get(PREFER, ""), os.environ.get(POLICY, "")
        if setting != self._decided_for:
            self._decided.clear()
            self._decided_for = setting
        known = self._decided.get((group, name))
        if known is None:
            decided = self._qualified(group, name) if ":" in name else self._decide(check_group(group), name, *setting)
            known = self._decided[group, name] = decided
        return known

    def prefer(self, group: str, name: str, distribution: str) -> None:
        """Pin a name to a distribution, above all other pins; ``intercede`` means the built-in.

        Raises:
            ConfigError: No such group, or name or distribution cannot be one. Whether it is there, resolving tells.
        """
        self._pins[group, name] = make_pin(group, name, distribution, "registry.prefer")
        self._decided.clear()

    def refresh(self) -> None:
        """Forget the snapshot, the configuration file and failures: what was installed since is found. Pins stay."""
        import importlib  # noqa: PLC0415 -- not before it is asked for

        importlib.invalidate_caches()
        self._forget()

    def _snapshot(self) -> dict[tuple[str, str], list[Plugin]]:
        if self._found is None:
            found: dict[tuple[str, str], list[Plugin]] = {}
            plugins, problems = discovery.scan(sys.path)
            for plugin in plugins:
                found.setdefault((plugin.group, plugin.name), []).append(plugin)
                note_running(plugin)
            self._found, self._problems = found, tuple(problems)
        return self._found

    def _decide(self, group: str, name: str, preferred: str, policy: str) -> Explanation:
        explanation = decide(
            group,
            name,
            self._snapshot().get((group, name), ()),
            chosen=self._pins.get((group, name))
            or parse_pins(preferred).get((group, name))
            or self._configured_pin(group, name),
            policy=parse_policy(policy),
        )
        explanation.plugins = tuple(map(_marked_if_stale, explanation.plugins))
        explanation.winner = explanation.winner and _marked_if_stale(explanation.winner)
        return explanation

    def _configuration(self) -> "Configuration | None":
        if self._read is None:
            named = self._given if self._given is not None else os.environ.get(CONFIG)
            if not named:
                return None
            from intercede import config  # noqa: PLC0415 -- loads tomllib, for those with a file

            self._read = named if isinstance(named, config.Configuration) else config.load(named)
        return self._read

    def _configured_pin(self, group: str, name: str) -> Pin | None:
        configuration = self._configuration()
        distribution = configuration and configuration.prefer.get(f"{group}:{name}")
        return (
            make_pin(group, name, distribution, f"[prefer] of {configuration.path}")
            if configuration and distribution
            else None
        )

    def _qualified(self, group: str, name: str) -> Explanation:
        """Decide ``DISTRIBUTION:NAME``: that distribution's entry, whatever the pins, if it counts at all."""
        written, _, plain = name.partition(":")
        plugins = self.explain(group, plain).plugins if is_name(plain) else ()
        own = [each for each in plugins if each.distribution == canonicalize_name(written)]
        counting = [each for each in own if each.status not in {"denied", "ignored", "malformed"}]
        return Explanation(
            group,
            name,
            winner=counting[0] if counting else None,
            plugins=plugins,
            steps=(f"a qualified name means the entry of {canonicalize_name(written)} itself, whatever the pins",),
            error=None if counting else self._unqualified(group, name, plugins, own),
        )

    def _unqualified(
        self, group: str, name: str, plugins: tuple[Plugin, ...], own: list[Plugin]
    ) -> PluginDeniedError | PluginNotFoundError:
        written, _, plain = name.partition(":")
        if own:
            kind = PluginDeniedError if own[0].status == "denied" else PluginNotFoundError
            why = f"is {own[0].status}: {own[0].reason}"
            return kind(f"{group}:{plain} of {describe(own[0])} {why}", **own[0].error_attributes)
        who = ", ".join(sorted({each.distribution for each in plugins}))
        instead = f"it is provided by {who}" if who else f"nothing does{suggest(plain, self.available(group))}"
        return PluginNotFoundError(
            f"{canonicalize_name(written)} does not provide {_asked(group, plain)}; {instead}"
            + "".join(f"; {problem}" for problem in self._problems),
            group=group,
            name=plain,
            distribution=canonicalize_name(written),
        )

    def _fail(self, explanation: Explanation) -> "Never":
        error = explanation.error
        group, name = explanation.group, explanation.name
        names = self.available(group)
        if isinstance(error, PluginNotFoundError):
            error.available = names
        if error is not None and (explanation.plugins or ":" in name or not isinstance(error, PluginNotFoundError)):
            raise error.with_traceback(None)
        configuration = self._configuration()
        tables = sorted(configuration.tables(group)) if configuration else []
        raise PluginNotFoundError(
            f"nothing provides {_asked(group, name)}{suggest(name, [*tables, *names])}; there are: {', '.join(names) or 'none'}"
            + (f"; tables of {configuration.path}: {', '.join(tables)}" if configuration and tables else "")
            + self._instead_of(group, name)
            + "".join(f"; {problem}" for problem in self._problems)
            + f". Where each comes from: intercede plugins {group}",
            group=group,
            name=name,
            available=names,
        )

    def _instead_of(self, group: str, name: str) -> str:
        """Say what to write for a name that only other groups have; backends are mostly composed, not registered."""
        elsewhere = [each for each in GROUPS if name in self.available(each)]
        if group == "backends" and not elsewhere:
            return f"; a transport and a scheduler make one: {_COMPOSED}"
        return "".join(f"; the group {each} has that name: write {_form(each, name)}" for each in elsewhere)

    def available(self, group: str) -> tuple[str, ...]:
        """Return the names of a group that something provides, whether or not they can be decided."""
        counting = {"active", "pinned", "shadowed", "ambiguous"}
        return tuple(sorted({each.name for each in self.plugins(group) if each.status in counting}))


_COMPOSED = '{"transport": "local", "scheduler": "direct"}'


def _form(group: str, name: str) -> str:
    """Write a backend's configuration with that name of that group."""
    if group == "backends":
        return f'{{"type": "{name}"}}'
    return _COMPOSED.replace("local" if group == "transports" else "direct", name)


def _asked(group: str, name: str) -> str:
    return f"{group}:{name}" if name else f"{group}:'' (the name is empty)"


def _warn(winner: Plugin, builtin: Plugin) -> None:
    if (winner.group, winner.name) in _warned:
        return
    _warned.add((winner.group, winner.name))
    import warnings  # noqa: PLC0415 -- for those who are warned

    warnings.warn(
        f"{winner.group}:{winner.name} is {winner.target} of {describe(winner)}, which shadows the built-in. "
        f"To keep it, without this warning: {winner.pin}; to restore the built-in: {builtin.pin}",
        PluginShadowWarning,
        stacklevel=_level_outside(),
    )


def _level_outside() -> int:
    """Count the frames up to whoever called intercede, for the warning to name that line."""
    level, frame = 1, sys._getframe(1)  # noqa: SLF001 -- warnings.warn counts frames, and how many there are varies
    while frame.f_back is not None and frame.f_globals.get("__name__") in {__name__, "intercede.registry"}:
        level, frame = level + 1, frame.f_back
    return level


def note_running(plugin: Plugin) -> None:
    """Remember the version of code that is loaded, when it is first seen loaded."""
    package = plugin.target.partition(":")[0].partition(".")[0]
    if package in sys.modules:
        _running.setdefault((plugin.distribution, package), plugin.version)


def _marked_if_stale(plugin: Plugin) -> Plugin:
    package = plugin.target.partition(":")[0].partition(".")[0]
    running = _running.get((plugin.distribution, package), plugin.version)
    if running == plugin.version or package not in sys.modules:
        return plugin
    stale = f"restart needed: the code of {running} is loaded, {plugin.version} is installed"
    return plugin.with_status(plugin.status, f"{plugin.reason}; {stale}")
