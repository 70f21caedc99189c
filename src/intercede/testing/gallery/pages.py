"""Generate pages and parts of pages of the documentation.

They are the clauses, the gallery, the options, the keys of ``conformance.json``, and the list of decisions.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

from intercede.testing.frontends import reference
from intercede.testing.frontends.options import format_check_table, format_pytest_table
from intercede.testing.gallery import matrix
from intercede.testing.report.schema import format_keys

__all__ = ["main", "render_pages"]

_PART = re.compile(r"(?<=: made by `make docs` -->\n)([^\n]+\n)+")
_COLUMNS = 120


def render_pages(docs: Path) -> Mapping[Path, str]:
    """Return the path and the text of each page. Of some pages only a part is generated.

    Args:
        docs: The folder of the documentation.
    """
    parts = {
        docs / "index.md": _list_decisions(docs),
        docs / "reference" / "cli.md": format_check_table(),
        docs / "reference" / "kit.md": format_pytest_table(),
        docs / "reference" / "report.md": format_keys(),
    }
    return {
        docs / "reference" / "contract.md": reference.render(),
        docs / "reference" / "gallery.md": matrix.format_page(),
        **{path: _replace_part(path.read_text("utf-8"), part) for path, part in parts.items()},
    }


def _list_decisions(docs: Path) -> str:
    """Write a list of links to the decisions, by their titles."""
    titles = {
        path.name: path.read_text("utf-8").partition("\n")[0].removeprefix("# ")
        for path in sorted(docs.glob("decisions/*.md"))
    }
    items = [f"- [{title}](decisions/{name})" for name, title in titles.items()]
    return "\n".join(fill(item, _COLUMNS, subsequent_indent="  ", break_on_hyphens=False) for item in items)


def _replace_part(page: str, part: str) -> str:
    return _PART.sub(lambda _: f"{part}\n", page)


def main(_arguments: Sequence[str]) -> int:
    """Write the pages to ``docs`` in the working directory, and print the names of those that changed."""
    for path, text in render_pages(Path("docs")).items():
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(f"{path} has changed")  # noqa: T201 -- a command prints
    return 0
