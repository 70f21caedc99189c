"""A session runs a plan for every front end: results, verdicts and files."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from intercede.testing import State, Verdict, check_backend, run_checks
from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.plan import Plan, make_node_id
from intercede.testing.frontends.session import Selection, Session
from intercede.testing.gallery.fake import FakeBackend
from intercede.testing.known import load_for_update
from intercede.testing.model.verdict import Result, SubjectInfo
from intercede.testing.run.context import CheckFailed
from intercede.testing.subjects.subject import FactorySubject

SUBJECT = FactorySubject(FakeBackend)
FACTS = SubjectInfo(id=SUBJECT.id, config=SUBJECT.id, name=SUBJECT.id)
SHAPE = frozenset(make_node_id(each, SUBJECT.id) for each in CLAUSES.values() if each.area == "shape")
TODAY = date(2026, 6, 15)
PLAN = Plan((SUBJECT,), (FACTS,), SHAPE, is_partial=True, scales={SUBJECT.id: 1.0})


@pytest.mark.asyncio
async def test_a_program_gets_the_files_that_its_options_name(tmp_path: Path) -> None:
    """The options report and update_known of ``check_backend`` write the same files as those of the command line."""
    known, today = tmp_path / "known.toml", datetime.now(UTC).date()
    known.write_text(
        f'[[known]]\nclause = "IC-SHAPE-01"\nreason = "r"\nsymptom = "stays"\nuntil = {today + timedelta(days=1)}\n'
    )

    report = await check_backend(
        "fake", ids=["intercede/shape"], known=str(known), update_known=True, report=str(tmp_path / "reports")
    )

    assert report.results["IC-SHAPE-01"].state is State.UNEXPECTED_PASS
    assert "IC-SHAPE-01" not in known.read_text()
    document = json.loads((tmp_path / "reports" / "conformance.json").read_text())
    assert document["verdict"] == report.verdict.value
    assert (document["run"]["pytest"], document["run"]["jobs"]) == (None, 128)


def test_a_session_yields_each_result_once() -> None:
    """The results of a run are those of the plan, and a further call returns the same result."""
    with Session(PLAN) as session:
        results = {clause.id: result for _, clause, result in session.run_all()}
        again = session.run(SUBJECT.id, CLAUSES["IC-SHAPE-01"])

    assert results.keys() == {each.id for each in CLAUSES.values() if each.area == "shape"}
    assert again is results["IC-SHAPE-01"]


def test_a_session_that_was_started_keeps_its_results() -> None:
    """A second start, as by a plugin that collects twice, loses no result."""
    with Session(PLAN) as session:
        session.start(SHAPE)
        first = session.run(SUBJECT.id, CLAUSES["IC-SHAPE-01"])
        session.start(SHAPE)

        assert session.find_result(SUBJECT.id, CLAUSES["IC-SHAPE-01"]) is first


def test_red_stays_red() -> None:
    """A result that was red once is not replaced by a later one, such as that of a rerun in another process."""
    session = Session(PLAN)

    session.add_result(SUBJECT.id, Result("IC-SHAPE-01", State.FAILED))
    session.add_result(SUBJECT.id, Result("IC-SHAPE-01", State.PASSED))

    assert session.results[SUBJECT.id]["IC-SHAPE-01"].state is State.FAILED


def test_a_check_that_could_not_run_is_lost() -> None:
    """A check that was to run and has no result makes the verdict INCOMPLETE, with the reason and without secrets."""
    facts = SubjectInfo(id=SUBJECT.id, config={"password": "hunter2-Sesame"}, name=SUBJECT.id)
    session = Session(Plan((SUBJECT,), (facts,), SHAPE, is_partial=True, scales={SUBJECT.id: 1.0}))

    (report,) = session.judge(Selection(is_partial=True, wanted=SHAPE, runnable=()), "a plugin with hunter2-Sesame")

    assert report.verdict is Verdict.INCOMPLETE
    assert report.line.endswith("(lost to a plugin with ***)")


def test_a_broken_kit_leaves_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kit itself raises, the exception is the user's to see, and the clause is an ERROR in the report."""

    def fail(*_: object, **__: object) -> None:
        raise CheckFailed("the kit to work", "a broken kit")

    session = Session(PLAN, concurrent=False)
    session.start(SHAPE)
    monkeypatch.setattr("intercede.testing.run.inspection.clean_up", fail)
    with pytest.raises(CheckFailed):
        session.run(SUBJECT.id, CLAUSES["IC-SHAPE-01"])
    monkeypatch.undo()
    session.close()

    assert session.results[SUBJECT.id]["IC-SHAPE-01"].state is State.ERROR
    assert session.judge()[0].verdict is Verdict.NOT_CONFORMANT


def test_run_checks_gives_the_verdict_of_a_selection() -> None:
    """A selection without a MUST says so in the verdict, as it does under pytest."""
    should = next(each.id for each in CLAUSES.values() if each.level == "SHOULD" and each.role == "backend")

    report = run_checks(FakeBackend, [should])

    assert report.verdict is Verdict.PARTIAL
    assert "none of its" in report.line


@pytest.mark.asyncio
async def test_a_partial_run_keeps_the_entries_of_other_clauses(tmp_path: Path) -> None:
    """A run of selected checks keeps the entry of a clause that was not selected and that the subject does not need."""
    known = tmp_path / "known.toml"
    known.write_text('[[known]]\nclause = "IC-SCHEDULER-08"\nreason = "r"\nsymptom = "stays"\nuntil = 2999-01-01\n')
    before = known.read_text()

    await check_backend("fake", ids=["intercede/shape"], known=str(known), update_known=True)

    assert known.read_text() == before


def test_a_partial_run_adds_no_entry_for_a_clause_that_was_not_selected(tmp_path: Path) -> None:
    """If the subject is refused, the clause about the gate gets an entry only if the user selected this clause."""
    facts = SubjectInfo(id=SUBJECT.id, config=SUBJECT.id, name=SUBJECT.id, refusal="it has no verbs at all")
    known = load_for_update(tmp_path / "known.toml")
    scales = {SUBJECT.id: 1.0}
    gate = make_node_id(CLAUSES[facts.gate], SUBJECT.id)
    other = next(each for each in SHAPE if each != gate)
    texts: list[str] = []

    for selected in (other, gate):
        wanted = frozenset({selected})
        plan = Plan(
            (SUBJECT,), (facts,), wanted, is_partial=True, scales=scales, known=known, update_known=True, today=TODAY
        )
        with Session(plan) as session:
            results = [result for _, _, result in session.run_all()]
        assert all(each.state is not State.PASSED for each in results)
        session.write(session.judge())
        texts.append(known.path.read_text() if known.path.exists() else "")

    assert texts[0] == ""
    assert facts.gate in texts[1]
