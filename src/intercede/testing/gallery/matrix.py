"""Measure which clauses are red for which wrong plugin: ``python -m intercede.testing matrix [NAME ...]``.

Each plugin is checked against every clause of its role, in a process with a home directory of its own. A clause that is
red and not declared is unexpected. A clause that is declared and not red is missing. If the verdict says to fix another
clause first than a declared one, an author would be misled. The exit code is 1 in each of these cases.
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
from intercede.testing.gallery import get_also_red, get_caught_by, get_role, load_hostile, load_wrong
from intercede.testing.gallery.fake.job import Job
from intercede.testing.model.clause import MUST, Clause
from intercede.testing.model.verdict import Report
from intercede.testing.run.context import Context, get_check

__all__ = ["Row", "check_clause", "format_page", "kill_jobs", "main", "measure"]

_SECONDS = 900
"""The time limit for one plugin, in seconds."""


@dataclass(frozen=True)
class Row:
    """The measured result of one wrong plugin."""

    name: str
    red: Mapping[str, str]
    """The messages of the red clauses, by clause id."""
    failure: str = ""
    """Why the plugin could not be checked, or an empty text."""
    first: str | None = None
    """The clause that the verdict says to fix first, or None if the verdict names none."""

    @property
    def missing(self) -> tuple[str, ...]:
        """The clauses that should be red but are not."""
        return tuple(each for each in get_caught_by(load_wrong().get(self.name, object)) if each not in self.red)

    @property
    def unexpected(self) -> tuple[str, ...]:
        """The clauses that are red but should not be."""
        implementation = load_wrong().get(self.name, object)
        declared = {*get_caught_by(implementation), *get_also_red(implementation)}
        return tuple(each for each in self.red if each not in declared and self.name in load_wrong())

    @property
    def misled(self) -> bool:
        """Whether the verdict says to fix another clause first than one that must be red because of the mistake."""
        caught = get_caught_by(load_wrong().get(self.name, object))
        return self.first not in {None, *caught} and any(CLAUSES[each].level is MUST for each in caught)

    @property
    def good(self) -> bool:
        """Whether exactly the declared clauses are red, and the verdict says to fix one that must be red first."""
        return not (self.missing or self.unexpected or self.misled or self.failure)

    def __str__(self) -> str:
        lines = [f"{self.name:36} red: {', '.join(self.red) or 'none'}"]
        lines += [f"  FAILED to be measured: {self.failure}"] if self.failure else []
        lines += [f"  MISSING {each}" for each in self.missing]
        lines += [f"  UNEXPECTED {each}: {self.red[each]}" for each in self.unexpected]
        lines += [f"  MISLED: the verdict says to fix {self.first} first"] if self.misled else []
        return "\n".join(lines)


def check_clause(implementation: type, clause: str) -> Report:
    """Check one clause, with the time limits that the wrong plugin declares, and without the clause's dependencies."""
    alone = {clause: _shorten_limits(implementation, {clause})[clause]}
    return run_checks(implementation, role=get_role(implementation), clauses=alone)


def _shorten_limits(implementation: type, ids: set[str]) -> Mapping[str, Clause]:
    """Return all clauses, and give those of ``ids`` the time limits that a wrong plugin declares.

    The clauses of transports come first: if one of them is red, a backend over that transport is not checked.
    """
    scale = getattr(implementation, "scale", 1.0)
    below_first = sorted(CLAUSES.items(), key=lambda pair: pair[1].role == "backend")
    return {each: _shorten_limit(of, scale) if each in ids else of for each, of in below_first}


def _shorten_limit(clause: Clause, scale: float) -> Clause:
    async def check(context: Context) -> None:
        context.scale = scale
        await get_check(clause)(context)

    check.__doc__ = clause.check.__doc__
    return replace(clause, check=check, seconds=clause.seconds * scale)


def _make_row(name: str, *, quick: bool) -> Row:
    """Check one plugin in this process, and return its row."""
    implementation, first = {**load_wrong(), **load_hostile()}[name], None
    if name in load_hostile():
        pairs = dict(_check_hostile(implementation).results)
    elif quick:
        pairs = {each: check_clause(implementation, each).results[each] for each in get_caught_by(implementation)}
    else:
        clauses = _shorten_limits(implementation, {*get_caught_by(implementation), *get_also_red(implementation)})
        report = run_checks(implementation, role=get_role(implementation), clauses=clauses, concurrent=False)
        pairs, first = dict(report.results), report.first_to_fix
    red = {each: f"{result.state}: {result.message}" for each, result in pairs.items() if result.state.is_red}
    return Row(name, red, first=first)


def _check_hostile(implementation: type) -> Report:
    """Check the areas that a hostile plugin declares, without dependencies and with short time limits."""
    role = get_role(implementation)
    areas = getattr(implementation, "areas", ("handle", "purge") if role == "backend" else (role,))
    clauses = {each: replace(of, depends=()) for each, of in CLAUSES.items() if of.area in areas}
    return run_checks(implementation, role=role, clauses=clauses, scale=0.05)


def measure(name: str, *, quick: bool = False) -> Row:
    """Check one plugin in a child process, and afterwards kill the child with everything that it started."""
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
                kill_jobs(Path(home))
                _kill_all(home)
        if failure:
            return Row(name, {}, f"{failure}: {Path(home, 'said').read_text('utf-8', 'replace')[-500:]}")
        return Row(**cast("dict[str, Any]", json.loads(answer.read_text("utf-8"))))


def _kill_all(home: str) -> None:
    """Kill every process whose environment has this home directory."""
    wanted = f"\0HOME={home}\0".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in b"\0" + path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)


def kill_jobs(state: Path) -> None:
    """Kill the jobs in a state directory that wrong plugins, which may not be able to kill, left behind."""
    for path in state.glob("intercede-fake/[!.]*.*"):
        Job(path).kill()


def format_page() -> str:
    """Write the page of the documentation that lists each wrong plugin, its mistake and the clauses that are red."""
    rows = load_wrong()
    columns = {each for of in rows.values() for each in get_caught_by(of)}
    lines = [
        "# The gallery of wrong plugins",
        "",
        "<!-- Made by `make docs`. -->",
        "",
        "`intercede.testing.gallery` contains plugins that are wrong on purpose, each as short as its mistake.",
        "*Caught by* lists the clauses that must be red because of the mistake. *Also red* lists other clauses that",
        "may be red because of it. `make matrix` checks each plugin against every clause of its role. It fails if a",
        "clause that is not listed is red, or if a clause that must be red is not.",
        "",
        f"There are {len(rows)} wrong plugins and {len(CLAUSES)} clauses, {len(columns)} of which catch at least one.",
        "",
        "```python",
        "from intercede.testing import gallery, run_checks",
        "",
        'print(run_checks(gallery.load_wrong()["AnswersForAllJobs"], {"status"}).results["IC-STATUS-01"].detail)',
        "```",
    ]
    for role in ("backend", "transport", "scheduler"):
        mine = {name: each for name, each in rows.items() if get_role(each) == role}
        lines += ["", f"## {role.capitalize()}s", "", "| wrong plugin | its mistake | caught by | also red |"]
        lines += ["|---|---|---|---|", *(_format_row(name, each) for name, each in mine.items())] if mine else []
    return "\n".join(lines) + "\n"


def _format_row(name: str, implementation: type) -> str:
    does = " ".join((implementation.__doc__ or "").split()).replace("|", "\\|")
    caught_by, also_red = ", ".join(get_caught_by(implementation)), ", ".join(get_also_red(implementation))
    return f"| `{name}` | {does} | {caught_by} | {also_red} |"


def main(arguments: Sequence[str]) -> int:
    """Print a row for each wrong plugin. Return 1 if one of them is not red as declared, else 0."""
    parser = argparse.ArgumentParser(prog="python -m intercede.testing matrix", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", help="the wrong plugins to check; the default is all")
    parser.add_argument("--quick", action="store_true", help="check only the declared clauses")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many plugins to check at once")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)  # for child processes
    asked = parser.parse_args(arguments)
    if unknown := set(asked.names) - {*load_wrong(), *load_hostile()}:
        parser.error(f"not in the gallery: {', '.join(sorted(unknown))}")
    if asked.into:
        asked.into.write_text(json.dumps(asdict(_make_row(asked.names[0], quick=asked.quick))), "utf-8")
        return 0
    return 1 if _measure_all(asked.names or list(load_wrong()), quick=asked.quick, jobs=asked.jobs) else 0


def _measure_all(names: list[str], *, quick: bool, jobs: int) -> int:
    """Print the rows and the totals, and return how many rows are not as declared.

    Such a row is measured once more, alone: plugins that are checked at the same time slow each other down.
    """
    rows: dict[str, Row] = {}
    with ThreadPoolExecutor(jobs) as pool:
        for row in pool.map(partial(measure, quick=quick), names):
            print(row, flush=True)  # noqa: T201 -- a command prints
            rows[row.name] = row
    for name in [each.name for each in rows.values() if not each.good]:
        rows[name] = measure(name, quick=quick)
        print(f"once more, alone: {rows[name]}", flush=True)  # noqa: T201 -- a command prints
    bad = sum(not each.good for each in rows.values())
    totals = f"{len(rows)} rows x {len(CLAUSES)} columns: {len(rows) - bad} as declared, {bad} not"
    unexpected = sum(len(each.unexpected) for each in rows.values())
    print(f"{totals}; {unexpected} unexpected")  # noqa: T201 -- a command prints
    return bad
