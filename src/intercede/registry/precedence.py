"""From the candidates of a name to the one that it means, and why: pins, policy, and the rule.

The rule rests on no order of files, installs, versions or letters, because none of them is the same on two machines.
"""

from _collections_abc import Iterable  # collections.abc is the same, and would load all of collections

from intercede.contract.errors import (
    ConfigError,
    PluginAmbiguousError,
    PluginDeniedError,
    PluginError,
    PluginNotFoundError,
    PluginPinError,
)
from intercede.plugin import GROUPS, Plugin, canonicalize_name, is_name, suggest

__all__ = ["Explanation", "Pin", "allowed", "decide", "described", "known_group", "pin", "pins"]

POLICY = "INTERCEDE_PLUGINS"
PREFER = "INTERCEDE_PREFER"


class Pin:
    """A decision made by a person: this name means that distribution's."""

    def __init__(self, group: str, name: str, distribution: str, source: str) -> None:
        self.group = group
        self.name = name
        self.distribution = canonicalize_name(distribution)
        self.source = source

    def __str__(self) -> str:
        return f"{self.group}:{self.name}={self.distribution} ({self.source})"


class Explanation:
    """How a name is decided: ``str()`` of it prints the rule's steps, with the one that fired."""

    def __init__(
        self,
        group: str,
        name: str,
        *,
        winner: Plugin | None,
        plugins: tuple[Plugin, ...],
        steps: tuple[str, ...],
        error: PluginError | None,
    ) -> None:
        self.group = group
        self.name = name
        self.winner = winner
        """What the name means; None where it means nothing."""
        self.plugins = plugins
        """Every candidate, judged."""
        self.steps = steps
        """The rule's steps up to the one that fired, a sentence each."""
        self.error = error
        """What resolving the name raises, where there is no winner."""

    @property
    def covered(self) -> Plugin | None:
        """The built-in that the winner covers although nobody pinned it or named its distribution, where it does."""
        if self.winner is None or self.winner.builtin or self.winner.status == "pinned" or ":" in self.name:
            return None
        return next((each for each in self.plugins if each.builtin and each.target != self.winner.target), None)

    def __str__(self) -> str:
        lines = [f"{self.group}:{self.name}", *(f"  {step}" for step in self.steps)]
        if self.winner is None:
            lines += ["So it cannot be resolved."]
        else:
            lines += [f"So it means {self.winner.target} of {described(self.winner)}."]
        lines += [f"    {each.status:<9} {described(each)}: {each.reason}" for each in self.plugins]
        return "\n".join(lines)


def described(plugin: Plugin) -> str:
    """Name a candidate's provider and where it lies."""
    return f"{plugin.provider}{', the built-in,' if plugin.builtin else ''} in {plugin.location}"


def known_group(group: str, place: str = "") -> str:
    """Return the group.

    Args:
        group: What may be one.
        place: What the error says first, where the group was not asked for by itself.

    Raises:
        ConfigError: There is no such group.
    """
    if group in GROUPS:
        return group
    raise ConfigError(
        f"{place}there is no group {group!r}{suggest(group, GROUPS)}; the groups are {', '.join(GROUPS)}",
        field="group",
        value=group,
        expected=", ".join(GROUPS),
    )


def pin(group: str, name: str, distribution: str, source: str) -> Pin:
    """Make a pin.

    Raises:
        ConfigError: There is no such group, or name or distribution cannot be one.
    """
    known_group(group, f"{source}: {f'{group}:{name}={distribution}'!r}: ")
    for field, text in (("name", name), ("distribution", distribution)):
        if not is_name(text):
            raise ConfigError(
                f"{text!r} cannot be a {field}, in {source}: a pin reads GROUP:NAME=DISTRIBUTION, "
                f"for example {PREFER}=transports:ssh=acme-intercede",
                field=field,
                value=text,
                expected="letters, digits, '.', '_' and '-'",
                where=source,
            )
    return Pin(group, name, distribution, source)


def pins(text: str, source: str = PREFER) -> dict[tuple[str, str], Pin]:
    """Read ``transports:ssh=acme-intercede,schedulers:slurm=intercede``.

    Raises:
        ConfigError: An entry does not read like that, names no group, or contradicts another.
    """
    read: dict[tuple[str, str], Pin] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, equals, distribution = (part.strip() for part in entry.partition("="))
        group, colon, name = (part.strip() for part in name.partition(":"))
        if not equals or not colon:
            raise _bad_entry(source, entry, "reads GROUP:NAME=DISTRIBUTION")
        made = pin(group, name, distribution, source)
        if read.setdefault((group, name), made).distribution != made.distribution:
            raise _bad_entry(source, entry, f"contradicts {read[group, name]}: keep one of them")
    return read


def _bad_entry(source: str, entry: str, what: str) -> ConfigError:
    return ConfigError(
        f"{source}: {entry!r} is wrong: an entry {what}, for example {PREFER}=transports:ssh=acme-intercede"
        if what.startswith("reads")
        else f"{source}: {entry!r} {what}",
        field=source,
        value=entry,
        expected="GROUP:NAME=DISTRIBUTION, separated by commas",
        where=source,
    )


def allowed(text: str) -> frozenset[str] | None:
    """Read the policy ``allow:acme-intercede,other``: the distributions let in beside the built-ins; None: all.

    Raises:
        ConfigError: It reads otherwise: what is meant to keep plugins out must not let them in by a typing error.
    """
    text = text.strip()
    if not text:
        return None
    word, colon, names = text.partition(":")
    listed = [name.strip() for name in names.split(",") if name.strip()]
    if word.strip() != "allow" or not colon or not all(map(is_name, listed)):
        raise ConfigError(
            f"{POLICY}={text!r} is not understood: write {POLICY}=allow:acme-intercede,other, "
            f"{POLICY}=allow: for the built-ins alone, or unset it for all",
            field=POLICY,
            value=text,
            expected="allow:DISTRIBUTION,DISTRIBUTION",
            where=POLICY,
        )
    return frozenset(map(canonicalize_name, listed))


def decide(
    group: str,
    name: str,
    candidates: "Iterable[Plugin]",
    *,
    chosen: Pin | None = None,
    policy: frozenset[str] | None = None,
) -> Explanation:
    """Apply the rule to the candidates of one name. Raises nothing: the outcome holds what resolving it raises.

    Args:
        group: The group.
        name: The name, unqualified.
        candidates: What discovery found for it.
        chosen: The pin for it, if there is one.
        policy: The distributions let in beside the built-ins; None: all.
    """
    return _Case(group, name, [_admitted(each, policy) for each in candidates]).decided(chosen)


def _admitted(plugin: Plugin, policy: frozenset[str] | None) -> Plugin:
    if plugin.status != "active" or plugin.builtin or policy is None or plugin.distribution in policy:
        return plugin
    entry = ",".join(sorted(policy | {plugin.distribution}))
    return plugin.with_status("denied", f"the policy does not list it; to let it in: {POLICY}=allow:{entry}")


class _Case:
    """One name to be decided."""

    def __init__(self, group: str, name: str, plugins: list[Plugin]) -> None:
        self.group = group
        self.name = name
        self.counting = [each for each in plugins if each.status == "active"]
        self.aside = [each for each in plugins if each.status != "active"]
        self.builtin = next((each for each in self.counting if each.builtin), None)
        others = [each for each in self.counting if not each.builtin]
        self.rivals = [each for each in others if self.builtin is None or each.target != self.builtin.target]

    def decided(self, chosen: Pin | None) -> Explanation:
        if chosen is not None:
            return self.pinned(chosen)
        steps = ["1. a pin: there is none"]
        if len({each.target for each in self.rivals}) > 1:
            return self.ambiguous(steps)
        if self.rivals:
            return self.only(min(self.rivals, key=lambda each: each.distribution), steps)
        steps += ["2. the one distribution other than intercede: there is none"]
        if self.builtin is not None:
            winner = self.builtin.with_status("active", "the built-in, and nothing covers it")
            return self.won(winner, [*steps, "3. the built-in: it applies"])
        return self.lost(self.counting, [*steps, "3. the built-in: there is none"], self.nobody())

    def pinned(self, chosen: Pin) -> Explanation:
        winner = next((each for each in self.counting if each.distribution == chosen.distribution), None)
        if winner is not None:
            return self.won(
                winner.with_status("pinned", f"chosen by the pin {chosen}"), [f"1. a pin: {chosen} applies"]
            )
        steps = [f"1. a pin: {chosen} matches nothing, which is an error, never ignored"]
        missing = f"the pin {chosen} names another, which is not there"
        judged = [each.with_status("shadowed", f"{missing}; to choose this one: {each.pin}") for each in self.counting]
        return self.lost(judged, steps, self.wrong(chosen))

    def wrong(self, chosen: Pin) -> PluginPinError:
        options = " or ".join(each.pin for each in self.counting)
        return PluginPinError(
            f"the pin {chosen} matches nothing: {chosen.distribution} does not provide {self.group}:{self.name}. "
            + "".join(f"{described(each)} does not count, it is {each.status}: {each.reason}. " for each in self.aside)
            + (f"What would do: {options}" if options else "Nothing else provides it either: remove the pin"),
            group=self.group,
            name=self.name,
            distribution=chosen.distribution,
            pin=str(chosen),
        )

    def ambiguous(self, steps: list[str]) -> Explanation:
        names = " and ".join(sorted(each.distribution for each in self.rivals))
        several = [*steps, f"2. the one distribution other than intercede: there are several, {names}"]
        judged = [
            each.with_status(
                "ambiguous" if each in self.rivals else "shadowed",
                f"provided by {names}, and nothing decides; to choose this one: {each.pin}",
            )
            for each in self.counting
        ]
        lines = [f"  {each.pin}  ({each.target} of {described(each)})" for each in self.counting]
        error = PluginAmbiguousError(
            "\n".join([f"{self.group}:{self.name} is provided by {names}, and nothing decides. Choose one:", *lines]),
            group=self.group,
            name=self.name,
            pins=tuple(each.pin.partition("=")[2] for each in self.counting),
        )
        return self.lost(judged, several, error)

    def only(self, winner: Plugin, steps: list[str]) -> Explanation:
        why = "the one distribution other than intercede that provides the name"
        if self.builtin is not None:
            why += f"; it covers the built-in, which {self.builtin.pin} restores"
        fired = f"2. the one distribution other than intercede: {winner.distribution} applies"
        return self.won(winner.with_status("active", why), [*steps, fired])

    def nobody(self) -> PluginError:
        """Say why the candidates that there are do not count."""
        reasons = [f"{described(each)} declares it, but is {each.status}: {each.reason}" for each in self.aside]
        denied = bool(self.aside) and all(each.status == "denied" for each in self.aside)
        kind = PluginDeniedError if denied else PluginNotFoundError
        first = vars(self.aside[0]) if self.aside else {}
        return kind(
            f"nothing that counts provides {self.group}:{self.name}. {'. '.join(reasons)}".rstrip(". "),
            group=self.group,
            name=self.name,
            **{field: first[field] for field in ("distribution", "version", "target") if first},
        )

    def won(self, winner: Plugin, steps: list[str]) -> Explanation:
        return self.outcome([_behind(each, winner) for each in self.counting], steps, winner=winner)

    def lost(self, judged: list[Plugin], steps: list[str], error: PluginError) -> Explanation:
        return self.outcome(judged, steps, error=error)

    def outcome(
        self, judged: list[Plugin], steps: list[str], *, winner: Plugin | None = None, error: PluginError | None = None
    ) -> Explanation:
        plugins = sorted(judged + self.aside, key=lambda each: (each.distribution, each.location, each.target))
        return Explanation(
            self.group, self.name, winner=winner, plugins=tuple(plugins), steps=tuple(steps), error=error
        )


def _behind(plugin: Plugin, winner: Plugin) -> Plugin:
    if plugin.distribution == winner.distribution:
        return winner
    if plugin.target == winner.target:
        return plugin.with_status("shadowed", f"the same target as {winner.distribution}'s, so nothing is lost")
    return plugin.with_status("shadowed", f"by {described(winner)}; to choose this one: {plugin.pin}")
