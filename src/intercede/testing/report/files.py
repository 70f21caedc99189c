"""Write the files of a run. Each file is written whole or not at all."""

import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from intercede.plugin import how_to_install
from intercede.testing.model.verdict import Report
from intercede.testing.report.badge import make_badge
from intercede.testing.report.document import make_document
from intercede.testing.report.run import Run
from intercede.testing.report.summary import format_summary

__all__ = ["prepare_directory", "write_reports"]

_UNFIT = re.compile(r"[^A-Za-z0-9._+#=@-]")
_LONGEST = 100
_NAMES = ("conformance", "badge")
"""The prefixes of the names of the files."""


def prepare_directory(directory: Path) -> None:
    """Make the directory of the reports, and check before the run that every report can be written.

    Raises:
        ImportError: The extra `testing` is not installed. The message says how to install it.
        OSError: The directory cannot be made, or a report cannot be written into it.
    """
    _require_jinja()
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory / f".conformance.{secrets.token_hex(4)}", "a report can be written here\n").unlink()
    taken = [each for each in directory.iterdir() if each.name.startswith(_NAMES) and each.is_dir()]
    if taken:
        raise IsADirectoryError(f"a report cannot be written to {taken[0]}, because it is a directory")


def _require_jinja() -> None:
    try:
        import_module("jinja2")
    except ImportError as error:
        raise ImportError(f"the page needs {error.name}: {how_to_install('testing')}", name=error.name) from None


def write_reports(reports: Sequence[Report], directory: Path, run: Run) -> tuple[Path, ...]:
    """Write the reports of a run, first the reports for programs, and return the paths of all reports.

    The reports are ``conformance.json``, ``badge.json`` and ``conformance.html`` for one subject. If there are several
    subjects, there are ``conformance-<id>.json`` and so on for each. ``conformance.md`` is about all subjects.

    Raises:
        OSError: The directory is missing or cannot be written.
        ImportError: The extra `testing` is not installed. All but the page has been written.
    """
    documents = [make_document(each, run) for each in reports]
    suffixes = _make_suffixes(each.facts.id for each in reports) if len(reports) > 1 else [""]
    named = list(zip(documents, suffixes, strict=True))
    written: list[Path] = []
    for document, suffix in named:
        written.append(_write(directory / f"conformance{suffix}.json", _format_json(document)))
        written.append(_write(directory / f"badge{suffix}.json", _format_json(make_badge(document))))
    written.append(_write(directory / "conformance.md", format_summary(documents)))
    _require_jinja()
    from intercede.testing.report.page import render_page  # noqa: PLC0415 -- it imports jinja2, which may be missing

    written += [_write(directory / f"conformance{suffix}.html", render_page(document)) for document, suffix in named]
    return tuple(written)


def _format_json(data: Mapping[str, object]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _make_suffixes(ids: Iterable[str]) -> Iterator[str]:
    """Yield for each id a suffix for file names. The suffixes differ even if a file system ignores case."""
    seen: set[str] = set()
    for each in ids:
        fit = _UNFIT.sub("_", each)[:_LONGEST]
        name = next(name for name in _list_variants(fit) if name.lower() not in seen)
        seen.add(name.lower())
        yield f"-{name}"


def _list_variants(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}.{number}"
        number += 1


def _write(path: Path, text: str) -> Path:
    """Write a temporary file and rename it, so that no reader finds half a report."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return path
