"""The options of the kit. Each is declared once, with its name, kind, default, help and front ends.

The options of pytest and of ``intercede check``, the tables of the documentation, and the options that errors name are
made of this table. Every run of pytest in the environment reads this file, so it imports the standard library only.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, TypedDict, cast

__all__ = [
    "OPTIONS",
    "Frontend",
    "Option",
    "Options",
    "Spell",
    "collect_options",
    "format_check_table",
    "format_pytest_table",
    "list_options",
    "make_spell",
]

Frontend = Literal["pytest", "check", "check_backend", "run_checks"]
"""The name of a front end. ``check`` is the command ``intercede check``.

``check_backend`` is also the name for the functions ``check_transport`` and ``check_scheduler``.
"""
_COMMANDS: tuple[Frontend, ...] = ("pytest", "check")
_PLANNED: tuple[Frontend, ...] = (*_COMMANDS, "check_backend")
_ALL: tuple[Frontend, ...] = (*_PLANNED, "run_checks")


class Options(TypedDict, total=False):
    """The options of a run, as keyword arguments of ``check_backend``. ``OPTIONS`` describes each option."""

    file: str | None
    profile: Literal["core", "full"]
    require: Iterable[str]
    ids: Sequence[str] | None
    scale: float | Literal["auto"]
    jobs: int | None
    repeat: int
    known: str | None
    update_known: bool
    report: str | None


class Option(NamedTuple):
    """One option of the kit."""

    name: str
    """The name of the option in Python: ``update_known``."""
    help: str
    """A sentence that says what the option does, for help texts and the documentation."""
    details: str = ""
    """Further sentences, for the documentation only."""
    frontends: tuple[Frontend, ...] = _PLANNED
    """The front ends that have the option."""
    word: str = ""
    """The name of the option on command lines. If it is empty, the name is ``name`` with dashes for underscores."""
    kind: Literal["text", "number", "flag", "list", "subject"] = "text"
    """The kind of value. A ``list`` option may be given several times.

    The name of a ``subject`` option is a role, and its value is a subject of that role.
    """
    metavar: str = ""
    """The placeholder for the value in help texts, such as ``N``. It is empty for flags and options with choices."""
    choices: tuple[str, ...] = ()
    """The valid values. The tuple is empty if the option has no fixed set of values."""
    default: str | int | None = None
    """The value if the option is not given. A flag that is not given is False, and a list is empty."""

    @property
    def flag(self) -> str:
        """The name of the option on command lines, without prefix: ``timeout-scale``."""
        return self.word or self.name.replace("_", "-")

    @property
    def value(self) -> str:
        """The value as the documentation writes it, such as ``N`` or ``core|full``. For a flag, the text is empty."""
        return self.metavar or "|".join(self.choices)


OPTIONS = (
    Option(
        "backend",
        "Check this backend: a table of the configuration file, a registered name, or a configuration in JSON. May be "
        "given several times.",
        frontends=("pytest",),
        kind="subject",
        metavar="NAME|JSON",
    ),
    Option(
        "transport",
        "Check this transport: its own clauses, then those of a backend that is composed of it and the built-in "
        "direct.",
        "The subject is `NAME+direct`.",
        frontends=("pytest",),
        kind="subject",
        metavar="NAME|JSON",
    ),
    Option(
        "scheduler",
        "Check this scheduler by its own clauses, which need no resource.",
        "To check it with a queue, name a composed backend.",
        frontends=("pytest",),
        kind="subject",
        metavar="NAME|JSON",
    ),
    Option(
        "role",
        "Set the role of the subject.",
        frontends=("check",),
        choices=("backend", "transport", "scheduler"),
        default="backend",
    ),
    Option(
        "only",
        "Check this clause or area only, such as IC-SUBMIT-04 or submit. The verdict is PARTIAL at best.",
        "May be given several times.",
        frontends=("check",),
        kind="list",
        metavar="CLAUSE|AREA",
    ),
    Option(
        "ids",
        "Run the checks with these node ids only, or with ids that begin so. The verdict is PARTIAL at best.",
        frontends=("check_backend",),
        kind="list",
    ),
    Option("file", "Read named subjects and pins from this file.", word="config", metavar="FILE"),
    Option(
        "profile",
        "Set the scope of the verdict: core is every MUST of the essential verbs; full adds the claimed capabilities.",
        choices=("core", "full"),
        default="full",
    ),
    Option(
        "require",
        "Require that these capabilities are claimed.",
        "Together with the core profile it is a usage error.",
        kind="list",
        metavar="CAPABILITY,...",
    ),
    Option(
        "known",
        "Read a file of known failures.",
        "[How to live with them](../how-to/live-with-known-failures.md).",
        metavar="FILE",
    ),
    Option(
        "update_known",
        "Rewrite the file of known failures after the run.",
        "The verdict is still that of the old file.",
        kind="flag",
    ),
    Option(
        "report",
        "Write conformance.json, .html, .md and badge.json into this directory.",
        "[What is in them](report.md).",
        metavar="DIR",
    ),
    Option(
        "scale",
        "Multiply every time limit, for slow resources; auto measures the scale with small jobs.",
        "[How it is measured](kit.md#time-limits).",
        frontends=_ALL,
        word="timeout-scale",
        metavar="N|auto",
        default="1",
    ),
    Option(
        "jobs",
        "Set the maximum number of jobs that a subject has at once, 128 by default.",
        "It is a usage error if a check needs more.",
        kind="number",
        metavar="N",
    ),
    Option(
        "repeat",
        "Run each check N times, and report how often it was red. Red once is red.",
        kind="number",
        metavar="N",
        default=1,
    ),
    Option(
        "list",
        "Print the clauses and run nothing.",
        "In `addopts` it is a usage error.",
        frontends=("pytest",),
        kind="flag",
    ),
    Option(
        "explain",
        "Print one clause: its sentence, its level and its hint.",
        frontends=("pytest",),
        metavar="CLAUSE",
    ),
)
"""Every option, in the order of the help texts."""


def list_options(frontend: Frontend) -> list[Option]:
    """Return the options that a front end has."""
    return [each for each in OPTIONS if frontend in each.frontends]


def collect_options(frontend: Frontend, values: Mapping[str, object]) -> Options:
    """Return the options of a run, from the values that a front end has parsed.

    Args:
        frontend: The front end.
        values: The parsed value of each option, by its name. A list that was not given may be None.
    """
    rows = [each for each in list_options(frontend) if each.name in Options.__annotations__]
    return cast(
        "Options", {each.name: values[each.name] or () if each.kind == "list" else values[each.name] for each in rows}
    )


class Spell(Protocol):
    """A function that formats an option for an error, in the form that the user of a front end types."""

    def __call__(self, name: str, value: object = None) -> str:
        """Return the option, with its value if one is given: ``--intercede-jobs=1``, ``--jobs 1`` or ``jobs=1``."""
        ...


def make_spell(frontend: Frontend) -> Spell:
    """Return the function that formats an option in the form that the users of a front end type."""
    rows = {each.name: each for each in OPTIONS}

    def spell(name: str, value: object = None) -> str:
        option = rows[name]
        has_value = value is not None and (option.kind != "flag" or frontend not in _COMMANDS)
        if frontend == "pytest":
            return f"--intercede-{option.flag}{f'={value}' if has_value else ''}"
        if frontend == "check":
            return "NAME|JSON" if option.kind == "subject" else f"--{option.flag}{f' {value}' if has_value else ''}"
        return f"{'config' if option.kind == 'subject' else name}{f'={value!r}' if has_value else ''}"

    return spell


def format_pytest_table() -> str:
    """Return the table for ``kit.md``: the kit's options for pytest, each with the keyword argument for Python."""
    rows = ["| option | in Python | does |", "|---|---|---|"]
    for each in list_options("pytest"):
        keyword = f"`{each.name}`" if "check_backend" in each.frontends else ""
        option = f"--intercede-{each.flag}{f'={each.value}' if each.value else ''}"
        rows.append(_format_row(option, keyword, _format_text(each)))
    return "\n".join(rows)


def format_check_table() -> str:
    """Return the table for ``cli.md``: the options of ``intercede check``."""
    rows = [
        _format_row(f"--{each.flag}{f' {each.value}' if each.value else ''}", _format_text(each))
        for each in list_options("check")
    ]
    return "\n".join(["| option | does |", "|---|---|", *rows])


def _format_row(option: str, *cells: str) -> str:
    return f"| `{option.replace('|', chr(92) + '|')}` | {' | '.join(cells)} |"


def _format_text(option: Option) -> str:
    default = f"Default: `{option.default}`." if option.default is not None else ""
    return " ".join(filter(None, [option.help, option.details, default])).replace("|", "\\|")
