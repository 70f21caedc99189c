"""``intercede plugins``: lists the candidates for each name, and shows which candidate is chosen, and why."""

import json
from collections.abc import Collection, Iterable, Sequence

from intercede import registry
from intercede.contract.errors import PluginAmbiguousError, PluginPinError

_COLUMNS = ("group", "name", "status", "distribution", "version", "target")


def format_json(plugins: Iterable[registry.Plugin]) -> str:
    """Format the candidates as a JSON list of objects with the fields of ``Plugin``."""
    return json.dumps([vars(plugin) for plugin in plugins], indent=2)


def format_table(plugins: Collection[registry.Plugin]) -> str:
    """Return a table with one line for each candidate and, below that line, the reason for the candidate's status."""
    rows = [_COLUMNS, *(tuple(str(getattr(plugin, key)) for key in _COLUMNS) for plugin in plugins)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *lines = [_format_row(row, widths) for row in rows]
    reasons = [f"    {plugin.reason}" for plugin in plugins]
    return "\n".join([head, *(line for pair in zip(lines, reasons, strict=True) for line in pair)])


def _format_row(words: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(word.ljust(width) for word, width in zip(words, widths, strict=True)).rstrip()


def explain_name(group: str, name: str) -> str:
    """Return the steps of the rule of precedence for a name, up to the step that decided.

    Raises:
        ConfigError: The group does not exist.
        PluginNotFoundError: No plugin has that name.
    """
    explanation = registry.explain(group, name)
    if explanation.plugins:
        return str(explanation)
    # If no candidate has the name, ``resolve`` raises an error, and the error lists the names that exist.
    plugin = registry.resolve(group, name)
    return f"{group}:{name}\nIt names its distribution: {plugin.target} of {plugin.provider}, regardless of the pins."


def find_problems(plugins: Collection[registry.Plugin]) -> list[str]:
    """Load and check each candidate in a child process, and return all problems, one line each."""
    found = [*registry.problems(), *_find_undecided({(plugin.group, plugin.name): None for plugin in plugins})]
    for plugin in plugins:
        found += [f"{plugin.group} {plugin.name} ({plugin.provider}): {each}" for each in registry.check(plugin)]
    return [" ".join(each.split()) for each in found]


def _find_undecided(names: Iterable[tuple[str, str]]) -> Iterable[str]:
    for group, name in names:
        error = registry.explain(group, name).error
        if isinstance(error, PluginAmbiguousError | PluginPinError):
            yield f"{group} {name}: {error}"
