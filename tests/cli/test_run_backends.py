"""``intercede run`` over backends that can do less, or do not keep their word."""

import asyncio
import json
import os
import signal
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from intercede.cli.run import run, specification
from intercede.contract import (
    CopyFailure,
    CopyVars,
    InvalidSpecError,
    JobHandle,
    JobOutput,
    JobState,
    JobStatus,
    OpOutcome,
    SchedulerError,
    Submission,
    SubmissionSpec,
    TransportError,
    UnsupportedSpecError,
)

DONE = JobStatus(state=JobState.DONE, exit_code=0)
RUNNING = JobStatus(state=JobState.RUNNING)
HOW_TO_END = "the line of Python"


class Core:
    """Submits and tells what it was given to tell; the last status stands."""

    def __init__(self, *statuses: JobStatus, failures: Mapping[int, CopyFailure] | None = None) -> None:
        self.statuses = list(statuses)
        self.failures = failures or {}
        self.handles: list[JobHandle] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        pass

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Start the copies that it was not told to refuse."""
        assert isinstance(copies, int)
        started = [index for index in range(copies) if index not in self.failures]
        handles = {index: JobHandle(resource="double", job=str(index)) for index in started}
        self.handles = list(handles.values())
        return Submission(handles=handles, failures=self.failures)

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Tell the next status."""
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return dict.fromkeys(handles, status)


class Full(Core):
    """Also brings output, kills and purges; counts what it did."""

    output = JobOutput(ok=True)

    def __init__(self, *statuses: JobStatus) -> None:
        super().__init__(*statuses)
        self.killed: list[JobHandle] = []
        self.purged: list[JobHandle] = []

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Mapping[JobHandle, JobOutput]:
        """Bring the same output for each."""
        return dict.fromkeys(handles, self.output)

    async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Kill whatever it is asked to."""
        self.killed += handles
        self.statuses = [JobStatus(state=JobState.KILLED, signal=15, reason="killed_by_user")]
        return dict.fromkeys(handles, OpOutcome(ok=True))

    async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Purge whatever it is asked to."""
        self.purged += handles
        return dict.fromkeys(handles, OpOutcome(ok=True))


class SlowToSubmit(Full):
    """Is interrupted while it submits: one job was started, and can be found by its tag only."""

    def __init__(self) -> None:
        super().__init__(RUNNING)
        self.tags: list[str | None] = []

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Start one, and never answer."""
        self.tags.append(spec.tag)
        interrupt()
        await asyncio.Event().wait()
        raise AssertionError

    async def find(self, tag: str) -> Sequence[JobHandle]:
        """Find the one."""
        return [JobHandle(resource="double", job="found")] if tag in self.tags else []


def interrupt() -> None:
    """Send ourselves what Ctrl-C sends."""
    os.kill(os.getpid(), signal.SIGINT)


def ends(backend: Core, copies: int = 1) -> int:
    """Run a command over a backend and return the code."""
    running = run(backend, specification(["true"], None), copies, None, HOW_TO_END)
    return asyncio.run(running)  # as the command itself does: what Ctrl-C ends is this


@pytest.mark.parametrize(
    ("status", "code", "word"),
    [
        (JobStatus(state=JobState.UNKNOWN, reason="lost"), 1, "lost"),
        (JobStatus(state=JobState.UNKNOWN, reason="purged"), 1, "purged"),
        (JobStatus(state=JobState.FAILED, reason="launch_failure"), 1, "launch_failure"),
        (JobStatus(state=JobState.FAILED, reason="timeout", signal=9), 137, "timeout"),
        (JobStatus(state=JobState.KILLED, reason="killed_by_site"), 1, "killed_by_site"),
    ],
)
def test_how_it_ended_is_told(status: JobStatus, code: int, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What has no code of its own is 1, a signal is 128 + n, and stderr has the contract's word for it."""
    assert ends(Full(RUNNING, status)) == code
    assert word in capsys.readouterr().err


def test_what_is_unknown_for_now_is_waited_for() -> None:
    """UNKNOWN without a reason that it stays so is not the end."""
    assert ends(Full(JobStatus(state=JobState.UNKNOWN), DONE)) == 0


class Mixed(Full):
    """One copy is done at once; nothing is ever known of the other, but for what it was given to tell."""

    def __init__(self, *statuses: JobStatus) -> None:
        super().__init__(*statuses)
        self.fetched: list[str] = []

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Tell the next status of the second."""
        told = await super().status(handles)
        return {handle: DONE if handle.job == "0" else status for handle, status in told.items()}

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Mapping[JobHandle, JobOutput]:
        """Bring the same output for each."""
        self.fetched += [handle.job for handle in handles]
        return await super().fetch_output(handles, dest)

    async def find(self, tag: str) -> Sequence[JobHandle]:
        """Find them all."""
        return self.handles


def test_what_stays_unknown_is_given_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The code is 1, the others' output is here, nothing that may be running is purged, and how to end it is told."""
    monkeypatch.setattr("intercede.cli.run.UNKNOWN_FOR", 0.2)
    backend = Mixed(JobStatus(state=JobState.UNKNOWN))

    assert ends(backend, copies=2) == 1
    assert backend.fetched == ["0"]
    assert [handle.job for handle in backend.purged] == ["0"]
    err = capsys.readouterr().err
    assert "nothing is known of 1 job for 0.2 s: gave up waiting" in err
    assert "copy 1: UNKNOWN" in err
    assert "1 job left on the resource" in err
    assert err.endswith(f"in Python:\n{HOW_TO_END}\n")


def test_what_is_known_now_and_then_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time counts from the last word of those that have not ended."""
    monkeypatch.setattr("intercede.cli.run.UNKNOWN_FOR", 0.2)
    monkeypatch.setattr("intercede.cli.run._FIRST_PAUSE", 0.11)
    monkeypatch.setattr("intercede.cli.run._LONGEST_PAUSE", 0.11)
    unknown = JobStatus(state=JobState.UNKNOWN)

    assert ends(Mixed(unknown, RUNNING, unknown, RUNNING, unknown, RUNNING, DONE), copies=2) == 0


def test_what_has_ended_is_not_told_how_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    """Jobs that are done and stay for want of output are named, and that is all."""
    backend = Mixed(DONE)
    backend.output = JobOutput(ok=False, reason="limit: more than 10 bytes")

    assert ends(backend) == 1
    err = capsys.readouterr().err
    assert "1 job left" in err
    assert HOW_TO_END not in err


def test_a_copy_that_was_not_started_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The others run to their end, and the code is 1."""
    backend = Core(DONE, failures={1: CopyFailure(reason="the queue is full")})

    assert ends(backend, copies=3) == 1
    assert "copy 1 was not started: the queue is full" in capsys.readouterr().err


def test_without_output_nothing_is_purged(capsys: pytest.CaptureFixture[str]) -> None:
    """A backend that cannot bring output back is said to, and its jobs stay, with their handles."""
    assert ends(Core(DONE)) == 0
    err = capsys.readouterr().err
    assert "no output" in err
    assert '"job":"0"' in err


def test_output_that_did_not_come_is_not_purged(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the output is not safely here, the job stays, the code is 1, and the handle is named."""
    backend = Full(DONE)
    backend.output = JobOutput(ok=False, reason="limit: more than 10 bytes")

    assert ends(backend) == 1
    assert backend.purged == []
    err = capsys.readouterr().err
    assert "limit: more than 10 bytes" in err
    assert '"job":"0"' in err


class Breaks(Full):
    """Cannot tell a first time."""

    def __init__(self, error: Exception) -> None:
        super().__init__(DONE)
        self.errors = [error]

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Raise, then tell."""
        if self.errors:
            raise self.errors.pop()
        return await super().status(handles)


def test_an_error_on_the_way_names_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    """An error after submitting passes, and the jobs that go on are named."""
    with pytest.raises(SchedulerError):
        ends(Breaks(SchedulerError("it answers in riddles")))
    assert json.loads(capsys.readouterr().err.splitlines()[-1].partition("copy 0: ")[2])["job"] == "0"


def test_an_error_that_may_pass_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    """What is worth trying again is tried again, and said."""
    assert ends(Breaks(TransportError("the connection is lost"))) == 0
    assert "the connection is lost; asking again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "doubt"), [(SchedulerError("cut off"), True), (UnsupportedSpecError("no such queue"), False)]
)
def test_a_failed_submission_leaves_a_word_where_jobs_may_be(
    error: Exception, *, doubt: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tag is named unless the error says that nothing started."""

    class CannotSubmit(Full):
        async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
            raise error

    with pytest.raises(type(error)):
        ends(CannotSubmit(DONE))
    assert ("may have been started with the tag" in capsys.readouterr().err) is doubt


def test_interrupted_while_submitting_what_was_started_is_found_and_killed() -> None:
    """A submission that was cut off is looked for by its tag, and what is found is killed."""
    backend = SlowToSubmit()

    assert ends(backend) == 130
    assert [handle.job for handle in backend.killed] == ["found"]


def test_interrupted_while_submitting_without_find(capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be found is not passed over: the tag is named."""

    class CannotFind(SlowToSubmit):
        find = None  # type: ignore[assignment] # a capability that is None is not claimed

    backend = CannotFind()

    assert ends(backend) == 130
    assert f"may have been started with the tag {backend.tags[0]}" in capsys.readouterr().err


def test_interrupted_and_it_cannot_kill(capsys: pytest.CaptureFixture[str]) -> None:
    """A backend that cannot kill is said to, and the handles of what goes on are named."""

    class Interrupts(Core):
        async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
            interrupt()
            await asyncio.Event().wait()
            raise AssertionError

    assert ends(Interrupts(RUNNING)) == 130
    err = capsys.readouterr().err
    assert "cannot kill" in err
    assert '"job":"0"' in err


def test_a_kill_that_is_refused_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Whom the resource did not let us kill is named, with its reason."""

    class Denies(Full):
        async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
            if not self.killed:
                interrupt()
                await asyncio.Event().wait()
            return dict.fromkeys(handles, DONE)

        async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
            self.killed += handles
            return dict.fromkeys(handles, OpOutcome(ok=False, reason="denied", detail="not yours"))

    assert ends(Denies(RUNNING)) == 130
    assert "copy 0 was not killed: denied not yours" in capsys.readouterr().err


def test_a_command_that_cannot_be_a_payload_is_refused() -> None:
    """What the contract does not let through is an error about the command, before anything is opened."""
    with pytest.raises(InvalidSpecError, match="COMMAND"):
        specification([""], None)
