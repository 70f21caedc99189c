"""``intercede check``: the conformance suite without pytest, with what it does on the screen meanwhile."""

import io
import sys
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from intercede.cli.words import plain, say, show
from intercede.contract.errors import ConfigError
from intercede.redaction import scrubber
from intercede.testing import report as reporting
from intercede.testing.checking import Told, inspect
from intercede.testing.clauses import CLAUSES, Clause
from intercede.testing.finding import MARGIN
from intercede.testing.known import updated
from intercede.testing.known import write as write_known
from intercede.testing.plan import Plan
from intercede.testing.verdict import Facts, Report, Result, State

__all__ = ["check", "matching", "prepare"]

_KEPT = 20_000
"""So many bytes of what subjects print are kept."""


def matching(only: Sequence[str]) -> list[str]:
    """Turn clauses and areas, as people write them, into what a plan chooses by: IC-SUBMIT-04, submit.

    Raises:
        ConfigError: There is no such clause or area.
    """
    areas = {each.area for each in CLAUSES.values()}
    return [_beginning(each, areas) for each in only]


def _beginning(word: str, areas: Collection[str]) -> str:
    clause, area = CLAUSES.get(word.upper()), word.lower().removeprefix("ic-")
    if clause is None and area not in areas:
        near = get_close_matches(word.upper(), CLAUSES, n=3) or sorted(areas)
        raise ConfigError(
            f"--only {word}: there is no such clause or area; is one of these meant: {', '.join(near)}?",
            field="--only",
            value=word,
        )
    return f"intercede/{clause.area}::{clause.id}" if clause else f"intercede/{area}"


def prepare(directory: Path) -> None:
    """Make the directory of the reports, and see that they can be written, before any job is started for nothing.

    Raises:
        ConfigError: What writes them is not installed.
        OSError: The directory cannot be made.
    """
    try:
        reporting.prepare(directory)
    except ImportError as error:
        raise ConfigError(f"--report {directory}: {error}", field="--report", value=str(directory)) from None


def check(plan: Plan, directory: Path | None, *, update_known: bool) -> int:
    """Run the checks of a plan, show them, and print the verdicts last.

    Args:
        plan: What to do.
        directory: Where reports go; it is there.
        update_known: Whether the file of known failures is rewritten.

    Returns:
        0 where every verdict is CONFORMANT or PARTIAL, else 1.

    Raises:
        OSError: A report, or the file of known failures, cannot be written.
        KeyboardInterrupt: The user's own; what is left was named on stderr.
    """
    started = datetime.now(UTC)
    for line in (*(warning for facts in plan.facts for warning in facts.warnings), *plan.notes):
        say(line)
    try:
        with _shown(len(plan.wanted), sys.stderr) as told, _kept_aside() as aside:
            reports = inspect(plan, told)
    except KeyboardInterrupt as interruption:
        for note in getattr(interruption, "__notes__", ()):
            say(note)
        raise
    for report in reports:
        print(plain("".join(_lines(report))), end="")
    if not all(report.verdict.good for report in reports):
        _show(aside, plan)
    if directory is not None:
        seconds = (datetime.now(UTC) - started).total_seconds()
        made = reporting.Run(started=started, seconds=seconds, scales=plan.scales, jobs=plan.jobs, repeat=plan.repeat)
        reporting.write(reports, directory, made)
    if update_known and plan.known is not None:
        _rewrite(plan, reports)
    for report in reports:
        show(report.line)
    return 0 if all(report.verdict.good for report in reports) else 1


def _lines(report: Report) -> Generator[str]:
    """Write out what is red, in the contract's order, and what failed as it was known to."""
    for result in report.results.values():
        if result.state.red:
            yield f"{result.text or result.message}\n\n"
        elif result.state is State.KNOWN:
            yield f"{result.clause} {result.state}: {result.message}\n"


def _rewrite(plan: Plan, reports: Sequence[Report]) -> None:
    assert plan.known is not None  # noqa: S101 -- the caller looked
    text = updated(plan.known, {each.facts.id: each.results for each in reports}, CLAUSES, plan.today)
    if text != plan.known.text:
        write_known(plan.known, text)
        say(f"{plan.known.path} was rewritten; look at it before you keep it")


class _Tail(io.RawIOBase):
    """Keeps the end of what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = b""

    def writable(self) -> bool:
        """Say so."""
        return True

    def write(self, data: Any, /) -> int:
        """Take it."""
        new = bytes(data)
        self.kept = (self.kept + new)[-_KEPT:]
        return len(new)


@contextmanager
def _kept_aside() -> Generator[_Tail]:
    """Keep what subjects print off the terminal: it may hold their secrets, and orders to a terminal or a forge."""
    tail = _Tail()
    stream = io.TextIOWrapper(io.BufferedWriter(tail, 1), "utf-8", "backslashreplace", write_through=True)
    with redirect_stdout(stream), redirect_stderr(stream):
        yield tail


def _show(aside: _Tail, plan: Plan) -> None:
    text = aside.kept.decode(errors="replace").rstrip()
    for facts in plan.facts:
        text = scrubber(facts.config)(text)
    if text:
        said = f"printed meanwhile:\n{text}".replace("\n", MARGIN)
        print(plain(said), file=sys.stderr)


@contextmanager
def _shown(count: int, where: TextIO) -> Generator[Told]:
    """Show how far the checks are: a bar on a terminal, a letter a check elsewhere."""
    console = Console(file=where)
    if not console.is_terminal:
        yield _letters(where)
        print(file=where)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("checking", total=count)

        def told(facts: Facts, clause: Clause, result: Result) -> None:
            progress.update(task, advance=1, description=f"{clause.id} {result.state}")
            if result.state.red:
                line = plain(f"{facts.id} {clause.id} {result.state}: {result.message}")
                progress.console.print(line, markup=False, highlight=False)

        yield told


def _letters(where: TextIO) -> Told:
    letters = {State.PASSED: ".", State.NOT_APPLICABLE: "s", State.BLOCKED: "b", State.KNOWN: "x"}

    def told(_facts: Facts, _clause: Clause, result: Result) -> None:
        print(letters.get(result.state, "F"), end="", file=where, flush=True)

    return told
