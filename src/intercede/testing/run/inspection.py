"""One run of checks on one subject, in one process: one by one or together, and what becomes of each."""

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
from intercede.testing.run.waiting import ADVICE, QueueActivity
from intercede.testing.subjects.entering import Door, Semaphores
from intercede.testing.subjects.subject import Subject

__all__ = ["JOBS", "Inspection"]

JOBS = 128
"""How many jobs of one subject are out at once, unless told otherwise."""
_KIT_BROKE = "the kit itself broke, please report it"


class Inspection:
    """The checks of one subject in one process.

    Args:
        subject: The subject.
        facts: The facts about it.
        planned: The clauses that the whole run checks, in this process or another. Before one is reported red, those of
            them that it depends on are checked, whatever the order: one of them may be red, and then it is BLOCKED.
        scale: Multiplies every bound in time.
        again: Returns the command that does a check once more, for the text of a red one.
        together: Whether checks that need no process for themselves share the waiting: the first that is asked for
            starts all that are planned. What needs the process for itself comes before.
        jobs: How many jobs checks that share the waiting have out at once.
        repeat: How often each check is done.
        queue_advice: The options to try if a job did not leave the queue in time.
        known: Tells what a result means where failures are known.
    """

    def __init__(
        self,
        subject: Subject,
        facts: SubjectInfo,
        planned: Mapping[str, Clause] | None = None,
        *,
        scale: float = 1.0,
        again: Callable[[Clause], str] = lambda _: "",
        together: bool = False,
        jobs: int = JOBS,
        repeat: int = 1,
        queue_advice: str = "",
        known: Callable[[Clause, Result], Result] = lambda _, result: result,
    ) -> None:
        self.subject, self.facts, self.scale, self._again = subject, facts, scale, again
        self.scrub = make_scrubber(facts.config)
        """Takes the secrets of the subject's configuration out of a text."""
        self._jobs, self._repeat, self._queue_advice, self._judged = jobs, repeat, queue_advice, known
        self._broken_at, self._broken = 0.0, list[str]()
        """When the subject was last seen to have replaced something of the kit, and what."""
        self._planned: Mapping[str, Clause] = planned or {}
        self._waves = deque(_split_by_layer(self._planned.values()) if together else [])
        """The clauses that have not been started yet, of those that may run concurrently."""
        self.results: dict[str, Result] = {}
        self._ahead: dict[str, Result] = {}
        self._together: list[ConcurrentChecks[Result]] = []
        self._turn = threading.RLock()
        self._children = Semaphores(os.cpu_count() or 2)  # each is an interpreter that starts
        self._begun: dict[Context, str] = {}
        """What checks were given, with the clause's id, as long as anything of it may be left."""
        self._traffic, self._door = QueueActivity(), Door()
        self._interrupted = False
        self._left: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close it, and add to an interruption what is left all the same."""
        self.close()
        if isinstance(error, KeyboardInterrupt):
            for each in self.left:
                error.add_note(f"left behind: {each}")

    def run(self, clause: Clause) -> Result:
        """Check one clause, unless it is known already what must come of it, or what came of it.

        A later call, from any thread, returns the same result: no check is run until it is green.

        Raises:
            KeyboardInterrupt: The user's own. Closing ends what was started.
        """
        try:
            with self._turn:
                return self.results.get(clause.id) or self._run_new(clause)
        except KeyboardInterrupt:
            self._interrupted = True
            raise
        except Exception:
            self.results[clause.id] = Result(clause.id, State.ERROR, message=_KIT_BROKE)
            raise

    def _run_new(self, clause: Clause) -> Result:
        self._begin()
        result = (
            self._ahead.pop(clause.id, None) or self._decide_without_check(clause) or self._check_repeatedly(clause)
        )
        result = self._judged(clause, result)
        if result.state.is_blocking and self.facts.refusal is None:
            dependencies = map(self._get_result, list_dependencies(clause, self._planned))
            result = decide_without_check(clause, self.facts, dependencies) or result
        self.results[clause.id] = result
        return result

    def finish(self) -> None:
        """See to it that nothing of what was begun goes on."""
        for each in self._together:
            with _ordinary_warnings():
                each.finish()

    @property
    def left(self) -> Sequence[str]:
        """The jobs that are left once it is closed, a text for each check."""
        return self._left

    @property
    def open_checks(self) -> int:
        """The number of checks whose jobs may be left."""
        return sum(has_leftovers(each) for each in self._begun)

    def close(self, *, patient: bool = True) -> bool:
        """End what was begun and its jobs, in bounded time, and name what is left all the same.

        An interruption has to wait until that is done; a second one ends the waiting.

        Args:
            patient: Whether anything is waited for.

        Returns:
            Whether nothing ended the waiting.

        Raises:
            KeyboardInterrupt: The user's own, where the run was not interrupted before.
        """
        before = self._interrupted
        patient = patient and self._end_everything()
        left = [
            f"{of}: jobs may be left: {describe_leftovers(each)}"
            for each, of in self._begun.items()
            if has_leftovers(each)
        ]
        self._left = [self.scrub(each) for each in left]
        if "_where" in vars(self):
            remove_directory(self._where)
            self._left += [f"the directory {self._where} could not be removed"] if self._where.exists() else []
        if self._interrupted and not before:
            raise KeyboardInterrupt
        return patient

    def _end_everything(self) -> bool:
        """End everything, also what was cut short before, and tell whether nobody gave up."""
        while True:
            try:
                for each in self._together:
                    each.close()
                owing = [each for each in self._begun if has_leftovers(each)]
                if owing:
                    with make_scratch_directory(self._where) as directory:
                        clean_up_all(owing, directory, self.scale)
            except KeyboardInterrupt:
                if self._interrupted:
                    for each in self._together:
                        each.abandon()
                    return False
                self._interrupted = True
            else:
                return True

    # What must come of a clause

    def _get_result(self, clause_id: str) -> Result:
        if clause_id not in self.results and clause_id in self._planned:
            self.run(self._planned[clause_id])
        return self.results.get(clause_id, Result(clause_id))

    def _decide_without_check(self, clause: Clause) -> Result | None:
        known = (self.results.get(each, Result(each)) for each in list_dependencies(clause, self._planned))
        decided = decide_without_check(clause, self.facts, known)
        return self._explain_refusal(clause, decided) if decided and decided.state is State.FAILED else decided

    def _explain_refusal(self, clause: Clause, decided: Result) -> Result:
        """Return the red result of the gate's clause with everything that an author needs to see it."""
        again = "`intercede plugins --check` shows it again" if self.facts.origins else "no check can run before that"
        hint = f"The sentence above: it says what kept the subject out; {again}."
        expected = f"a {self.facts.role} that the registry loads and its gate lets in"
        return self._make_red(replace(clause, hint=hint), Finding(decided.state, expected, decided.observed))

    # Checks that share the waiting

    def _begin(self) -> None:
        """Start all checks that may run concurrently, those of what lies below a backend first.

        A transport is settled before: over one that garbles what it is told, nothing of a backend's must run.
        """
        below: Sequence[Clause] = ()
        while self._waves:
            clauses = self._waves.popleft()
            for each in below:
                self._get_result(each.id)
            self._prepare(clauses)
            below = clauses

    def _prepare(self, clauses: Sequence[Clause]) -> None:
        applicable = [each for each in clauses if not self._decide_without_check(each)]
        self._ahead |= {each.id: self._check_repeatedly(each) for each in applicable if each.exclusive}
        slots = JobBudget(self._jobs)
        checks = {each.id: partial(self._check_on_loop, each, slots) for each in applicable if not each.exclusive}
        longest = max((each.seconds for each in applicable), default=0.0) + SECONDS
        patience = self._repeat * (longest * self.scale + 10 * timeouts.GRACE)
        stall, cleaning = timeouts.STALL * self.scale, SECONDS * self.scale
        self._together.append(ConcurrentChecks(checks, stall=stall, patience=patience, cleaning=cleaning))

    def _get_concurrent_result(self, clause: Clause) -> Result | None:
        for each in self._together:
            if clause.id in each:
                with _ordinary_warnings():
                    return each.result(clause.id)
        return None

    async def _check_on_loop(self, clause: Clause, slots: JobBudget) -> Result:
        """Check on the running loop, beside others."""
        await slots.acquire(clause.jobs)
        try:
            return self._sum_up(clause, [await self._check_once_on_loop(clause) for _ in range(self._repeat)])
        finally:
            slots.release(clause.jobs)

    async def _check_once_on_loop(self, clause: Clause) -> Result:
        with self._prepare_context(clause, self._children) as (context, aside):
            began = time.monotonic()
            seconds = clause.seconds * context.scale
            check = timeouts.limit_time(seconds, get_check(clause)(context), lambda: context.queue_seconds)
            finding = classify(clause, (await timeouts.capture_outcome(check)).raised)
            seconds = time.monotonic() - began
            cut_short = _is_cancelled()
            cleaning = clean_up_on_loop(context, aside, evidence=finding is not None and not cut_short)
            remains = await timeouts.finish_despite_cancel(cleaning)
            if cut_short:
                raise asyncio.CancelledError
            return self._make_result(clause, finding, seconds, context, remains)

    # Checks one at a time

    def _check_repeatedly(self, clause: Clause) -> Result:
        shared = self._get_concurrent_result(clause)
        return shared or self._sum_up(clause, [self._check_once(clause) for _ in range(self._repeat)])

    def _sum_up(self, clause: Clause, results: Sequence[Result]) -> Result:
        """Tell of a check that was done several times: red if it ever was, with the red one that is excused the least.

        A known failure hides no other one, nor a fault of the kit, whichever of them came first.
        """
        reds = [each for each in results if each.state.is_red]
        seconds = sum(each.seconds for each in results)
        told = max(reds, key=lambda each: self._gravity(clause, each)) if reds else results[0]
        told = replace(told, seconds=seconds, runs=len(results), reds=len(reds))
        if len(results) == 1 or not reds:
            return told
        often = f"red {len(reds)} of {len(results)} times"
        return replace(told, message=f"{often}: {told.message}", detail=f"{often}\n{told.detail}")

    def _gravity(self, clause: Clause, red: Result) -> int:
        return 2 if red.state is State.ERROR else int(self._judged(clause, red).state.is_red)

    def _check_once(self, clause: Clause) -> Result:
        with self._prepare_context(clause) as (context, aside), _ordinary_warnings():
            finding, seconds = _time_check(clause, context)
            remains = clean_up(context, aside, evidence=finding is not None)
            return self._make_result(clause, finding, seconds, context, remains)

    @contextmanager
    def _prepare_context(self, clause: Clause, children: Semaphores | None = None) -> Generator[tuple[Context, Path]]:
        """Make what a check is given, and an empty directory for what comes after it."""
        _ = self._snapshot, self._where  # made before the subject is
        with make_scratch_directory(self._where) as directory:
            tmp, aside = directory / "check", directory / "aside"
            tmp.mkdir()
            claimed = self.facts.capabilities
            context = Context(
                self.subject,
                tmp,
                capabilities=claimed,
                scale=self.scale,
                children=children,
                traffic=self._traffic if children else None,
                door=self._door if children else None,
            )
            self._begun[context] = clause.id
            yield context, aside

    def _make_result(
        self, clause: Clause, finding: Finding | None, seconds: float, context: Context, remains: Leftovers
    ) -> Result:
        """Tell what became of a check, without the secrets of its subject."""
        scrub = self.scrub
        calls = tuple(
            replace(each, arguments=scrub(each.arguments), outcome=scrub(each.outcome)) for each in context.journal
        )
        remains = Leftovers(scrub(remains.outputs), scrub(remains.left))
        if "find" not in context.capabilities:
            context.tags.clear()  # nothing can be found by them
        if not has_leftovers(context):
            del self._begun[context]
        finding = self._unbelievable(context.began) or finding
        if finding is None:
            return Result(clause.id, State.PASSED, seconds, detail=remains.left, calls=calls)
        return self._make_red(clause, finding, seconds, calls, remains)

    def _unbelievable(self, began: float) -> Finding | None:
        """Tell that the subject replaced something of the kit while a check ran, here or in one beside it."""
        if replaced := self._snapshot.restore():
            self._broken_at, self._broken = time.monotonic(), replaced
        if began > self._broken_at:
            return None
        observed = f"the subject replaced {', '.join(self._broken)}: nothing that was seen meanwhile can be believed"
        return Finding(State.ERROR, "what inspects to stay as it is", observed)

    @cached_property
    def _where(self) -> Path:
        """Where the directories of all checks lie, also of those that were given up and still hold theirs."""
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
        remains: Leftovers | None = None,
    ) -> Result:
        shown = replace(finding, expected=self.scrub(finding.expected), observed=self.scrub(finding.observed))
        found = remains or Leftovers()
        return Result(
            clause.id,
            finding.state,
            seconds,
            shown.message,
            # A scheduler is asked in child processes, whose calls are no more than the finding says.
            format_failure(
                clause,
                shown,
                calls=() if clause.role == "scheduler" else calls,
                outputs=found.outputs,
                left=found.left,
                advice=self._queue_advice if ADVICE in shown.observed else "",
            ),
            rerun_command=self._again(clause),
            expected=shown.expected,
            observed=shown.observed,
            calls=calls,
        )


def _split_by_layer(clauses: Iterable[Clause]) -> list[list[Clause]]:
    """Return the clauses of what lies below a backend, and then those of a backend."""
    ordered = sorted(clauses, key=lambda each: each.role == "backend")
    return [list(some) for _, some in groupby(ordered, key=lambda each: each.role == "backend")]


def _is_cancelled() -> bool:
    """Whether the running task is asked to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _time_check(clause: Clause, context: Context) -> tuple[Finding | None, float]:
    began = time.monotonic()
    stall = max(timeouts.STALL * context.scale, 1.0)  # below a second, a busy machine stalls by itself
    ending = timeouts.run_in_thread(lambda: get_check(clause)(context), clause.seconds * context.scale, stall)
    return classify(clause, ending.raised), time.monotonic() - began


@contextmanager
def _ordinary_warnings() -> Generator[None]:
    """Let nothing that a subject warns of become an exception: `-W error` is about the user's tests, not a contract."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        yield
