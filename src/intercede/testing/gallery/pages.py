"""The generated pages of the documentation: the clauses, the gallery, the options, the keys of ``conformance.json``."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from intercede.testing.frontends import reference
from intercede.testing.frontends.options import format_check_table, format_pytest_table
from intercede.testing.gallery import matrix
from intercede.testing.report.schema import format_keys

__all__ = ["main", "render_pages"]

_TABLE = re.compile(r"(?<=: made by `make docs` -->\n)(\|[^\n]*\n)+")


def render_pages(reference_folder: Path) -> Mapping[Path, str]:
    """Return each page and its text. Some pages are written by hand, and only a table in them is generated."""
    tables = {"cli.md": format_check_table(), "kit.md": format_pytest_table(), "report.md": format_keys()}
    pages = {reference_folder / name: table for name, table in tables.items()}
    return {
        reference_folder / "contract.md": reference.render(),
        reference_folder / "gallery.md": matrix.page(),
        **{path: _replace_table(path.read_text("utf-8"), table) for path, table in pages.items()},
    }


def _replace_table(page: str, table: str) -> str:
    return _TABLE.sub(lambda _: f"{table}\n", page)


def main(_arguments: Sequence[str]) -> int:
    """Write the pages below ``docs/reference`` of the working directory, and name those that changed."""
    for path, text in render_pages(Path("docs", "reference")).items():
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(f"{path} has changed")  # noqa: T201 -- a command prints
    return 0
