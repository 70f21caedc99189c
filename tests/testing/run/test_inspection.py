"""Checks run without pytest: what becomes of each, and what is left behind."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Self, cast

import pytest

from intercede.contract import (
    CopyVars,
    JobHandle,
    JobOutput,
    JobState,
    JobStatus,
    OpOutcome,
    Submission,
    SubmissionSpec,
)
from intercede.testing import gallery
from intercede.testing.frontends.check import run_checks
from intercede.testing.isolation import timeouts
from intercede.testing.isolation.snapshot import KitSnapshot
from intercede.testing.model import verdict
from intercede.testing.model.clause import MUST, SHOULD, Clause
from intercede.testing.model.verdict import State, Verdict
from intercede.testing.run import finding, inspection
from intercede.testing.run.context import Check, Context

JOBS: dict[JobHandle, JobState] = {}
"""What the resource of the subject below holds."""


class Memory:
    """Keeps its jobs in this process. A payload that says `wait` runs until it is killed."""

    async def __aenter__(self) -> Self:
        """Nothing to open."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Start one job, or raise with the job started where the payload says so."""
        handle = JobHandle(resource="memory", job=str(spec.tag))
        JOBS[handle] = JobState.RUNNING if "wait" in spec.arguments else JobState.DONE
        if "lost" in spec.arguments:
            raise ConnectionError("the answer was lost")
        return Submission(handles={0: handle})

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Tell the state."""
        return {each: JobStatus(state=JOBS.get(each, JobState.UNKNOWN)) for each in handles}

    async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """End jobs."""
        JOBS.update(dict.fromkeys(handles, JobState.KILLED))
        return dict.fromkeys(handles, OpOutcome(ok=True))

    async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Forget jobs that have ended."""
        return {each: self._purged(each) for each in handles}

    def _purged(self, handle: JobHandle) -> OpOutcome:
        if JOBS[handle] is JobState.RUNNING:
            return OpOutcome(ok=False, reason="running")
        del JOBS[handle]
        return OpOutcome(ok=True)

    async def find(self, tag: str) -> list[JobHandle]:
        """Find a job by its tag."""
        return [each for each in JOBS if each.job == tag]

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Mapping[JobHandle, JobOutput]:
        """Bring what the job wrote."""
        return dict.fromkeys(handles, JobOutput(ok=True, stdout=_written(dest)))


def _written(dest: Path) -> Path:
    dest.mkdir(parents=True)
    stdout = dest / "stdout"
    stdout.write_bytes(b"from the payload\xff")
    return stdout


def _clauses(**checks: Check) -> dict[str, Clause]:
    """Make a clause of each check; what is named `after_x` depends on x."""
    ids = {name: f"IC-SUBMIT-{number:02}" for number, name in enumerate(checks, 1)}
    return {
        ids[name]: Clause(
            id=ids[name],
            title=f"{name}.",
            level=MUST,
            check=check,
            depends=(ids[name.removeprefix("after_")],) if name.startswith("after_") else (),
        )
        for name, check in checks.items()
    }


async def _fine(context: Context) -> None:
    async with context.open_backend() as backend:
        submission = await context.submit(backend, context.sh("exit 0"))
        statuses = await context.wait_until_final(backend, submission.handles.values())
        context.expect(statuses, expected="a status", observed=statuses)


async def _red(context: Context) -> None:
    async with context.open_backend() as backend:
        submission = await context.submit(backend, context.sh("exit 0", "wait"))
        context.expect(condition=False, expected="the moon", observed=submission)


async def _raised_by_the_subject(context: Context) -> None:
    async with context.open_backend() as backend:
        await context.submit(backend, context.sh("exit 0", "wait", "lost"))


async def _broken(context: Context) -> None:
    raise NotADirectoryError(context.make_token())


def test_states_and_what_depends_on_them() -> None:
    """Green is PASSED, red FAILED, the kit's own mistake ERROR, and what depends on a red one BLOCKED."""
    report = run_checks(Memory, clauses=_clauses(fine=_fine, red=_red, after_red=_fine, broken=_broken))

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
        await _red(context)

    clauses = _clauses(red=red, after_red=_red)
    backwards = dict(reversed(clauses.items()))

    report = run_checks(Memory, clauses=backwards)

    assert report.red == ("IC-SUBMIT-01",)
    assert report.results["IC-SUBMIT-02"].blocker == "IC-SUBMIT-01"
    assert checked == ["red"]


def test_a_red_one_says_everything() -> None:
    """Expected, observed, the calls, the payload's output, and where it was raised."""
    report = run_checks(Memory, clauses=_clauses(red=_red, lost=_raised_by_the_subject))
    red, lost = report.results.values()

    assert red.message.startswith("expected the moon; observed Submission(handles={0: <ic-")
    assert re.search(r"submit\(\('-c', 'exit 0', 'sh', 'wait'\), copies=1, tag='ic-\w+'\): Submission\(", red.detail)
    assert r"stdout (17 bytes): b'from the payload\xff'" in red.detail
    assert lost.state is State.FAILED
    assert "observed: raised ConnectionError: the answer was lost" in lost.detail
    assert "test_inspection.py" in lost.detail


def test_nothing_is_left_of_what_a_check_started() -> None:
    """Running jobs are killed and purged, also one that only its tag can find."""
    JOBS.clear()

    run_checks(Memory, clauses=_clauses(red=_red, lost=_raised_by_the_subject, fine=_fine))

    assert not JOBS


def test_what_cannot_be_cleaned_up_is_told() -> None:
    """A check stays green, with a note."""

    class Sticky(Memory):
        async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
            raise PermissionError("not yours")

    (result,) = run_checks(Sticky, clauses=_clauses(fine=_fine)).results.values()

    assert result.state is State.PASSED
    assert "PermissionError: not yours" in result.detail


def test_a_subject_that_cannot_be_constructed_is_refused() -> None:
    """There is one finding, not one a clause."""

    def factory() -> Memory:
        raise OSError("no such site")

    clauses = _clauses(fine=_fine) | {
        "IC-SHAPE-01": Clause(id="IC-SHAPE-01", title="It is there.", level=MUST, check=_fine)
    }
    report = run_checks(factory, clauses=clauses)

    assert report.results["IC-SHAPE-01"].message.endswith("OSError('no such site')")
    assert "hint: The sentence above" in report.results["IC-SHAPE-01"].detail
    assert report.results["IC-SUBMIT-01"].state is State.BLOCKED


def test_chosen_clauses_are_partial() -> None:
    """By id or by area; another word is refused."""
    clauses = _clauses(fine=_fine, red=_red)

    assert run_checks(Memory, ["IC-SUBMIT-01"], clauses=clauses).verdict is Verdict.PARTIAL
    assert run_checks(Memory, ["submit"], clauses=clauses).red == ("IC-SUBMIT-02",)
    with pytest.raises(LookupError, match="IC-SUBMIT-03"):
        run_checks(Memory, ["IC-SUBMIT-03"], clauses=clauses)


def test_a_job_that_never_ends_is_a_finding() -> None:
    """finish() gives up within its bound and says which job it was."""

    async def waits(context: Context) -> None:
        async with context.open_backend() as backend:
            submission = await context.submit(backend, context.sh("exit 0", "wait"))
            await context.wait_until_final(backend, submission.handles.values(), within=0.1)

    (result,) = run_checks(Memory, clauses=_clauses(waits=waits)).results.values()

    assert result.message.startswith("expected a final state within 0.1 s for job ic-")
    assert "state=RUNNING" in result.message


def test_a_verb_that_does_not_answer_is_a_finding() -> None:
    """The verb is bounded by itself, whatever else the check has time for."""

    class Silent(Memory):
        async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

    (result,) = run_checks(Silent, clauses=_clauses(fine=_fine), scale=0.02).results.values()

    assert result.message.startswith("expected status to answer within 0.4 s")
    assert "in status: await asyncio.Event().wait()" in result.detail


def test_a_child_process_builds_the_same_subject() -> None:
    """From the file of the factory, with arguments, and killed when it takes too long."""

    async def asks(context: Context) -> None:
        source = "import os; tell([type(make_backend()).__name__, arguments, os.getpid()]); print('not told')"
        told = await context.run_child(source, "a b", "", what="telling")
        name, arguments, pid = cast("list[object]", told)
        context.expect((name, arguments) == ("Memory", ["a b", ""]), expected="the same subject", observed=told)
        context.expect(pid != os.getpid(), expected="another process", observed=told)
        await context.run_child("import time; time.sleep(1000)", what="sleeping", within=0.3)

    (result,) = run_checks(Memory, clauses=_clauses(asks=asks)).results.values()

    assert result.message.startswith("expected child process to answer within 0.3 s"), result.detail


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import sys; tell([]); sys.exit('no such thing')", "exit code 1: no such thing"),
        ("pass", "exit code 0: nothing on stderr"),
        ("import os; os.kill(os.getpid(), 9)", "exit code 137: nothing on stderr"),
        ("open(request['told'], 'w').write('[')", "exit code 0: nothing on stderr"),
    ],
)
def test_a_child_process_that_does_not_work_is_a_finding(source: str, words: str) -> None:
    """With its exit code and what it printed last, also where it tells nothing, or what is no JSON."""

    async def asks(context: Context) -> None:
        await context.run_child(source, what="telling")

    (result,) = run_checks(Memory, clauses=_clauses(asks=asks)).results.values()

    assert result.state is State.FAILED
    assert result.message == f"expected telling to work in a child process; observed it ended with {words}"


def test_what_a_child_process_leaves_behind_ends_with_it() -> None:
    """A helper that inherits its streams is waited for by nobody, and killed; where jobs are started, they go on."""
    pids: list[int] = []
    helper = "import subprocess, sys; tell([subprocess.Popen(['sleep', '1000']).pid])"

    async def asks(context: Context) -> None:
        for jobs in (False, True):
            pids.extend(cast("list[int]", await context.run_child(helper, what="helping", jobs=jobs, within=10)))

    (result,) = run_checks(Memory, clauses=_clauses(asks=asks)).results.values()

    assert result.state is State.PASSED, result.detail
    helping, job = pids
    goes_on = _runs(job)
    os.kill(job, signal.SIGKILL)
    assert goes_on
    end = time.monotonic() + 10
    while _runs(helping):
        assert time.monotonic() < end
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    """Whether a process is there that has not ended: whoever inherited it may take its time to ask how."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except FileNotFoundError:
        return False


def test_a_script_that_inspects_without_a_guard_starts_no_children_without_end(tmp_path: Path) -> None:
    """The child that loads the script to make the subject refuses to inspect, and says what to do."""
    script = tmp_path / "script.py"
    script.write_text(
        "from intercede.testing import run_checks\n"
        "from intercede.testing.gallery.fake import FakeBackend\n"
        "class Mine(FakeBackend): pass\n"
        "report = run_checks(Mine, ['IC-LIFE-01'])\n"
        "print(report.results['IC-LIFE-01'].detail)\n"
    )

    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)

    assert "put the call that runs the checks below `if __name__" in ended.stdout


async def _leaves_two(context: Context) -> None:
    """Leave a short job and one that runs for long, told of one another, and be red."""
    async with context.open_backend() as backend:
        await context.submit(backend, context.sh("exit 0"))
        await context.submit(backend, context.sh("sleep 600"))
    context.expect(False, expected="the moon", observed="none")  # noqa: FBT003 -- the kind of check that this is


def test_jobs_are_cleaned_up_of_a_subject_that_tells_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for counts: each check's jobs are ended and purged, and nobody waits for those of another."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    clauses = _clauses(first=_leaves_two, second=_leaves_two, third=_leaves_two)

    report = run_checks(gallery.wrong()["TellsOfAll"], clauses=clauses)

    assert len(report.red) == 3
    assert [each.detail for each in report.results.values() if "left" in each.detail] == []
    assert list(tmp_path.glob("intercede-fake/[!.]*")) == []


@pytest.mark.slow
def test_a_child_process_that_nobody_waits_for_ends_by_itself() -> None:
    """Where the loop that would kill it stands still for good."""
    pids: list[int] = []

    async def asks(context: Context) -> None:
        file = context.tmp / "pid"
        source = f"import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
        asking = asyncio.ensure_future(context.run_child(source, what="sleeping", within=1))
        while not (file.exists() and file.read_text()):  # noqa: ASYNC110 -- another process writes it
            await asyncio.sleep(0.01)
        pids.append(int(file.read_text()))
        time.sleep(2.5)  # noqa: ASYNC251 -- the loop stands still
        assert _runs(pids[0]) is False
        await asking

    (result,) = run_checks(Memory, clauses=_clauses(asks=asks)).results.values()

    assert result.state is State.FAILED
    assert "child process to answer within 1 s" in result.message


def test_of_what_is_printed_at_length_the_last_words_are_told() -> None:
    """The reason stands at the end, whatever went before it."""

    async def asks(context: Context) -> None:
        source = "import sys; sys.stderr.write('x' * 40_000_000); sys.exit('\\nthe reason')"
        await context.run_child(source, what="telling")

    (result,) = run_checks(Memory, clauses=_clauses(asks=asks)).results.values()

    assert result.message.endswith("exit code 1: the reason")


def test_of_checks_that_run_beside_one_that_is_not_believed_none_is() -> None:
    """Whichever of them ends first and finds that something was replaced."""
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

    clauses = _clauses(lies=lies, ends_first=ends_first)
    report = run_checks(Memory, clauses=clauses)
    later = run_checks(Memory, clauses=_clauses(later=comes_later))

    assert [each.state for each in report.results.values()] == [State.ERROR, State.ERROR]
    assert [each.state for each in later.results.values()] == [State.PASSED]


async def _enters(context: Context) -> None:
    async with context.open_backend():
        pass


ENTERS = {"IC-SUBMIT-01": Clause(id="IC-SUBMIT-01", title="It enters.", level=SHOULD, check=_enters)}


def _level() -> None:
    object.__setattr__(ENTERS["IC-SUBMIT-01"], "level", "MAY")


def _code() -> None:
    def none(clause: object, raised: object) -> None: ...

    finding.classify.__code__ = none.__code__


def _module() -> None:
    setattr(inspection, "timeouts", SimpleNamespace(**vars(timeouts)))  # noqa: B010 -- no module, on purpose


def _added() -> None:
    JobHandle.__eq__ = lambda *_: True  # type: ignore[method-assign]  # a subject's code does that


def _judging() -> None:
    verdict._RED = frozenset()


def _ignored(*_: object, **__: object) -> None:
    """Do nothing of what was asked."""


def _setting(owner: object, name: str, value: object) -> Callable[[], None]:
    return lambda: setattr(owner, name, value)


ATTACKS: Mapping[str, Callable[[], None]] = {
    "testing.run.context.Context.expect": _setting(Context, "expect", _ignored),
    "testing.run.context.Context.status": _setting(Context, "status", _ignored),
    "testing.isolation.timeouts.limit_time": _setting(timeouts, "limit_time", _ignored),
    "contract.job.JobState.final": _setting(JobState, "final", property(lambda _: True)),
    "contract.job.JobHandle.__eq__": _added,
    "testing.run.finding.classify.__code__": _code,
    "testing.run.inspection.timeouts": _module,
    "testing.model.verdict._RED": _judging,
    "IC-SUBMIT-01.level": _level,
}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_subject_that_replaces_what_judges_it_is_not_believed(attack: str, *, together: bool) -> None:
    """What it replaced is put back, and the check is an ERROR, which decides whatever the level of the clause."""

    class Replaces(Memory):
        async def __aenter__(self) -> Self:
            ATTACKS[attack]()
            return self

    before = KitSnapshot(ENTERS)
    report = run_checks(Replaces, clauses=ENTERS, together=together)

    assert before.restore() == []
    (result,) = report.results.values()
    assert result.state is State.ERROR
    assert attack in result.observed
    assert "nothing that was seen meanwhile can be believed" in result.observed
    assert report.verdict is Verdict.NOT_CONFORMANT
