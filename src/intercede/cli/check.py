"""``intercede check``: runs the conformance suite without pytest, and shows its progress."""

import io
import sys
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from difflib import get_close_matches
from functools import partial
from typing import Any, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from intercede.cli.terminal import escape_unprintable, print_answer, print_message
from intercede.contract.errors import ConfigError
from intercede.redaction import make_scrubber
from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.check import ResultCallback, write_check_command
from intercede.testing.frontends.options import collect_options
from intercede.testing.frontends.plan import Plan, make_plan
from intercede.testing.frontends.session import Session
from intercede.testing.model.clause import Clause
from intercede.testing.model.role import Role
from intercede.testing.model.verdict import Report, Result, State, SubjectInfo
from intercede.testing.run.finding import MARGIN

__all__ = ["check", "select_clauses"]

_TAIL_LIMIT = 20_000
"""The number of bytes that are kept from the end of the subjects' output."""


def select_clauses(only: Sequence[str]) -> list[str]:
    """Return the id prefixes by which a plan selects the given clauses and areas.

    A user writes a clause as ``IC-SUBMIT-04``, and an area of the contract as ``submit``.

    Raises:
        ConfigError: The clause or area does not exist.
    """
    areas = {each.area for each in CLAUSES.values()}
    return [_find_prefix(each, areas) for each in only]


def _find_prefix(word: str, areas: Collection[str]) -> str:
    clause, area = CLAUSES.get(word.upper()), word.lower().removeprefix("ic-")
    if clause is None and area not in areas:
        near = get_close_matches(word.upper(), CLAUSES, n=3) or sorted(areas)
        raise ConfigError(
            f"--only {word}: there is no such clause or area; did you mean {', '.join(near)}?",
            field="--only",
            value=word,
        )
    return f"intercede/{clause.area}::{clause.id}" if clause else f"intercede/{area}"


def check(name: str, given: Mapping[str, object]) -> int:
    """Run the selected checks, show the results, print the verdicts last, and return the exit code.

    Args:
        name: The subject.
        given: The value of each option of ``intercede check``, by its name in the table of options.

    Returns:
        0 if every verdict is CONFORMANT or PARTIAL, else 1.

    Raises:
        IntercedeError: The subject or an option is wrong.
        OSError: A report, or the file of known failures, cannot be written.
        KeyboardInterrupt: The user interrupted; the jobs that are left are named on stderr.
    """
    options = collect_options("check", given)
    options["ids"] = select_clauses(cast("Sequence[str]", given["only"] or ())) or None
    plan = make_plan([(cast("Role", given["role"]), name)], frontend="check", **options)
    for line in (*(warning for facts in plan.facts for warning in facts.warnings), *plan.notes):
        print_message(line)
    try:
        with (
            _show_progress(len(plan.wanted), sys.stderr) as show_result,
            _capture_output() as captured,
            Session(plan, write_rerun_command=partial(write_check_command, plan)) as session,
        ):
            for each in session.run_all():
                show_result(*each)
    except KeyboardInterrupt as interruption:
        for note in getattr(interruption, "__notes__", ()):
            print_message(note)
        raise
    reports = session.judge()
    for report in reports:
        print(escape_unprintable("".join(_format_failures(report))), end="")
    if not all(report.verdict.is_good for report in reports):
        _print_captured(captured, plan)
    if note := session.write(reports):
        print_message(note)
    for report in reports:
        print_answer(report.line)
    return 0 if all(report.verdict.is_good for report in reports) else 1


def _format_failures(report: Report) -> Generator[str]:
    """Yield a text for each failure and each known failure, in the order of the clauses in the contract."""
    for result in report.results.values():
        if result.state.is_red:
            yield f"{result.text or result.message}\n\n"
        elif result.state is State.KNOWN:
            yield f"{result.clause} {result.state}: {result.message}\n"


class _Tail(io.RawIOBase):
    """Keeps the last bytes that are written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.tail = b""

    def writable(self) -> bool:
        """Return True. The module ``io`` requires this answer of a stream that can be written."""
        return True

    def write(self, data: Any, /) -> int:
        """Append the data."""
        new = bytes(data)
        self.tail = (self.tail + new)[-_TAIL_LIMIT:]
        return len(new)


@contextmanager
def _capture_output() -> Generator[_Tail]:
    """Capture the output of subjects, so that the output does not reach the terminal.

    The output may contain secrets, and sequences that a terminal or a CI system executes.
    """
    tail = _Tail()
    stream = io.TextIOWrapper(io.BufferedWriter(tail, 1), "utf-8", "backslashreplace", write_through=True)
    with redirect_stdout(stream), redirect_stderr(stream):
        yield tail


def _print_captured(captured: _Tail, plan: Plan) -> None:
    text = captured.tail.decode(errors="replace").rstrip()
    for facts in plan.facts:
        text = make_scrubber(facts.config)(text)
    if text:
        said = f"output during the checks:\n{text}".replace("\n", MARGIN)
        print(escape_unprintable(said), file=sys.stderr)


@contextmanager
def _show_progress(count: int, stream: TextIO) -> Generator[ResultCallback]:
    """Show the progress of the checks: as a bar on a terminal, and as one letter for each check on any other stream."""
    console = Console(file=stream)
    if not console.is_terminal:
        yield _print_letters(stream)
        print(file=stream)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("checking", total=count)

        def report_result(facts: SubjectInfo, clause: Clause, result: Result) -> None:
            progress.update(task, advance=1, description=f"{clause.id} {result.state}")
            if result.state.is_red:
                line = escape_unprintable(f"{facts.id} {clause.id} {result.state}: {result.message}")
                progress.console.print(line, markup=False, highlight=False)

        yield report_result


def _print_letters(stream: TextIO) -> ResultCallback:
    letters = {State.PASSED: ".", State.NOT_APPLICABLE: "s", State.BLOCKED: "b", State.KNOWN: "x"}

    def report_result(_facts: SubjectInfo, _clause: Clause, result: Result) -> None:
        print(letters.get(result.state, "F"), end="", file=stream, flush=True)

    return report_result
