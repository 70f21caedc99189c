"""Choose one of the candidates for a name, by pins, the policy and the rule of precedence, and explain the choice.

The rule does not depend on an order of files, installations, versions or letters, because no such order is the same on
two machines.
"""

from _collections_abc import Callable, Iterable  # importing collections.abc would load all of collections

from intercede.contract.errors import (
    ConfigError,
    PluginAmbiguousError,
    PluginDeniedError,
    PluginError,
    PluginNotFoundError,
    PluginPinError,
)
from intercede.plugin import GROUPS, Plugin, canonicalize_name, is_name, suggest

__all__ = ["Explanation", "Pin", "check_group", "decide", "describe", "make_pin", "parse_pins", "parse_policy"]

POLICY = "INTERCEDE_PLUGINS"
PREFER = "INTERCEDE_PREFER"
_EXPECTED_PIN = f"GROUP:NAME=DISTRIBUTION, for example {PREFER}=transports:ssh=acme-intercede"


class Pin:
    """A decision of the user: which distribution provides a name."""

    def __init__(self, group: str, name: str, distribution: str, source: str) -> None:
        self.group = group
        self.name = name
        self.distribution = canonicalize_name(distribution)
        self.source = source

    def __str__(self) -> str:
        return f"{self.group}:{self.name}={self.distribution} ({self.source})"


class Explanation:
    """Explains how a name was resolved. ``str()`` returns the steps of the rule of precedence that were applied."""

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
        """The candidate that was chosen for the name, or None if the name cannot be resolved."""
        self.plugins = plugins
        """All candidates, each with its status."""
        self.steps = steps
        """The steps of the rule of precedence, up to the deciding step, one sentence each."""
        self.error = error
        """The error that ``resolve`` raises for the name, or None if a candidate was chosen."""

    def change_plugins(self, change: "Callable[[Plugin], Plugin]") -> "Explanation":
        """Return a copy of this explanation in which a function has changed every candidate."""
        return Explanation(
            self.group,
            self.name,
            winner=self.winner and change(self.winner),
            plugins=tuple(map(change, self.plugins)),
            steps=self.steps,
            error=self.error,
        )

    @property
    def shadowed_builtin(self) -> Plugin | None:
        """The built-in that the chosen candidate shadows although the user did not ask for that candidate.

        A user asks for a candidate with a pin, or with a name ``DISTRIBUTION:NAME``. None means that no built-in is
        shadowed in this way.
        """
        if self.winner is None or self.winner.builtin or self.winner.status == "pinned" or ":" in self.name:
            return None
        return next((each for each in self.plugins if each.builtin and each.target != self.winner.target), None)

    def __str__(self) -> str:
        lines = [f"{self.group}:{self.name}", *(f"  {step}" for step in self.steps)]
        if self.winner is None:
            lines += ["So it cannot be resolved."]
        else:
            lines += [f"So it means {self.winner.target} of {describe(self.winner)}."]
        lines += [f"    {each.status:<9} {describe(each)}: {each.reason}" for each in self.plugins]
        return "\n".join(lines)


def describe(plugin: Plugin) -> str:
    """Return a candidate's distribution, version and path."""
    return f"{plugin.provider}{', the built-in,' if plugin.builtin else ''} in {plugin.location}"


def check_group(group: str, place: str = "") -> str:
    """Return the name of a group, unchanged, if there is such a group. Raise an error otherwise.

    Args:
        group: The name of a group.
        place: The beginning of the error, if the group is a part of something else.

    Raises:
        ConfigError: There is no such group.
    """
    if group in GROUPS:
        return group
    raise ConfigError(
        f"{place}there is no group {group!r}; the groups are {', '.join(GROUPS)}{suggest(group, GROUPS)}",
        field="group",
        value=group,
        expected=", ".join(GROUPS),
    )


def make_pin(group: str, name: str, distribution: str, source: str) -> Pin:
    """Return a pin, after a check of its group, name and distribution.

    Raises:
        ConfigError: There is no such group, or the name or the distribution is invalid.
    """
    check_group(group, f"{source}: {f'{group}:{name}={distribution}'!r}: ")
    for field, text in (("name", name), ("distribution", distribution)):
        if not is_name(text):
            raise ConfigError(
                f"{text!r} is not a valid {field} in {source}; a pin has the form GROUP:NAME=DISTRIBUTION, "
                f"for example {PREFER}=transports:ssh=acme-intercede",
                field=field,
                value=text,
                expected="letters, digits, '.', '_' and '-'",
                where=source,
            )
    return Pin(group, name, distribution, source)


def parse_pins(text: str, source: str = PREFER) -> dict[tuple[str, str], Pin]:
    """Parse pins: ``transports:ssh=acme-intercede,schedulers:slurm=intercede``.

    Raises:
        ConfigError: An entry has another form, names an unknown group, or contradicts another entry.
    """
    read: dict[tuple[str, str], Pin] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, equals, distribution = (part.strip() for part in entry.partition("="))
        group, colon, name = (part.strip() for part in name.partition(":"))
        if not equals or not colon:
            raise _make_entry_error(source, entry, f"is invalid; expected {_EXPECTED_PIN}")
        made = make_pin(group, name, distribution, source)
        if read.setdefault((group, name), made).distribution != made.distribution:
            raise _make_entry_error(source, entry, f"contradicts {read[group, name]}: keep one of them")
    return read


def _make_entry_error(source: str, entry: str, problem: str) -> ConfigError:
    return ConfigError(
        f"{source}: {entry!r} {problem}",
        field=source,
        value=entry,
        expected="GROUP:NAME=DISTRIBUTION, separated by commas",
        where=source,
    )


def parse_policy(text: str) -> frozenset[str] | None:
    """Parse a policy such as ``allow:acme-intercede,other``, and return the distributions that it allows.

    Built-ins are always allowed. An empty policy allows all distributions; the result is then None.

    Raises:
        ConfigError: The policy has another form. It is not ignored, because a policy keeps plugins out.
    """
    text = text.strip()
    if not text:
        return None
    word, colon, names = text.partition(":")
    listed = [name.strip() for name in names.split(",") if name.strip()]
    if word.strip() != "allow" or not colon or not all(map(is_name, listed)):
        raise ConfigError(
            f"{POLICY}={text!r} is invalid: write {POLICY}=allow:acme-intercede,other, "
            f"{POLICY}=allow: for the built-ins only, or unset it to allow all",
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
    """Choose one of the candidates for a name by the rule of precedence, and return an explanation of the choice.

    If no candidate can be chosen, the explanation has an ``error``.

    Args:
        group: The group.
        name: The name, unqualified.
        candidates: The candidates that discovery found.
        chosen: The pin for the name, if there is one.
        policy: The distributions that are allowed besides the built-ins. None allows all.
    """
    return _Case(group, name, [_apply_policy(each, policy) for each in candidates]).decide(chosen)


def _apply_policy(plugin: Plugin, policy: frozenset[str] | None) -> Plugin:
    if plugin.status != "active" or plugin.builtin or policy is None or plugin.distribution in policy:
        return plugin
    entry = ",".join(sorted(policy | {plugin.distribution}))
    return plugin.with_status("denied", f"the policy does not list it; to allow it: {POLICY}=allow:{entry}")


class _Case:
    """One application of the rule of precedence to the candidates for one name."""

    def __init__(self, group: str, name: str, plugins: list[Plugin]) -> None:
        self.group = group
        self.name = name
        self.eligible = [each for each in plugins if each.status == "active"]
        self.ineligible = [each for each in plugins if each.status != "active"]
        self.builtin = next((each for each in self.eligible if each.builtin), None)
        others = [each for each in self.eligible if not each.builtin]
        self.rivals = [each for each in others if self.builtin is None or each.target != self.builtin.target]

    def decide(self, chosen: Pin | None) -> Explanation:
        if chosen is not None:
            return self.apply_pin(chosen)
        steps = ["1. a pin: there is none"]
        if len({each.target for each in self.rivals}) > 1:
            return self.report_ambiguity(steps)
        if self.rivals:
            return self.choose(min(self.rivals, key=lambda each: each.distribution), steps)
        steps += ["2. the one distribution other than intercede: there is none"]
        if self.builtin is not None:
            winner = self.builtin.with_status("active", "the built-in, and nothing shadows it")
            return self.accept(winner, [*steps, "3. the built-in: it applies"])
        return self.reject(self.eligible, [*steps, "3. the built-in: there is none"], self.make_error())

    def apply_pin(self, chosen: Pin) -> Explanation:
        winner = next((each for each in self.eligible if each.distribution == chosen.distribution), None)
        if winner is not None:
            return self.accept(
                winner.with_status("pinned", f"chosen by the pin {chosen}"), [f"1. a pin: {chosen} applies"]
            )
        steps = [f"1. a pin: {chosen} matches nothing, which is an error, never ignored"]
        missing = f"the pin {chosen} names another distribution, which does not provide it"
        judged = [each.with_status("shadowed", f"{missing}; to choose this one: {each.pin}") for each in self.eligible]
        return self.reject(judged, steps, self.make_pin_error(chosen))

    def make_pin_error(self, chosen: Pin) -> PluginPinError:
        options = " or ".join(each.pin for each in self.eligible)
        return PluginPinError(
            f"the pin {chosen} matches nothing: {chosen.distribution} does not provide {self.group}:{self.name}. "
            + "".join(f"{describe(each)} is {each.status}: {each.reason}. " for each in self.ineligible)
            + (f"To choose another: {options}" if options else "No other distribution provides it: remove the pin"),
            group=self.group,
            name=self.name,
            distribution=chosen.distribution,
            pin=str(chosen),
        )

    def report_ambiguity(self, steps: list[str]) -> Explanation:
        names = " and ".join(sorted(each.distribution for each in self.rivals))
        several = [*steps, f"2. the one distribution other than intercede: there are several, {names}"]
        judged = [
            each.with_status(
                "ambiguous" if each in self.rivals else "shadowed",
                f"provided by {names}, and no pin decides; to choose this one: {each.pin}",
            )
            for each in self.eligible
        ]
        lines = [f"  {each.pin}  ({each.target} of {describe(each)})" for each in self.eligible]
        error = PluginAmbiguousError(
            "\n".join([f"{self.group}:{self.name} is provided by {names}, and no pin decides. Choose one:", *lines]),
            group=self.group,
            name=self.name,
            pins=tuple(each.pin.partition("=")[2] for each in self.eligible),
        )
        return self.reject(judged, several, error)

    def choose(self, winner: Plugin, steps: list[str]) -> Explanation:
        why = "the only distribution other than intercede that provides the name"
        if self.builtin is not None:
            why += f"; it shadows the built-in, which {self.builtin.pin} restores"
        fired = f"2. the one distribution other than intercede: {winner.distribution} applies"
        return self.accept(winner.with_status("active", why), [*steps, fired])

    def make_error(self) -> PluginError:
        """Return the error for a name without an eligible candidate. The message has the reason for each candidate."""
        reasons = [f"{describe(each)} declares it, but is {each.status}: {each.reason}" for each in self.ineligible]
        denied = bool(self.ineligible) and all(each.status == "denied" for each in self.ineligible)
        kind = PluginDeniedError if denied else PluginNotFoundError
        first = vars(self.ineligible[0]) if self.ineligible else {}
        return kind(
            f"no eligible plugin provides {self.group}:{self.name}. {'. '.join(reasons)}".rstrip(". "),
            group=self.group,
            name=self.name,
            **{field: first[field] for field in ("distribution", "version", "target") if first},
        )

    def accept(self, winner: Plugin, steps: list[str]) -> Explanation:
        return self.explain([_update_status(each, winner) for each in self.eligible], steps, winner=winner)

    def reject(self, judged: list[Plugin], steps: list[str], error: PluginError) -> Explanation:
        return self.explain(judged, steps, error=error)

    def explain(
        self, judged: list[Plugin], steps: list[str], *, winner: Plugin | None = None, error: PluginError | None = None
    ) -> Explanation:
        plugins = sorted(judged + self.ineligible, key=lambda each: (each.distribution, each.location, each.target))
        return Explanation(
            self.group, self.name, winner=winner, plugins=tuple(plugins), steps=tuple(steps), error=error
        )


def _update_status(plugin: Plugin, winner: Plugin) -> Plugin:
    if plugin.distribution == winner.distribution:
        return winner
    if plugin.target == winner.target:
        return plugin.with_status("shadowed", f"it has the same target as {winner.distribution}")
    return plugin.with_status("shadowed", f"by {describe(winner)}; to choose this one: {plugin.pin}")
