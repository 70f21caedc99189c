"""A subject that replaces parts of the kit makes its results errors."""

import asyncio
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Self

import pytest
from tests.testing.memory import Memory, check_entering, make_clauses

from intercede.contract import (
    JobHandle,
    JobState,
)
from intercede.testing.clauses.support.child_functions import watch_backend
from intercede.testing.frontends.check import run_checks
from intercede.testing.isolation import timeouts
from intercede.testing.isolation.snapshot import KitSnapshot
from intercede.testing.model import verdict
from intercede.testing.model.clause import SHOULD, Clause
from intercede.testing.model.verdict import State, Verdict
from intercede.testing.run import finding, inspection
from intercede.testing.run.context import Context
from intercede.testing.run.driver import BackendDriver


def test_a_replaced_part_makes_all_running_checks_errors() -> None:
    """Each check that runs while a subject replaces a part of the kit is an ERROR, and later checks are not."""
    replaced = asyncio.Event()

    async def lies(context: Context) -> None:
        Context.expect = lambda *_, **__: None  # type: ignore[method-assign]  # a subject's code does that
        replaced.set()
        await asyncio.sleep(0.3)
        context.expect(condition=False, expected="the truth", observed="a lie")

    async def ends_first(_: Context) -> None:
        await replaced.wait()

    async def comes_later(context: Context) -> None:
        context.expect(condition=True, expected="this", observed="this")

    clauses = make_clauses(lies=lies, ends_first=ends_first)
    report = run_checks(Memory, clauses=clauses)
    later = run_checks(Memory, clauses=make_clauses(later=comes_later))

    assert [each.state for each in report.results.values()] == [State.ERROR, State.ERROR]
    assert [each.state for each in later.results.values()] == [State.PASSED]


ENTERS = {"IC-SUBMIT-01": Clause(id="IC-SUBMIT-01", title="It enters.", level=SHOULD, check=check_entering)}


def _change_level() -> None:
    object.__setattr__(ENTERS["IC-SUBMIT-01"], "level", "MAY")


def _change_code() -> None:
    def none(clause: object, raised: object) -> None: ...

    finding.classify.__code__ = none.__code__


def _replace_module() -> None:
    setattr(inspection, "timeouts", SimpleNamespace(**vars(timeouts)))  # noqa: B010 -- no module, on purpose


def _add_method() -> None:
    JobHandle.__eq__ = lambda *_: True  # type: ignore[method-assign]  # a subject's code does that


def _change_judgement() -> None:
    verdict._RED = frozenset()


def _ignore(*_: object, **__: object) -> None:
    """Do nothing of what was asked."""


def _make_setter(owner: object, name: str, value: object) -> Callable[[], None]:
    return lambda: setattr(owner, name, value)


ATTACKS: Mapping[str, Callable[[], None]] = {
    "testing.run.context.Context.expect": _make_setter(Context, "expect", _ignore),
    "testing.run.driver.BackendDriver.get_status": _make_setter(BackendDriver, "get_status", _ignore),
    "testing.model.clause.Clause.needs": _make_setter(Clause, "needs", property(lambda _: frozenset({"nothing"}))),
    "support.child_functions.watch_backend.__module__": _make_setter(watch_backend, "__module__", "colorsys"),
    "support.child_functions.watch_backend.__qualname__": _make_setter(watch_backend, "__qualname__", "watch_plugin"),
    "testing.isolation.timeouts.limit_time": _make_setter(timeouts, "limit_time", _ignore),
    "contract.job.JobState.final": _make_setter(JobState, "final", property(lambda _: True)),
    "contract.job.JobHandle.__eq__": _add_method,
    "testing.run.finding.classify.__code__": _change_code,
    "testing.run.inspection.timeouts": _replace_module,
    "testing.model.verdict._RED": _change_judgement,
    "IC-SUBMIT-01.level": _change_level,
}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_subject_that_replaces_a_part_of_the_kit_is_an_error(attack: str, *, together: bool) -> None:
    """A check whose subject replaces a part of the kit is an ERROR at any level, and the part is put back."""

    class Replaces(Memory):
        async def __aenter__(self) -> Self:
            ATTACKS[attack]()
            return self

    before = KitSnapshot(ENTERS)
    report = run_checks(Replaces, clauses=ENTERS, concurrent=together)

    assert before.restore() == []
    (result,) = report.results.values()
    assert result.state is State.ERROR
    assert attack in result.observed
    assert "nothing that was seen meanwhile can be believed" in result.observed
    assert report.verdict is Verdict.NOT_CONFORMANT


def test_a_value_in_a_clause_does_not_hide_what_the_clause_needs() -> None:
    """A subject that puts values into a clause's dictionary does not change the clause's role and needs."""
    clause = Clause(id="IC-KILL-98", title="It ends.", level=SHOULD, check=check_entering, capability="kill")
    vars(clause).update(needs=frozenset({"nothing"}), role="transport", area="shape")

    assert (clause.needs, clause.role, clause.area) == (frozenset({"kill"}), "backend", "kill")
