"""The kit runs beside other plugins of pytest: ``make test-crossings``, some half an hour, from a package index.

Each plugin, in its newest release and as people use it, gets an environment of its own with intercede, a right backend
and a wrong one. At the end, one environment has all plugins that people use most. The right backend must be green and
the wrong one red. If a plugin keeps checks from running, the verdict must be INCOMPLETE. A table is printed, and the
exit code is 1 if a verdict is not the expected one.

``python -m tests.crossings pytest-cov flaky`` crosses these alone.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import Distribution
from itertools import count, repeat
from pathlib import Path

PROJECT = Path(__file__).parents[1]
METADATA = "Metadata-Version: 2.1\nName: crossing\nVersion: 1\n"
WRONG = "[intercede.backends]\nwrong = intercede.testing.gallery.backends.status:AnswersForAllJobs\n"
RIGHT_VERDICT, WRONG_VERDICT, NONE = "0 CONFORMANT", "1 NOT CONFORMANT", "1 INCOMPLETE"
SUBJECTS = {"fake": "", "wrong": "intercede/status"}
"""The subjects and the areas that are checked: all for the right one, and for the wrong one the area of its mistake."""
KIT = ("-pno:cacheprovider", "--intercede-timeout-scale=5")
SECONDS = 600


@dataclass(frozen=True)
class Crossing:
    """Plugins, how they are used, and the expected exit code and verdict."""

    packages: str
    options: str = ""
    right: str = RIGHT_VERDICT
    wrong: str = WRONG_VERDICT
    lines: Sequence[str] = field(default=())
    """The text of the conftest."""

    @property
    def name(self) -> str:
        """The name in the table."""
        return f"{self.packages} {self.options}".strip()


MOST_USED = (
    Crossing("pytest-cov", "--cov=intercede_fake"),
    Crossing("pytest-xdist", "-n2"),
    Crossing("pytest-asyncio", "-oasyncio_mode=auto"),
    Crossing("pytest-mock"),
    Crossing("pytest-timeout", "--timeout=600"),
    Crossing("pytest-html", "--html=page.html"),
    Crossing("pytest-rerunfailures", "--reruns=2"),
    Crossing("anyio"),
    Crossing("pytest-django"),
    Crossing("pytest-env"),
    Crossing("pytest-randomly"),
    Crossing("pytest-sugar"),
    Crossing("pytest-benchmark"),
    Crossing("pytest-json-report", "--json-report"),
    Crossing("allure-pytest", "--alluredir=allure"),
    Crossing("pytest-bdd"),
    Crossing("pytest-socket", "--disable-socket --allow-unix-socket"),
    Crossing("pytest-order"),
    Crossing("pytest-split"),
    Crossing("syrupy"),
)
"""Twenty, by downloads from PyPI as far as they are known to us; with the option that lets each do its work."""
OTHERS = (
    Crossing("flaky", "--force-flaky --max-runs=3"),
    Crossing("pytest-retry", "--retries=2"),
    Crossing("pytest-run-parallel", "--parallel-threads=2"),
    Crossing("pytest-random-order", "--random-order"),
    Crossing("pytest-instafail", "--instafail"),
    Crossing("pytest-forked", "--forked", NONE, NONE),  # 1.7.5 loses every report of pytest 9.2: findings/
    Crossing("pytest-repeat", "--count=2", NONE, NONE),
    Crossing("pytest-flakefinder", "--flake-finder --flake-runs=2", NONE, NONE),
    Crossing("pytest-benchmark", "--benchmark-only", NONE, NONE),
    Crossing("pytest-benchmark", "--benchmark-only IC-STATUS-01", NONE, NONE),
    Crossing("pytest-split", "--splits=2 --group=1", NONE),
    Crossing("pytest-socket", "--disable-socket", NONE, NONE),
    Crossing("typeguard", "--typeguard-packages=intercede_fake"),
    Crossing("typeguard", "--typeguard-packages=intercede,intercede_fake"),
    Crossing("pytest-beartype", "--beartype-packages=intercede_fake"),
    Crossing("uvloop", lines=("import uvloop", "uvloop.install()")),
    Crossing(
        "freezegun",
        right=NONE,
        wrong=NONE,
        lines=(
            "import freezegun, pytest",
            "@pytest.fixture(autouse=True)",
            "def frozen():",
            "    with freezegun.freeze_time('2020-01-01'): yield",
        ),
    ),
)
"""Plugins that change how tests run, or in which process."""
TOGETHER = Crossing(
    " ".join(each.packages for each in MOST_USED),
    " ".join(each.options for each in MOST_USED),
)


@dataclass(frozen=True)
class Crossed:
    """The result of a crossing."""

    crossing: Crossing
    versions: str
    right: str
    wrong: str

    @property
    def astray(self) -> bool:
        """True if the result is not the expected one."""
        return (self.right, self.wrong) != (self.crossing.right, self.crossing.wrong)


def cross(crossing: Crossing, place: Path, index: int) -> Crossed:
    """Make the environment, check both backends in it, and remove it."""
    environment, directory = place / f"environment-{index}", place / f"directory-{index}"
    make(environment, crossing.packages.split())
    (directory / "tmp").mkdir(parents=True)
    (directory / "conftest.py").write_text("".join(f"{line}\n" for line in crossing.lines))
    versions = [read_version(environment, each) for each in crossing.packages.split()]
    words = [read_verdict(environment, directory, place, crossing, subject) for subject in SUBJECTS]
    shutil.rmtree(environment)
    shutil.rmtree(directory)
    return Crossed(crossing, " ".join(versions), *words)


def make(environment: Path, packages: Sequence[str]) -> None:
    """Make an environment with intercede, the fake and these packages, by uv if installed, else by venv and pip."""
    ours = ["--editable", f"{PROJECT}[testing]", "--editable", str(PROJECT / "fixtures" / "fake")]
    python, uv = str(environment / "bin" / "python"), shutil.which("uv")
    if uv:
        run(uv, "venv", "--quiet", "--python", sys.executable, str(environment))
        run(uv, "pip", "install", "--quiet", "--python", python, *ours, *packages)
    else:
        run(sys.executable, "-m", "venv", str(environment))
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *ours, *packages)


def run(*command: str) -> None:
    """Run a command, and show what it says if it fails.

    Raises:
        RuntimeError: It failed.
    """
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")


def read_version(environment: Path, package: str) -> str:
    """Return the version of a package in an environment."""
    (site,) = environment.glob("lib/python3*/site-packages")
    found = Distribution.discover(name=package, path=[str(site)])
    return next(iter(found)).version


def read_verdict(environment: Path, directory: Path, place: Path, crossing: Crossing, subject: str) -> str:
    """Return the exit code and the verdict of a run."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "INTERCEDE"))}
    command = [
        str(environment / "bin" / "python"),
        "-m",
        "pytest",
        "-q",
        *KIT,
        *crossing.options.split(),
    ]
    with (place / f"{directory.name}.{subject}").open("w+b") as said:
        try:
            code = str(
                subprocess.run(
                    [*command, f"--intercede-backend={subject}", *SUBJECTS[subject].split()],
                    cwd=directory,
                    env=ours | {"PYTHONPATH": str(place / "site"), "TMPDIR": str(directory / "tmp")},
                    stdout=said,
                    stderr=said,
                    stdin=subprocess.DEVNULL,
                    check=False,
                    timeout=SECONDS,
                ).returncode
            )
        except subprocess.TimeoutExpired:
            code = "no end"
        said.seek(0)
        text = said.read().decode(errors="replace")
    words = re.findall(r"^intercede: .*?(NOT CONFORMANT|CONFORMANT|INCOMPLETE|PARTIAL)", text, re.MULTILINE)
    return f"{code} {words[-1] if words else 'no verdict'}"


def main(arguments: Sequence[str]) -> int:
    """Run the crossings, print the table, and name those with an unexpected result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("packages", nargs="*", help="cross these packages alone")
    parser.add_argument("--core", action="store_true", help="the essential verbs only, in half the time")
    parser.add_argument("--jobs", type=int, default=2, help="so many crossings at once (default: 2)")
    parser.add_argument("--keep", type=Path, help="keep there what the runs print")
    asked = parser.parse_args(arguments)
    every = (*MOST_USED, *OTHERS, TOGETHER)
    if asked.core:
        SUBJECTS["fake"] = "--intercede-profile=core"
    chosen = [each for each in every if not asked.packages or each.packages in asked.packages]
    with tempfile.TemporaryDirectory(prefix="crossings-") as made:
        place = asked.keep or Path(made)
        metadata = place / "site" / "crossing-1.dist-info"
        metadata.mkdir(parents=True, exist_ok=True)
        (metadata / "METADATA").write_text(METADATA)
        (metadata / "entry_points.txt").write_text(WRONG)
        print("| plugin | version | right | wrong | |\n|---|---|---|---|---|", flush=True)
        astray = False
        with ThreadPoolExecutor(asked.jobs) as pool:
            for each in pool.map(cross, chosen, repeat(place), count()):
                name = "all twenty" if each.crossing is TOGETHER else each.crossing.name
                versions = "as above" if each.crossing is TOGETHER else each.versions
                mark = "ASTRAY" if each.astray else ""
                print(f"| {name} | {versions} | {each.right} | {each.wrong} | {mark} |", flush=True)
                astray |= each.astray
    return int(astray)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
