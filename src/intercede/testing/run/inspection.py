"""The checks of one subject in one process. They run one at a time or concurrently, and each has a result."""

import asyncio
import os
import tempfile
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Self

from intercede.redaction import make_scrubber
from intercede.testing.isolation import timeouts
from intercede.testing.isolation.files import make_scratch_directory, remove_directory
from intercede.testing.isolation.snapshot import KitSnapshot
from intercede.testing.model.calls import Call
from intercede.testing.model.clause import Clause
from intercede.testing.model.verdict import Result, State, SubjectInfo, decide_without_check, list_dependencies
from intercede.testing.run.cleanup import (
    SECONDS,
    Leftovers,
    clean_up,
    clean_up_all,
    clean_up_on_loop,
    describe_leftovers,
    has_leftovers,
)
from intercede.testing.run.concurrent import ConcurrentChecks, JobBudget
from intercede.testing.run.context import Context, get_check
from intercede.testing.run.finding import Finding, classify, format_failure
from intercede.testing.run.waiting import IN_QUEUE, QueueActivity
from intercede.testing.subjects.entering import LoginThrottle, Semaphores
from intercede.testing.subjects.subject import Subject

__all__ = ["JOBS", "Inspection"]

JOBS = 128
"""The largest number of jobs that one subject has at once, unless the user sets another number."""
_KIT_BROKE = "the kit itself broke, please report it"


class Inspection:
    """The checks of one subject in one process.

    Args:
        subject: The subject.
        facts: The facts about the subject.
        planned: The clauses that the whole run checks, in this process or another. Before a clause is reported red, all
            planned clauses that it depends on are checked, since it is BLOCKED if one of them is red.
        scale: The factor for all time limits.
        write_rerun_command: Returns the command that runs a check again. The text about a red check shows the command.
        concurrent: Whether all planned checks start when the first result is asked for. Exclusive checks run first, one
            at a time, and all other checks run concurrently.
        jobs: The largest number of jobs that concurrent checks have at once.
        repeat: The number of times that each check runs.
        queue_advice: The options to try if a job did not leave the queue in time.
        judge_known: Applies the file of known failures to a result, and returns the new result.
    """

    def __init__(
        self,
        subject: Subject,
        facts: SubjectInfo,
        planned: Mapping[str, Clause] | None = None,
        *,
        scale: float = 1.0,
        write_rerun_command: Callable[[Clause], str] = lambda _: "",
        concurrent: bool = False,
        jobs: int = JOBS,
        repeat: int = 1,
        queue_advice: str = "",
        judge_known: Callable[[Clause, Result], Result] = lambda _, result: result,
    ) -> None:
        self.subject, self.facts, self.scale = subject, facts, scale
        self.scrub = make_scrubber(facts.config)
        """The function that removes the secrets of the subject's configuration from a text."""
        self._write_rerun_command = write_rerun_command
        self._jobs, self._repeat, self._queue_advice, self._judge_known = jobs, repeat, queue_advice, judge_known
        self._tampered_at, self._tampered = 0.0, list[str]()
        """The monotonic time at which replaced parts of the kit were last found, and the names of these parts."""
        self._planned: Mapping[str, Clause] = planned or {}
        self._waves = deque(_split_by_layer(self._planned.values()) if concurrent else [])
        """Groups of clauses whose checks have not been started. The checks of a group start when the group before has
        results."""
        self.results: dict[str, Result] = {}
        self._exclusive_results: dict[str, Result] = {}
        self._concurrent_checks: list[ConcurrentChecks[Result]] = []
        self._lock = threading.RLock()
        # The number of child processes at once is limited, because each child process starts an interpreter.
        self._children = Semaphores(os.cpu_count() or 2)
        self._contexts: dict[Context, str] = {}
        """The contexts of checks that have started and may have left jobs, with the ids of their clauses."""
        self._traffic, self._throttle = QueueActivity(), LoginThrottle()
        self._interrupted = False
        self._left: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close the inspection. If the user interrupted it, add notes about jobs that are left to the exception."""
        try:
            self.close()
        except KeyboardInterrupt as interruption:
            error = interruption
            raise
        finally:
            if isinstance(error, KeyboardInterrupt):
                for each in self.left:
                    error.add_note(f"left behind: {each}")

    def run(self, clause: Clause) -> Result:
        """Run the check of a clause if its result is not known yet, and return the result.

        If the checks are concurrent, the first call starts all of them. A later call for the same clause, from any
        thread, returns the same result: no check runs again until it is green.

        Raises:
            KeyboardInterrupt: The user interrupted. The checks that were started end when the inspection is closed.
        """
        try:
            with self._lock:
                return self.results.get(clause.id) or self._run_new(clause)
        except KeyboardInterrupt:
            self._interrupted = True
            raise
        except Exception:
            self.results[clause.id] = Result(clause.id, State.ERROR, message=_KIT_BROKE)
            raise

    def _run_new(self, clause: Clause) -> Result:
        self._start_waves()
        result = (
            self._exclusive_results.pop(clause.id, None)
            or self._decide_without_check(clause)
            or self._check_repeatedly(clause)
        )
        result = self._judge_known(clause, result)
        if result.state.is_blocking and self.facts.refusal is None:
            dependencies = map(self._get_result, list_dependencies(clause, self._planned))
            result = decide_without_check(clause, self.facts, dependencies) or result
        self.results[clause.id] = result
        return result

    def finish(self) -> None:
        """Wait for the results of all concurrent checks that were started."""
        for each in self._concurrent_checks:
            with _ignore_warning_filters():
                each.finish()

    @property
    def left(self) -> Sequence[str]:
        """A text for each check that has left jobs. There is no text before the inspection is closed."""
        return self._left

    @property
    def open_checks(self) -> int:
        """The number of checks whose jobs may be left."""
        return sum(has_leftovers(each) for each in self._contexts)

    def close(self, *, patient: bool = True) -> bool:
        """End the started checks and their jobs, within a time limit, and list jobs that are left in ``self.left``.

        If the user interrupts, the checks and jobs are still ended. A second interruption stops this work.

        Args:
            patient: Whether to end the checks and jobs. If not, the jobs are only listed.

        Returns:
            True, or False if ``patient`` is False or a second interruption stopped the work.

        Raises:
            KeyboardInterrupt: The user interrupted, for the first time in this inspection.
        """
        before = self._interrupted
        patient = patient and self._end_everything()
        left = [
            f"{of}: jobs may be left: {describe_leftovers(each)}"
            for each, of in self._contexts.items()
            if has_leftovers(each)
        ]
        self._left = [self.scrub(each) for each in left]
        if "_directory" in vars(self):
            remove_directory(self._directory)
            self._left += [f"the directory {self._directory} could not be removed"] if self._directory.exists() else []
        if self._interrupted and not before:
            raise KeyboardInterrupt
        return patient

    def _end_everything(self) -> bool:
        """End all checks and jobs. Return True, or False if a second interruption stopped this work."""
        while True:
            try:
                for each in self._concurrent_checks:
                    each.close()
                unfinished = [each for each in self._contexts if has_leftovers(each)]
                if unfinished:
                    with make_scratch_directory(self._directory) as directory:
                        clean_up_all(unfinished, directory, self.scale)
            except KeyboardInterrupt:
                if self._interrupted:
                    for each in self._concurrent_checks:
                        each.abandon()
                    return False
                self._interrupted = True
            else:
                return True

    # Results without a check

    def _get_result(self, clause_id: str) -> Result:
        if clause_id not in self.results and clause_id in self._planned:
            self.run(self._planned[clause_id])
        return self.results.get(clause_id, Result(clause_id))

    def _decide_without_check(self, clause: Clause) -> Result | None:
        known = (self.results.get(each, Result(each)) for each in list_dependencies(clause, self._planned))
        decided = decide_without_check(clause, self.facts, known)
        return self._explain_refusal(clause, decided) if decided and decided.state is State.FAILED else decided

    def _explain_refusal(self, clause: Clause, decided: Result) -> Result:
        """Return the red result of the clause about the gate, for a subject that was refused.

        The result contains everything that an author needs to understand the refusal.
        """
        again = "`intercede plugins --check` shows it again" if self.facts.origins else "no check can run before that"
        hint = f"The observation says why the subject was refused; {again}."
        expected = f"a {self.facts.role} that the registry loads and its gate lets in"
        return self._make_red(replace(clause, hint=hint), Finding(decided.state, expected, decided.observed))

    # Concurrent checks

    def _start_waves(self) -> None:
        """Start all checks that have not been started, one group of clauses after the other.

        Every clause of a transport has a result before a check of a backend starts, because no job must run over a
        transport that garbles commands.
        """
        below: Sequence[Clause] = ()
        while self._waves:
            clauses = self._waves.popleft()
            for each in below:
                self._get_result(each.id)
            self._start_wave(clauses)
            below = clauses

    def _start_wave(self, clauses: Sequence[Clause]) -> None:
        applicable = [each for each in clauses if not self._decide_without_check(each)]
        self._exclusive_results |= {each.id: self._check_repeatedly(each) for each in applicable if each.exclusive}
        budget = JobBudget(self._jobs)
        checks = {each.id: partial(self._check_on_loop, each, budget) for each in applicable if not each.exclusive}
        longest = max((each.seconds for each in applicable), default=0.0) + SECONDS
        patience = self._repeat * (longest * self.scale + 10 * timeouts.GRACE)
        stall, cleaning = timeouts.STALL * self.scale, SECONDS * self.scale
        self._concurrent_checks.append(ConcurrentChecks(checks, stall=stall, patience=patience, cleaning=cleaning))

    def _get_concurrent_result(self, clause: Clause) -> Result | None:
        for each in self._concurrent_checks:
            if clause.id in each:
                with _ignore_warning_filters():
                    return each.get_result(clause.id)
        return None

    async def _check_on_loop(self, clause: Clause, budget: JobBudget) -> Result:
        """Run a check on the running event loop, concurrently with other checks, and return the result."""
        await budget.acquire(clause.jobs)
        try:
            return self._sum_up(clause, [await self._check_once_on_loop(clause) for _ in range(self._repeat)])
        finally:
            budget.release(clause.jobs)

    async def _check_once_on_loop(self, clause: Clause) -> Result:
        with self._prepare_context(clause, self._children) as (context, evidence_directory):
            began = time.monotonic()
            seconds = clause.seconds * context.scale
            check = timeouts.limit_time(seconds, get_check(clause)(context), lambda: context.queue_seconds)
            finding = classify(clause, (await timeouts.capture_outcome(check)).raised)
            seconds = time.monotonic() - began
            cut_short = _is_cancelled()
            cleaning = clean_up_on_loop(context, evidence_directory, evidence=finding is not None and not cut_short)
            leftovers = await timeouts.finish_despite_cancel(cleaning)
            if cut_short:
                raise asyncio.CancelledError
            return self._make_result(clause, finding, seconds, context, leftovers)

    # Checks one at a time

    def _check_repeatedly(self, clause: Clause) -> Result:
        concurrent = self._get_concurrent_result(clause)
        return concurrent or self._sum_up(clause, [self._check_once(clause) for _ in range(self._repeat)])

    def _sum_up(self, clause: Clause, results: Sequence[Result]) -> Result:
        """Return one result for a check that ran several times. The result is red if at least one run was red.

        Of several red runs, an error of the kit is preferred to a failure, and a failure to a known failure.
        """
        reds = [each for each in results if each.state.is_red]
        seconds = sum(each.seconds for each in results)
        worst = max(reds, key=lambda each: self._rank_red(clause, each)) if reds else results[0]
        worst = replace(worst, seconds=seconds, runs=len(results), reds=len(reds))
        if len(results) == 1 or not reds:
            return worst
        often = f"red {len(reds)} of {len(results)} times"
        return replace(worst, message=f"{often}: {worst.message}", detail=f"{often}\n{worst.detail}")

    def _rank_red(self, clause: Clause, red: Result) -> int:
        return 2 if red.state is State.ERROR else int(self._judge_known(clause, red).state.is_red)

    def _check_once(self, clause: Clause) -> Result:
        with self._prepare_context(clause) as (context, evidence_directory), _ignore_warning_filters():
            finding, seconds = _time_check(clause, context)
            leftovers = clean_up(context, evidence_directory, evidence=finding is not None)
            return self._make_result(clause, finding, seconds, context, leftovers)

    @contextmanager
    def _prepare_context(self, clause: Clause, children: Semaphores | None = None) -> Generator[tuple[Context, Path]]:
        """Yield the context of a check, and the path of a directory for outputs that are fetched after the check."""
        # The snapshot of the kit and the directory are made before any code of the subject runs.
        _ = self._snapshot, self._directory
        with make_scratch_directory(self._directory) as directory:
            tmp, evidence_directory = directory / "check", directory / "aside"
            tmp.mkdir()
            claimed = self.facts.capabilities
            context = Context(
                self.subject,
                tmp,
                capabilities=claimed,
                scale=self.scale,
                children=children,
                traffic=self._traffic if children else None,
                throttle=self._throttle if children else None,
            )
            self._contexts[context] = clause.id
            yield context, evidence_directory

    def _make_result(
        self, clause: Clause, finding: Finding | None, seconds: float, context: Context, leftovers: Leftovers
    ) -> Result:
        """Return the result of a check, without the secrets of its subject."""
        scrub = self.scrub
        calls = tuple(
            replace(each, arguments=scrub(each.arguments), outcome=scrub(each.outcome)) for each in context.journal
        )
        leftovers = Leftovers(scrub(leftovers.outputs), scrub(leftovers.left))
        if "find" not in context.capabilities:
            context.tags.clear()  # a backend without ``find`` cannot find jobs by tag, so the tags are dropped
        if not has_leftovers(context):
            del self._contexts[context]
        finding = self._find_tampering(context.began) or finding
        if finding is None:
            return Result(clause.id, State.PASSED, seconds, detail=leftovers.left, calls=calls)
        return self._make_red(clause, finding, seconds, calls, leftovers)

    def _find_tampering(self, began: float) -> Finding | None:
        """Restore the kit. If the subject has replaced parts of the kit since a check began, return a finding."""
        if replaced := self._snapshot.restore():
            self._tampered_at, self._tampered = time.monotonic(), replaced
        if began > self._tampered_at:
            return None
        observed = f"the subject replaced {', '.join(self._tampered)}: nothing that was seen meanwhile can be believed"
        return Finding(State.ERROR, "the kit to stay as it is", observed)

    @cached_property
    def _directory(self) -> Path:
        """The directory that contains the directory of each check.

        It is removed at the end of the inspection only, because a check that timed out may still use its directory.
        """
        return Path(tempfile.mkdtemp(prefix="intercede-"))

    @cached_property
    def _snapshot(self) -> KitSnapshot:
        return KitSnapshot(self._planned)

    def _make_red(
        self,
        clause: Clause,
        finding: Finding,
        seconds: float = 0.0,
        calls: tuple[Call, ...] = (),
        leftovers: Leftovers | None = None,
    ) -> Result:
        shown = replace(finding, expected=self.scrub(finding.expected), observed=self.scrub(finding.observed))
        left = leftovers or Leftovers()
        return Result(
            clause.id,
            finding.state,
            seconds,
            shown.message,
            # The report leaves out the calls of a scheduler's check, because they only start child processes.
            format_failure(
                clause,
                shown,
                calls=() if clause.role == "scheduler" else calls,
                outputs=left.outputs,
                left=left.left,
                advice=self._queue_advice if IN_QUEUE in shown.observed else "",
            ),
            rerun_command=self._write_rerun_command(clause),
            expected=shown.expected,
            observed=shown.observed,
            calls=calls,
        )


def _split_by_layer(clauses: Iterable[Clause]) -> list[list[Clause]]:
    """Return the clauses in groups: first the clauses of transports and schedulers, then the clauses of backends."""
    ordered = sorted(clauses, key=lambda each: each.role == "backend")
    return [list(some) for _, some in groupby(ordered, key=lambda each: each.role == "backend")]


def _is_cancelled() -> bool:
    """Return whether the running task has been cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _time_check(clause: Clause, context: Context) -> tuple[Finding | None, float]:
    began = time.monotonic()
    # A stall of less than a second is allowed, because any event loop may stall for nearly a second on a busy machine.
    stall = max(timeouts.STALL * context.scale, 1.0)
    ending = timeouts.run_in_thread(lambda: get_check(clause)(context), clause.seconds * context.scale, stall)
    return classify(clause, ending.raised), time.monotonic() - began


@contextmanager
def _ignore_warning_filters() -> Generator[None]:
    """Keep the warnings of a subject from becoming exceptions.

    If the user gives pytest the option ``-W error``, it is meant for the user's own tests.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        yield
