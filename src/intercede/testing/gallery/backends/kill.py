"""Backends with a mistake in kill. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import math
import os
import signal
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from intercede.contract import (
    CopyVars,
    JobHandle,
    JobState,
    JobStatus,
    OpOutcome,
    ResourceError,
    Submission,
    SubmissionSpec,
)
from intercede.testing.gallery.fake import FakeBackend

Outcomes = Mapping[JobHandle, OpOutcome]


class KilledIsFailed(FakeBackend):
    """Reports a killed job as FAILED by a signal."""

    caught_by = "IC-KILL-01"
    message_contains = "expected the job to end KILLED; observed FAILED"

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        failed = JobStatus(state=JobState.FAILED, reason="signal", signal=9)
        answer = await super().status(handles)
        return {handle: failed if each.state is JobState.KILLED else each for handle, each in answer.items()}


class OnlySaysItKills(FakeBackend):
    """Answers that the kill is ok, but does not kill the job."""

    caught_by = "IC-KILL-01"
    message_contains = "is RUNNING"
    scale = 0.02

    async def kill(self, handles: Collection[JobHandle]) -> Outcomes:
        return dict.fromkeys(await self.status(handles), OpOutcome(ok=True))


class MissesEarlyKills(FakeBackend):
    """Does not kill a job before its first status call, but answers that the kill is ok."""

    caught_by = "IC-KILL-02"
    message_contains = "killed right after submit, to end KILLED; observed they ended ['FAILED"
    scale = 0.03

    def __init__(self) -> None:
        super().__init__()
        self.listed: set[JobHandle] = set()

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        self.listed.update(handles)
        return await super().status(handles)

    async def kill(self, handles: Collection[JobHandle]) -> Outcomes:
        found = [each for each in handles if each in self.listed]
        return {**dict.fromkeys(handles, OpOutcome(ok=True)), **await super().kill(found)}


class ComplainsOfFinishedJobs(FakeBackend):
    """Answers that a kill of a job that has ended is not ok."""

    caught_by = "IC-KILL-03"
    message_contains = "expected killing a finished job to be ok"

    async def kill(self, handles: Collection[JobHandle]) -> Outcomes:
        late = OpOutcome(ok=False, reason="other", detail="not running")
        ended = {handle for handle, each in (await self.status(handles)).items() if each.state.final}
        return {handle: late if handle in ended else each for handle, each in (await super().kill(handles)).items()}


class ReportsEndedJobsAsKilled(FakeBackend):
    """Reports a job as KILLED if it had ended before the kill."""

    caught_by = "IC-KILL-03"
    also_red = ("IC-LIFE-10",)
    message_contains = "expected the job to stay as it ended: FAILED"

    def __init__(self) -> None:
        super().__init__()
        self.tried: set[JobHandle] = set()

    async def kill(self, handles: Collection[JobHandle]) -> Outcomes:
        self.tried.update(handles)
        return await super().kill(handles)

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        killed = JobStatus(state=JobState.KILLED, reason="killed_by_user")
        answer = await super().status(handles)
        return {
            handle: killed if handle in self.tried and each.state.final else each for handle, each in answer.items()
        }


class AcceptsEveryKill(FakeBackend):
    """Answers that every kill is ok, even of unknown jobs."""

    caught_by = "IC-KILL-04"
    message_contains = "not to be ok"

    async def kill(self, handles: Collection[JobHandle]) -> Outcomes:
        return dict.fromkeys(await super().kill(handles), OpOutcome(ok=True))


class RaisesForUnknownKills(FakeBackend):
    """Raises in kill if one of the jobs is unknown, so that the other jobs get no answer."""

    caught_by = "IC-KILL-04"
    message_contains = "kill raised ResourceError"

    async def kill(self, handles: Collection[JobHandle]) -> Outcomes:
        if not all(map(self._is_ours, handles)):
            raise ResourceError("no such job")
        return await super().kill(handles)


class ComplainsOfASecondKill(FakeBackend):
    """Answers that a second kill of the same job is not ok."""

    caught_by = "IC-KILL-05"
    message_contains = "expected kill number 2 of the same job to be ok"

    def __init__(self) -> None:
        super().__init__()
        self.killed: set[JobHandle] = set()

    async def kill(self, handles: Collection[JobHandle]) -> Outcomes:
        again = OpOutcome(ok=False, reason="other", detail="already being killed")
        before = set(self.killed)
        self.killed.update(handles)
        return {handle: again if handle in before else each for handle, each in (await super().kill(handles)).items()}


class KillsTheWholeSubmission(FakeBackend):
    """Kills all copies of a submission if one copy is to be killed."""

    caught_by = "IC-KILL-06"
    message_contains = "which was not killed, to end by itself with 3; observed KILLED"

    async def kill(self, handles: Collection[JobHandle]) -> Outcomes:
        submissions = {handle.job.split(".")[0] for handle in handles}
        await super().kill([each for each in self._list_handles() if each.job.split(".")[0] in submissions])
        return await super().kill(handles)


class KillsFirstCopiesOnly(FakeBackend):
    """Kills only copy 0 of a submission, but answers that the kill of other copies is ok."""

    caught_by = "IC-KILL-06"
    also_red = ("IC-KILL-04",)
    message_contains = "to end KILLED; observed it ended ['FAILED"
    scale = 0.03

    async def kill(self, handles: Collection[JobHandle]) -> Outcomes:
        outcomes = await super().kill([each for each in handles if each.job.endswith(".0") or not self._is_ours(each)])
        return {**dict.fromkeys(handles, OpOutcome(ok=True)), **outcomes}


class KillsTheParentOnly(FakeBackend):
    """Kills the first process of a job, but not its children."""

    caught_by = "IC-KILL-07", "IC-KILL-12"
    message_contains = (
        "expected the child of a killed job to be gone",
        "expected the process of a job that is reported as KILLED to be gone",
    )

    def __init__(self) -> None:
        super().__init__()
        self.spared: list[int] = []

    async def kill(self, handles: Collection[JobHandle]) -> Outcomes:
        running = [each for each, status in (await self.status(handles)).items() if status.state is JobState.RUNNING]
        for handle in running:
            (self._state / handle.job / "killed").touch()
            self.spared.append(int((self._state / handle.job / "group").read_text("utf-8")))
            os.kill(self.spared[-1], signal.SIGKILL)
        others = await super().kill([each for each in handles if each not in running])
        return {**dict.fromkeys(running, OpOutcome(ok=True)), **others}

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        for group in self.spared:  # so that the gallery leaves no process behind
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        await super().__aexit__(exc_type, exc, traceback)


class KillsTheGroupOnly(FakeBackend):
    """Kills the process group of a job, but not children that left it for a group or session of their own."""

    caught_by = "IC-KILL-10"
    message_contains = "expected everything that a killed job started to be gone"

    async def kill(self, handles: Collection[JobHandle]) -> Outcomes:
        running = [each for each, status in (await self.status(handles)).items() if status.state is JobState.RUNNING]
        for handle in running:
            (self._state / handle.job / "killed").touch()
            os.killpg(int((self._state / handle.job / "group").read_text("utf-8")), signal.SIGKILL)
        others = await super().kill([each for each in handles if each not in running])
        return {**dict.fromkeys(running, OpOutcome(ok=True)), **others}


class KillsAllForNone(FakeBackend):
    """Kills all jobs that this object submitted if kill is given no handles."""

    caught_by = "IC-KILL-08"
    message_contains = "expected an empty mapping for no handles"

    def __init__(self) -> None:
        super().__init__()
        self.mine: set[JobHandle] = set()

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        answer = await super().submit(spec, copies)
        self.mine.update(answer.handles.values())
        return answer

    async def kill(self, handles: Collection[JobHandle]) -> Outcomes:
        return await super().kill(handles or self.mine)


class DropsUnknownKills(FakeBackend):
    """Leaves unknown jobs out of the answer of kill."""

    caught_by = "IC-KILL-04"
    message_contains = "expected an answer of kill for job"

    async def kill(self, handles: Collection[JobHandle]) -> Outcomes:
        return {handle: each for handle, each in (await super().kill(handles)).items() if each.ok}


class _AsksToEnd(FakeBackend):
    """Ends a job by TERM, repeated at each status call, and later by KILL. A subclass decides the state."""

    also_red: tuple[str, ...] = ("IC-KILL-10",)  # processes that left the group get no signal
    patience = 4.0
    """Seconds between TERM and KILL."""

    def decide_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        raise NotImplementedError

    async def kill(self, handles: Collection[JobHandle]) -> Outcomes:
        answer = await super().status(handles)
        running = [handle for handle, status in answer.items() if status.state is JobState.RUNNING]
        for handle in (each for each in running if not self._note(each).exists()):
            self._note(handle).touch()
        await self.status(running)
        others = await super().kill([handle for handle in handles if handle not in running])
        return {**dict.fromkeys(running, OpOutcome(ok=True)), **others}

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        answer = dict(await super().status(handles))
        for handle in (each for each in answer if self._is_ours(each) and self._note(each).exists()):
            if answer[handle].state is JobState.RUNNING:
                self._ask(handle)
            answer[handle] = self.decide_status(handle, answer[handle])
        return answer

    def _ask(self, handle: JobHandle) -> None:
        if time.time() - self._note(handle).stat().st_mtime > self.patience:
            self._get_job(handle).kill()
            return
        with suppress(ProcessLookupError):
            os.killpg(int((self._state / handle.job / "group").read_text("utf-8")), signal.SIGTERM)

    def _note(self, handle: JobHandle) -> Path:
        return self._state / handle.job / "killed"


_KILLED = JobStatus(state=JobState.KILLED, reason="killed_by_user")


class HandledKillsAreEnds(_AsksToEnd):
    """Kills by TERM, and reports a job that handles TERM by its exit code."""

    caught_by = "IC-KILL-09"
    message_contains = "observed DONE (exit_code=0"

    def decide_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        return _KILLED if status.reason == "signal" else status


class HandledKillsAreFailures(_AsksToEnd):
    """Kills by TERM, and reports a job that handles TERM and exits with another code than 0 as FAILED."""

    caught_by = "IC-KILL-09"
    message_contains = "observed FAILED (exit_code=3"

    def decide_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        return _KILLED if status.state.final and not status.exit_code else status


class MakesUpTheCodeOfAKill(_AsksToEnd):
    """Reports exit code 143 for each killed job, as a shell does after TERM."""

    caught_by = "IC-KILL-09"
    message_contains = "observed KILLED (exit_code=143"

    def decide_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        return _KILLED.model_copy(update={"exit_code": 143}) if status.state.final else status


class SlowKillsAreEnds(_AsksToEnd):
    """Kills by TERM, and reports a job that takes some time to end by its exit code."""

    caught_by = "IC-KILL-09"
    message_contains = "observed DONE (exit_code=0"

    def decide_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        end = self._state / handle.job / "exit"
        slow = end.exists() and end.stat().st_mtime - self._note(handle).stat().st_mtime > 0.7
        return _KILLED if status.state.final and not (slow and status.state is JobState.DONE) else status


class AsksToEndAndWaits(_AsksToEnd):
    """Kills by TERM only, so that a job that ignores TERM continues."""

    caught_by = "IC-KILL-11"
    message_contains = "is RUNNING"
    scale = 0.03
    patience = math.inf

    def decide_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        return _KILLED if status.state.final else status


class ReportsKilledAtOnce(_AsksToEnd):
    """Reports a job as KILLED as soon as kill is called, while it still runs."""

    caught_by = "IC-KILL-12"
    message_contains = "expected the process of a job that is reported as KILLED to be gone"
    patience = math.inf

    def decide_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        return _KILLED

    async def purge(self, handles: Collection[JobHandle]) -> Outcomes:
        for handle in (each for each in handles if self._is_ours(each) and self._note(each).exists()):
            self._get_job(handle).kill()  # so that the purge is not refused, which would be another mistake
        return await super().purge(handles)
