"""The results of checks in the reports of pytest."""

import inspect
from dataclasses import asdict

import pytest

from intercede.testing.frontends.plan import ROOT
from intercede.testing.model.clause import Clause, Level
from intercede.testing.model.verdict import Result, State, SubjectInfo
from intercede.testing.report import list_properties

__all__ = [
    "OUTCOME",
    "BrokenCheck",
    "RedCheck",
    "explain_loss",
    "fill_report",
    "format_complaint",
    "get_reason",
    "is_red_should",
    "report_not_run",
    "to_dict",
]

OUTCOME = "intercede"
"""The attribute of a report of pytest that holds the result of a check."""
_REASON_LIMIT = 300
"""The largest number of characters of the reason why checks did not run."""


class RedCheck(AssertionError):  # noqa: N818 -- it is a finding, and plugins distinguish failed from broken by it
    """The exception for a red check. The text of the exception is ``Result.text``, the whole text about the check."""


class BrokenCheck(Exception):  # noqa: N818 -- as above
    """The exception for a check that is itself broken, or that could not start."""


_OURS = (RedCheck, BrokenCheck)


def fill_report(
    report: pytest.TestReport, call: pytest.CallInfo[None], clause: Clause, result: Result, facts: SubjectInfo
) -> None:
    """Put the result of a check into a report of pytest."""
    report.user_properties += list_properties(facts, clause, result)
    setattr(report, OUTCOME, {"subject": facts.id, "result": to_dict(result)})
    vars(report).pop("wasxfail", None)
    if _is_expected(clause, result):
        report.outcome, report.wasxfail = "skipped", result.message
    elif result.state in {State.PASSED, State.NOT_APPLICABLE, State.BLOCKED}:
        report.outcome = "passed" if result.state is State.PASSED else "skipped"
    else:
        report.outcome = "failed"
    if call.excinfo is not None and call.excinfo.errisinstance(_OURS):
        _show_exception(report, call.excinfo, clause, result.message)
    elif result.state in {State.NOT_APPLICABLE, State.BLOCKED}:
        # The location is the area. Otherwise, pytest would report the line of the kit that skips the test.
        report.longrepr = (
            f"{ROOT}/{clause.area}",
            1,
            f"Skipped: {result.message}",
        )
    elif result.detail:
        report.sections.append(("intercede", result.text))


def to_dict(result: Result) -> dict[str, object]:
    """Return a result as a dictionary of basic types."""
    return {**asdict(result), "state": result.state.value}


def report_not_run(report: pytest.TestReport, call: pytest.CallInfo[None], clause: Clause) -> None:
    """Record in a pytest report that the check did not run, unless another plugin has recorded its own reason."""
    if call.excinfo is None:
        report.outcome = "failed"
        report.longrepr = (
            "not checked: a plugin or conftest.py called the test's function in its own way, or not at all"
        )
    elif call.excinfo.errisinstance(BrokenCheck):
        _show_exception(report, call.excinfo, clause, str(call.excinfo.value))


def explain_loss(report: pytest.TestReport) -> str:
    """Return the reason why a check did not run. The reason is read from pytest's report about the check."""
    reason = get_reason(report).removeprefix("not checked: ")
    if report.skipped:
        return f"a skip: {reason}"
    if report.when == "call":
        return reason
    return f"a failing fixture: {reason}" if report.when == "setup" else "a crashed worker"


def get_reason(report: pytest.TestReport) -> str:
    """Return in one line why a test failed or was skipped."""
    text = report.longrepr
    if isinstance(text, tuple):
        return text[2].removeprefix("Skipped: ")
    crash = getattr(text, "reprcrash", None)
    lines = (str(text) if crash is None else str(crash.message)).strip().splitlines()
    return lines[0][:_REASON_LIMIT] if lines else "no reason was given"


def format_complaint(reason: str, count: int) -> str:
    """Return the line about a fixture that failed after checks. Such a failure does not affect the verdict."""
    times = "once" if count == 1 else f"{count} times"
    return (
        f"a fixture failed after a check, {times}: {reason}. Checks share an event loop and its thread, so this is not "
        "a fault of the subject: let a fixture that watches for leaks ignore tests with the mark intercede"
    )


def _is_expected(clause: Clause, result: Result) -> bool:
    """Return whether a check failed in a way that does not change the verdict.

    After such a failure, a run with ``-x`` continues.
    """
    return result.state is State.KNOWN or is_red_should(clause, result)


def is_red_should(clause: Clause, result: Result) -> bool:
    """Return whether a result is FAILED and its clause is a SHOULD. Such a result does not change the verdict."""
    return result.state is State.FAILED and clause.level is Level.SHOULD


def _show_exception(
    report: pytest.TestReport, excinfo: pytest.ExceptionInfo[BaseException], clause: Clause, message: str
) -> None:
    """Put the text of an exception into a report, without frames of the kit.

    pytest's short summary shows ``message``, with the file and the line of the check.
    """
    shown = excinfo.getrepr(style="value")
    if shown.reprcrash is not None:
        shown.reprcrash.message = message
        shown.reprcrash.path = inspect.getfile(clause.check)
        shown.reprcrash.lineno = clause.check.__code__.co_firstlineno
    report.longrepr = shown
