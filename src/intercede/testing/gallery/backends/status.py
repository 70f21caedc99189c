"""Backends with a mistake in status. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import asyncio
import math
import os
import signal
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

from intercede.contract import (
    CopyVars,
    JobHandle,
    JobState,
    JobStatus,
    ResourceError,
    Submission,
    SubmissionSpec,
)
from intercede.testing.gallery.fake import FakeBackend

Statuses = Mapping[JobHandle, JobStatus]


class _ChangesStatus(FakeBackend):
    """Reports statuses as the fake does. A subclass changes each status."""

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        return status

    async def status(self, handles: Collection[JobHandle]) -> Statuses:
        return {
            handle: self.change_status(handle, status) for handle, status in (await super().status(handles)).items()
        }


class AnswersForAllJobs(FakeBackend):
    """Answers status for all jobs, also for those that are not asked for."""

    caught_by = "IC-STATUS-01"
    message_contains = "observed also"

    async def status(self, handles: Collection[JobHandle]) -> Statuses:
        return await super().status([*handles, *self._list_handles()])


class KeysAreNativeIds(FakeBackend):
    """Returns a mapping from status whose keys are native ids, not handles."""

    caught_by = "IC-STATUS-01"
    also_red = ("IC-LIFE-07",)
    message_contains = "expected an answer of status for job"

    async def status(self, handles: Collection[JobHandle]) -> Mapping[str, JobStatus]:  # type: ignore[override]  # this is the intended mistake
        return {handle.job: status for handle, status in (await super().status(handles)).items()}


class AnswersForAllIfNoneGiven(FakeBackend):
    """Answers status for all jobs if it is given no handles."""

    caught_by = "IC-STATUS-02"
    message_contains = "expected an empty mapping for no handles"

    async def status(self, handles: Collection[JobHandle]) -> Statuses:
        return await super().status(handles or self._list_handles())


class RaisesForForeignHandles(FakeBackend):
    """Raises in status if one handle is of another resource, so that the other jobs get no answer."""

    caught_by = "IC-STATUS-03"
    message_contains = "status raised ValueError"

    async def status(self, handles: Collection[JobHandle]) -> Statuses:
        if not all(map(self._is_ours, handles)):
            raise ValueError("no such resource")
        return await super().status(handles)


class DropsUnknownHandles(FakeBackend):
    """Leaves unknown jobs out of the answer of status."""

    caught_by = "IC-STATUS-03"
    also_red = "IC-LIFE-09", "IC-PURGE-01"
    message_contains = "expected an answer of status for job"

    async def status(self, handles: Collection[JobHandle]) -> Statuses:
        answer = await super().status(handles)
        return {handle: status for handle, status in answer.items() if status.state is not JobState.UNKNOWN}


class AbsenceIsSuccess(_ChangesStatus):
    """Reports a job that the queue does not list as DONE."""

    caught_by = "IC-STATUS-03"
    also_red = ("IC-PURGE-01",)
    message_contains = "observed DONE"

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        return JobStatus(state=JobState.DONE) if status.state is JobState.UNKNOWN else status


class RefusesDuplicates(FakeBackend):
    """Matches handles and statuses one to one, so that a handle given twice fails."""

    caught_by = "IC-STATUS-04"
    message_contains = "expected a handle that is given twice to be answered once"

    async def status(self, handles: Collection[JobHandle]) -> Statuses:
        answer = await super().status(handles)
        return dict(zip(handles, answer.values(), strict=True))


class SuccessHasNoCode(_ChangesStatus):
    """Reports DONE without an exit code."""

    caught_by = "IC-STATUS-05"
    message_contains = "expected DONE with exit_code 0 for a payload that exits 0; observed DONE"

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        return JobStatus(state=JobState.DONE) if status.state is JobState.DONE else status


class LosesExitCodes(_ChangesStatus):
    """Reports FAILED without an exit code."""

    caught_by = "IC-STATUS-06"
    message_contains = "exit 1 is reported as FAILED (reason=exit_code)"

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        return status.model_copy(update={"exit_code": None}) if status.exit_code else status


class FailureIsSuccess(_ChangesStatus):
    """Reports every job that has ended as DONE."""

    caught_by = "IC-STATUS-06"
    message_contains = "exit 1 is reported as DONE"

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        return status.model_copy(update={"state": JobState.DONE}) if status.state.final else status


class AnyCodeIsSuccess(_ChangesStatus):
    """Reports every job that has an exit code as DONE."""

    caught_by = "IC-STATUS-06"
    message_contains = "exit 1 is reported as DONE (exit_code=1"

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        coded = status.exit_code is not None and status.exit_code >= 0
        return status.model_copy(update={"state": JobState.DONE}) if coded else status


class SpecialCodesAreRequeues(_ChangesStatus):
    """Reports exit codes 99 and 100 as DONE, because the queue gives them a meaning."""

    caught_by = "IC-STATUS-06"
    message_contains = "exit 99 is reported as DONE"

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        special = status.exit_code in {99, 100}
        return JobStatus(state=JobState.DONE, exit_code=0) if special else status


class SignalIsAKill(_ChangesStatus):
    """Reports a job that ended by a signal as KILLED, although kill was not called."""

    caught_by = "IC-STATUS-07"
    message_contains = "SIGKILL is reported as KILLED"

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        return JobStatus(state=JobState.KILLED, reason="killed_by_site") if status.reason == "signal" else status


class SignalIsSuccess(_ChangesStatus):
    """Reports a payload that ended by a signal as DONE, because its wrapper exits with 0."""

    caught_by = "IC-STATUS-07"
    message_contains = "SIGKILL is reported as DONE"

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        return JobStatus(state=JobState.DONE, exit_code=0) if status.reason == "signal" else status


class ReportsTheEndOnce(FakeBackend):
    """Reports the end of a job once, and then that the job is lost."""

    caught_by = "IC-STATUS-08"
    also_red = ("IC-LIFE-10", "IC-OUTPUT-15", "IC-LOAD-02", "IC-FIND-01")
    message_contains = "observed UNKNOWN (reason=lost)"

    def __init__(self) -> None:
        super().__init__()
        self.reported: set[JobHandle] = set()

    async def status(self, handles: Collection[JobHandle]) -> Statuses:
        if handles and self.reported.issuperset(handles):
            return dict.fromkeys(handles, JobStatus(state=JobState.UNKNOWN, reason="lost"))
        answer = await super().status(handles)
        if all(each.state.final for each in answer.values()):
            self.reported.update(answer)
        return answer


class EndsForAMoment(_ChangesStatus):
    """Reports a running job as DONE for a moment."""

    caught_by = "IC-STATUS-09"
    also_red = ("IC-DIAG-02",)
    message_contains = "RUNNING -> DONE"

    def __init__(self) -> None:
        super().__init__()
        self.running: dict[JobHandle, float] = {}

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        if status.state is not JobState.RUNNING:
            return status
        ran = time.monotonic() - self.running.setdefault(handle, time.monotonic())
        if ran < 0.2:
            return status
        self.running[handle] = math.inf  # only once for each job
        return JobStatus(state=JobState.DONE, exit_code=0)


class NeverReportsRunning(_ChangesStatus):
    """Reports a job as QUEUED until it has ended."""

    caught_by = "IC-STATUS-10"
    message_contains = "to be seen RUNNING; observed none was"
    scale = 0.03

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        return JobStatus(state=JobState.QUEUED) if status.state is JobState.RUNNING else status


class MatchesByPosition(FakeBackend):
    """Matches a sorted answer to the handles in the caller's order."""

    caught_by = "IC-STATUS-11"
    message_contains = "in this order; observed ["

    async def status(self, handles: Collection[JobHandle]) -> Statuses:
        ordered = sorted(set(handles), key=lambda handle: handle.job.rjust(30))
        answer = await super().status(ordered)
        return dict(zip(dict.fromkeys(handles), (answer[handle] for handle in ordered), strict=True))


class ReportsTheNextCopy(FakeBackend):
    """Reports the status of the next copy, as if indices began at 1."""

    caught_by = "IC-STATUS-11"
    message_contains = "expected copies 0, 1, 2 to have ended with"

    async def status(self, handles: Collection[JobHandle]) -> Statuses:
        answer = await super().status(handles)
        beside = {handle: self._next(handle) for handle in answer}
        others = await super().status(list(beside.values()))
        return {
            handle: status if others[beside[handle]].state is JobState.UNKNOWN else others[beside[handle]]
            for handle, status in answer.items()
        }

    def _next(self, handle: JobHandle) -> JobHandle:
        submission, _, index = handle.job.rpartition(".")
        return handle.model_copy(update={"job": f"{submission}.{int(index) + 1}"}) if index.isdigit() else handle


class PollingKills(FakeBackend):
    """Kills a job at its twentieth status call."""

    caught_by = "IC-STATUS-12"
    message_contains = "copy 0 was polled and ended KILLED"

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[JobHandle, int] = {}

    async def status(self, handles: Collection[JobHandle]) -> Statuses:
        self.asked |= {handle: self.asked.get(handle, 0) + 1 for handle in handles}
        await self.kill([handle for handle in handles if self.asked[handle] == 20])
        return await super().status(handles)


class WaitsForWhatCannotStart(_ChangesStatus):
    """Reports a job that could not be launched as QUEUED for ever."""

    caught_by = "IC-STATUS-13"
    message_contains = "is QUEUED"
    scale = 0.03

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        return JobStatus(state=JobState.QUEUED) if status.reason == "launch_failure" else status


class TimeoutsAreSignals(_ChangesStatus):
    """Reports a job that ended at its wall-time limit as ended by a signal."""

    caught_by = "IC-STATUS-14"
    message_contains = "expected FAILED (timeout)"

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        return status.model_copy(update={"reason": "signal"}) if status.reason == "timeout" else status


class _LimitsTheGroup(_ChangesStatus):
    """Ends a job at its wall-time limit by signals to its process group. A subclass decides the status."""

    also_red: tuple[str, ...] = ("IC-STATUS-19",)  # processes that left the group get no signal
    ending = signal.SIGTERM

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        resources = spec.resources.model_copy(update={"wall_time_s": None})
        answer = await super().submit(spec.model_copy(update={"resources": resources}), copies)
        for handle in answer.handles.values() if spec.resources.wall_time_s else ():
            (self._state / handle.job / "limit").write_text(
                str(time.time() + (spec.resources.wall_time_s or 0)), "utf-8"
            )
        return answer

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        limit = self._state / handle.job / "limit"
        if not self._is_ours(handle) or not limit.exists() or time.time() < float(limit.read_text("utf-8")):
            return status
        if status.state is JobState.RUNNING:
            (self._state / handle.job / "timeout").touch()
            with suppress(ProcessLookupError):
                os.killpg(int((self._state / handle.job / "group").read_text("utf-8")), self.ending)
        return self.decide_status(status) if (self._state / handle.job / "timeout").exists() else status

    def decide_status(self, status: JobStatus) -> JobStatus:
        raise NotImplementedError


_TIMED_OUT = JobStatus(state=JobState.FAILED, reason="timeout")


class HandledLimitsAreEnds(_LimitsTheGroup):
    """Ends a job at its limit by TERM, and reports a job that handles TERM by its exit code."""

    caught_by = "IC-STATUS-14"
    message_contains = "observed DONE (exit_code=0"

    def decide_status(self, status: JobStatus) -> JobStatus:
        return _TIMED_OUT if status.reason == "signal" else status


class HandledLimitsAreFailures(_LimitsTheGroup):
    """Does not report the timeout of a job that handles TERM and exits with another code than 0."""

    caught_by = "IC-STATUS-14"
    message_contains = "observed FAILED (exit_code=3"

    def decide_status(self, status: JobStatus) -> JobStatus:
        return _TIMED_OUT if status.state.final and not status.exit_code else status


class ReportsTimeoutsAtOnce(_LimitsTheGroup):
    """Reports a job as timed out as soon as TERM is sent, while the job still runs."""

    caught_by = "IC-STATUS-18"
    message_contains = "expected the process of a job that is reported as timed out to be gone"

    def decide_status(self, status: JobStatus) -> JobStatus:
        return status if status.state.final and status.reason != "signal" else _TIMED_OUT


class LimitsTheGroupOnly(_LimitsTheGroup):
    """Ends the process group of a job at its limit, but not children that left the group."""

    caught_by = "IC-STATUS-19"
    also_red = ()
    message_contains = "expected everything that a job started to be gone when it is reported as timed out"
    ending = signal.SIGKILL

    def decide_status(self, status: JobStatus) -> JobStatus:
        return _TIMED_OUT if status.state.final else status


class GoesBack(_ChangesStatus):
    """Reports a running job as QUEUED for a moment."""

    caught_by = "IC-STATUS-15"
    also_red = ("IC-LOAD-02",)
    message_contains = "RUNNING -> QUEUED"
    asked = 0

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        self.asked += status.state is JobState.RUNNING
        back = status.state is JobState.RUNNING and self.asked % 3 == 0
        return JobStatus(state=JobState.QUEUED) if back else status


class GoesBackAtTheSecondCall(FakeBackend):
    """Reports a running job as QUEUED at the second status call, after a slow first one."""

    caught_by = "IC-STATUS-15"
    also_red = ("IC-LOAD-02",)
    message_contains = "RUNNING -> QUEUED"

    def __init__(self) -> None:
        super().__init__()
        self.seen_running: dict[JobHandle, int] = {}

    async def status(self, handles: Collection[JobHandle]) -> Statuses:
        answer = dict(await super().status(handles))
        for handle in (each for each, status in answer.items() if status.state is JobState.RUNNING):
            looks = self.seen_running[handle] = self.seen_running.get(handle, 0) + 1
            if looks == 1:
                await asyncio.sleep(0.6)
            elif looks == 2:
                answer[handle] = JobStatus(state=JobState.QUEUED)
        return answer


class ForeignIsLost(_ChangesStatus):
    """Reports a job of another resource as lost, not as foreign."""

    caught_by = "IC-STATUS-16"
    message_contains = (
        "expected UNKNOWN (reason=foreign) for a handle of another resource; observed UNKNOWN (reason=lost)"
    )

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        lost = JobStatus(state=JobState.UNKNOWN, reason="lost")
        return lost if status.reason == "foreign" else status


class LosesThemOnceInTen(FakeBackend):
    """Reports jobs that have ended as lost in one answer of ten."""

    caught_by = "IC-STATUS-08"
    also_red = ("IC-FIND-05",)
    message_contains = "observed UNKNOWN (reason=lost)"
    asked = 0

    async def status(self, handles: Collection[JobHandle]) -> Statuses:
        answer = await super().status(handles)
        self.asked += any(each.state.final for each in answer.values())
        lost = JobStatus(state=JobState.UNKNOWN, reason="lost")
        return dict.fromkeys(handles, lost) if self.asked % 10 == 9 else answer


class IsRightTheSecondTime(_ChangesStatus):
    """Reports a job that has just ended without its exit code, and with it at the next call."""

    caught_by = "IC-STATUS-05"
    message_contains = "expected DONE with exit_code 0 for a payload that exits 0; observed DONE"

    def __init__(self) -> None:
        super().__init__()
        self.reported: set[JobHandle] = set()

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        if handle in self.reported or not status.state.final:
            return status
        self.reported.add(handle)
        return JobStatus(state=status.state)


class AnswersForYesterdaysJobs(_ChangesStatus):
    """Keeps statuses under a number that later submissions use again."""

    caught_by = "IC-STATUS-06"
    message_contains = "exit 2 is reported as FAILED (exit_code=1"

    def __init__(self) -> None:
        super().__init__()
        self.ended: dict[str, JobStatus] = {}

    def change_status(self, handle: JobHandle, status: JobStatus) -> JobStatus:
        known = status.state is not JobState.UNKNOWN
        return self.ended.setdefault(handle.job.split(".")[1], status) if known and status.state.final else status


class AsksThroughTheInstance(FakeBackend):
    """Keeps the handles of a status call in the object, where a concurrent call overwrites them."""

    caught_by = "IC-STATUS-11"
    message_contains = "in one of 50 calls at once"
    asked: Collection[JobHandle] = ()

    async def status(self, handles: Collection[JobHandle]) -> Statuses:
        self.asked = handles
        answer = await super().status([])
        await asyncio.sleep(0.001)
        answer = await super().status(self.asked)
        return dict(zip(handles, answer.values(), strict=False)) if len(handles) == 1 else await super().status(handles)


class RefusesManyCalls(FakeBackend):
    """Raises in status if more than 16 calls run at once."""

    caught_by = "IC-STATUS-11"
    message_contains = "status raised ResourceError('too many connections')"
    busy = 0

    async def status(self, handles: Collection[JobHandle]) -> Statuses:
        self.busy += 1
        try:
            if self.busy > 16:
                raise ResourceError("too many connections", retryable=True)
            return await super().status(handles)
        finally:
            self.busy -= 1


class DiesOfGroupSignals(FakeBackend):
    """Reports the signal that its wrapper got as the end of the payload."""

    caught_by = "IC-STATUS-17"
    message_contains = "observed FAILED (signal=15, reason=signal)"

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        if not spec.staged_executable:
            wrapped = ("-c", 'trap "exit 143" TERM; "$@"', "sh", str(spec.executable), *spec.arguments)
            spec = spec.model_copy(update={"executable": "sh", "arguments": wrapped})
        return await super().submit(spec, copies)
