"""Process groups within process groups, each of which writes down what signals come to it."""

from pathlib import Path

DEPTH = 8
COMMAND = ("sh", "./nested", "1")
"""To be run in the directory that ``write`` was given."""


def write(place: Path) -> None:
    """Write the scripts."""
    (place / "noting").write_text(
        "trap 'echo HUP >>told' HUP; trap 'echo TERM >>told; exit' TERM; : >up.$1; while :; do sleep 0.05; done"
    )
    deeper = f'[ "$1" = {DEPTH} ] || timeout 300 sh ./nested "$(($1 + 1))" &'
    (place / "nested").write_text(f'timeout 300 sh ./noting "$1" & {deeper} wait')


def are_up(place: Path) -> bool:
    """Whether all of them are there."""
    return len(list(place.glob("up.*"))) == DEPTH


def told(place: Path) -> set[str]:
    """Return the signals that came."""
    return set((place / "told").read_text().split())
