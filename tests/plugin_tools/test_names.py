"""The names of intercede.plugin_tools: each is documented, and used by more than one part of intercede."""

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = ("options", "scheduler", "transport")
NAMES = [f"{module}.{name}" for module in MODULES for name in import_module(f"intercede.plugin_tools.{module}").__all__]
SOURCES = {
    path: path.read_text()
    for path in [*ROOT.glob("src/intercede/**/*.py"), *ROOT.glob("docs/how-to/*.md")]
    if "plugin_tools" not in path.parts
}


def test_the_reference_lists_every_name() -> None:
    """docs/reference/types.md has one row for each name of each module, and no other."""
    section = (ROOT / "docs/reference/types.md").read_text().split("\n## Tools for plugins\n")[1].split("\n## ")[0]

    assert sorted(re.findall(r"^\|[^|]+\| `(\w+\.\w+)", section, re.MULTILINE)) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_name_has_two_users(name: str) -> None:
    """A helper that a single file needs belongs into that file."""
    module, _, function = name.partition(".")
    imported = re.compile(rf"from intercede\.plugin_tools\.{module} import .*\b{function}\b")

    assert len([path for path, text in SOURCES.items() if imported.search(text)]) >= 2
