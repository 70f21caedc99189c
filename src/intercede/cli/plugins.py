"""``intercede plugins``: what is installed for each name, which one counts, and why."""

import json
from collections.abc import Collection, Iterable, Sequence

from intercede import registry
from intercede.contract.errors import PluginAmbiguousError, PluginPinError

_COLUMNS = ("group", "name", "status", "distribution", "version", "target")


def as_json(plugins: Iterable[registry.Plugin]) -> str:
    """Write the candidates as a list of objects with the fields of ``Plugin`` as keys."""
    return json.dumps([vars(plugin) for plugin in plugins], indent=2)


def as_table(plugins: Collection[registry.Plugin]) -> str:
    """Write a line for each candidate, and below it the reason for its status."""
    rows = [_COLUMNS, *(tuple(str(getattr(plugin, key)) for key in _COLUMNS) for plugin in plugins)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *lines = [_line(row, widths) for row in rows]
    reasons = [f"    {plugin.reason}" for plugin in plugins]
    return "\n".join([head, *(line for pair in zip(lines, reasons, strict=True) for line in pair)])


def _line(words: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(word.ljust(width) for word, width in zip(words, widths, strict=True)).rstrip()


def why(group: str, name: str) -> str:
    """Write the steps of the rule for a name, with the one that fired.

    Raises:
        ConfigError: No such group.
        PluginNotFoundError: Nothing bears the name.
    """
    explanation = registry.explain(group, name)
    if explanation.plugins:
        return str(explanation)
    plugin = registry.resolve(group, name)  # raises with the names there are, unless the name is a qualified one
    return f"{group}:{name}\nIt names its distribution, so it means {plugin.target} of {plugin.provider}, whatever the pins."


def problems(plugins: Collection[registry.Plugin]) -> list[str]:
    """Load and gate each candidate in a child process, and return all that is wrong, a line each."""
    found = [*registry.problems(), *_undecided({(plugin.group, plugin.name): None for plugin in plugins})]
    for plugin in plugins:
        found += [f"{plugin.group} {plugin.name} ({plugin.provider}): {each}" for each in registry.check(plugin)]
    return [" ".join(each.split()) for each in found]


def _undecided(names: Iterable[tuple[str, str]]) -> Iterable[str]:
    for group, name in names:
        error = registry.explain(group, name).error
        if isinstance(error, PluginAmbiguousError | PluginPinError):
            yield f"{group} {name}: {error}"
