"""Measure which clauses are red for which wrong implementation: ``python -m intercede.testing matrix [NAME ...]``.

Each is checked against every clause of its role, in a process with a home of its own. A clause that is red and not
declared is unexpected; one that is declared and not red is missing. If the verdict says to fix another clause first
than the intended one, its author is misled. The exit code is 1 for each of these.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.check import run_checks
from intercede.testing.gallery import also_red, caught_by, hostile, role_of, wrong
from intercede.testing.gallery.fake.job import Job
from intercede.testing.model.clause import MUST, Clause
from intercede.testing.model.verdict import Report
from intercede.testing.run.context import Context, get_check

__all__ = ["Row", "inspect", "main", "measure", "page", "sweep"]

_SECONDS = 900
"""How long one implementation may take."""


@dataclass(frozen=True)
class Row:
    """The measured result of a wrong implementation."""

    name: str
    red: Mapping[str, str]
    """Each red clause, and its message."""
    failure: str = ""
    """Why it could not be measured."""
    first: str | None = None
    """The clause that the verdict says is to be mended first, if all were checked and one decides."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The clauses that should be red, and are not."""
        return tuple(each for each in caught_by(wrong().get(self.name, object)) if each not in self.red)

    @property
    def unexpected(self) -> tuple[str, ...]:
        """The clauses that are red, and should not be."""
        implementation = wrong().get(self.name, object)
        declared = {*caught_by(implementation), *also_red(implementation)}
        return tuple(each for each in self.red if each not in declared and self.name in wrong())

    @property
    def misled(self) -> bool:
        """Whether the verdict names another clause first than those MUST that the implementation is meant for."""
        caught = caught_by(wrong().get(self.name, object))
        return self.first not in {None, *caught} and any(CLAUSES[each].level is MUST for each in caught)

    @property
    def good(self) -> bool:
        """Whether it is red as declared, and nowhere else, and the verdict names an intended clause first."""
        return not (self.missing or self.unexpected or self.misled or self.failure)

    def __str__(self) -> str:
        lines = [f"{self.name:36} red: {', '.join(self.red) or 'none'}"]
        lines += [f"  FAILED to be measured: {self.failure}"] if self.failure else []
        lines += [f"  MISSING {each}" for each in self.missing]
        lines += [f"  UNEXPECTED {each}: {self.red[each]}" for each in self.unexpected]
        lines += [f"  MISLED: the verdict says to fix {self.first} first"] if self.misled else []
        return "\n".join(lines)


def inspect(implementation: type, clause: str) -> Report:
    """Check one clause, with the short bounds that the implementation declares. Its dependencies are not checked."""
    alone = {clause: _hastened(implementation, {clause})[clause]}
    return run_checks(implementation, role=role_of(implementation), clauses=alone)


def _hastened(implementation: type, ids: set[str]) -> Mapping[str, Clause]:
    """Return all clauses, some with the bounds of an implementation for which they must be red.

    Those of a transport come first: if one is red, nothing follows for a backend over it.
    """
    scale = getattr(implementation, "scale", 1.0)
    below_first = sorted(CLAUSES.items(), key=lambda pair: pair[1].role == "backend")
    return {each: _hasty(of, scale) if each in ids else of for each, of in below_first}


def _hasty(clause: Clause, scale: float) -> Clause:
    async def check(context: Context) -> None:
        context.scale = scale
        await get_check(clause)(context)

    check.__doc__ = clause.check.__doc__
    return replace(clause, check=check, seconds=clause.seconds * scale)


def _row(name: str, *, quick: bool) -> Row:
    """Check an implementation, in this process."""
    implementation, first = {**wrong(), **hostile()}[name], None
    if name in hostile():
        pairs = dict(_unblocked(implementation).results)
    elif quick:
        pairs = {each: inspect(implementation, each).results[each] for each in caught_by(implementation)}
    else:
        clauses = _hastened(implementation, {*caught_by(implementation), *also_red(implementation)})
        report = run_checks(implementation, role=role_of(implementation), clauses=clauses, together=False)
        pairs, first = dict(report.results), report.first_to_fix
    red = {each: f"{result.state}: {result.message}" for each, result in pairs.items() if result.state.is_red}
    return Row(name, red, first=first)


def _unblocked(implementation: type) -> Report:
    """Check the areas that a hostile implementation names, whatever is red before, with little time for each."""
    role = role_of(implementation)
    areas = getattr(implementation, "areas", ("handle", "purge") if role == "backend" else (role,))
    clauses = {each: replace(of, depends=()) for each, of in CLAUSES.items() if of.area in areas}
    return run_checks(implementation, role=role, clauses=clauses, scale=0.05)


def measure(name: str, *, quick: bool = False) -> Row:
    """Check an implementation in a child process, which is ended with everything that it started."""
    with tempfile.TemporaryDirectory(prefix="intercede-", ignore_cleanup_errors=True) as home:
        answer = Path(home, "answer.json")
        command = [sys.executable, "-m", "intercede.testing", "matrix", "--into", str(answer), name]
        command += ["--quick"] if quick else []
        environment = {**os.environ, "HOME": home, "XDG_STATE_HOME": home, "INTERCEDE_GALLERY": ""}
        with Path(home, "said").open("wb") as said:
            child = subprocess.Popen(
                command, cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
            try:
                child.wait(_SECONDS)
                failure = "" if answer.exists() else f"it ended with {child.returncode}"
            except subprocess.TimeoutExpired:
                failure = f"it did not end within {_SECONDS} s"
            finally:
                child.kill()
                child.wait()
                sweep(Path(home))
                _end_all(home)
        if failure:
            return Row(name, {}, f"{failure}: {Path(home, 'said').read_text('utf-8', 'replace')[-500:]}")
        return Row(**cast("dict[str, Any]", json.loads(answer.read_text("utf-8"))))


def _end_all(home: str) -> None:
    """End every process that was started with this home."""
    wanted = f"\0HOME={home}\0".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in b"\0" + path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)


def sweep(state: Path) -> None:
    """End the jobs that implementations which cannot kill left behind in a state directory."""
    for path in state.glob("intercede-fake/[!.]*.*"):
        Job(path).kill()


def page() -> str:
    """Write the page of the documentation: each implementation, its mistake, and the clauses that are red."""
    rows = wrong()
    columns = {each for of in rows.values() for each in caught_by(of)}
    lines = [
        "# The gallery of wrong implementations",
        "",
        "<!-- Made by `make docs`. -->",
        "",
        "`intercede.testing.gallery` holds implementations that are wrong on purpose, each as short as its mistake.",
        "*Caught by*: the clauses that must be red because of it. *Also red*: clauses in which the same mistake may",
        "show as well. `make matrix` checks each of them against every clause of its role. It fails if another clause",
        "is red, or if one that must be red is not.",
        "",
        f"{len(rows)} wrong implementations, {len(CLAUSES)} clauses, {len(columns)} of which catch at least one.",
        "",
        "```python",
        "from intercede.testing import gallery, run_checks",
        "",
        'print(run_checks(gallery.wrong()["TellsOfAll"], {"status"}).results["IC-STATUS-01"].detail)',
        "```",
    ]
    for role in ("backend", "transport", "scheduler"):
        mine = {name: each for name, each in rows.items() if role_of(each) == role}
        lines += ["", f"## {role.capitalize()}s", "", "| wrong implementation | what it does | caught by | also red |"]
        lines += ["|---|---|---|---|", *(_line(name, each) for name, each in mine.items())] if mine else []
    return "\n".join(lines) + "\n"


def _line(name: str, implementation: type) -> str:
    does = " ".join((implementation.__doc__ or "").split()).replace("|", "\\|")
    return f"| `{name}` | {does} | {', '.join(caught_by(implementation))} | {', '.join(also_red(implementation))} |"


def main(arguments: Sequence[str]) -> int:
    """Print a row for each wrong implementation; return 1 if one is not caught, or a clause is unexpected."""
    parser = argparse.ArgumentParser(prog="python -m intercede.testing matrix", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", help="wrong implementations; none: all of them")
    parser.add_argument("--quick", action="store_true", help="check the declared clauses only")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at once")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)  # what the child process is told
    asked = parser.parse_args(arguments)
    if strangers := set(asked.names) - {*wrong(), *hostile()}:
        parser.error(f"not in the gallery: {', '.join(sorted(strangers))}")
    if asked.into:
        asked.into.write_text(json.dumps(asdict(_row(asked.names[0], quick=asked.quick))), "utf-8")
        return 0
    return 1 if _measure_all(asked.names or list(wrong()), quick=asked.quick, jobs=asked.jobs) else 0


def _measure_all(names: list[str], *, quick: bool, jobs: int) -> int:
    """Print the rows and the totals; return how many rows are not as declared.

    One that is not is measured once more, with nothing beside it: bounds in time are shared by all that is measured.
    """
    rows: dict[str, Row] = {}
    with ThreadPoolExecutor(jobs) as pool:
        for row in pool.map(partial(measure, quick=quick), names):
            print(row, flush=True)  # noqa: T201 -- a command prints
            rows[row.name] = row
    for name in [each.name for each in rows.values() if not each.good]:
        rows[name] = measure(name, quick=quick)
        print(f"once more, by itself: {rows[name]}", flush=True)  # noqa: T201 -- a command prints
    bad = sum(not each.good for each in rows.values())
    told = f"{len(rows)} rows x {len(CLAUSES)} columns: {len(rows) - bad} as declared, {bad} not"
    unexpected = sum(len(each.unexpected) for each in rows.values())
    print(f"{told}; {unexpected} unexpected")  # noqa: T201 -- a command prints
    return bad
