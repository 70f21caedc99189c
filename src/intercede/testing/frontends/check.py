"""Functions that check a plugin in a program: ``report = await check_backend("fake")``."""

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
from intercede.testing.frontends.options import Options, make_spell
from intercede.testing.frontends.plan import Plan, check_keywords, list_ids, make_node_id, make_plan, parse_scale_number
from intercede.testing.frontends.session import Session
from intercede.testing.isolation import timeouts
from intercede.testing.model.clause import Clause
from intercede.testing.model.role import Role
from intercede.testing.model.verdict import Report, Result, SubjectInfo
from intercede.testing.run.context import format_value
from intercede.testing.subjects.subject import FactorySubject, RegistrySubject, Subject, refuse_recursion

__all__ = ["ResultCallback", "check_backend", "check_scheduler", "check_transport", "run_checks", "write_check_command"]

ResultCallback = Callable[[SubjectInfo, Clause, Result], None]
"""Gets each result as soon as it is known, in the thread that runs the checks."""


_BEAT = 0.1
_LOAD_SECONDS = 20.0
_one_at_a_time = threading.Lock()


def _ignore_result(facts: SubjectInfo, clause: Clause, result: Result) -> None:
    """Do nothing with a result."""


async def check_backend(
    config: str | Mapping[str, object], *, on_result: ResultCallback = _ignore_result, **options: Unpack[Options]
) -> Report:
    """Check a backend that the registry makes, and return the report with the verdict.

    The checks run in a thread of their own, with event loops of their own. If this call is cancelled, it ends their
    jobs first, and writes no file. Only one call at a time runs checks in a process; another call waits.

    Args:
        config: The name of a table in the configuration file, a registered name, or a configuration as data or as JSON.
        on_result: Gets each result as soon as it is known.
        options: The options of the kit, which ``docs/reference/kit.md`` describes.

    Raises:
        IntercedeError: A name, the configuration or an option is wrong.
        ImportError: A library that writes a report is not installed.
        OSError: A report, or the file of known failures, cannot be written.
    """
    return await _check_in_thread("backend", config, on_result, options)


async def check_transport(
    config: str | Mapping[str, object], *, on_result: ResultCallback = _ignore_result, **options: Unpack[Options]
) -> Report:
    """Check a transport, and the backend that is composed of the transport and ``direct``, and return the report.

    The arguments are those of ``check_backend``.

    Raises:
        IntercedeError: A name, the configuration or an option is wrong.
    """
    return await _check_in_thread("transport", config, on_result, options)


async def check_scheduler(
    config: str | Mapping[str, object], *, on_result: ResultCallback = _ignore_result, **options: Unpack[Options]
) -> Report:
    """Check a scheduler, which needs no resource, and return the report with the verdict.

    The arguments are those of ``check_backend``.

    Raises:
        IntercedeError: A name, the configuration or an option is wrong.
    """
    return await _check_in_thread("scheduler", config, on_result, options)


async def _check_in_thread(
    role: Role, config: str | Mapping[str, object], on_result: ResultCallback, options: Options
) -> Report:
    check_keywords(options)
    stop = threading.Event()
    inspecting = asyncio.ensure_future(asyncio.to_thread(_plan_and_inspect, role, config, on_result, options, stop))
    try:
        return await asyncio.shield(inspecting)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait({inspecting})
        if not inspecting.cancelled():
            inspecting.result()  # this raises the error of the run, such as a report that cannot be written
        raise


def _plan_and_inspect(
    role: Role, config: str | Mapping[str, object], on_result: ResultCallback, options: Options, stop: threading.Event
) -> Report:
    # Some checks measure the whole process, so only one run at a time may be in the process.
    while not _one_at_a_time.acquire(timeout=_BEAT):
        if stop.is_set():
            raise CancelledError
    try:
        plan = make_plan([(role, config)], **options)
        with Session(plan, write_rerun_command=partial(write_check_command, plan)) as session:
            for each in session.run_all(stop):
                on_result(*each)
        if stop.is_set():  # a run that was stopped must not replace the reports of an earlier run
            raise CancelledError
        reports = session.judge()
        session.write(reports)
        return reports[0]
    finally:
        _one_at_a_time.release()


def write_check_command(plan: Plan, subject: Subject, clause: Clause) -> str:
    """Return the command that repeats the check of a clause on a subject of a plan. The registry makes the subject."""
    assert isinstance(subject, RegistrySubject)  # noqa: S101 -- a plan that is made from names has no other subjects
    config = subject.table or subject.config
    named = config if isinstance(config, str) else json.dumps(redact(config))
    role = [] if subject.role == "backend" else ["--role", subject.role]
    file = ["--config", subject.file] if subject.file else []
    known = ["--known", str(plan.known.path)] if plan.known else []
    scale = ["--timeout-scale", f"{plan.scales[subject.id]:g}"] if plan.scales[subject.id] != 1 else []
    return shlex.join(["intercede", "check", *role, *file, *known, *scale, named, "--only", clause.id])


def run_checks(
    factory: Callable[[], object],
    ids: Iterable[str] | None = None,
    *,
    role: Role = "backend",
    scale: float = 1.0,
    clauses: Mapping[str, Clause] = CLAUSES,
    concurrent: bool = True,
) -> Report:
    """Check a subject that a callable makes, in this process and without the registry, and return the report.

    Args:
        factory: Makes a new object at each call. The object is not entered yet.
        ids: The ids of clauses or areas to check (``IC-SUBMIT-04``, ``submit``), or None to check all.
        role: The role of the subject. A transport is also checked by the clauses of a backend: the transport is
            combined with ``direct`` for that.
        scale: The factor for all time limits.
        clauses: Every clause of the contract.
        concurrent: Whether checks that do not need the process for themselves run at the same time.

    Returns:
        The report with the verdict and the result of each clause. The verdict is PARTIAL at best if ids are given.

    Raises:
        ConfigError: The scale is not above 0 and below a million, or ``ids`` is empty.
        LookupError: An id is neither a clause nor an area.
        RuntimeError: A child process loads the file to make the subject, and the file calls this function: the call
            must be below ``if __name__ == "__main__":``.
        KeyboardInterrupt: The user interrupted. The jobs are ended first, and notes name those that are left.
    """
    refuse_recursion()
    spell = make_spell("run_checks")
    scale, wanted_ids = parse_scale_number(scale, spell), list_ids(ids, spell)
    selected = _select(clauses, wanted_ids)
    subject = FactorySubject(factory, role)
    facts = _examine(subject)
    wanted = frozenset(make_node_id(each, facts.id) for each in selected if each.role in facts.roles)
    plan = Plan(
        (subject,), (facts,), wanted, is_partial=wanted_ids is not None, scales={facts.id: scale}, frontend="run_checks"
    )
    with Session(plan, clauses=clauses, concurrent=concurrent) as session:
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


def _examine(subject: FactorySubject) -> SubjectInfo:
    async def make() -> object:
        return subject.make_plugin() if subject.role == "scheduler" else subject.make_backend()

    ending = timeouts.run_in_thread(make, _LOAD_SECONDS)
    facts = SubjectInfo(id=subject.id, config=subject.id, name=subject.id, role=subject.role)
    if ending.raised is not None:
        return replace(facts, refusal=f"constructing it raised {format_value(ending.raised)}")
    return replace(facts, capabilities=capabilities(ending.value))
