"""The generated pages of the documentation: the clauses, the gallery, and the keys of ``conformance.json``."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from intercede.testing.frontends import reference
from intercede.testing.gallery import matrix
from intercede.testing.report.schema import format_keys

__all__ = ["main", "render_pages"]

_KEYS = re.compile(r"(?<=<!-- keys: made by `make docs` -->\n)(\|[^\n]*\n)+")


def render_pages(reference_folder: Path) -> Mapping[Path, str]:
    """Return each page and its text. In ``report.md`` only the table of keys is generated."""
    report = reference_folder / "report.md"
    return {
        reference_folder / "contract.md": reference.render(),
        reference_folder / "gallery.md": matrix.page(),
        report: _KEYS.sub(lambda _: format_keys() + "\n", report.read_text("utf-8")),
    }


def main(_arguments: Sequence[str]) -> int:
    """Write the pages below ``docs/reference`` of the working directory, and name those that changed."""
    for path, text in render_pages(Path("docs", "reference")).items():
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(f"{path} has changed")  # noqa: T201 -- a command prints
    return 0
