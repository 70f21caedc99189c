"""The suite without pytest: ``report = await check_backend("fake")``. The same checks, the same verdict."""

import asyncio
import json
import shlex
import threading
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Unpack

from intercede.contract.backend import capabilities
from intercede.redaction import redact
from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.plan import Options, Plan, make_plan, node_id
from intercede.testing.isolation import timeouts
from intercede.testing.model.clause import Clause, Level
from intercede.testing.model.role import Role
from intercede.testing.model.verdict import Report, Result, SubjectInfo, judge
from intercede.testing.run.context import format_value
from intercede.testing.run.inspection import Inspection
from intercede.testing.subjects.subject import FactorySubject, RegistrySubject, refuse_recursion

__all__ = ["ResultCallback", "check_backend", "check_scheduler", "check_transport", "inspect", "run_checks"]

ResultCallback = Callable[[SubjectInfo, Clause, Result], None]
"""Is told of each result when it is there, in the thread that inspects."""


_BEAT = 0.1
_LOAD_SECONDS = 20.0
_one_at_a_time = threading.Lock()


def _nobody(facts: SubjectInfo, clause: Clause, result: Result) -> None:
    """Tell nobody."""


async def check_backend(
    config: str | Mapping[str, object], *, told: ResultCallback = _nobody, **options: Unpack[Options]
) -> Report:
    """Check a backend that the registry makes, and give the verdict.

    The checks run in a thread of their own, with event loops of their own. Cancelling ends what they started first. Of
    several inspections in one process, each waits for the one before it.

    Args:
        config: A table of the configuration file, a registered name, or a configuration as data or as JSON.
        told: Is told of each result.
        options: How it is inspected: as the options of ``pytest --intercede-backend``.

    Raises:
        IntercedeError: A name, the configuration or an option is wrong.
    """
    return await _check_in_thread("backend", config, told, options)


async def check_transport(
    config: str | Mapping[str, object], *, told: ResultCallback = _nobody, **options: Unpack[Options]
) -> Report:
    """Check a transport, and the backend that it makes with ``direct``; otherwise as ``check_backend``.

    Raises:
        IntercedeError: As there.
    """
    return await _check_in_thread("transport", config, told, options)


async def check_scheduler(
    config: str | Mapping[str, object], *, told: ResultCallback = _nobody, **options: Unpack[Options]
) -> Report:
    """Check a scheduler, which needs no resource; otherwise as ``check_backend``.

    Raises:
        IntercedeError: As there.
    """
    return await _check_in_thread("scheduler", config, told, options)


async def _check_in_thread(
    role: Role, config: str | Mapping[str, object], told: ResultCallback, options: Options
) -> Report:
    stop = threading.Event()
    inspecting = asyncio.ensure_future(asyncio.to_thread(_plan_and_inspect, role, config, told, options, stop))
    try:
        return await asyncio.shield(inspecting)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait({inspecting})
        raise


def _plan_and_inspect(
    role: Role, config: str | Mapping[str, object], told: ResultCallback, options: Options, stop: threading.Event
) -> Report:
    while not _one_at_a_time.acquire(timeout=_BEAT):  # some checks measure the process, and are alone in it
        if stop.is_set():
            raise CancelledError
    try:
        (report,) = inspect(make_plan([(role, config)], **options), told, stop)
        return report
    finally:
        _one_at_a_time.release()


def inspect(plan: Plan, told: ResultCallback = _nobody, stop: threading.Event | None = None) -> tuple[Report, ...]:
    """Check every subject of a plan, one after the other, in this thread.

    Args:
        plan: What to do.
        told: Is told of each result.
        stop: Ends the run before the next check, once it is set; what did not run then makes it INCOMPLETE.

    Raises:
        KeyboardInterrupt: The user's own; what the checks started is ended first, and notes name what is left.
    """
    stop = stop or threading.Event()
    return tuple(
        _inspect_subject(plan, subject, facts, told, stop)
        for subject, facts in zip(plan.subjects, plan.facts, strict=True)
    )


def _again(subject: RegistrySubject, clause: Clause) -> str:
    """Return the command that does one check once more, where the subject can be named by a command at all."""
    config = subject.table or subject.config
    named = config if isinstance(config, str) else json.dumps(redact(config))
    role = [] if subject.role == "backend" else ["--role", subject.role]
    file = ["--config", subject.file] if subject.file else []
    return shlex.join(["intercede", "check", *role, *file, named, "--only", clause.id])


def _inspect_subject(
    plan: Plan, subject: RegistrySubject, facts: SubjectInfo, told: ResultCallback, stop: threading.Event
) -> Report:
    wanted = {each.id: each for each in CLAUSES.values() if node_id(each, facts.id) in plan.wanted}
    with Inspection(
        subject,
        facts,
        scale=plan.scales[facts.id],
        again=partial(_again, subject),
        together=True,
        jobs=plan.jobs,
        repeat=plan.repeat,
        known=partial(plan.apply_known, facts.id),
    ) as inspection:
        inspection.planned = wanted
        for clause in sorted(wanted.values(), key=lambda each: each.role == "backend"):
            if stop.is_set():
                break
            told(facts, clause, inspection.run(clause))
    return judge(
        facts,
        CLAUSES,
        inspection.results,
        profile=plan.profile,
        selected=plan.narrowed,
        required=plan.required,
        lost_to="an interruption" if stop.is_set() else "",
        unchosen=not any(each.level is Level.MUST for each in wanted.values()),
        stale=plan.stale,
        chosen=frozenset(wanted),
    )


def run_checks(
    factory: Callable[[], object],
    ids: Iterable[str] | None = None,
    *,
    role: Role = "backend",
    scale: float = 1.0,
    clauses: Mapping[str, Clause] = CLAUSES,
    together: bool = True,
) -> Report:
    """Check what a callable makes, in this process and without a registry.

    Args:
        factory: Makes a fresh object, not entered, at each call.
        ids: The clauses or areas (``IC-SUBMIT-04``, ``submit``) to check; None: all.
        role: What it makes. Over a transport the clauses of a backend are checked as well, with jobs run by ``direct``.
        scale: Multiplies every bound in time.
        clauses: What there is to check.
        together: Whether checks that need no process for themselves share the waiting.

    Returns:
        The verdict and what became of each clause; PARTIAL at best where ids are given.

    Raises:
        LookupError: An id is neither a clause nor an area.
        RuntimeError: It is called while a child loads the file to make the subject: put it below
            ``if __name__ == "__main__":``.
        KeyboardInterrupt: The user's own; what was started is ended first, and notes name what is left.
    """
    refuse_recursion()
    wanted = _chosen(clauses, ids)
    subject = FactorySubject(factory, role)
    with Inspection(subject, _facts_of(subject), scale=scale, together=together) as inspection:
        inspection.planned = {each.id: each for each in wanted}
        for each in wanted:
            inspection.run(each)
    return judge(inspection.facts, clauses, inspection.results, selected=ids is not None)


def _chosen(clauses: Mapping[str, Clause], ids: Iterable[str] | None) -> list[Clause]:
    if ids is None:
        return list(clauses.values())
    words = set(ids)
    known = {word for each in clauses.values() for word in (each.id, each.area)}
    if not words <= known:
        raise LookupError(
            f"neither clause nor area: {', '.join(sorted(words - known))}; there are {', '.join(clauses)}"
        )
    return [each for each in clauses.values() if words & {each.id, each.area}]


def _facts_of(subject: FactorySubject) -> SubjectInfo:
    async def build() -> object:
        return subject.part() if subject.role == "scheduler" else subject.build()

    ending = timeouts.run(build, _LOAD_SECONDS)
    facts = SubjectInfo(id=subject.id, config=subject.id, name=subject.id, role=subject.role)
    if ending.raised is not None:
        return replace(facts, refusal=f"constructing it raised {format_value(ending.raised)}")
    return replace(facts, capabilities=capabilities(ending.value))
