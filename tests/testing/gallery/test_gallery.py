"""The kit catches each wrong plugin of the gallery, and fails no right one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from intercede.contract.backend import CAPABILITIES
from intercede.testing import gallery
from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.check import run_checks
from intercede.testing.gallery import matrix
from intercede.testing.gallery.fake import FakeBackend
from intercede.testing.gallery.pages import render_pages
from intercede.testing.model.clause import MUST
from intercede.testing.model.verdict import Result, State, SubjectInfo, judge, list_dependencies

# Wrong plugins leak on purpose, so warnings of the garbage collector are no finding of the test that runs then.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def list_areas(implementation: type) -> list[str]:
    """Return the areas of clauses that a plugin is checked in: those of its role, unless it names some."""
    role = gallery.get_role(implementation)
    every = sorted({clause.area for clause in CLAUSES.values() if clause.role == role})
    return list(getattr(implementation, "areas", every))


WRONG = gallery.load_wrong()
HOSTILE = gallery.load_hostile()
RIGHT = gallery.load_right()
KEPT = [(name, area) for name, each in RIGHT.items() for area in list_areas(each)]
CAUGHT = [(name, clause) for name, each in WRONG.items() for clause in gallery.get_caught_by(each)]


@pytest.fixture(autouse=True)
def _use_own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the jobs of plugins in a directory of the test, and end those that are left."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("INTERCEDE_GALLERY", "")
    yield
    matrix.kill_jobs(tmp_path / "state")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "clause"), CAUGHT, ids=str)
def test_a_wrong_plugin_is_caught_by_its_clause(name: str, clause: str) -> None:
    """The clause that shall catch a wrong plugin is red, and its message shows the mistake.

    A plugin that is missed is checked once more, since some mistakes show only if the machine leaves them the time.
    """
    result = matrix.check_clause(WRONG[name], clause).results[clause]
    if result.state is not State.FAILED:
        result = matrix.check_clause(WRONG[name], clause).results[clause]

    assert result.state is State.FAILED, result
    assert gallery.has_expected_message(WRONG[name], result.message), result.message


@pytest.mark.parametrize(
    ("name", "first", "green"),
    [
        ("CannotBeEntered", "IC-LIFE-02", {"IC-SHAPE-01", "IC-LIFE-01"}),
        ("CannotSubmit", "IC-SUBMIT-01", {"IC-SHAPE-02"}),
    ],
)
def test_a_plugin_that_cannot_be_used_is_one_finding(name: str, first: str, green: set[str]) -> None:
    """One clause is red if a backend cannot be entered or cannot submit, and it blocks all that need it."""
    report = run_checks(WRONG[name])

    assert report.red == (first,)
    assert report.line.partition(": fix ")[2].startswith(f"{first} first")
    passed = {each for each, result in report.results.items() if result.state is State.PASSED}
    blocked = {each for each, result in report.results.items() if result.blocker == first}
    assert green <= passed
    assert blocked | passed | {first} == {each for each, clause in CLAUSES.items() if clause.role == "backend"}
    assert "without a shell" in report.results[first].detail


def test_each_clause_catches_a_wrong_plugin() -> None:
    """Each clause catches at least one wrong plugin of the gallery."""
    assert sorted(set(CLAUSES) - {clause for _, clause in CAUGHT}) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_plugin_gets_a_verdict_in_time(name: str) -> None:
    """A hostile plugin gets a verdict in time, and its red clauses are FAILED and not ERROR."""
    row = matrix.measure(name)

    assert row.failure == ""
    assert row.red
    assert [f"{each}: {message}" for each, message in row.red.items() if not message.startswith("FAILED")] == []


def test_the_generated_pages_are_current() -> None:
    """The generated pages of the reference are those that `make docs` would write."""
    pages = render_pages(Path(__file__).parents[3] / "docs")

    assert [path.name for path, text in pages.items() if path.read_text() != text] == []


def test_a_row_shows_missing_and_unexpected_clauses() -> None:
    """A row of the matrix shows each declared clause that is not red, and each red clause that is not declared."""
    row = matrix.Row("AnswersForAllJobs", {"IC-STATUS-02": "FAILED: expected nothing"})

    assert (row.missing, row.unexpected, row.good) == (("IC-STATUS-01",), ("IC-STATUS-02",), False)
    assert "MISSING IC-STATUS-01" in str(row)
    assert "UNEXPECTED IC-STATUS-02: FAILED: expected nothing" in str(row)
    assert matrix.Row("AnswersForAllJobs", {"IC-STATUS-01": ""}).good


def test_the_matrix_prints_a_row_for_each_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    """The matrix prints its rows and totals, and exits with 0 if all is as declared."""
    assert matrix.main(["--quick", "AnswersForAllJobs"]) == 0
    assert "1 rows x" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(("name", "area"), KEPT)
def test_a_right_plugin_is_never_red(name: str, area: str) -> None:
    """Slow starts, jitter, threads, other mappings, more parameters and unclaimed capabilities are no mistakes."""
    report = run_checks(RIGHT[name], {area}, role=gallery.get_role(RIGHT[name]))

    assert [report.results[each].detail for each in report.red] == []
    assert any(result.state is State.PASSED for result in report.results.values())


def test_the_verdict_names_the_clause_of_the_mistake() -> None:
    """The verdict on a wrong plugin names a clause that shall catch it as the first to fix."""
    unexpected: list[str] = []
    for name, each in WRONG.items():
        caught, also = gallery.get_caught_by(each), gallery.get_also_red(each)
        if (not also and len(caught) == 1) or not any(CLAUSES[clause].level is MUST for clause in caught):
            continue  # no other clause could be named, or only a SHOULD catches it
        role = gallery.get_role(each)
        mine = {clause.id: clause for clause in CLAUSES.values() if clause.role == role}
        red = {clause: Result(clause, State.FAILED) for clause in (*caught, *also)}
        results = {clause: red.get(clause, Result(clause, State.PASSED)) for clause in mine}
        facts = SubjectInfo(id=name, config=name, name=name, role=role, capabilities=frozenset(CAPABILITIES))
        report = judge(facts, mine, results)
        blocked = [clause for clause in caught if report.results[clause].state is State.BLOCKED]
        if report.first_to_fix not in {None, *caught} or blocked:
            unexpected.append(f"{name}: fix {report.first_to_fix} first, not {caught}; blocked: {blocked}")

    assert unexpected == []


def test_a_misleading_verdict_is_reported() -> None:
    """A row of the matrix says so if the verdict names a clause that shall not catch the plugin."""
    row = matrix.Row("FailureIsSuccess", {"IC-STATUS-06": ""}, first="IC-SUBMIT-06")

    assert (row.misled, row.good) == (True, False)
    assert "MISLED: the verdict says to fix IC-SUBMIT-06 first" in str(row)
    assert not matrix.Row("FailureIsSuccess", {"IC-STATUS-06": ""}, first="IC-STATUS-06").misled


RESTS_ON = {
    "status": "IC-STATUS-01",
    "fetch_output": "IC-OUTPUT-05",
    "kill": "IC-KILL-01",
    "purge": "IC-PURGE-01",
    "counts": "IC-LOAD-01",
    "find": "IC-FIND-01",
    "diagnostics": "IC-DIAG-01",
}
"""The clause that is red if the verb does not work at all."""
UNSAID = {("IC-STATUS-03", "purge"), *((f"IC-KILL-{number}", "diagnostics") for number in ("09", "11", "12"))}
"""Clauses and verbs whose answer the check of the clause ignores."""


@pytest.mark.slow
def test_a_clause_depends_on_the_verbs_that_it_observes_with() -> None:
    """A clause depends on the clause of each verb that its check observes with."""
    report = run_checks(FakeBackend)

    for clause in (each for each in CLAUSES.values() if each.role == "backend"):
        used = {call.verb for call in report.results[clause.id].calls} & RESTS_ON.keys()
        bases = {RESTS_ON[verb] for verb in used if (clause.id, verb) not in UNSAID}
        assert bases <= {clause.id, *list_dependencies(clause, CLAUSES)}, f"{clause.id} uses {used}"
