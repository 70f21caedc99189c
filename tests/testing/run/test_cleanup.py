"""The jobs of a run's checks are killed and purged however the run ends, and jobs that are left are named."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Self

import pytest

import intercede
from intercede.contract import (
    CopyVars,
    JobHandle,
    JobState,
    JobStatus,
    OpOutcome,
    Submission,
    SubmissionSpec,
    capabilities,
)
from intercede.testing.frontends.check import run_checks
from intercede.testing.frontends.plan import Plan, make_node_id
from intercede.testing.frontends.session import Session
from intercede.testing.gallery.fake import FakeBackend
from intercede.testing.model.clause import MUST, Clause
from intercede.testing.model.verdict import State, SubjectInfo
from intercede.testing.run.calibrate import calibrate
from intercede.testing.run.context import Check, Context
from intercede.testing.run.driver import open_backend
from intercede.testing.run.inspection import Inspection
from intercede.testing.subjects.subject import FactorySubject

JOBS: dict[JobHandle, JobState] = {}
"""The jobs of the backend below."""


@pytest.fixture(autouse=True)
def _clear_jobs() -> None:
    JOBS.clear()


class Slow:
    """A backend that keeps its jobs in this process. They run until they are killed, and a purge takes a moment."""

    async def __aenter__(self) -> Self:
        """Return the backend; nothing is opened."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave the backend; nothing is open."""

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Start one job. With the argument `late`, interrupt the run and do not answer."""
        handle = JobHandle(resource="slow", job=f"{spec.tag}.{len(JOBS)}")
        JOBS[handle] = JobState.RUNNING
        if "late" in spec.arguments:
            interrupt()
            await asyncio.Event().wait()
        return Submission(handles={0: handle})

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Return the state of each job."""
        return {each: JobStatus(state=JOBS.get(each, JobState.UNKNOWN)) for each in handles}

    async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """End the jobs."""
        JOBS.update(dict.fromkeys(handles, JobState.KILLED))
        return dict.fromkeys(handles, OpOutcome(ok=True))

    async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Forget the jobs that have ended."""
        await asyncio.sleep(0.1)
        return {each: self._purged(each) for each in handles}

    def _purged(self, handle: JobHandle) -> OpOutcome:
        if JOBS[handle] is JobState.RUNNING:
            return OpOutcome(ok=False, reason="running")
        del JOBS[handle]
        return OpOutcome(ok=True)

    async def find(self, tag: str) -> list[JobHandle]:
        """Return the jobs with a tag."""
        return [each for each in JOBS if each.job.rpartition(".")[0] == tag]


def interrupt() -> None:
    """Interrupt the main thread, as Ctrl-C does."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


async def _leave_job(context: Context) -> None:
    async with open_backend(context) as backend:
        await backend.submit(context.sh("sleep 600"))


async def _be_red(context: Context) -> None:
    await _leave_job(context)
    context.expect(condition=False, expected="the moon", observed="none")


async def _is_interrupted(context: Context) -> None:
    await _leave_job(context)
    interrupt()
    await asyncio.Event().wait()


async def _is_interrupted_in_submit(context: Context) -> None:
    async with open_backend(context) as backend:
        tag = f"ic-{context.make_token()}"
        await backend.submit(context.sh("sleep 600", tag=tag))
        await backend.submit(context.sh("sleep 600", "late", tag=tag))


def make_clauses(*checks: Check, depends: bool = False) -> dict[str, Clause]:
    """Return a clause for each check. With `depends`, all depend on the first."""
    ids = [f"IC-SUBMIT-{number:02}" for number in range(1, len(checks) + 1)]
    first = (ids[0],) if depends else ()
    return {
        each: Clause(id=each, title="It is.", level=MUST, check=check, depends=first if number else ())
        for number, (each, check) in enumerate(zip(ids, checks, strict=True))
    }


def test_a_blocked_check_cleans_up() -> None:
    """The jobs of a check that is blocked while it runs are purged."""
    report = run_checks(Slow, clauses=make_clauses(_be_red, *[_leave_job] * 8, depends=True))

    assert report.results["IC-SUBMIT-02"].state is State.BLOCKED
    assert JOBS == {}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("check", [_is_interrupted, _is_interrupted_in_submit])
def test_an_interruption_leaves_no_job(check: Check, *, together: bool) -> None:
    """An interrupted run purges the jobs of all running checks, also of a submit that has not answered."""
    with pytest.raises(KeyboardInterrupt) as caught:
        run_checks(Slow, clauses=make_clauses(check, _leave_job, _leave_job), concurrent=together)

    assert JOBS == {}
    assert getattr(caught.value, "__notes__", []) == []


@pytest.mark.parametrize("together", [True, False])
def test_an_interrupted_cleanup_is_finished(*, together: bool) -> None:
    """A clean-up is finished before an interruption ends the run."""

    class Interrupted(Slow):
        async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
            if any(JOBS[each] is JobState.RUNNING for each in handles):
                interrupt()
            return await super().kill(handles)

    with pytest.raises(KeyboardInterrupt):
        run_checks(Interrupted, clauses=make_clauses(_leave_job), concurrent=together)

    assert JOBS == {}


@pytest.mark.parametrize("together", [True, False])
def test_a_second_interruption_names_the_jobs_that_are_left(*, together: bool) -> None:
    """A second interruption ends the clean-up, and a note holds the handle of each job that may be left."""

    class Hangs(Slow):
        async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
            interrupt()
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

    with pytest.raises(KeyboardInterrupt) as caught:
        run_checks(Hangs, clauses=make_clauses(_is_interrupted), concurrent=together)

    (left,) = JOBS
    assert caught.value.__notes__ == [f"left behind: IC-SUBMIT-01: jobs may be left: {left.model_dump_json()}"]


def test_a_job_that_cannot_be_found_is_named_by_its_tag() -> None:
    """A note names the tag of a job whose submit was interrupted if the subject cannot find jobs."""

    class Forgetful(Slow):
        find = None  # type: ignore[assignment]  # not claimed

    with pytest.raises(KeyboardInterrupt) as caught:
        run_checks(Forgetful, clauses=make_clauses(_is_interrupted_in_submit))

    (left,) = JOBS
    (note,) = caught.value.__notes__
    assert note.endswith(f"any job with the tag {left.job.rpartition('.')[0]}")


def test_a_job_that_a_purge_refuses_is_named() -> None:
    """The result of a check names a job whose purge was refused, and a later purge removes it."""
    refuses = [True]

    class Refuses(Slow):
        async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
            if refuses[0]:
                return dict.fromkeys(handles, OpOutcome(ok=False, reason="other", detail="not today"))
            return await super().purge(handles)

    async def relents(context: Context) -> None:
        await asyncio.sleep(0.3)
        refuses[0] = False

    report = run_checks(Refuses, clauses=make_clauses(_leave_job, relents), concurrent=False)

    assert "cleaning up failed, jobs may be left" in report.results["IC-SUBMIT-01"].detail
    assert "not today" in report.results["IC-SUBMIT-01"].detail
    assert JOBS == {}


SLOW = """
import asyncio
from intercede.testing.gallery.fake import FakeBackend


class Slow(FakeBackend):
    async def purge(self, handles):
        await asyncio.sleep(1)
        return await super().purge(handles)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "group", "options"),
    [
        (signal.SIGINT, False, ()),
        (signal.SIGTERM, True, ()),
        (signal.SIGHUP, True, ()),
        (signal.SIGINT, True, ("-p", "xdist", "-n2")),
        (signal.SIGTERM, False, ("-p", "xdist", "-n2")),
    ],
)
def test_a_run_that_is_interrupted_at_any_moment_leaves_no_job(
    tmp_path: Path, number: signal.Signals, group: bool, options: tuple[str, ...]
) -> None:
    """A run that is interrupted at any moment leaves no job: by Ctrl-C, by a CI's SIGTERM, or by a lost terminal.

    Each case runs the whole suite five times, with a purge that takes a second.
    """
    (tmp_path / "slow_fake.py").write_text(SLOW)
    metadata = tmp_path / "slow_fake-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-fake\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[intercede.backends]\nslow = slow_fake:Slow\n")
    moments = random.Random(f"{number} {options}")  # noqa: S311 -- no cryptography
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "INTERCEDE"))}
    ours |= {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    ours["PYTHONPATH"] = os.pathsep.join(map(str, (Path(intercede.__file__).parents[1], tmp_path)))
    ours["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    command = (sys.executable, "-m", "pytest", "-p", "intercede_pytest", "-q", "--intercede-backend=slow", *options)
    for attempt in range(5):
        with (tmp_path / "said").open("w") as said:
            run = subprocess.Popen(command, cwd=tmp_path, env=ours, stdout=said, stderr=said, start_new_session=True)
            try:
                run.wait(moments.uniform(1, 15))
            except subprocess.TimeoutExpired:
                (os.killpg if group else os.kill)(run.pid, number)
            code = run.wait(120)  # -15 if the signal came while Python started
        left = list(tmp_path.glob("intercede-fake/[!.]*"))  # a name with a dot belongs to a process that was killed
        assert left == [], f"run {attempt}, exit code {code}\n{(tmp_path / 'said').read_text()}"


LISTENER = """
import os, signal, sys, time
from intercede.testing.isolation.signals import interrupt_on_end

signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN if sys.argv[1:] else signal.default_int_handler)
with interrupt_on_end():
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        print("ignored", flush=True)
        while True:
            time.sleep(0.05)  # a signal that comes just before a long one would be seen at its end
    except KeyboardInterrupt:
        sys.stdin.read()
        print("interrupted once")
print(signal.getsignal(signal.SIGTERM).name)
"""


@pytest.mark.parametrize("ignoring", [(), ("INT",)], ids=str)
def test_two_signals_interrupt_once(ignoring: tuple[str, ...]) -> None:
    """Two SIGTERM in a row, as timeout(1) sends them, interrupt once.

    Ignored signals stay ignored, and the default handler comes back. A process that ignores SIGINT, as a shell's
    background job does, is interrupted by SIGTERM.
    """
    command = [sys.executable, "-c", LISTENER, *ignoring]
    listening = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert listening.stdout is not None
    with listening:
        assert listening.stdout.readline() == "ignored\n"
        os.kill(listening.pid, signal.SIGTERM)
        os.killpg(listening.pid, signal.SIGTERM)
        assert listening.communicate(timeout=30)[0] == "interrupted once\nSIG_DFL\n"


@pytest.mark.slow
def test_jobs_of_a_measurement_end_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The jobs that measure the timeout scale are purged if the measurement is interrupted."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    state = tmp_path / "intercede-fake"

    def interrupt_it() -> None:
        end = time.monotonic() + 30
        while not list(state.glob("[!.]*/group")) and time.monotonic() < end:
            time.sleep(0.01)
        interrupt()

    facts = SubjectInfo(id="fake", config="fake", name="fake", capabilities=capabilities(FakeBackend()))
    interrupting = threading.Thread(target=interrupt_it)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        calibrate(FactorySubject(FakeBackend), facts)
    interrupting.join()

    assert list(state.glob("[!.]*")) == []  # a name with a dot is unfinished
    assert [each for each in caught.value.__notes__ if "left" in each] == []


class RefusesThenHangs(Slow):
    """A backend that refuses to purge, and later hangs in each purge until the user interrupts."""

    refuses = True

    async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Refuse, or interrupt the run and wait."""
        if RefusesThenHangs.refuses:
            return dict.fromkeys(handles, OpOutcome(ok=False, reason="other", detail="not today"))
        interrupt()
        await asyncio.Event().wait()
        raise AssertionError("the event is never set")


@pytest.mark.parametrize("through_session", [True, False])
def test_interruptions_while_a_run_is_closed_name_the_jobs_that_are_left(*, through_session: bool) -> None:
    """If the user interrupts a run only while it is closed, a note still holds the handle of each job that is left."""
    RefusesThenHangs.refuses = True
    subject, clauses = FactorySubject(RefusesThenHangs), make_clauses(_leave_job)
    facts = SubjectInfo(id=subject.id, config="slow", name="slow", capabilities=capabilities(Slow()))
    wanted = frozenset(make_node_id(each, facts.id) for each in clauses.values())
    plan = Plan((subject,), (facts,), wanted, is_partial=False, scales={facts.id: 1.0})

    def run() -> None:
        if through_session:
            with Session(plan, clauses=clauses, concurrent=False) as session:
                list(session.run_all())
                RefusesThenHangs.refuses = False
        else:
            with Inspection(subject, facts) as inspection:
                inspection.run(clauses["IC-SUBMIT-01"])
                RefusesThenHangs.refuses = False

    with pytest.raises(KeyboardInterrupt) as caught:
        run()

    (left,) = JOBS
    assert caught.value.__notes__ == [f"left behind: IC-SUBMIT-01: jobs may be left: {left.model_dump_json()}"]
