"""The plan of a run: its subjects, its checks, and the scope of the verdict. It is made before any check runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, Unpack, cast

from intercede.contract.backend import CAPABILITIES, Capability
from intercede.contract.errors import ConfigError
from intercede.plugin_tools.options import check_number, option_error
from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.options import OPTIONS, Frontend, Options, Spell, make_spell
from intercede.testing.known import Known, load, load_for_update
from intercede.testing.model.clause import Clause
from intercede.testing.model.role import Role
from intercede.testing.model.verdict import Profile, Result, SubjectInfo, is_in_profile
from intercede.testing.report import prepare_directory
from intercede.testing.run.calibrate import calibrate
from intercede.testing.run.inspection import JOBS
from intercede.testing.subjects.resolve import examine, resolve
from intercede.testing.subjects.subject import RegistrySubject, Subject

__all__ = [
    "IDLE_OPTIONS",
    "ROOT",
    "Plan",
    "check_keywords",
    "has_selection",
    "list_ids",
    "make_node_id",
    "make_plan",
    "parse_scale",
    "parse_scale_number",
]

_SCALE_LIMIT = 1e6
"""The timeout scale must be less than this number. With a larger scale, a check could take weeks."""
ROOT = "intercede"
"""The beginning of every node id of the suite."""


@dataclass(frozen=True)
class Plan:
    """The plan of a run. Under pytest-xdist, the controller makes it and sends it to its workers."""

    subjects: tuple[Subject, ...]
    facts: tuple[SubjectInfo, ...]
    """The facts about each subject."""
    wanted: frozenset[str]
    """The node ids of the checks to run."""
    is_partial: bool
    """Whether the user selected only some of the checks, by their ids."""
    scales: Mapping[str, float]
    """The timeout scale of each subject."""
    frontend: Frontend = "check_backend"
    """The front end that made the plan."""
    profile: Profile = "full"
    required: frozenset[Capability] = frozenset()
    jobs: int = JOBS
    repeat: int = 1
    known: Known | None = None
    update_known: bool = False
    """Whether the file of known failures is to be rewritten after the run."""
    report_directory: Path | None = None
    """The directory for the reports, or None if no reports are to be written."""
    today: date = date.min
    """The day of the run, which decides whether entries of known failures have expired."""
    notes: tuple[str, ...] = ()
    """Lines to print before the run."""

    def judge_known(self, subject_id: str, clause: Clause, result: Result) -> Result:
        """Apply the file of known failures to a result, and return the new result.

        If the plan has no such file, return the result unchanged.
        """
        return result if self.known is None else self.known.judge(subject_id, clause.id, result, self.today)

    @property
    def unmatched_known(self) -> tuple[str, ...]:
        """A sentence for each known failure that matches no clause or subject.

        The tuple is empty if the plan is partial.
        """
        return () if self.known is None or self.is_partial else self.known.find_unmatched(CLAUSES, self.facts)


def make_node_id(clause: Clause, subject_id: str) -> str:
    """Return the node id of the check of a clause on a subject: ``intercede/submit::IC-SUBMIT-04[fake]``."""
    return f"{ROOT}/{clause.area}::{clause.id}[{subject_id}]"


def make_plan(
    asked: Sequence[tuple[Role, str | Mapping[str, object]]],
    *,
    probe: bool = True,
    frontend: Frontend = "check_backend",
    **options: Unpack[Options],
) -> Plan:
    """Make the plan of a run: check the options, resolve and examine the subjects, and select the checks.

    Args:
        asked: The role and the configuration of each subject, as text from a command line or as data.
        probe: Whether ``scale="auto"`` may run jobs to measure the scale. If not, it means 1.
        frontend: The front end that makes the plan. Errors name its options.
        options: The options of the run.

    Raises:
        IntercedeError: A name, a configuration, a capability, an id, a number or the file of known failures is wrong.
    """
    spell = make_spell(frontend)
    _check_values(cast("Mapping[str, object]", options), spell)
    profile, jobs, repeat = options.get("profile", "full"), options.get("jobs"), options.get("repeat", 1)
    scale, ids = parse_scale(options.get("scale", 1.0), spell), list_ids(options.get("ids"), spell)
    if repeat < 1:
        raise option_error(spell("repeat"), repeat, "at least 1")
    required = _parse_capabilities(options.get("require", ()), profile, spell)
    known = _load_known(options.get("known"), update=options.get("update_known", False), spell=spell)
    subjects = resolve(asked, options.get("file"), spell)
    facts = examine(subjects, 1.0 if scale == "auto" else scale)
    inside = [each for each in CLAUSES.values() if is_in_profile(each, profile)]
    every = {make_node_id(each, of.id): each for each in inside for of in facts if each.role in of.roles}
    wanted = frozenset(every if ids is None else (node for each in ids for node in _find_matches(each, every)))
    jobs = JOBS if jobs is None else jobs
    _check_jobs(jobs, [every[each] for each in wanted], spell)
    report_directory = _prepare_directory(options.get("report"), spell)
    scales, notes = _measure_scales(scale if probe or scale != "auto" else 1.0, subjects, facts)
    return Plan(
        subjects,
        facts,
        wanted,
        is_partial=len(wanted) < len(every),
        scales=scales,
        frontend=frontend,
        profile=profile,
        required=required,
        jobs=jobs,
        repeat=repeat,
        known=known,
        update_known=options.get("update_known", False),
        report_directory=report_directory,
        today=datetime.now(UTC).date(),
        notes=notes,
    )


def check_keywords(options: Iterable[str]) -> None:
    """Check that the keyword arguments of ``check_backend`` are options.

    Raises:
        ConfigError: A keyword is not an option. The message names the nearest option, and lists all of them.
    """
    names = list(Options.__annotations__)
    for each in options:
        if each not in names:
            near = get_close_matches(each, names, n=1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise ConfigError(
                f"{each} is not an option{hint}; the options are {', '.join(names)}",
                field=each,
                expected=", ".join(names),
            )


def _check_values(options: Mapping[str, object], spell: Spell) -> None:
    """Check the options that have a fixed set of values, and the options that are whole numbers."""
    for each in OPTIONS:
        value = options.get(each.name, each.default)
        if each.choices and value not in each.choices:
            raise option_error(spell(each.name), value, " or ".join(each.choices))
        if each.kind == "number" and not (value is None and each.default is None):
            check_number(spell(each.name), value, int)


def list_ids(given: Iterable[str] | None, spell: Spell) -> list[str] | None:
    """Return the ids that the option ``ids`` gives, or None to run all checks. A text is one id.

    Raises:
        ConfigError: The option gives no id.
    """
    if given is None:
        return None
    ids = _list_words(given)
    if not ids:
        raise option_error(spell("ids"), ids, "one id or more, or None for all checks")
    return ids


def _list_words(given: Iterable[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def parse_scale(given: object, spell: Spell) -> float | Literal["auto"]:
    """Return the timeout scale that an option gives: a number or ``auto``. The number may be text.

    Raises:
        ConfigError: The value is neither ``auto`` nor a number above 0 and below a million.
    """
    return "auto" if given == "auto" else parse_scale_number(given, spell, "a number above 0, or auto")


def parse_scale_number(given: object, spell: Spell, expected: str = "a number above 0") -> float:
    """Return the timeout scale that an option gives as a number. The number may be text.

    Args:
        given: The value of the option.
        spell: Formats the option for an error.
        expected: The valid values, for an error.

    Raises:
        ConfigError: The value is not a number above 0 and below a million.
    """
    try:
        scale = float(given) if isinstance(given, str) else check_number(spell("scale"), given, float)
    except (ConfigError, ValueError):
        raise option_error(spell("scale"), given, expected) from None
    if not 0 < scale < _SCALE_LIMIT:
        raise option_error(spell("scale"), given, f"above 0 and below {_SCALE_LIMIT:g}")
    return scale


def _check_jobs(jobs: int, clauses: Sequence[Clause], spell: Spell) -> None:
    """Check that no selected clause needs more jobs at once than the option ``jobs`` allows."""
    most = max((each.jobs for each in clauses), default=1)
    if jobs < most:
        many = ", ".join(sorted({each.id for each in clauses if each.jobs > jobs}))
        raise ConfigError(
            f"{spell('jobs', jobs)} is too few: {many} need up to {most} jobs at once. Give at least {most}, or leave "
            "these checks out, which makes the verdict PARTIAL",
            field=spell("jobs"),
            value=jobs,
        )


def _load_known(file: str | None, *, update: bool, spell: Spell) -> Known | None:
    if file is None:
        if update:
            raise ConfigError(
                f"{spell('update_known', value=True)} rewrites the file of {spell('known')}: name it",
                field=spell("known"),
            )
        return None
    if not file:
        raise option_error(spell("known"), file, "the path of a file")
    known = load_for_update(file) if update else load(file)
    return replace(known, update_option=spell("update_known", value=True))


def _prepare_directory(given: str | None, spell: Spell) -> Path | None:
    """Create the directory for the reports, and return its path, or None if no directory is given.

    The function also checks that the reports can be written there. It is called before any job is started.
    """
    if given is None:
        return None
    # An empty value, for example from an empty shell variable, is refused: it would mean the working directory.
    if not given:
        raise option_error(spell("report"), given, "the path of a directory")
    directory = Path(given)
    try:
        prepare_directory(directory)
    except (ImportError, OSError) as error:
        raise ConfigError(f"{spell('report')}: {error}", field=spell("report"), value=given) from None
    return directory


def _measure_scales(
    scale: float | Literal["auto"], subjects: Sequence[RegistrySubject], facts: Sequence[SubjectInfo]
) -> tuple[Mapping[str, float], tuple[str, ...]]:
    if scale != "auto":
        return {each.id: scale for each in facts}, ()
    measured = {of.id: calibrate(each, of) for each, of in zip(subjects, facts, strict=True)}
    notes = tuple(f"{each}: {note}" for each, (_, note) in measured.items() if note)
    return {each: found for each, (found, _) in measured.items()}, notes


def _parse_capabilities(require: Iterable[str], profile: Profile, spell: Spell) -> frozenset[Capability]:
    known = ", ".join(CAPABILITIES)
    words: list[str] = []
    for given in _list_words(require):
        words += (found := [word.strip() for word in given.split(",") if word.strip()])
        # An empty value, for example from an empty shell variable, is refused: it would require no capability.
        if not found:
            raise ConfigError(f"{spell('require', given)} names no capability; there are {known}", value=given)
    if unknown := [word for word in words if word not in CAPABILITIES]:
        raise ConfigError(f"{spell('require')}: {unknown[0]!r} is no capability; there are {known}", value=unknown[0])
    if words and profile == "core":
        raise ConfigError(
            f"{spell('profile', profile)} checks no capability: with it, {spell('require', ','.join(words))} would "
            "prove what is claimed, and not that it works. Leave the profile out",
            value=profile,
            expected="full",
        )
    return frozenset(cast("list[Capability]", words))


def _find_matches(wanted: str, every: Iterable[str]) -> list[str]:
    stem = wanted.rstrip("/")
    found = [each for each in every if each == stem or each.startswith((f"{stem}/", f"{stem}::", f"{stem}["))]
    if not found:
        near = get_close_matches(wanted, every, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"no check of intercede matches {wanted}{hint}", value=wanted)
    return found


IDLE_OPTIONS = {
    "collectonly": ("--collect-only", "--collectonly", "--co"),
    "setuponly": ("--setup-only", "--setuponly"),
    "setupplan": ("--setup-plan", "--setupplan"),
    "showfixtures": ("--fixtures", "--funcargs"),
    "show_fixtures_per_test": ("--fixtures-per-test",),
    "cacheshow": ("--cache-show",),
}
"""The options that make pytest run no test: the attribute of ``config.option`` that each sets, and its spellings."""
_SELECTING = (
    *("--deselect", "--last-failed", "--lf", "--stepwise", "--stepwise-skip", "--sw", "--sw-skip"),
    *("--stepwise-reset", "--sw-reset"),
    *(each for spellings in IDLE_OPTIONS.values() for each in spellings),
)


def has_selection(arguments: Iterable[str]) -> bool:
    """Return whether an argument of pytest selects some of the tests, or makes pytest run no test.

    For example, ``-k``, ``-m``, ``--lf`` and ``--deselect`` select some of the tests.
    """
    return any(each.partition("=")[0] in _SELECTING or _is_short_selection(each) for each in arguments)


def _is_short_selection(argument: str) -> bool:
    """Return whether an argument of combined short options contains ``-k`` or ``-m``, which select tests.

    ``-xk`` contains ``-k``. ``-rk`` does not contain it: the ``k`` in ``-rk`` is the value of ``-r``.
    """
    if not argument.startswith("-") or argument.startswith("--"):
        return False
    rest = argument[1:].lstrip("qvsxlhV")
    return rest[:1] in {"k", "m"}
