"""Metadata that tests of discovery write, and a scan of it."""

from pathlib import Path

from intercede.discovery import scan
from intercede.plugin import Plugin


def install(
    root: Path, directory: str, entry_points: str | bytes = "[intercede.transports]\nt = m:T\n", metadata: str = "x"
) -> Path:
    """Make a metadata directory; ``metadata`` empty: an interrupted upgrade's leftover."""
    made = root / directory
    made.mkdir(parents=True)
    if entry_points:
        data = entry_points if isinstance(entry_points, bytes) else entry_points.encode()
        (made / "entry_points.txt").write_bytes(data)
    if metadata:
        (made / ("PKG-INFO" if directory.endswith(".egg-info") else "METADATA")).write_text(metadata)
    return made


def found(*path: Path | str) -> list[Plugin]:
    """Scan a path, without what is built in."""
    return [each for each in scan([str(each) for each in path])[0] if not each.builtin]


def problems(*path: Path | str) -> list[str]:
    """Scan a path for problems, but that intercede itself is not on it."""
    return [each for each in scan([str(each) for each in path])[1] if not each.startswith("the metadata of intercede")]
