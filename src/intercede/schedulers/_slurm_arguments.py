"""Checks the arguments that a site adds for sbatch: each copy must still run once, under the name that we give it."""

from collections.abc import Mapping, Sequence

__all__ = ["find_objection"]

_NOTHING = "sbatch would not submit a job"
_REFUSED: Mapping[str, str] = {
    "array": "the copies of a submission are the array",
    "job-name": "intercede finds its jobs by their names",
    "clusters": "use the option clusters",
    "wrap": "sbatch already gets a script",
    "test-only": _NOTHING,
    "help": _NOTHING,
    "usage": _NOTHING,
    "version": _NOTHING,
    "wait": "sbatch would not answer before all jobs have ended",
    "quiet": "sbatch would not print the ids of the jobs",
    "parsable": "it is already given",
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
"""Short options without a value, so that another short option may follow in the same word."""
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
"""Long options that take no value from the next word."""


def find_objection(words: Sequence[str]) -> str | None:
    """Return the reason why sbatch must not get these words, or None if sbatch may get all of them.

    sbatch accepts abbreviated long options, and several short options in one word.
    """
    may_be_value = False
    for word in words:
        is_option = word.startswith("-") and word != "-"
        if not is_option and not may_be_value:
            return f"{word!r} is no option: sbatch would take it for the script"
        refused, may_be_value = _parse_option(word) if is_option else ((), False)
        if refused:
            return f"{word!r} is --{refused[0]}, or may be: {_REFUSED[refused[0]]}"
    return None


def _parse_option(word: str) -> tuple[Sequence[str], bool]:
    """Return the refused options that a word may mean, and whether the next word may be a value.

    A long option may be abbreviated, so one word may mean several options.
    """
    return _parse_long(word) if word.startswith("--") else _parse_short(word)


def _parse_long(word: str) -> tuple[Sequence[str], bool]:
    name, equals, _ = word[2:].partition("=")
    refused = [option for option in _REFUSED if option.startswith(name)]
    return refused, not equals and not any(flag.startswith(name) for flag in _FLAGS)


def _parse_short(word: str) -> tuple[Sequence[str], bool]:
    letters = word[1:]
    switches = next((at for at, letter in enumerate(letters) if letter not in _SWITCHES), len(letters))
    refused = [_SHORT[letter] for letter in letters[: switches + 1] if letter in _SHORT]
    return refused, switches == len(letters) - 1
