"""Print which clause catches which wrong implementation: ``python tests/testing/gallery/matrix.py [NAME ...]``."""

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from intercede.testing.clauses import CLAUSES, Clause
from intercede.testing.context import Context
from intercede.testing.running import run_checks
from intercede.testing.verdict import Report, State

HERE = Path(__file__).parent
FAKE = HERE.parents[2] / "fixtures" / "fake" / "src"
AREAS = ("shape", "life", "submit", "handle", "status", "output", "kill", "purge")


def load(area: str) -> dict[str, type]:
    """Return the public classes of a file of the gallery by their names."""
    if str(FAKE) not in sys.path:
        sys.path.append(str(FAKE))  # where it is installed, that one is found first
    name = f"intercede_gallery_{area}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{area}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    members = vars(sys.modules[name]).items()
    return {
        key: value
        for key, value in members
        if isinstance(value, type) and value.__module__ == name and not key.startswith("_")
    }


def wrong() -> dict[str, type]:
    """Return every wrong implementation by its name."""
    return {name: each for area in AREAS for name, each in load(area).items()}


def meant(implementation: type) -> tuple[str, ...]:
    """Return the clauses that a wrong implementation is meant for."""
    told: str | tuple[str, ...] = vars(implementation)["caught_by"]
    return (told,) if isinstance(told, str) else told


def needed(clause: str) -> Iterator[str]:
    """Yield a clause and all that it depends on, in the order of the contract."""
    yield from (each for depends in CLAUSES[clause].depends for each in needed(depends))
    yield clause


def inspect(implementation: type, clause: str) -> Report:
    """Check a clause, and all that it depends on. Only the clause itself is given less time: it is to be red soon."""
    scale = vars(implementation).get("scale", 1.0)
    ids = set(needed(clause))
    clauses = {each: _hasty(of, scale) if each == clause else of for each, of in CLAUSES.items() if each in ids}
    return run_checks(implementation, clauses=clauses)


def _hasty(clause: Clause, scale: float) -> Clause:
    async def check(context: Context) -> None:
        context.scale = scale
        await clause.check(context)

    check.__doc__ = clause.check.__doc__
    return replace(clause, check=check, seconds=clause.seconds * scale)


def sweep(state: Path) -> None:
    """End the jobs that implementations which cannot kill left behind in a state directory."""
    from intercede_fake.job import Job  # noqa: PLC0415 -- where it is not installed, the path is set by now

    for path in state.glob("intercede-fake/[!.]*.*"):
        Job(path).kill()


def main(names: list[str]) -> int:
    """Print a line for each wrong implementation and clause; return 1 where one is not caught."""
    missed = 0
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state
        for name, implementation in wrong().items():
            for clause in meant(implementation) if not names or name in names else ():
                result = inspect(implementation, clause).results[clause]
                missed += result.state is not State.FAILED
                sweep(Path(state))
                print(f"{clause:12}  {name:32}  {result.state}: {result.message}")  # noqa: T201 -- a command prints
    print(f"{missed} of {len(wrong())} missed")  # noqa: T201 -- a command prints
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
