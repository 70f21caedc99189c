"""``python -m intercede.testing COMMAND``: tools for authors of plugins and clauses.

``record NAME DIRECTORY`` records real answers of a scheduler. ``schema`` prints the schema of ``conformance.json``.
``pages`` writes the generated pages of intercede's documentation, and ``matrix`` measures its gallery of wrong plugins.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

_COMMANDS = {
    "record": "intercede.testing.clauses.support.record",
    "schema": "intercede.testing.report.schema",
    "pages": "intercede.testing.gallery.pages",
    "matrix": "intercede.testing.gallery.matrix",
}


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code, or 2 if there is no such command."""
    command, *rest = arguments or [""]
    if command not in _COMMANDS:
        print(__doc__, file=sys.stderr if command not in {"-h", "--help"} else sys.stdout)
        return 0 if command in {"-h", "--help"} else 2
    code: int = import_module(_COMMANDS[command]).main(rest)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
