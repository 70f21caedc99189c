"""``intercede plugins``: lists the candidates for each name, the active one, and the reason."""

import json
from collections.abc import Collection, Iterable, Sequence

from intercede import registry
from intercede.contract.errors import PluginAmbiguousError, PluginPinError

_COLUMNS = ("group", "name", "status", "distribution", "version", "target")


def format_json(plugins: Iterable[registry.Plugin]) -> str:
    """Format the candidates as a JSON list of objects with the fields of ``Plugin``."""
    return json.dumps([vars(plugin) for plugin in plugins], indent=2)


def format_table(plugins: Collection[registry.Plugin]) -> str:
    """Format a line for each candidate, and below it the reason for its status."""
    rows = [_COLUMNS, *(tuple(str(getattr(plugin, key)) for key in _COLUMNS) for plugin in plugins)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *lines = [_format_row(row, widths) for row in rows]
    reasons = [f"    {plugin.reason}" for plugin in plugins]
    return "\n".join([head, *(line for pair in zip(lines, reasons, strict=True) for line in pair)])


def _format_row(words: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(word.ljust(width) for word, width in zip(words, widths, strict=True)).rstrip()


def explain_name(group: str, name: str) -> str:
    """Describe the steps of the rule for a name, with the step that applied.

    Raises:
        ConfigError: The group does not exist.
        PluginNotFoundError: No plugin has that name.
    """
    explanation = registry.explain(group, name)
    if explanation.plugins:
        return str(explanation)
    plugin = registry.resolve(group, name)  # raises an error that lists the names, if the name is not qualified
    return f"{group}:{name}\nIt names its distribution: {plugin.target} of {plugin.provider}, regardless of the pins."


def find_problems(plugins: Collection[registry.Plugin]) -> list[str]:
    """Load and gate each candidate in a child process, and return every problem, one per line."""
    found = [*registry.problems(), *_find_undecided({(plugin.group, plugin.name): None for plugin in plugins})]
    for plugin in plugins:
        found += [f"{plugin.group} {plugin.name} ({plugin.provider}): {each}" for each in registry.check(plugin)]
    return [" ".join(each.split()) for each in found]


def _find_undecided(names: Iterable[tuple[str, str]]) -> Iterable[str]:
    for group, name in names:
        error = registry.explain(group, name).error
        if isinstance(error, PluginAmbiguousError | PluginPinError):
            yield f"{group} {name}: {error}"
