"""Nested process groups, each of which records the signals that it gets."""

from pathlib import Path

DEPTH = 8
COMMAND = ("sh", "./nested", "1")
"""A command that runs in the directory of ``write``."""


def write(place: Path) -> None:
    """Write the scripts into the directory."""
    (place / "noting").write_text(
        "trap 'echo HUP >>told' HUP; trap 'echo TERM >>told; exit' TERM; : >up.$1; while :; do sleep 0.05; done"
    )
    deeper = f'[ "$1" = {DEPTH} ] || timeout 300 sh ./nested "$(($1 + 1))" &'
    (place / "nested").write_text(f'timeout 300 sh ./noting "$1" & {deeper} wait')


def are_up(place: Path) -> bool:
    """Return whether all groups have started."""
    return len(list(place.glob("up.*"))) == DEPTH


def read_signals(place: Path) -> set[str]:
    """Return the signals that the groups got."""
    return set((place / "told").read_text().split())
