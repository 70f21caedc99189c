"""The suite without pytest: ``report = await check_backend("fake")``. The same checks, the same verdict."""

import asyncio
import json
import shlex
import threading
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Unpack

from intercede.contract.backend import capabilities
from intercede.redaction import redact
from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.options import Options, make_spell
from intercede.testing.frontends.plan import Plan, make_plan, node_id, parse_scale
from intercede.testing.frontends.session import Session
from intercede.testing.isolation import timeouts
from intercede.testing.model.clause import Clause
from intercede.testing.model.role import Role
from intercede.testing.model.verdict import Report, Result, SubjectInfo
from intercede.testing.run.context import format_value
from intercede.testing.subjects.subject import FactorySubject, RegistrySubject, Subject, refuse_recursion

__all__ = ["ResultCallback", "check_backend", "check_scheduler", "check_transport", "run_checks", "write_check_command"]

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
        with Session(make_plan([(role, config)], **options), write_rerun_command=write_check_command) as session:
            for each in session.run_all(stop):
                told(*each)
        reports = session.judge(lost_because_of="an interruption" if stop.is_set() else "")
        session.write(reports)
        return reports[0]
    finally:
        _one_at_a_time.release()


def write_check_command(subject: Subject, clause: Clause) -> str:
    """Return the command that checks a clause of a subject of the registry once more."""
    assert isinstance(subject, RegistrySubject)  # noqa: S101 -- only those are in a plan that is made from names
    config = subject.table or subject.config
    named = config if isinstance(config, str) else json.dumps(redact(config))
    role = [] if subject.role == "backend" else ["--role", subject.role]
    file = ["--config", subject.file] if subject.file else []
    return shlex.join(["intercede", "check", *role, *file, named, "--only", clause.id])


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
        ConfigError: The scale is not above 0 and below a million.
        LookupError: An id is neither a clause nor an area.
        RuntimeError: It is called while a child loads the file to make the subject: put it below
            ``if __name__ == "__main__":``.
        KeyboardInterrupt: The user's own; what was started is ended first, and notes name what is left.
    """
    refuse_recursion()
    parse_scale(scale, make_spell("run_checks"))
    selected = _select(clauses, ids)
    subject = FactorySubject(factory, role)
    facts = _facts_of(subject)
    wanted = frozenset(node_id(each, facts.id) for each in selected if each.role in facts.roles)
    plan = Plan((subject,), (facts,), wanted, narrowed=ids is not None, scales={facts.id: scale}, frontend="run_checks")
    with Session(plan, clauses=clauses, concurrent=together) as session:
        for _ in session.run_all():
            pass
    return session.judge()[0]


def _select(clauses: Mapping[str, Clause], ids: Iterable[str] | None) -> list[Clause]:
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
        return subject.make_plugin() if subject.role == "scheduler" else subject.make_backend()

    ending = timeouts.run_in_thread(build, _LOAD_SECONDS)
    facts = SubjectInfo(id=subject.id, config=subject.id, name=subject.id, role=subject.role)
    if ending.raised is not None:
        return replace(facts, refusal=f"constructing it raised {format_value(ending.raised)}")
    return replace(facts, capabilities=capabilities(ending.value))
