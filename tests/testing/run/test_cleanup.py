"""However a run ends, the jobs of its checks are ended and purged; what is left all the same is named."""

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
from intercede.testing.gallery.fake import FakeBackend
from intercede.testing.model.clause import MUST, Clause
from intercede.testing.model.verdict import State, SubjectInfo
from intercede.testing.run.calibrate import calibrate
from intercede.testing.run.context import Check, Context
from intercede.testing.run.driver import open_backend
from intercede.testing.subjects.subject import FactorySubject

JOBS: dict[JobHandle, JobState] = {}
"""What the resource below holds."""


@pytest.fixture(autouse=True)
def _an_empty_resource() -> None:
    JOBS.clear()


class Slow:
    """Keeps its jobs in this process. They run until they are killed, and purging them takes a while."""

    async def __aenter__(self) -> Self:
        """Nothing to open."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Start one job, and take so long to say so where the payload tells."""
        handle = JobHandle(resource="slow", job=f"{spec.tag}.{len(JOBS)}")
        JOBS[handle] = JobState.RUNNING
        if "late" in spec.arguments:
            interrupt()
            await asyncio.Event().wait()
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
        await asyncio.sleep(0.1)
        return {each: self._purged(each) for each in handles}

    def _purged(self, handle: JobHandle) -> OpOutcome:
        if JOBS[handle] is JobState.RUNNING:
            return OpOutcome(ok=False, reason="running")
        del JOBS[handle]
        return OpOutcome(ok=True)

    async def find(self, tag: str) -> list[JobHandle]:
        """Find jobs by their tag."""
        return [each for each in JOBS if each.job.rpartition(".")[0] == tag]


def interrupt() -> None:
    """Do what Ctrl-C does, from wherever this is called."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


async def _leaves(context: Context) -> None:
    async with open_backend(context) as backend:
        await backend.submit(context.sh("sleep 600"))


async def _red(context: Context) -> None:
    await _leaves(context)
    context.expect(condition=False, expected="the moon", observed="none")


async def _is_interrupted(context: Context) -> None:
    await _leaves(context)
    interrupt()
    await asyncio.Event().wait()


async def _is_interrupted_in_submit(context: Context) -> None:
    async with open_backend(context) as backend:
        tag = f"ic-{context.make_token()}"
        await backend.submit(context.sh("sleep 600", tag=tag))
        await backend.submit(context.sh("sleep 600", "late", tag=tag))


def clauses(*checks: Check, depends: bool = False) -> dict[str, Clause]:
    """Make a clause of each check; all but the first may depend on that."""
    ids = [f"IC-SUBMIT-{number:02}" for number in range(1, len(checks) + 1)]
    first = (ids[0],) if depends else ()
    return {
        each: Clause(id=each, title="It is.", level=MUST, check=check, depends=first if number else ())
        for number, (each, check) in enumerate(zip(ids, checks, strict=True))
    }


def test_a_check_that_a_red_one_blocks_cleans_up_to_the_end() -> None:
    """Its result is not waited for, and its jobs are."""
    report = run_checks(Slow, clauses=clauses(_red, *[_leaves] * 8, depends=True))

    assert report.results["IC-SUBMIT-02"].state is State.BLOCKED
    assert JOBS == {}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("check", [_is_interrupted, _is_interrupted_in_submit])
def test_an_interruption_leaves_no_job(check: Check, *, together: bool) -> None:
    """Of the check that ran, of those beside it, and of a submit that has not answered."""
    with pytest.raises(KeyboardInterrupt) as caught:
        run_checks(Slow, clauses=clauses(check, _leaves, _leaves), together=together)

    assert JOBS == {}
    assert getattr(caught.value, "__notes__", []) == []


@pytest.mark.parametrize("together", [True, False])
def test_an_interruption_while_a_check_cleans_up_leaves_no_job(*, together: bool) -> None:
    """It has to wait: a clean-up is brought to its end."""

    class Interrupted(Slow):
        async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
            if any(JOBS[each] is JobState.RUNNING for each in handles):
                interrupt()
            return await super().kill(handles)

    with pytest.raises(KeyboardInterrupt):
        run_checks(Interrupted, clauses=clauses(_leaves), together=together)

    assert JOBS == {}


@pytest.mark.parametrize("together", [True, False])
def test_a_second_interruption_gives_up_and_names_what_is_left(*, together: bool) -> None:
    """By its handle, as one can be made again from it."""

    class Hangs(Slow):
        async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
            interrupt()
            await asyncio.Event().wait()
            raise AssertionError("nobody sets it")

    with pytest.raises(KeyboardInterrupt) as caught:
        run_checks(Hangs, clauses=clauses(_is_interrupted), together=together)

    (left,) = JOBS
    assert caught.value.__notes__ == [f"left behind: IC-SUBMIT-01: jobs may be left: {left.model_dump_json()}"]


def test_what_cannot_be_found_again_is_named_by_its_tag() -> None:
    """A submit that was cut short may have started a job, and nothing claims to find it."""

    class Forgetful(Slow):
        find = None  # type: ignore[assignment]  # not claimed

    with pytest.raises(KeyboardInterrupt) as caught:
        run_checks(Forgetful, clauses=clauses(_is_interrupted_in_submit))

    (left,) = JOBS
    (note,) = caught.value.__notes__
    assert note.endswith(f"any job with the tag {left.job.rpartition('.')[0]}")


def test_what_a_purge_refuses_is_named() -> None:
    """Also in a run that nobody interrupts; what is purged in the end is not."""
    refuses = [True]

    class Refuses(Slow):
        async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
            if refuses[0]:
                return dict.fromkeys(handles, OpOutcome(ok=False, reason="other", detail="not today"))
            return await super().purge(handles)

    async def relents(context: Context) -> None:
        await asyncio.sleep(0.3)
        refuses[0] = False

    report = run_checks(Refuses, clauses=clauses(_leaves, relents), together=False)

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
    """Five runs of the whole suite each, of a subject whose purge takes a second: Ctrl-C, what a CI sends, a lost terminal."""
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
        left = list(tmp_path.glob("intercede-fake/[!.]*"))  # behind a dot is one that a killed process was making
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
def test_what_timeout_sends_twice_interrupts_once(ignoring: tuple[str, ...]) -> None:
    """timeout(1) sends TERM to its child, and then to the child's group. What was ignored stays so, and a default comes back.

    What a shell starts with & ignores INT, and is interrupted by TERM all the same.
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
def test_jobs_to_measure_with_end_with_the_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child process runs them, which an interruption kills: another one finds and ends them."""
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

    assert list(state.glob("[!.]*")) == []  # behind a dot is one that was being made
    assert [each for each in caught.value.__notes__ if "left" in each] == []
