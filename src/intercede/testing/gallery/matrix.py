"""Print which clause catches which wrong implementation: ``python -m intercede.testing.gallery.matrix [NAME ...]``."""

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from intercede.testing.clauses import CLAUSES, Clause
from intercede.testing.context import Context
from intercede.testing.gallery import caught_by, role_of, wrong
from intercede.testing.gallery.fake.job import Job
from intercede.testing.running import run_checks
from intercede.testing.verdict import Report, State, needs

__all__ = ["inspect", "main", "sweep"]


def _with_needs(clause: str) -> Iterator[str]:
    """Yield a clause and all that it depends on."""
    yield from (each for of in needs(CLAUSES[clause], {}) for each in _with_needs(of))
    yield clause


def inspect(implementation: type, clause: str) -> Report:
    """Check a clause, and all that it depends on. Only the clause itself is given less time: it is to be red soon."""
    scale = getattr(implementation, "scale", 1.0)
    ids = set(_with_needs(clause))
    clauses = {each: _hasty(of, scale) if each == clause else of for each, of in CLAUSES.items() if each in ids}
    return run_checks(implementation, role=role_of(implementation), clauses=clauses)


def _hasty(clause: Clause, scale: float) -> Clause:
    async def check(context: Context) -> None:
        context.scale = scale
        await clause.check(context)

    check.__doc__ = clause.check.__doc__
    return replace(clause, check=check, seconds=clause.seconds * scale)


def sweep(state: Path) -> None:
    """End the jobs that implementations which cannot kill left behind in a state directory."""
    for path in state.glob("intercede-fake/[!.]*.*"):
        Job(path).kill()


def main(names: list[str]) -> int:
    """Print a line for each wrong implementation and clause; return 1 where one is not caught."""
    missed = 0
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state
        for name, implementation in wrong().items():
            for clause in caught_by(implementation) if not names or name in names else ():
                result = inspect(implementation, clause).results[clause]
                missed += result.state is not State.FAILED
                sweep(Path(state))
                print(f"{clause:12}  {name:32}  {result.state}: {result.message}")  # noqa: T201 -- a command prints
    print(f"{missed} of {len(wrong())} missed")  # noqa: T201 -- a command prints
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
