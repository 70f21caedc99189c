"""``intercede plugins``: what is installed for each name, which one counts, and why."""

import json
from collections.abc import Iterable, Sequence

from intercede import registry

_COLUMNS = ("group", "name", "status", "distribution", "version", "target")
_BROKEN = frozenset({"ambiguous", "malformed"})  # nothing to load: the name does not resolve
_REFUSED = frozenset({"denied", "ignored"})  # not to be loaded


def as_json(plugins: Iterable[registry.Plugin]) -> str:
    """Write the candidates as a list of objects with the fields of ``Plugin`` as keys."""
    return json.dumps([vars(plugin) for plugin in plugins], indent=2)


def as_table(plugins: Iterable[registry.Plugin]) -> str:
    """Write a line for each candidate, and a line below it for why it does not count."""
    rows = [(tuple(str(getattr(plugin, key) or "-") for key in _COLUMNS), plugin.reason) for plugin in plugins]
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *(row for row, _ in rows), strict=True)]
    lines = [_line(_COLUMNS, widths)]
    for row, reason in rows:
        lines.append(_line(row, widths))
        lines += [f"    {reason}"] if reason else []
    return "\n".join(lines)


def _line(words: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(word.ljust(width) for word, width in zip(words, widths, strict=True)).rstrip()


def problems(plugins: Iterable[registry.Plugin]) -> list[str]:
    """Load and gate each candidate in a child process, and return what is wrong, a line each."""
    return [
        f"{plugin.group} {plugin.name} ({plugin.distribution} {plugin.version}): {problem}"
        for plugin in plugins
        if plugin.status not in _REFUSED
        for problem in ([plugin.reason] if plugin.status in _BROKEN else registry.check(plugin))
    ]
