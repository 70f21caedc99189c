"""A run of the conformance suite in one process, from the plan to the verdicts and the files, for every front end."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from threading import Event
from types import TracebackType
from typing import Self

from intercede.redaction import make_scrubber
from intercede.testing import known, report
from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.options import Frontend, list_options, make_spell
from intercede.testing.frontends.plan import Plan, make_node_id
from intercede.testing.model.clause import Clause, Level
from intercede.testing.model.verdict import Report, Result, SubjectInfo, judge
from intercede.testing.run.inspection import Inspection
from intercede.testing.subjects.subject import Subject

__all__ = ["Selection", "Session"]


@dataclass(frozen=True)
class Selection:
    """The checks of a plan that should run, and the checks that could run."""

    is_partial: bool
    """Whether the user selected some of the checks, so that the verdict is PARTIAL at best."""
    wanted: Collection[str]
    """The node ids of the checks that should run."""
    runnable: Collection[str]
    """The node ids of the checks that could run, because pytest collected them."""


class Session:
    """A run of the conformance suite in one process.

    A front end makes a session from a plan, starts it, runs the checks, closes it, and asks for the reports.

    Args:
        plan: The plan of the run.
        clauses: Every clause of the contract.
        concurrent: Whether checks that do not need the process for themselves run at the same time.
        write_rerun_command: Returns the command that checks a clause of a subject again, or an empty text.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        clauses: Mapping[str, Clause] = CLAUSES,
        concurrent: bool = True,
        write_rerun_command: Callable[[Subject, Clause], str] = lambda _subject, _clause: "",
    ) -> None:
        self.plan = plan
        self._clauses, self._concurrent, self._write_rerun_command = clauses, concurrent, write_rerun_command
        self._started = datetime.now(UTC)
        self._scrubbers = [make_scrubber(each.config) for each in plan.facts]
        self._inspections: dict[str, Inspection] = {}
        self._results: dict[str, dict[str, Result]] = {each.id: {} for each in plan.facts}
        self._left: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close the session. If the user interrupted, add notes with the jobs that are left to the exception."""
        try:
            self.close()
        except KeyboardInterrupt as interruption:
            error = interruption
            raise
        finally:
            if isinstance(error, KeyboardInterrupt):
                for each in self._left:
                    error.add_note(f"left behind: {each}")

    # The checks

    def start(self, planned: Collection[str]) -> None:
        """Make an inspection of each subject. If the session has been started, do nothing.

        Args:
            planned: The node ids of the checks that will run, in this process or another.
        """
        if not self._inspections:
            self._inspections = {
                facts.id: Inspection(
                    subject,
                    facts,
                    {each.id: each for each in self._clauses.values() if make_node_id(each, facts.id) in planned},
                    scale=self.plan.scales[facts.id],
                    write_rerun_command=partial(self._write_rerun_command, subject),
                    concurrent=self._concurrent,
                    jobs=self.plan.jobs,
                    repeat=self.plan.repeat,
                    queue_advice=_write_queue_advice(self.plan.frontend),
                    judge_known=partial(self.plan.judge_known, facts.id),
                )
                for subject, facts in zip(self.plan.subjects, self.plan.facts, strict=True)
            }

    def run(self, subject_id: str, clause: Clause) -> Result:
        """Run the check of a clause on a subject, or return the result that is already there.

        Raises:
            KeyboardInterrupt: The user interrupted. The jobs end when the session is closed.
        """
        result = self._inspections[subject_id].run(clause)
        self.add_result(subject_id, result)
        return result

    def run_all(self, stop: Event | None = None) -> Iterator[tuple[SubjectInfo, Clause, Result]]:
        """Start the session, run every check of the plan, and yield each result as soon as it is known.

        Args:
            stop: An event that ends the run before the next check once it is set.

        Raises:
            KeyboardInterrupt: The user interrupted. The jobs end when the session is closed.
        """
        self.start(self.plan.wanted)
        stop = stop or Event()
        below_first = sorted(self._clauses.values(), key=lambda each: each.role == "backend")
        for facts in self.plan.facts:
            for clause in below_first:
                if make_node_id(clause, facts.id) in self.plan.wanted and not stop.is_set():
                    yield facts, clause, self.run(facts.id, clause)

    def find_result(self, subject_id: str, clause: Clause) -> Result | None:
        """Return the result of a check, or None if this process has not run the check."""
        inspection = self._inspections.get(subject_id)
        return None if inspection is None else inspection.results.get(clause.id)

    def add_result(self, subject_id: str, result: Result) -> None:
        """Add the result of a check that ran in this process or another.

        If a check has several results and one of them is red, the check is red.
        """
        results = self._results[subject_id]
        earlier = results.get(result.clause)
        if earlier is None or not earlier.state.is_red:
            results[result.clause] = result

    # The end

    def finish(self) -> None:
        """Finish all checks that were started. No check runs after this method returns."""
        for each in self._inspections.values():
            each.finish()

    def count_open_checks(self) -> int:
        """Return the number of checks that may still have jobs on the resource."""
        return sum(each.open_checks for each in self._inspections.values())

    def close(self) -> None:
        """End the checks and their jobs, within a time limit. Afterwards, ``left`` names the jobs that are left.

        Raises:
            KeyboardInterrupt: The user interrupted. The session is closed, but jobs may not have ended yet.
        """
        patient, interruption = True, None
        for subject_id, inspection in self._inspections.items():
            try:
                patient = inspection.close(patient=patient)
            except KeyboardInterrupt as error:
                interruption = error
            self._left += inspection.left
            for each in inspection.results.values():
                self.add_result(subject_id, each)
        if interruption is not None:
            raise interruption

    @property
    def results(self) -> Mapping[str, Mapping[str, Result]]:
        """The results so far: subject id -> clause id -> result."""
        return self._results

    @property
    def left(self) -> Sequence[str]:
        """A text for each check that may have left jobs. The sequence is empty until the session is closed."""
        return self._left

    def scrub(self, text: str) -> str:
        """Return the text without the secrets of any subject."""
        for each in self._scrubbers:
            text = each(text)
        return text

    # The verdicts and the files

    def judge(self, selection: Selection | None = None, lost_because_of: str = "") -> tuple[Report, ...]:
        """Return a report with the verdict on each subject.

        Args:
            selection: The checks that should run and that could run. By default, both are all checks of the plan.
            lost_because_of: The reason why some checks did not run although they should, or an empty text.
        """
        chosen = selection or Selection(self.plan.is_partial, self.plan.wanted, self.plan.wanted)
        return tuple(
            judge(
                facts,
                self._clauses,
                self._results[facts.id],
                profile=self.plan.profile,
                is_partial=chosen.is_partial,
                required=self.plan.required,
                lost_because_of=self.scrub(lost_because_of),
                none_selected=not any(each.level is Level.MUST for each in self._list_clauses(facts, chosen.runnable)),
                unmatched_known=() if chosen.is_partial else self.plan.unmatched_known,
                selection=frozenset(each.id for each in self._list_clauses(facts, chosen.wanted)),
            )
            for facts in self.plan.facts
        )

    def _list_clauses(self, facts: SubjectInfo, node_ids: Collection[str]) -> list[Clause]:
        return [each for each in self._clauses.values() if make_node_id(each, facts.id) in node_ids]

    def write(
        self, reports: Sequence[Report], *, pytest: str | None = None, plugins: Mapping[str, str] | None = None
    ) -> str:
        """Write the reports and the file of known failures, if the plan asks for them.

        Args:
            reports: The reports of this session.
            pytest: The version of pytest, if pytest runs the checks.
            plugins: The plugins of pytest that are active, with their versions.

        Returns:
            A note for the user if the file of known failures was rewritten, else an empty text.

        Raises:
            ImportError: A library that writes a report is not installed.
            OSError: A report, or the file of known failures, cannot be written.
        """
        if self.plan.report_directory is not None:
            run = report.Run(
                started=self._started,
                seconds=(datetime.now(UTC) - self._started).total_seconds(),
                scales=self.plan.scales,
                jobs=self.plan.jobs,
                repeat=self.plan.repeat,
                pytest=pytest,
                plugins=plugins or {},
            )
            report.write_reports(reports, self.plan.report_directory, run)
        return self._rewrite_known(reports) if self.plan.update_known else ""

    def _rewrite_known(self, reports: Sequence[Report]) -> str:
        file = self.plan.known
        assert file is not None  # noqa: S101 -- a plan that rewrites the file has it
        results = {each.facts.id: _get_selected_results(each) for each in reports}
        text = known.update_text(file, results, self._clauses, self.plan.today)
        if text == file.text:
            return ""
        known.write(file, text)
        return f"{file.path} was rewritten; look at it before you keep it"


def _write_queue_advice(frontend: Frontend) -> str:
    """Return advice about jobs that did not leave the queue in time. The advice names options of the front end."""
    spell, names = make_spell(frontend), [each.name for each in list_options(frontend)]
    advice = f"a larger {spell('scale')} gives a check more time"
    return f"{advice}, and a smaller {spell('jobs')} puts fewer jobs before it" if "jobs" in names else advice


def _get_selected_results(report: Report) -> Mapping[str, Result]:
    """Return the results of the clauses that the user selected, or all results if the run is not partial.

    A report also has results of clauses that nobody selected, for example because they do not apply to the subject.
    """
    if not report.is_partial:
        return report.results
    return {each: result for each, result in report.results.items() if each in report.selection}
