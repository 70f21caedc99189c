"""Tests of ``intercede run`` with backends that lack capabilities or fail."""

import asyncio
import json
import os
import signal
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from intercede.cli.run import build_spec, run
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
    """A backend that reports the given statuses one after the other, and repeats the last one."""

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
        """Start every copy that is not among the failures."""
        assert isinstance(copies, int)
        started = [index for index in range(copies) if index not in self.failures]
        handles = {index: JobHandle(resource="double", job=str(index)) for index in started}
        self.handles = list(handles.values())
        return Submission(handles=handles, failures=self.failures)

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Return the next status for every job."""
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return dict.fromkeys(handles, status)


class Full(Core):
    """A backend that also fetches output, kills and purges, and records what it did."""

    output = JobOutput(ok=True)

    def __init__(self, *statuses: JobStatus) -> None:
        super().__init__(*statuses)
        self.killed: list[JobHandle] = []
        self.purged: list[JobHandle] = []

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Mapping[JobHandle, JobOutput]:
        """Return the same output for each job."""
        return dict.fromkeys(handles, self.output)

    async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Kill every job."""
        self.killed += handles
        self.statuses = [JobStatus(state=JobState.KILLED, signal=15, reason="killed_by_user")]
        return dict.fromkeys(handles, OpOutcome(ok=True))

    async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Purge every job."""
        self.purged += handles
        return dict.fromkeys(handles, OpOutcome(ok=True))


class SlowToSubmit(Full):
    """A backend that is interrupted while it submits: one job has started, which only its tag finds."""

    def __init__(self) -> None:
        super().__init__(RUNNING)
        self.tags: list[str | None] = []

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Start one job, and never answer."""
        self.tags.append(spec.tag)
        interrupt()
        await asyncio.Event().wait()
        raise AssertionError

    async def find(self, tag: str) -> Sequence[JobHandle]:
        """Return the one job."""
        return [JobHandle(resource="double", job="found")] if tag in self.tags else []


def interrupt() -> None:
    """Send this process the signal of Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


def run_with(backend: Core, copies: int = 1) -> int:
    """Run a command with a backend and return the exit code."""
    running = run(backend, build_spec(["true"], None), copies, None, HOW_TO_END)
    return asyncio.run(running)  # like the command itself, so that Ctrl-C cancels it


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
def test_the_ending_is_reported(status: JobStatus, code: int, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A job without exit code gives 1, a signal gives 128 + n, and stderr has the contract's reason."""
    assert run_with(Full(RUNNING, status)) == code
    assert word in capsys.readouterr().err


def test_a_temporary_unknown_is_waited_for() -> None:
    """UNKNOWN without a permanent reason is not an end."""
    assert run_with(Full(JobStatus(state=JobState.UNKNOWN), DONE)) == 0


class Mixed(Full):
    """A backend whose first copy is done at once, while the second has the given statuses."""

    def __init__(self, *statuses: JobStatus) -> None:
        super().__init__(*statuses)
        self.fetched: list[str] = []

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Return DONE for the first job, and the next status for the others."""
        statuses = await super().status(handles)
        return {handle: DONE if handle.job == "0" else status for handle, status in statuses.items()}

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Mapping[JobHandle, JobOutput]:
        """Return the same output for each job."""
        self.fetched += [handle.job for handle in handles]
        return await super().fetch_output(handles, dest)

    async def find(self, tag: str) -> Sequence[JobHandle]:
        """Return every job."""
        return self.handles


def test_a_lasting_unknown_times_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """After the timeout the code is 1, the other jobs are fetched, and no job that may run is purged."""
    monkeypatch.setattr("intercede.cli.run.UNKNOWN_FOR", 0.2)
    backend = Mixed(JobStatus(state=JobState.UNKNOWN))

    assert run_with(backend, copies=2) == 1
    assert backend.fetched == ["0"]
    assert [handle.job for handle in backend.purged] == ["0"]
    err = capsys.readouterr().err
    assert "1 job UNKNOWN for 0.2 s: timed out" in err
    assert "copy 1: UNKNOWN" in err
    assert "1 job left on the resource" in err
    assert err.endswith(f"in Python:\n{HOW_TO_END}\n")


def test_an_occasional_unknown_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout counts from the last known state of the unfinished jobs."""
    monkeypatch.setattr("intercede.cli.run.UNKNOWN_FOR", 0.2)
    monkeypatch.setattr("intercede.cli.run._FIRST_PAUSE", 0.11)
    monkeypatch.setattr("intercede.cli.run._LONGEST_PAUSE", 0.11)
    unknown = JobStatus(state=JobState.UNKNOWN)

    assert run_with(Mixed(unknown, RUNNING, unknown, RUNNING, unknown, RUNNING, DONE), copies=2) == 0


def test_no_kill_command_for_finished_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    """Finished jobs that stay because of their output are named, without a line that kills them."""
    backend = Mixed(DONE)
    backend.output = JobOutput(ok=False, reason="limit: more than 10 bytes")

    assert run_with(backend) == 1
    err = capsys.readouterr().err
    assert "1 job left" in err
    assert HOW_TO_END not in err


def test_a_copy_that_was_not_started_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """If a copy cannot start, the others run to their end, and the code is 1."""
    backend = Core(DONE, failures={1: CopyFailure(reason="the queue is full")})

    assert run_with(backend, copies=3) == 1
    assert "copy 1 was not started: the queue is full" in capsys.readouterr().err


def test_without_output_nothing_is_purged(capsys: pytest.CaptureFixture[str]) -> None:
    """Without the capability to fetch output this is reported, and the jobs stay and are named."""
    assert run_with(Core(DONE)) == 0
    err = capsys.readouterr().err
    assert "cannot fetch output" in err
    assert '"job":"0"' in err


def test_a_job_without_fetched_output_is_not_purged(capsys: pytest.CaptureFixture[str]) -> None:
    """If the output cannot be fetched, the job stays, the code is 1, and the handle is named."""
    backend = Full(DONE)
    backend.output = JobOutput(ok=False, reason="limit: more than 10 bytes")

    assert run_with(backend) == 1
    assert backend.purged == []
    err = capsys.readouterr().err
    assert "limit: more than 10 bytes" in err
    assert '"job":"0"' in err


class FailsOnce(Full):
    """A backend whose first status fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__(DONE)
        self.errors = [error]

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Raise the first time, then return the status."""
        if self.errors:
            raise self.errors.pop()
        return await super().status(handles)


def test_an_error_names_the_jobs_that_are_left(capsys: pytest.CaptureFixture[str]) -> None:
    """An error after submitting is raised, and the jobs that still run are named."""
    with pytest.raises(SchedulerError):
        run_with(FailsOnce(SchedulerError("the answer is unusable")))
    assert json.loads(capsys.readouterr().err.splitlines()[-1].partition("copy 0: ")[2])["job"] == "0"


def test_a_retryable_error_is_retried(capsys: pytest.CaptureFixture[str]) -> None:
    """A retryable error is reported, and the status is asked again."""
    assert run_with(FailsOnce(TransportError("the connection is lost"))) == 0
    assert "the connection is lost; asking again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "doubt"), [(SchedulerError("cut off"), True), (UnsupportedSpecError("no such queue"), False)]
)
def test_a_failed_submission_names_the_tag(
    error: Exception, *, doubt: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failed submission names the tag, unless the error says that no job has started."""

    class CannotSubmit(Full):
        async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
            raise error

    with pytest.raises(type(error)):
        run_with(CannotSubmit(DONE))
    assert ("may have been started with the tag" in capsys.readouterr().err) is doubt


def test_an_interrupted_submission_is_found_and_killed() -> None:
    """The jobs of an interrupted submission are found by their tag and killed."""
    backend = SlowToSubmit()

    assert run_with(backend) == 130
    assert [handle.job for handle in backend.killed] == ["found"]


def test_an_interrupted_submission_without_find(capsys: pytest.CaptureFixture[str]) -> None:
    """If the backend cannot find jobs, an interrupted submission names the tag."""

    class CannotFind(SlowToSubmit):
        find = None  # type: ignore[assignment] # a capability that is None is not claimed

    backend = CannotFind()

    assert run_with(backend) == 130
    assert f"may have been started with the tag {backend.tags[0]}" in capsys.readouterr().err


def test_an_interrupt_without_kill(capsys: pytest.CaptureFixture[str]) -> None:
    """If the backend cannot kill, this is reported, and the jobs that still run are named."""

    class Interrupts(Core):
        async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
            interrupt()
            await asyncio.Event().wait()
            raise AssertionError

    assert run_with(Interrupts(RUNNING)) == 130
    err = capsys.readouterr().err
    assert "cannot kill" in err
    assert '"job":"0"' in err


def test_a_refused_kill_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """A job that the resource refuses to kill is named, with the reason."""

    class Denies(Full):
        async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
            if not self.killed:
                interrupt()
                await asyncio.Event().wait()
            return dict.fromkeys(handles, DONE)

        async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
            self.killed += handles
            return dict.fromkeys(handles, OpOutcome(ok=False, reason="denied", detail="not yours"))

    assert run_with(Denies(RUNNING)) == 130
    assert "copy 0 was not killed: denied not yours" in capsys.readouterr().err


def test_an_invalid_payload_is_refused() -> None:
    """A command that the contract rejects is an error before any backend is opened."""
    with pytest.raises(InvalidSpecError, match="COMMAND"):
        build_spec([""], None)
