"""Metadata for tests of discovery, and scans of it."""

from pathlib import Path

from intercede.discovery import scan
from intercede.plugin import Plugin


def write_metadata(
    root: Path, directory: str, entry_points: str | bytes = "[intercede.transports]\nt = m:T\n", metadata: str = "x"
) -> Path:
    """Write a metadata directory. An empty ``metadata`` makes one that an interrupted upgrade left."""
    made = root / directory
    made.mkdir(parents=True)
    if entry_points:
        data = entry_points if isinstance(entry_points, bytes) else entry_points.encode()
        (made / "entry_points.txt").write_bytes(data)
    if metadata:
        (made / ("PKG-INFO" if directory.endswith(".egg-info") else "METADATA")).write_text(metadata)
    return made


def find_plugins(*path: Path | str) -> list[Plugin]:
    """Scan a path, and return the candidates that are not built in."""
    return [each for each in scan([str(each) for each in path])[0] if not each.builtin]


def find_problems(*path: Path | str) -> list[str]:
    """Scan a path, and return the problems other than the missing metadata of intercede."""
    return [each for each in scan([str(each) for each in path])[1] if not each.startswith("the metadata of intercede")]
