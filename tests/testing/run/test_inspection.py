"""Checks run without pytest: their results, and the jobs that they leave."""

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


def test_states_and_what_depends_on_them() -> None:
    """Green is PASSED, red FAILED, the kit's own mistake ERROR, and what depends on a red one BLOCKED."""
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


def test_what_a_red_one_depends_on_is_checked_first() -> None:
    """Whatever the order: the one that is red by itself is red, and checked once."""
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


def test_a_red_one_says_everything() -> None:
    """Expected, observed, the calls, the payload's output, and where it was raised."""
    report = run_checks(Memory, clauses=make_clauses(red=check_red, lost=check_lost_answer))
    red, lost = report.results.values()

    assert red.message.startswith("expected the moon; observed Submission(handles={0: <ic-")
    assert re.search(r"submit\(\('-c', 'exit 0', 'sh', 'wait'\), copies=1, tag='ic-\w+'\): Submission\(", red.detail)
    assert r"stdout (17 bytes): b'from the payload\xff'" in red.detail
    assert lost.state is State.FAILED
    assert "observed: raised ConnectionError: the answer was lost" in lost.detail
    assert "memory.py" in lost.detail


def test_nothing_is_left_of_what_a_check_started() -> None:
    """Running jobs are killed and purged, also one that only its tag can find."""
    JOBS.clear()

    run_checks(Memory, clauses=make_clauses(red=check_red, lost=check_lost_answer, fine=check_green))

    assert not JOBS


def test_what_cannot_be_cleaned_up_is_told() -> None:
    """A check stays green, with a note."""

    class Sticky(Memory):
        async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
            raise PermissionError("not yours")

    (result,) = run_checks(Sticky, clauses=make_clauses(fine=check_green)).results.values()

    assert result.state is State.PASSED
    assert "PermissionError: not yours" in result.detail


def test_a_subject_that_cannot_be_constructed_is_refused() -> None:
    """There is one finding, not one a clause."""

    def factory() -> Memory:
        raise OSError("no such site")

    clauses = make_clauses(fine=check_green) | {
        "IC-SHAPE-01": Clause(id="IC-SHAPE-01", title="It is there.", level=MUST, check=check_green)
    }
    report = run_checks(factory, clauses=clauses)

    assert report.results["IC-SHAPE-01"].message.endswith("OSError('no such site')")
    assert "hint: The sentence above" in report.results["IC-SHAPE-01"].detail
    assert report.results["IC-SUBMIT-01"].state is State.BLOCKED


def test_chosen_clauses_are_partial() -> None:
    """By id or by area; another word is refused."""
    clauses = make_clauses(fine=check_green, red=check_red)

    assert run_checks(Memory, ["IC-SUBMIT-01"], clauses=clauses).verdict is Verdict.PARTIAL
    assert run_checks(Memory, ["submit"], clauses=clauses).red == ("IC-SUBMIT-02",)
    with pytest.raises(LookupError, match="IC-SUBMIT-03"):
        run_checks(Memory, ["IC-SUBMIT-03"], clauses=clauses)


def test_a_job_that_never_ends_is_a_finding() -> None:
    """finish() gives up within its bound and says which job it was."""

    async def waits(context: Context) -> None:
        async with open_backend(context) as backend:
            submission = await backend.submit(context.sh("exit 0", "wait"))
            await backend.wait_until_final(list(submission.handles.values()), within=0.1)

    (result,) = run_checks(Memory, clauses=make_clauses(waits=waits)).results.values()

    assert result.message.startswith("expected a final state within 0.1 s for job ic-")
    assert "observed it is RUNNING" in result.message


def test_a_verb_that_does_not_answer_is_a_finding() -> None:
    """The verb is bounded by itself, whatever else the check has time for."""

    class Silent(Memory):
        async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

    (result,) = run_checks(Silent, clauses=make_clauses(fine=check_green), scale=0.02).results.values()

    assert result.message.startswith("expected status to answer within 0.4 s")
    assert "in status: await asyncio.Event().wait()" in result.detail


async def _leaves_two(context: Context) -> None:
    """Leave a short job and one that runs for long, told of one another, and be red."""
    async with open_backend(context) as backend:
        await backend.submit(context.sh("exit 0"))
        await backend.submit(context.sh("sleep 600"))
    context.expect(False, expected="the moon", observed="none")  # noqa: FBT003 -- the kind of check that this is


def test_jobs_are_cleaned_up_of_a_subject_that_tells_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for counts: each check's jobs are ended and purged, and nobody waits for those of another."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    clauses = make_clauses(first=_leaves_two, second=_leaves_two, third=_leaves_two)

    report = run_checks(gallery.wrong()["TellsOfAll"], clauses=clauses)

    assert len(report.red) == 3
    assert [each.detail for each in report.results.values() if "left" in each.detail] == []
    assert list(tmp_path.glob("intercede-fake/[!.]*")) == []
