"""The conformance suite in pytest: collection, outcomes, verdict and exit code. ``intercede_pytest`` registers it."""

# Annotations must not be evaluated, because the oldest supported pytest has no ``pytest.TerminalReporter``.
from __future__ import annotations

import pickle
import textwrap
import warnings
from collections.abc import Collection, Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import pytest

from intercede.contract import VERSION
from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.collection import SUBJECT, Area, collect_areas
from intercede.testing.frontends.options import make_spell
from intercede.testing.frontends.plan import Plan, has_selection
from intercede.testing.frontends.pytest_options import (
    can_run_concurrently,
    find_caller,
    find_early_end,
    find_idle_option,
    guess_filter,
    make_plan_from_options,
    take_node_ids,
    write_rerun_command,
)
from intercede.testing.frontends.pytest_reports import (
    OUTCOME,
    BrokenCheck,
    RedCheck,
    explain_loss,
    fill_report,
    format_complaint,
    get_reason,
    is_red_should,
    report_not_run,
    to_dict,
)
from intercede.testing.frontends.session import Selection, Session
from intercede.testing.isolation.interference import find_interference
from intercede.testing.model.clause import Clause
from intercede.testing.model.verdict import Report, Result, State
from intercede.testing.report import explain_clause, list_clauses
from intercede.testing.run.finding import escape_unprintable
from intercede.testing.subjects.subject import RegistrySubject

__all__ = ["Suite", "print_clauses"]

_PLAN = "intercede_plan"
"""The key of ``workerinput`` under which a worker of pytest-xdist finds the controller's plan."""
_OUTPUT = "intercede_output"
"""The key of ``workeroutput`` under which a worker of pytest-xdist sends its results, its deselected items, the reason
for lost checks, and the jobs that are left."""
_WORKER_EXIT_SECONDS = 20
"""The seconds after which pytest-xdist kills its workers. The default of 10 seconds is too short: execnet 2.1 lets a
worker continue for 5 seconds, interrupts the worker, and kills it after 10 more seconds."""
_PARAMETERS = (
    "a plugin that gives tests further parameters, as pytest-repeat and pytest-flakefinder do; "
    "--intercede-repeat=N repeats checks"
)
_LIST_COMMAND = f"pytest {make_spell('pytest')('list')}"
"""The command that prints all clauses."""


def print_clauses(config: pytest.Config) -> int:
    """Print the list of clauses, or the explanation of a single clause, and return the exit code.

    Raises:
        UsageError: The option ``--intercede-explain`` names a clause that does not exist.
    """
    asked = config.option.intercede_explain
    try:
        print(explain_clause(CLAUSES, asked, _LIST_COMMAND) if asked else list_clauses(CLAUSES))  # noqa: T201 -- the user asked for it
    except LookupError as error:
        raise pytest.UsageError(str(error.args[0])) from None
    return 0


class Suite:
    """The conformance suite in one process of pytest: the controller, or a worker of pytest-xdist.

    Raises:
        UsageError: A name, a configuration, a capability or an id is wrong.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        node_ids = take_node_ids(config)
        plan = _get_controllers_plan(config) or make_plan_from_options(config, list(node_ids.values()))
        arguments = config.invocation_params.args
        self._selected = has_selection(arguments) or (plan.is_partial and not node_ids.keys().isdisjoint(arguments))
        write_command = partial(write_rerun_command, config, plan)
        self._plan = plan
        self._session = Session(plan, concurrent=can_run_concurrently(config), write_rerun_command=write_command)
        self._deselected: set[str] = set()
        self._left: list[str] = []
        self._lost_because_of = ""
        self._complaints: dict[str, int] = {}
        """The reason of each failure in the teardown of a check, and the number of its occurrences.

        A failure in a teardown affects no result.
        """
        self._collected: set[str] = set()

    # Collection

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Append the areas of clauses to the session.

        An area has no file, so ``--lf`` empties the area like a module without failures. An area that is empty is
        collected again.
        """
        report = yield
        if report.passed and isinstance(collector, pytest.Session):
            report.result.extend(collect_areas(collector, self._plan.wanted, self._run))
        elif report.passed and isinstance(collector, Area) and not report.result:
            report.result.extend(collector.collect())
        if isinstance(collector, Area) and collector.has_parameters:
            self._lost_because_of = _PARAMETERS
        return report

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give the subjects as parameters to each check and to each test with the fixture ``intercede_backend``."""
        if SUBJECT in metafunc.fixturenames and isinstance(metafunc.definition.parent, Area):
            role = CLAUSES[metafunc.definition.name].role
            ids = [each.id for each in self._plan.facts if role in each.roles]
            metafunc.parametrize(SUBJECT, ids, ids=ids)
        if "intercede_backend" in metafunc.fixturenames:
            some = [each for each in self._plan.subjects if each.role != "scheduler"]
            metafunc.parametrize("intercede_backend", some, ids=[each.id for each in some], indirect=True)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: object) -> None:
        """Send the plan to a worker of pytest-xdist."""
        # ``replace`` copies a subject without its cached registry. A worker makes a registry of its own.
        subjects = tuple(replace(each) for each in self._plan.subjects if isinstance(each, RegistrySubject))
        plan = replace(self._plan, subjects=subjects)
        cast("dict[str, object]", getattr(node, "workerinput"))[_PLAN] = pickle.dumps(plan)  # noqa: B009 -- xdist's type is optional
        setattr(getattr(node, "nodemanager"), "EXIT_TIMEOUT", _WORKER_EXIT_SECONDS)  # noqa: B009, B010 -- as above

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Find out whether checks were filtered away, and start the session with the checks that are left."""
        ids = {each.nodeid for each in session.items}
        self._notice_lost(ids)
        self._session.start(ids)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Remember the items that pytest itself deselects, for example because of ``-k``.

        If another plugin deselects checks, the checks count as lost.
        """
        caller, ids = find_caller(), {each.nodeid for each in items}
        if caller.startswith("_pytest."):
            self._deselected |= ids
        elif not self._plan.wanted.isdisjoint(ids):
            self._lost_because_of = f"{caller.partition('.')[0]}, which deselected tests"

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Find out in the controller whether a worker has not collected all checks."""
        self._notice_lost(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """Take the results from a worker's output, in case the worker's reports were lost.

        A worker that crashed has no output.
        """
        output = getattr(node, "workeroutput", {}).get(_OUTPUT)
        if output is not None:
            self._deselected.update(output["deselected"])
            self._lost_because_of = output["lost_because_of"] or self._lost_because_of
            self._left += output["left"]
            for subject, results in output["results"].items():
                for each in results:
                    self._session.add_result(subject, Result.from_dict(each))

    def _notice_lost(self, ids: Collection[str]) -> None:
        """Find out whether checks that are to run were not collected, and guess the reason."""
        self._collected.update(ids)
        if self._plan.wanted.difference(ids):
            self._lost_because_of = self._lost_because_of or guess_filter(self._config, selected=self._selected)

    # One check

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Finish the concurrent checks before a test of the user's own, so that no check runs during the test."""
        if not isinstance(item.parent, Area):
            self._session.finish()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the checks that run alone before all other checks.

        The reason is that the first check of the run waits in any case until the checks that run alone have ended.
        """
        alone = {each.id for each in CLAUSES.values() if each.exclusive}

        def is_later(item: pytest.Item) -> bool:
            return isinstance(item, pytest.Function) and item.originalname not in alone

        ours = [index for index, item in enumerate(items) if isinstance(item.parent, Area)]
        for index, item in zip(ours, sorted((items[each] for each in ours), key=is_later), strict=True):
            items[index] = item

    def _run(self, clause: Clause, subject_id: str) -> None:
        if self._session.find_result(subject_id, clause) is None and (disturbed := find_interference()):
            raise BrokenCheck(f"not checked: {disturbed}")
        result = self._session.run(subject_id, clause)
        if result.state in {State.NOT_APPLICABLE, State.BLOCKED}:
            pytest.skip(result.message)
        if result.state.is_red:
            raise (BrokenCheck if result.state is State.ERROR else RedCheck)(result.text)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put the result of a check into its report, whatever marks and other plugins have put there."""
        report = yield
        if isinstance(item, pytest.Function) and isinstance(item.parent, Area):
            subject_id, clause = str(item.callspec.params[SUBJECT]), CLAUSES[item.originalname]
            if call.when == "call":
                result = self._session.find_result(subject_id, clause)
                if result is None:
                    report_not_run(report, call, clause)
                else:
                    facts = next(each for each in self._plan.facts if each.id == subject_id)
                    fill_report(report, call, clause, result, facts)
            scrub = self._session.scrub  # the sections of a report hold captured output
            report.sections = [(name, scrub(text)) for name, text in report.sections]
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Remove the secrets of the subjects from a warning before it is shown."""
        text = str(warning_message.message)
        scrubbed = self._session.scrub(text)
        if scrubbed != text:
            warning_message.message = UserWarning(scrubbed)

    # The run

    def pytest_report_header(self) -> list[str]:
        """Return the subjects, the warnings of the registry about them, and the notes of the plan."""
        lines: list[str] = []
        for each in self._plan.facts:
            lines.append(f"intercede: {each.title}, contract {VERSION}, {self._plan.profile}")
            lines += [f"intercede: {warning}" for warning in each.warnings]
        lines += [f"intercede: {note}" for note in self._plan.notes]
        return [escape_unprintable(each) for each in lines]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the result of a check from its report, which comes from this process or from a worker."""
        outcome = getattr(report, OUTCOME, None)
        if outcome is not None:
            self._session.add_result(outcome["subject"], Result.from_dict(outcome["result"]))
        elif not report.passed and report.nodeid in self._plan.wanted:
            if report.when == "teardown":
                reason = get_reason(report)
                self._complaints[reason] = self._complaints.get(reason, 0) + 1
            else:
                self._lost_because_of = explain_loss(report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the red SHOULD clauses, which pytest does not show, and the jobs that may be left."""
        results = [each for of in self._session.results.values() for each in of.values() if each.detail]
        shoulds = [each.text for each in results if is_red_should(CLAUSES[each.clause], each)]
        for title, texts in (("SHOULD that are red", shoulds), ("left behind", self._left)):
            if texts:
                terminalreporter.section(title)
                # The texts are written line by line: if the locale cannot encode a text, pytest escapes all of its
                # characters, also newlines.
                for line in "\n\n".join(texts).split("\n"):
                    terminalreporter.write_line(line)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, None]:
        """Write the reports, set the exit code, and print the verdicts after all other output."""
        self._close(session)
        # pytest-xdist sends ``workeroutput`` to the controller.
        output: dict[str, object] = getattr(self._config, "workeroutput", {})
        output[_OUTPUT] = {
            "results": {each: list(map(to_dict, of.values())) for each, of in self._session.results.items()},
            "deselected": list(self._deselected),
            "lost_because_of": self._lost_because_of,
            "left": self._left,
        }
        yield
        status, config = session.exitstatus, self._config
        if hasattr(config, "workerinput") or status == pytest.ExitCode.USAGE_ERROR:
            return
        self._lost_because_of = (
            find_early_end(session) or self._lost_because_of or "a plugin or conftest.py, which ran other tests only"
        )
        reports = self._judge()
        # A run that only lists tests must not replace the reports of an earlier run.
        written = bool(find_idle_option(config)) or self._write_all(reports)
        good = written and all(each.verdict.is_good for each in reports)
        if status == pytest.ExitCode.NO_TESTS_COLLECTED or not good:
            kept = {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR}
            session.exitstatus = status if status in kept else pytest.ExitCode.TESTS_FAILED
        for warning in dict.fromkeys(each for facts in self._plan.facts for each in facts.warnings):
            self._write_line(f"intercede: {warning}", yellow=True)  # -q shows no header
        for reason, count in self._complaints.items():
            self._write_line(f"intercede: {format_complaint(reason, count)}", yellow=True)
        for each in reports:
            self._write_line(each.line, green=each.verdict.is_good, red=not each.verdict.is_good)

    def _close(self, session: pytest.Session) -> None:
        """End the jobs that checks may have left, unless the user interrupts again."""
        unfinished = self._session.count_open_checks()
        if unfinished and session.exitstatus == pytest.ExitCode.INTERRUPTED:
            self._write_line(f"\nintercede: ending the jobs of {unfinished} checks; interrupt again to give up")
        try:
            self._session.close()
        except KeyboardInterrupt:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        self._left += self._session.left

    def _write_all(self, reports: Sequence[Report]) -> bool:
        """Write the files, and return whether that worked. A failure is printed, and the verdict still follows."""
        installed = {info.project_name: info.version for _, info in self._config.pluginmanager.list_plugin_distinfo()}
        plugins = {name: version for name, version in installed.items() if name != "intercede"}
        try:
            note = self._session.write(reports, pytest=pytest.__version__, plugins=plugins)
        except (ImportError, OSError) as error:
            self._write_line(
                f"intercede: a report or the file of known failures could not be written: {error}", red=True
            )
            return False
        if note:
            self._write_line(f"intercede: {note}", yellow=True)
        return True

    def _write_line(self, text: str, **colours: bool) -> None:
        line = escape_unprintable(text)
        reporter = cast("pytest.TerminalReporter | None", self._config.pluginmanager.get_plugin("terminalreporter"))
        if reporter is not None:
            writer = self._config.get_terminal_writer()
            if reporter.isatty:  # a terminal would break a long line within words
                line = textwrap.fill(line, writer.fullwidth, break_long_words=False, break_on_hyphens=False)
            writer.line(line, **colours)
        else:
            print(line)  # noqa: T201 -- with -p no:terminal, pytest prints nothing

    def _judge(self) -> tuple[Report, ...]:
        """Return the reports with the verdicts.

        If an option makes pytest run no checks, the missing checks do not count as lost.
        """
        if find_idle_option(self._config):
            selection = Selection(self._selected, (), self._plan.wanted)
        else:
            selection = Selection(self._selected, self._plan.wanted - self._deselected, self._collected)
        return self._session.judge(selection, self._lost_because_of)


def _get_controllers_plan(config: pytest.Config) -> Plan | None:
    """Return the plan that the controller made, if this process is a worker of pytest-xdist."""
    data = getattr(config, "workerinput", {}).get(_PLAN)
    return cast("Plan", pickle.loads(data)) if data else None  # noqa: S301 -- it comes from the controller
