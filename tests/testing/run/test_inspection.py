"""Checks run without pytest, and leave no jobs."""

import asyncio
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from tests.testing.memory import JOBS, Memory, check_broken, check_green, check_lost_answer, check_red, make_clauses

from intercede.contract import (
    JobHandle,
    JobStatus,
    OpOutcome,
)
from intercede.testing import gallery
from intercede.testing.frontends.check import run_checks
from intercede.testing.model.clause import MUST, Clause
from intercede.testing.model.verdict import State, Verdict
from intercede.testing.run.context import Context
from intercede.testing.run.driver import open_backend


def test_each_check_gets_a_state() -> None:
    """A green check is PASSED, a red one FAILED, a broken one ERROR, and one that depends on a red check BLOCKED."""
    report = run_checks(
        Memory, clauses=make_clauses(fine=check_green, red=check_red, after_red=check_green, broken=check_broken)
    )

    states = [each.state for each in report.results.values()]

    assert states == [State.PASSED, State.FAILED, State.BLOCKED, State.ERROR]
    assert report.verdict is Verdict.NOT_CONFORMANT
    assert (
        report.line
        == "intercede: Memory is NOT CONFORMANT: fix IC-SUBMIT-02 first, it blocks 1 more; red as well: IC-SUBMIT-04"
    )


def test_dependencies_are_checked_first() -> None:
    """A clause is checked after those that it depends on, whatever their order, and each check runs once."""
    checked: list[str] = []

    async def red(context: Context) -> None:
        checked.append("red")
        await check_red(context)

    clauses = make_clauses(red=red, after_red=check_red)
    backwards = dict(reversed(clauses.items()))

    report = run_checks(Memory, clauses=backwards)

    assert report.red == ("IC-SUBMIT-01",)
    assert report.results["IC-SUBMIT-02"].blocker == "IC-SUBMIT-01"
    assert checked == ["red"]


def test_a_red_result_is_explained() -> None:
    """A red result holds expected, observed, the calls, the payload's output, and the line that raised."""
    report = run_checks(Memory, clauses=make_clauses(red=check_red, lost=check_lost_answer))
    red, lost = report.results.values()

    assert red.message.startswith("expected the moon; observed Submission(handles={0: <ic-")
    assert re.search(r"submit\(\('-c', 'exit 0', 'sh', 'wait'\), copies=1, tag='ic-\w+'\): Submission\(", red.detail)
    assert r"stdout (17 bytes): b'from the payload\xff'" in red.detail
    assert lost.state is State.FAILED
    assert "observed: raised ConnectionError: the answer was lost" in lost.detail
    assert "memory.py" in lost.detail


def test_jobs_of_a_check_are_killed_and_purged() -> None:
    """Jobs that a check leaves are killed and purged, also one that only its tag can find."""
    JOBS.clear()

    run_checks(Memory, clauses=make_clauses(red=check_red, lost=check_lost_answer, fine=check_green))

    assert not JOBS


def test_a_failed_cleanup_is_a_note() -> None:
    """A check whose clean-up fails stays green, and its result has a note."""

    class Sticky(Memory):
        async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
            raise PermissionError("not yours")

    (result,) = run_checks(Sticky, clauses=make_clauses(fine=check_green)).results.values()

    assert result.state is State.PASSED
    assert "PermissionError: not yours" in result.detail


def test_a_subject_that_cannot_be_constructed_is_refused() -> None:
    """A factory that raises is one finding, and the other clauses are blocked."""

    def factory() -> Memory:
        raise OSError("no such site")

    clauses = make_clauses(fine=check_green) | {
        "IC-SHAPE-01": Clause(id="IC-SHAPE-01", title="It is there.", level=MUST, check=check_green)
    }
    report = run_checks(factory, clauses=clauses)

    assert report.results["IC-SHAPE-01"].message.endswith("OSError('no such site')")
    assert "hint: The observation says why the subject was refused" in report.results["IC-SHAPE-01"].detail
    assert report.results["IC-SUBMIT-01"].state is State.BLOCKED


def test_selected_clauses_are_partial() -> None:
    """Clauses are selected by id or by area, and the verdict is PARTIAL. Another word is an error."""
    clauses = make_clauses(fine=check_green, red=check_red)

    assert run_checks(Memory, ["IC-SUBMIT-01"], clauses=clauses).verdict is Verdict.PARTIAL
    assert run_checks(Memory, ["submit"], clauses=clauses).red == ("IC-SUBMIT-02",)
    with pytest.raises(LookupError, match="IC-SUBMIT-03"):
        run_checks(Memory, ["IC-SUBMIT-03"], clauses=clauses)


def test_a_job_that_never_ends_is_a_finding() -> None:
    """A check waits for a job until its time limit, and the finding names the job."""

    async def waits(context: Context) -> None:
        async with open_backend(context) as backend:
            submission = await backend.submit(context.sh("exit 0", "wait"))
            await backend.wait_until_final(list(submission.handles.values()), within=0.1)

    (result,) = run_checks(Memory, clauses=make_clauses(waits=waits)).results.values()

    assert result.message.startswith("expected a final state within 0.1 s for job ic-")
    assert "observed it is RUNNING" in result.message


def test_a_verb_that_does_not_answer_is_a_finding() -> None:
    """A verb that does not answer within its own time limit is a finding that shows where it waits."""

    class Silent(Memory):
        async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

    (result,) = run_checks(Silent, clauses=make_clauses(fine=check_green), scale=0.02).results.values()

    assert result.message.startswith("expected status to answer within 0.4 s")
    assert "in status: await asyncio.Event().wait()" in result.detail


async def _leave_two_jobs(context: Context) -> None:
    """Leave a short and a long job, and be red."""
    async with open_backend(context) as backend:
        await backend.submit(context.sh("exit 0"))
        await backend.submit(context.sh("sleep 600"))
    context.expect(False, expected="the moon", observed="none")  # noqa: FBT003 -- the kind of check that this is


def test_jobs_are_cleaned_up_if_the_subject_reports_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs of each check are purged if the subject reports jobs that were not asked about."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    clauses = make_clauses(first=_leave_two_jobs, second=_leave_two_jobs, third=_leave_two_jobs)

    report = run_checks(gallery.load_wrong()["AnswersForAllJobs"], clauses=clauses)

    assert len(report.red) == 3
    assert [each.detail for each in report.results.values() if "left" in each.detail] == []
    assert list(tmp_path.glob("intercede-fake/[!.]*")) == []
