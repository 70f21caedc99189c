"""The kit is held against wrong implementations, which it must catch, and right ones, which it must not."""

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

# Wrong ones leak, on purpose: what the garbage collector then says is no finding of the test that happens to run.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def areas_of(implementation: type) -> list[str]:
    """Return the areas of the contract that it is checked in: those of its role, unless it names some."""
    role = gallery.role_of(implementation)
    every = sorted({clause.area for clause in CLAUSES.values() if clause.role == role})
    return list(getattr(implementation, "areas", every))


WRONG = gallery.wrong()
HOSTILE = gallery.hostile()
RIGHT = gallery.right()
KEPT = [(name, area) for name, each in RIGHT.items() for area in areas_of(each)]
CAUGHT = [(name, clause) for name, each in WRONG.items() for clause in gallery.caught_by(each)]


@pytest.fixture(autouse=True)
def _a_place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the fake its own state, put back what wrong ones change of the process, and end what they leave running."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("INTERCEDE_GALLERY", "")
    yield
    matrix.sweep(tmp_path / "state")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "clause"), CAUGHT, ids=str)
def test_a_wrong_implementation_is_caught_by_the_clause_that_it_is_meant_for(name: str, clause: str) -> None:
    """The clause is red, and its message shows the mistake; `make matrix` shows that no other clause is red.

    Some mistakes show only if the machine leaves them the time: a miss is tried once more, as there.
    """
    result = matrix.inspect(WRONG[name], clause).results[clause]
    if result.state is not State.FAILED:
        result = matrix.inspect(WRONG[name], clause).results[clause]

    assert result.state is State.FAILED, result
    assert gallery.has_expected_message(WRONG[name], result.message), result.message


@pytest.mark.parametrize(
    ("name", "first", "green"),
    [
        ("CannotBeEntered", "IC-LIFE-02", {"IC-SHAPE-01", "IC-LIFE-01"}),
        ("CannotSubmit", "IC-SUBMIT-01", {"IC-SHAPE-02"}),
    ],
)
def test_what_everything_needs_is_red_alone(name: str, first: str, green: set[str]) -> None:
    """If entering or submitting does not work, one clause says so, and it blocks the others."""
    report = run_checks(WRONG[name])

    assert report.red == (first,)
    assert report.line.partition(": fix ")[2].startswith(f"{first} first")
    passed = {each for each, result in report.results.items() if result.state is State.PASSED}
    blocked = {each for each, result in report.results.items() if result.blocker == first}
    assert green <= passed
    assert blocked | passed | {first} == {each for each, clause in CLAUSES.items() if clause.role == "backend"}
    assert "without a shell" in report.results[first].detail


def test_every_clause_catches_something() -> None:
    """A clause that has never been seen red proves nothing."""
    assert sorted(set(CLAUSES) - {clause for _, clause in CAUGHT}) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_implementation_gets_a_verdict_in_bounded_time(name: str) -> None:
    """In a process of its own: it ends, with its report, and what is red is FAILED, never ERROR."""
    row = matrix.measure(name)

    assert row.failure == ""
    assert row.red
    assert [f"{each}: {message}" for each, message in row.red.items() if not message.startswith("FAILED")] == []


def test_the_generated_pages_are_current() -> None:
    """`make docs` would change no page: each is what the code makes of it."""
    pages = render_pages(Path(__file__).parents[3] / "docs")

    assert [path.name for path, text in pages.items() if path.read_text() != text] == []


def test_what_is_not_as_declared_is_told() -> None:
    """A clause that should be red and is not is missing; a red one that should not be is unexpected."""
    row = matrix.Row("TellsOfAll", {"IC-STATUS-02": "FAILED: expected nothing"})

    assert (row.missing, row.unexpected, row.good) == (("IC-STATUS-01",), ("IC-STATUS-02",), False)
    assert "MISSING IC-STATUS-01" in str(row)
    assert "UNEXPECTED IC-STATUS-02: FAILED: expected nothing" in str(row)
    assert matrix.Row("TellsOfAll", {"IC-STATUS-01": ""}).good


def test_the_matrix_measures_in_a_process_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """It prints a row for each name and the totals, and exits with 0 if all is as declared."""
    assert matrix.main(["--quick", "TellsOfAll"]) == 0
    assert "1 rows x" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(("name", "area"), KEPT)
def test_a_right_implementation_is_never_failed(name: str, area: str) -> None:
    """Slow starts, jitter, threads, other mappings, more parameters and unclaimed capabilities are no mistakes."""
    report = run_checks(RIGHT[name], {area}, role=gallery.role_of(RIGHT[name]))

    assert [report.results[each].detail for each in report.red] == []
    assert any(result.state is State.PASSED for result in report.results.values())


def test_the_first_thing_to_fix_is_what_the_implementation_is_meant_for() -> None:
    """If all declared clauses are red, the verdict names one of `caught_by`; `make matrix` measures the same."""
    unexpected: list[str] = []
    for name, each in WRONG.items():
        caught, also = gallery.caught_by(each), gallery.also_red(each)
        if (not also and len(caught) == 1) or not any(CLAUSES[clause].level is MUST for clause in caught):
            continue  # there is nothing else to name; or what decides is not what it is meant for
        role = gallery.role_of(each)
        mine = {clause.id: clause for clause in CLAUSES.values() if clause.role == role}
        red = {clause: Result(clause, State.FAILED) for clause in (*caught, *also)}
        results = {clause: red.get(clause, Result(clause, State.PASSED)) for clause in mine}
        facts = SubjectInfo(id=name, config=name, name=name, role=role, capabilities=frozenset(CAPABILITIES))
        report = judge(facts, mine, results)
        blocked = [clause for clause in caught if report.results[clause].state is State.BLOCKED]
        if report.first_to_fix not in {None, *caught} or blocked:
            unexpected.append(f"{name}: fix {report.first_to_fix} first, not {caught}; blocked: {blocked}")

    assert unexpected == []


def test_an_author_who_is_sent_astray_is_told_of() -> None:
    """The verdict names a clause that the implementation is not meant for."""
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
"""The clause that says that a verb works at all."""
UNSAID = {("IC-STATUS-03", "purge"), *((f"IC-KILL-{number}", "diagnostics") for number in ("09", "11", "12"))}
"""Clauses that use a verb, and conclude nothing from its answer."""


@pytest.mark.slow
def test_a_check_depends_on_what_it_observes_with() -> None:
    """If a verb is broken, a clause of its own says so, on which each check that uses the verb depends."""
    report = run_checks(FakeBackend)

    for clause in (each for each in CLAUSES.values() if each.role == "backend"):
        used = {call.verb for call in report.results[clause.id].calls} & RESTS_ON.keys()
        bases = {RESTS_ON[verb] for verb in used if (clause.id, verb) not in UNSAID}
        assert bases <= {clause.id, *list_dependencies(clause, CLAUSES)}, f"{clause.id} uses {used}"
