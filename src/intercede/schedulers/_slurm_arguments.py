"""What a site may tell sbatch besides what we do: all but what makes of a copy anything else than one run that we know."""

from collections.abc import Mapping, Sequence

__all__ = ["objection"]

_NOTHING = "sbatch would submit nothing"
_REFUSED: Mapping[str, str] = {
    "array": "a submission's copies are the array",
    "job-name": "jobs are known by the names that they are given",
    "clusters": "use the option clusters",
    "wrap": "sbatch is given a script",
    "test-only": _NOTHING,
    "help": _NOTHING,
    "usage": _NOTHING,
    "version": _NOTHING,
    "wait": "sbatch would not answer before all has run",
    "quiet": "sbatch would not tell the jobs' ids",
    "parsable": "it is given already",
    "uid": "jobs of another user are not listed",
}
_SHORT: Mapping[str, str] = {
    "a": "array",
    "J": "job-name",
    "M": "clusters",
    "W": "wait",
    "Q": "quiet",
    "h": "help",
    "V": "version",
}
_SWITCHES = frozenset("HOQVWhksv")
"""Short options that need no value, so that another may be glued to them."""
_FLAGS = frozenset(
    [
        "contiguous",
        "exclusive",
        "get-user-env",
        "hold",
        "ignore-pbs",
        "nice",
        "no-kill",
        "no-requeue",
        "oom-kill-step",
        "overcommit",
        "oversubscribe",
        "propagate",
        "reboot",
        "requeue",
        "resv-ports",
        "spread-job",
        "use-min-nodes",
        "verbose",
    ]
)
"""Long ones that take none from the next word."""


def objection(words: Sequence[str]) -> str | None:
    """Tell which of these words sbatch must not be given, and why. Options may be cut short, or glued together."""
    takes = False
    for word in words:
        is_option = word.startswith("-") and word != "-"
        if not is_option and not takes:
            return f"{word!r} is no option: sbatch would take it for the script"
        meant, takes = _read(word) if is_option else ((), False)
        if meant:
            return f"{word!r} is --{meant[0]}, or may be: {_REFUSED[meant[0]]}"
    return None


def _read(word: str) -> tuple[Sequence[str], bool]:
    """Return what is refused of it, and whether the next word may be its value."""
    return _long(word) if word.startswith("--") else _glued(word)


def _long(word: str) -> tuple[Sequence[str], bool]:
    name, equals, _ = word[2:].partition("=")
    meant = [option for option in _REFUSED if option.startswith(name)]
    return meant, not equals and not any(flag.startswith(name) for flag in _FLAGS)


def _glued(word: str) -> tuple[Sequence[str], bool]:
    letters = word[1:]
    switches = next((at for at, letter in enumerate(letters) if letter not in _SWITCHES), len(letters))
    meant = [_SHORT[letter] for letter in letters[: switches + 1] if letter in _SHORT]
    return meant, switches == len(letters) - 1
