"""The plan of a run: which checks, of which subjects, for which verdict. Settled before any runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, Unpack, cast

from intercede.contract.backend import CAPABILITIES, Capability
from intercede.contract.errors import ConfigError
from intercede.plugin_tools.options import option_error
from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.options import Frontend, Options, Spell, make_spell
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
    "LOOKS",
    "ROOT",
    "Plan",
    "make_plan",
    "node_id",
    "parse_scale",
    "selects",
]

_SCALE_LIMIT = 1e6
"""A larger timeout scale is no limit: a check would take weeks."""
ROOT = "intercede"
"""The beginning of every node id of the suite."""


@dataclass(frozen=True)
class Plan:
    """The plan that the controller makes and hands to its workers."""

    subjects: tuple[Subject, ...]
    facts: tuple[SubjectInfo, ...]
    """The facts about each subject."""
    wanted: frozenset[str]
    """The node ids of the checks to run."""
    narrowed: bool
    """Whether node ids chose among the checks."""
    scales: Mapping[str, float]
    """The timeout scale of each subject."""
    frontend: Frontend = "check_backend"
    """The front end that asked."""
    profile: Profile = "full"
    required: frozenset[Capability] = frozenset()
    jobs: int = JOBS
    repeat: int = 1
    known: Known | None = None
    update_known: bool = False
    """Whether the file of known failures is to be rewritten after the run."""
    report_directory: Path | None = None
    """The directory for the reports; None: none is written."""
    today: date = date.min
    """The day of the run, for what is known until a day."""
    notes: tuple[str, ...] = ()
    """Lines to print before the run."""

    def apply_known(self, subject_id: str, clause: Clause, result: Result) -> Result:
        """Tell what a result is in the light of what is known."""
        return result if self.known is None else self.known.judge(subject_id, clause.id, result, self.today)

    @property
    def stale(self) -> tuple[str, ...]:
        """Known failures that match nothing, a sentence each; none where the command line chose among the checks."""
        return () if self.known is None or self.narrowed else self.known.find_unmatched(CLAUSES, self.facts)


def node_id(clause: Clause, subject_id: str) -> str:
    """Return ``intercede/submit::IC-SUBMIT-04[fake]``."""
    return f"{ROOT}/{clause.area}::{clause.id}[{subject_id}]"


def make_plan(
    asked: Sequence[tuple[Role, str | Mapping[str, object]]],
    *,
    probe: bool = True,
    frontend: Frontend = "check_backend",
    **options: Unpack[Options],
) -> Plan:
    """Settle what a run is to do.

    Args:
        asked: The subjects, as the command line has them or as data, each with its role.
        probe: Whether ``scale="auto"`` may run a job to measure with; otherwise the bounds stay as they are.
        frontend: The front end that asks, whose options errors name.
        options: How they are inspected.

    Raises:
        IntercedeError: A name, a configuration, a capability, an id, a number or the file of known failures is wrong.
    """
    profile, jobs, repeat = options.get("profile", "full"), options.get("jobs"), options.get("repeat", 1)
    spell = make_spell(frontend)
    scale, ids = parse_scale(options.get("scale", 1.0), spell), options.get("ids", ())
    if repeat < 1:
        raise option_error(spell("repeat"), repeat, "at least 1")
    required = _capabilities(options.get("require", ()), profile, spell)
    known = _load_known(options.get("known"), update=options.get("update_known", False), spell=spell)
    subjects = resolve(asked, options.get("file"), spell)
    facts = examine(subjects, 1.0 if scale == "auto" else scale)
    inside = [each for each in CLAUSES.values() if is_in_profile(each, profile)]
    every = {node_id(each, of.id): each for each in inside for of in facts if each.role in of.roles}
    wanted = frozenset(node for each in ids for node in _matching(each, every)) if ids else frozenset(every)
    jobs = JOBS if jobs is None else jobs
    _check_jobs(jobs, [every[each] for each in wanted], spell)
    scales, notes = _scales(scale if probe or scale != "auto" else 1.0, subjects, facts)
    return Plan(
        subjects,
        facts,
        wanted,
        narrowed=len(wanted) < len(every),
        scales=scales,
        frontend=frontend,
        profile=profile,
        required=required,
        jobs=jobs,
        repeat=repeat,
        known=known,
        update_known=options.get("update_known", False),
        report_directory=_prepare_directory(options.get("report"), spell),
        today=datetime.now(UTC).date(),
        notes=notes,
    )


def parse_scale(given: float | str, spell: Spell) -> float | Literal["auto"]:
    """Return the timeout scale that an option means.

    Raises:
        ConfigError: The option is neither ``auto`` nor a number above 0 and below a million.
    """
    if given == "auto":
        return "auto"
    try:
        scale = float(given)
    except ValueError:
        raise option_error(spell("scale"), given, "a number above 0, or auto") from None
    if not 0 < scale < _SCALE_LIMIT:
        raise option_error(spell("scale"), given, f"above 0 and below {_SCALE_LIMIT:g}")
    return scale


def _check_jobs(jobs: int, clauses: Sequence[Clause], spell: Spell) -> None:
    """Refuse a bound that a check cannot keep, before it breaks it."""
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
    known = load_for_update(file) if update else load(file)
    return replace(known, update_option=spell("update_known", value=True))


def _prepare_directory(given: str | None, spell: Spell) -> Path | None:
    """Create the directory for the reports and check that they can be written, before any job is started."""
    if given is None:
        return None
    directory = Path(given)
    try:
        prepare_directory(directory)
    except (ImportError, OSError) as error:
        raise ConfigError(f"{spell('report')}: {error}", field=spell("report"), value=given) from None
    return directory


def _scales(
    scale: float | Literal["auto"], subjects: Sequence[RegistrySubject], facts: Sequence[SubjectInfo]
) -> tuple[Mapping[str, float], tuple[str, ...]]:
    if scale != "auto":
        return {each.id: scale for each in facts}, ()
    measured = {of.id: calibrate(each, of) for each, of in zip(subjects, facts, strict=True)}
    notes = tuple(f"{each}: {note}" for each, (_, note) in measured.items() if note)
    return {each: found for each, (found, _) in measured.items()}, notes


def _capabilities(require: Iterable[str], profile: Profile, spell: Spell) -> frozenset[Capability]:
    known = ", ".join(CAPABILITIES)
    words: list[str] = []
    for given in require:
        words += (found := [word.strip() for word in given.split(",") if word.strip()])
        if not found:  # as where a variable is empty: nothing would be required
            raise ConfigError(f"{spell('require', given)} names no capability; there are {known}", value=given)
    if unknown := [word for word in words if word not in CAPABILITIES]:
        raise ConfigError(f"{spell('require')}: {unknown[0]!r} is no capability; there are {known}", value=unknown[0])
    if words and profile == "core":
        raise ConfigError(
            f"{spell('profile', profile)} checks no capability: with it, {spell('require', ','.join(words))} would prove what "
            "is claimed, and not that it works. Leave the profile out",
            value=profile,
            expected="full",
        )
    return frozenset(cast("list[Capability]", words))


def _matching(wanted: str, every: Iterable[str]) -> list[str]:
    stem = wanted.rstrip("/")
    found = [each for each in every if each == stem or each.startswith((f"{stem}/", f"{stem}::", f"{stem}["))]
    if not found:
        near = get_close_matches(wanted, every, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"no check of intercede matches {wanted}{hint}", value=wanted)
    return found


LOOKS = {
    "collectonly": ("--collect-only", "--collectonly", "--co"),
    "setuponly": ("--setup-only", "--setuponly"),
    "setupplan": ("--setup-plan", "--setupplan"),
    "showfixtures": ("--fixtures", "--funcargs"),
    "show_fixtures_per_test": ("--fixtures-per-test",),
    "cacheshow": ("--cache-show",),
}
"""The options of pytest that run nothing, by the name of what they set."""
_SELECTING = (
    *("--deselect", "--last-failed", "--lf", "--stepwise", "--stepwise-skip", "--sw", "--sw-skip"),
    *("--stepwise-reset", "--sw-reset"),
    *(each for spellings in LOOKS.values() for each in spellings),
)


def selects(arguments: Iterable[str]) -> bool:
    """Return whether options select among the tests (-k, -m, --lf, --sw, --deselect) or run none of them."""
    return any(each.partition("=")[0] in _SELECTING or _short_selects(each) for each in arguments)


def _short_selects(argument: str) -> bool:
    """Look into a cluster of short options: ``-xk submit`` selects, ``-rk`` does not."""
    if not argument.startswith("-") or argument.startswith("--"):
        return False
    rest = argument[1:].lstrip("qvsxlhV")
    return rest[:1] in {"k", "m"}
