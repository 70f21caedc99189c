"""The suite inside pytest: collection, outcomes, verdict and exit code. The door registers it when it is asked for."""

from __future__ import annotations  # pytest.TerminalReporter is newer than the oldest pytest

import inspect
import os
import pickle
import shlex
import sys
import textwrap
import warnings
from collections.abc import Collection, Generator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from intercede.contract import VERSION
from intercede.contract.errors import IntercedeError
from intercede.redaction import redact_json
from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.collection import SUBJECT, Area, areas
from intercede.testing.frontends.options import Option, collect_options, make_spell
from intercede.testing.frontends.plan import LOOKS, ROOT, Plan, make_plan, node_id, selects
from intercede.testing.frontends.session import Selection, Session
from intercede.testing.isolation.interference import find_interference
from intercede.testing.model.clause import Clause, Level
from intercede.testing.model.verdict import Report, Result, State, SubjectInfo
from intercede.testing.report import explain_clause, list_clauses, list_properties
from intercede.testing.run.finding import escape_unprintable
from intercede.testing.subjects.subject import RegistrySubject, Subject

__all__ = ["Suite", "_Broken", "_Red", "answer"]

_PLAN = "intercede_plan"
"""The key under which a worker finds the controller's plan."""
_SEEN = "intercede_seen"
"""The key of a worker's answer: results, deselected items, the reason for lost checks, and jobs left behind."""
_WORKERS_END = 20
"""Seconds after which pytest-xdist kills its workers, whatever they do. Its own 10 are too few: execnet 2.1 has a worker go on for 5
before it interrupts it, and kills it after 10 more."""
_MULTIPLIED = "a plugin that gives tests further parameters, as pytest-repeat and pytest-flakefinder do; --intercede-repeat=N repeats checks"
_LONGEST = 300
"""So much is told of the reason why checks did not run."""
_LIST_COMMAND = f"pytest {make_spell('pytest')('list')}"
"""The command that prints all clauses."""
_OUTCOME = "intercede"
"""The attribute of a report that holds what became of a check."""


def answer(config: pytest.Config) -> int:
    """Print the clauses, or one of them.

    Raises:
        UsageError: There is no such clause.
    """
    asked = config.option.intercede_explain
    try:
        print(explain_clause(CLAUSES, asked, _LIST_COMMAND) if asked else list_clauses(CLAUSES))  # noqa: T201 -- it is what was asked for
    except LookupError as error:
        raise pytest.UsageError(str(error.args[0])) from None
    return 0


class _Red(AssertionError):  # noqa: N818 -- a finding about a subject, and plugins tell failed from broken by this class
    """A check is red. The text says everything."""


class _Broken(Exception):  # noqa: N818 -- as above
    """The check itself broke, or could not even begin."""


_OURS = (_Red, _Broken)


class Suite:
    """The suite in one process of a run: the controller, or one of its workers.

    Raises:
        UsageError: A name, a configuration, a capability or an id is wrong.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        ours = _take_our_arguments(config)
        plan = _get_controllers_plan(config) or _make_plan(config, list(ours.values()))
        self._plan, self._session = (
            plan,
            Session(
                plan, concurrent=_may_share(config), write_rerun_command=partial(_write_rerun_command, config, plan)
            ),
        )
        arguments = config.invocation_params.args
        self._selected = selects(arguments) or (plan.narrowed and not ours.keys().isdisjoint(arguments))
        self._deselected: set[str] = set()
        self._left: list[str] = []
        self._lost_because_of = ""
        self._complaints: dict[str, int] = {}
        """What failed behind a check, which it says nothing of, and how often."""
        self._collected: set[str] = set()

    # Collection

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Append our areas to the session, and collect an area that was emptied: --lf drops what lies in no file."""
        report = yield
        if report.passed and isinstance(collector, pytest.Session):
            report.result.extend(areas(collector, self._plan.wanted, self._run))
        elif report.passed and isinstance(collector, Area) and not report.result:
            report.result.extend(collector.collect())
        if isinstance(collector, Area) and collector.multiplied:
            self._lost_because_of = _MULTIPLIED
        return report

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give every check, and every test that asks for `intercede_backend`, each subject."""
        if SUBJECT in metafunc.fixturenames and isinstance(metafunc.definition.parent, Area):
            role = CLAUSES[metafunc.definition.name].role
            ids = [each.id for each in self._plan.facts if role in each.roles]
            metafunc.parametrize(SUBJECT, ids, ids=ids)
        if "intercede_backend" in metafunc.fixturenames:
            some = [each for each in self._plan.subjects if each.role != "scheduler"]
            metafunc.parametrize("intercede_backend", some, ids=[each.id for each in some], indirect=True)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: object) -> None:
        """Tell a worker of pytest-xdist what was settled."""
        subjects = tuple(replace(each) for each in self._plan.subjects if isinstance(each, RegistrySubject))
        told = replace(self._plan, subjects=subjects)  # without the registries that they have cached
        cast("dict[str, object]", getattr(node, "workerinput"))[_PLAN] = pickle.dumps(told)  # noqa: B009 -- xdist's type is optional
        setattr(getattr(node, "nodemanager"), "EXIT_TIMEOUT", _WORKERS_END)  # noqa: B009, B010 -- as above

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Notice checks that somebody filtered away, and start the session with those that are left."""
        ids = {each.nodeid for each in session.items}
        self._notice_lost(ids)
        self._session.start(ids)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Remember what pytest itself left out, as by -k. Items that a plugin leaves out were not asked for."""
        caller, ids = _caller(), {each.nodeid for each in items}
        if caller.startswith("_pytest."):
            self._deselected |= ids
        elif not self._plan.wanted.isdisjoint(ids):
            self._lost_because_of = f"{caller.partition('.')[0]}, which deselected tests"

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Notice in the controller what a worker has not collected."""
        self._notice_lost(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """Hear from a worker what it saw, whatever became of its reports. One that crashed does not say."""
        told = getattr(node, "workeroutput", {}).get(_SEEN)
        if told is not None:
            self._deselected.update(told["deselected"])
            self._lost_because_of = told["lost_because_of"] or self._lost_because_of
            self._left += told["left"]
            for subject, results in told["results"].items():
                for each in results:
                    self._session.add_result(subject, Result.from_dict(each))

    def _notice_lost(self, ids: Collection[str]) -> None:
        """Notice what is to run and was not collected, and guess who is to blame for it."""
        self._collected.update(ids)
        if self._plan.wanted.difference(ids):
            self._lost_because_of = self._lost_because_of or _guess_filter(self._config, selected=self._selected)

    # One check

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Before a test of the user's, end what checks that share the waiting have begun: nothing goes on beside it."""
        if not isinstance(item.parent, Area):
            self._session.finish()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put first what needs the process for itself: whatever is asked for first waits for it."""
        alone = {each.id for each in CLAUSES.values() if each.exclusive}

        def later(item: pytest.Item) -> bool:
            return isinstance(item, pytest.Function) and item.originalname not in alone

        ours = [index for index, item in enumerate(items) if isinstance(item.parent, Area)]
        for index, item in zip(ours, sorted((items[each] for each in ours), key=later), strict=True):
            items[index] = item

    def _run(self, clause: Clause, subject_id: str) -> None:
        if self._session.find_result(subject_id, clause) is None and (disturbed := find_interference()):
            raise _Broken(f"not checked: {disturbed}")
        result = self._session.run(subject_id, clause)
        if result.state in {State.NOT_APPLICABLE, State.BLOCKED}:
            pytest.skip(result.message)
        if result.state.is_red:
            raise (_Broken if result.state is State.ERROR else _Red)(result.text)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Say in pytest's terms what became of a check, whatever marks and other plugins made of it."""
        report = yield
        if isinstance(item, pytest.Function) and isinstance(item.parent, Area):
            subject_id, clause = str(item.callspec.params[SUBJECT]), CLAUSES[item.originalname]
            if call.when == "call":
                result = self._session.find_result(subject_id, clause)
                if result is None:
                    _tell_not_run(report, call, clause)
                else:
                    facts = next(each for each in self._plan.facts if each.id == subject_id)
                    _fill_report(report, call, clause, result, facts)
            scrub = self._session.scrub
            report.sections = [(name, scrub(text)) for name, text in report.sections]  # what was captured
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_warning_recorded(self, warning_message: warnings.WarningMessage) -> None:
        """Take the secrets of the subjects out of what is shown of a warning."""
        text = str(warning_message.message)
        said = self._session.scrub(text)
        if said != text:
            warning_message.message = UserWarning(said)

    # The run

    def pytest_report_header(self) -> list[str]:
        """Say what is inspected, and what the registry warned of."""
        lines: list[str] = []
        for each in self._plan.facts:
            lines.append(f"intercede: {each.title}, contract {VERSION}, {self._plan.profile}")
            lines += [f"intercede: {warning}" for warning in each.warnings]
        lines += [f"intercede: {note}" for note in self._plan.notes]
        return [escape_unprintable(each) for each in lines]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather what became of each check, from this process or a worker."""
        outcome = getattr(report, _OUTCOME, None)
        if outcome is not None:
            self._session.add_result(outcome["subject"], Result.from_dict(outcome["result"]))
        elif not report.passed and report.nodeid in self._plan.wanted:
            if report.when == "teardown":
                said = _reason_of(report)
                self._complaints[said] = self._complaints.get(said, 0) + 1
            else:
                self._lost_because_of = _loss_of(report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show what pytest keeps to itself: the SHOULD that are red, and jobs that may be left."""
        results = [each for of in self._session.results.values() for each in of.values() if each.detail]
        shoulds = [each.text for each in results if _is_red_should(CLAUSES[each.clause], each)]
        for title, texts in (("SHOULD that are red", shoulds), ("left behind", self._left)):
            if texts:
                terminalreporter.section(title)
                for line in "\n\n".join(texts).split("\n"):  # pytest escapes all of what the locale has no letters for
                    terminalreporter.write_line(line)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, None]:
        """Settle the report, the exit code, and, after everything else, the verdict."""
        self._close(session)
        told: dict[str, object] = getattr(self._config, "workeroutput", {})  # xdist sends it to the controller
        told[_SEEN] = {
            "results": {each: list(map(_basic, of.values())) for each, of in self._session.results.items()},
            "deselected": list(self._deselected),
            "lost_because_of": self._lost_because_of,
            "left": self._left,
        }
        yield
        status, config = session.exitstatus, self._config
        if hasattr(config, "workerinput") or status == pytest.ExitCode.USAGE_ERROR:
            return
        self._lost_because_of = (
            _find_early_end(session) or self._lost_because_of or "a plugin or conftest.py, which ran other tests only"
        )
        reports = self._judge()
        # A look at what there is says nothing that should replace what an earlier run wrote.
        written = bool(_look(config)) or self._write_all(reports)
        good = written and all(each.verdict.is_good for each in reports)
        if status == pytest.ExitCode.NO_TESTS_COLLECTED or not good:
            kept = {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR}
            session.exitstatus = status if status in kept else pytest.ExitCode.TESTS_FAILED
        for warning in dict.fromkeys(each for facts in self._plan.facts for each in facts.warnings):
            self._write_line(f"intercede: {warning}", yellow=True)  # -q shows no header
        for said, often in self._complaints.items():
            self._write_line(f"intercede: {_complaint(said, often)}", yellow=True)
        for each in reports:
            self._write_line(each.line, green=each.verdict.is_good, red=not each.verdict.is_good)

    def _close(self, session: pytest.Session) -> None:
        """End what is left of each inspection, unless somebody gives up."""
        unfinished = self._session.count_open_checks()
        if unfinished and session.exitstatus == pytest.ExitCode.INTERRUPTED:
            self._write_line(f"\nintercede: ending the jobs of {unfinished} checks; interrupt again to give up")
        try:
            self._session.close()
        except KeyboardInterrupt:
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        self._left += self._session.left

    def _write_all(self, reports: Sequence[Report]) -> bool:
        """Write what was asked for; where that fails say so, and let it not swallow the verdict."""
        installed = {info.project_name: info.version for _, info in self._config.pluginmanager.list_plugin_distinfo()}
        plugins = {name: version for name, version in installed.items() if name != "intercede"}
        try:
            note = self._session.write(reports, pytest=pytest.__version__, plugins=plugins)
        except (ImportError, OSError) as error:
            self._write_line(f"intercede: not all that was asked for could be written: {error}", red=True)
            return False
        if note:
            self._write_line(f"intercede: {note}", yellow=True)
        return True

    def _write_line(self, text: str, **colours: bool) -> None:
        line = escape_unprintable(text)
        reporter = cast("pytest.TerminalReporter | None", self._config.pluginmanager.get_plugin("terminalreporter"))
        if reporter is not None:
            writer = self._config.get_terminal_writer()
            if reporter.isatty:  # which would break it anywhere
                line = textwrap.fill(line, writer.fullwidth, break_long_words=False, break_on_hyphens=False)
            writer.line(line, **colours)
        else:
            print(line)  # noqa: T201 -- with -p no:terminal nobody else does

    def _judge(self) -> tuple[Report, ...]:
        """Give the verdicts. An option that lets nothing run asks for no check, and its selection hides none."""
        if _look(self._config):
            selection = Selection(self._selected, (), self._plan.wanted)
        else:
            selection = Selection(self._selected, self._plan.wanted - self._deselected, self._collected)
        return self._session.judge(selection, self._lost_because_of)


def _take_our_arguments(config: pytest.Config) -> dict[str, str]:
    """Take our node ids from the arguments: they lie in no file. Our option counts as one more argument.

    Returns:
        What was given -> the node id, or the beginning of one, that it means.
    """
    ours = {each: node for each in config.args if (node := _node_of(each, config)) is not None}
    explicit = config.args_source is pytest.Config.ArgsSource.ARGS
    config.args = [each for each in config.args if each not in ours] if explicit else []
    return ours


def _node_of(argument: str, config: pytest.Config) -> str | None:
    """Return the node id of ours that an argument means, a clause's id by itself too.

    pytest shows node ids relative to where it was started.
    """
    if clause := CLAUSES.get(argument.upper()):
        argument = f"{ROOT}/{clause.area}::{clause.id}"
    path, colons, rest = argument.partition("::")
    here = Path(os.path.normpath(config.invocation_params.dir / path))
    inside = here.relative_to(config.rootpath) if here.is_relative_to(config.rootpath) else here
    known = next((each for each in (inside, Path(path)) if each.parts[:1] == (ROOT,)), None)
    return None if known is None or here.exists() else f"{known.as_posix()}{colons}{rest}"


def _find_early_end(session: pytest.Session) -> str:
    """Tell what ended a run early, or let none begin."""
    if look := _look(session.config):
        return f"{look} in addopts"
    if session.shouldfail:
        return "-x"
    return "an interruption" if session.exitstatus == pytest.ExitCode.INTERRUPTED else ""


def _look(config: pytest.Config) -> str:
    """Return the option that lets nothing run; empty: there is none."""
    return next((names[0] for name, names in LOOKS.items() if getattr(config.option, name, None)), "")


def _caller() -> str:
    """Return the module that called the hook that asks."""
    frame = sys._getframe(2)  # noqa: SLF001 -- documented, and pytest tells a hook nothing of its caller
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "pluggy":
        frame = frame.f_back
    return str(frame.f_globals.get("__name__"))


def _get_controllers_plan(config: pytest.Config) -> Plan | None:
    """Return what the controller settled, in a worker of pytest-xdist."""
    told = getattr(config, "workerinput", {}).get(_PLAN)
    return cast("Plan", pickle.loads(told)) if told else None  # noqa: S301 -- from our own controller


def _make_plan(config: pytest.Config, ids: Sequence[str]) -> Plan:
    options = collect_options("pytest", partial(_read_option, config))
    options["ids"] = ids
    try:
        return make_plan(config.option.intercede_subjects, probe=not _look(config), frontend="pytest", **options)
    except IntercedeError as error:
        raise pytest.UsageError(str(error)) from None


def _read_option(config: pytest.Config, option: Option) -> object:
    """Return the value of an option. The files that it names lie where pytest was started."""
    given: object = config.getoption(f"--intercede-{option.flag}")
    if option.name in {"known", "report"} and isinstance(given, str):
        return str(Path(config.invocation_params.dir, given))
    return given


def _write_rerun_command(config: pytest.Config, plan: Plan, subject: Subject, clause: Clause) -> str:
    """Return the command that checks a clause of a subject once more, with this run's subjects."""
    option, spell, scale = config.option, make_spell("pytest"), plan.scales[subject.id]
    parts = [spell(role, redact_json(each)) for role, each in option.intercede_subjects]
    parts += [spell("file", option.intercede_config)] if option.intercede_config else []
    parts += [spell("known", option.intercede_known)] if option.intercede_known else []
    parts += [spell("scale", f"{scale:g}")] if scale != 1 else []
    return shlex.join(["pytest", *parts, node_id(clause, subject.id)])


def _may_share(config: pytest.Config) -> bool:
    """Whether checks may run concurrently: not in a debugger, with -x or --sw, or in a fork."""
    option = config.option
    alone = any(getattr(option, each, False) for each in ("usepdb", "maxfail", "stepwise", "forked"))
    return not (hasattr(config, "workerinput") or alone)


def _guess_filter(config: pytest.Config, *, selected: bool) -> str:
    """Guess who filters the checks away, beside a selection of the command line's or without one."""
    option = config.option
    if not selected and (option.keyword or option.markexpr or option.deselect or getattr(option, "lf", False)):
        return "addopts"
    has_conftest = any(name.endswith("conftest.py") for name, _ in config.pluginmanager.list_name_plugin())
    return "conftest.py" if has_conftest else "a plugin"


def _fill_report(
    report: pytest.TestReport, call: pytest.CallInfo[None], clause: Clause, result: Result, facts: SubjectInfo
) -> None:
    """Put what became of a check into pytest's terms."""
    report.user_properties += list_properties(facts, clause, result)
    setattr(report, _OUTCOME, {"subject": facts.id, "result": _basic(result)})
    vars(report).pop("wasxfail", None)
    if _is_expected(clause, result):
        report.outcome, report.wasxfail = "skipped", result.message
    elif result.state in {State.PASSED, State.NOT_APPLICABLE, State.BLOCKED}:
        report.outcome = "passed" if result.state is State.PASSED else "skipped"
    else:
        report.outcome = "failed"
    if call.excinfo is not None and call.excinfo.errisinstance(_OURS):
        _show(report, call.excinfo, clause, result.message)
    elif result.state in {State.NOT_APPLICABLE, State.BLOCKED}:
        report.longrepr = f"{ROOT}/{clause.area}", 1, f"Skipped: {result.message}"  # not where the kit says so
    elif result.detail:
        report.sections.append(("intercede", result.text))


def _basic(result: Result) -> dict[str, object]:
    """Put a result into basic types."""
    return {**asdict(result), "state": result.state.value}


def _tell_not_run(report: pytest.TestReport, call: pytest.CallInfo[None], clause: Clause) -> None:
    """Report to pytest that a check did not begin: it was skipped, ended, or only reported as run."""
    if call.excinfo is None:
        report.outcome = "failed"
        report.longrepr = (
            "not checked: a plugin or conftest.py called the test's function in its own way, or not at all"
        )
    elif call.excinfo.errisinstance(_Broken):
        _show(report, call.excinfo, clause, str(call.excinfo.value))


def _loss_of(report: pytest.TestReport) -> str:
    """Tell what kept a check from running."""
    reason = _reason_of(report).removeprefix("not checked: ")
    if report.skipped:
        return f"a skip: {reason}"
    if report.when == "call":
        return reason
    return f"a failing fixture: {reason}" if report.when == "setup" else "a crashed worker"


def _reason_of(report: pytest.TestReport) -> str:
    """Return in a line why a test failed or was skipped."""
    told = report.longrepr
    if isinstance(told, tuple):
        return told[2].removeprefix("Skipped: ")
    crash = getattr(told, "reprcrash", None)
    lines = (str(told) if crash is None else str(crash.message)).strip().splitlines()
    return lines[0][:_LONGEST] if lines else "no reason was given"


def _complaint(said: str, often: int) -> str:
    """Tell of what failed behind checks: it is about this process, and decides nothing about a subject."""
    times = "once" if often == 1 else f"{often} times"
    return (
        f"behind a check a fixture failed, {times}: {said}. That is about this process, where checks share an event loop and its "
        "thread, and not about the subject: let a fixture that watches for leaks leave out what is marked intercede"
    )


def _is_expected(clause: Clause, result: Result) -> bool:
    """Whether it is red and decides nothing, so that -x goes on."""
    return result.state is State.KNOWN or _is_red_should(clause, result)


def _is_red_should(clause: Clause, result: Result) -> bool:
    return result.state is State.FAILED and clause.level is Level.SHOULD


def _show(
    report: pytest.TestReport, excinfo: pytest.ExceptionInfo[BaseException], clause: Clause, message: str
) -> None:
    """Show the text of our exception without the kit's frames, and the message in the short summary."""
    shown = excinfo.getrepr(style="value")
    if shown.reprcrash is not None:
        shown.reprcrash.message = message
        shown.reprcrash.path = inspect.getfile(clause.check)
        shown.reprcrash.lineno = clause.check.__code__.co_firstlineno
    report.longrepr = shown
