"""Wheels of this project and of the plugin projects are installed by pip into environments.

The first worker of a test run builds everything, once. No package index is used: one directory has links to the
third-party libraries of the running environment, and a ``.pth`` file adds it to each environment. It has nothing of
intercede and the plugin projects.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import distribution
from itertools import count
from pathlib import Path
from typing import Protocol, TypedDict, cast

import pytest
from build import ProjectBuilder
from filelock import FileLock
from packaging.requirements import Requirement
from pyproject_hooks import quiet_subprocess_runner
from pytest_venv import VirtualEnvironment  # type: ignore[import-untyped]  # it ships none

PROJECT = Path(__file__).parents[2]
FIXTURES = PROJECT / "fixtures"
LIBRARIES = ("pytest-xdist", "hatchling")  # beside what intercede itself requires

BROKEN = (
    "broken-import",
    "exits-on-import",
    "half-capability",
    "hangs-on-import",
    "malformed-metadata",
    "needs-options",
    "not-callable",
    "sync-verb",
    "wrong-shape",
    "wrong-signature",
)
SHARED = {
    "plain": ("fake", "tracer"),
    "shadowed": ("fake", "site-local"),
    "rivals": ("fake", "site-local", "rival-local"),
    "broken": ("fake", "tracer", *BROKEN),
}


PLUGINS = """
import json
from intercede import registry
print(json.dumps([vars(plugin) for plugin in registry.plugins()]))
"""


class Candidate(TypedDict):
    """One candidate of one name, as the list shows it."""

    group: str
    name: str
    target: str
    distribution: str
    version: str
    location: str
    builtin: bool
    status: str
    reason: str


class Environment:
    """A virtual environment and its interpreter. A test that uses a shared one must not change it."""

    def __init__(self, path: Path, wheelhouse: Path) -> None:
        self.path = path
        self.python = path / "bin" / "python"
        self.wheelhouse = wheelhouse
        self.directory = home = self.path / "home"
        home.mkdir(exist_ok=True)
        self.variables = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INDEX": "1",
            "XDG_STATE_HOME": str(home / "state"),
        }

    @property
    def site_packages(self) -> Path:
        """Return the directory in which pip installs."""
        (found,) = self.path.glob("lib/python3*/site-packages")
        return found

    def moved(self, directory: Path) -> "Environment":
        """Return the same environment with another working directory."""
        other = Environment.__new__(Environment)
        other.__dict__.update(vars(self), directory=directory)
        return other

    def pip(self, *arguments: str) -> list[str]:
        """Return the command that runs the tests' pip on this environment, which has none."""
        return [sys.executable, "-m", "pip", "--python", str(self.python), *arguments]

    def install(self, *requirements: str) -> None:
        """Install from the wheelhouse, or a path."""
        command = self.pip("install", "--quiet", "--no-compile", "--find-links", str(self.wheelhouse), *requirements)
        done = subprocess.run(command, env=self.variables, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def run(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run its interpreter, with these arguments and environment variables."""
        return subprocess.run(
            [str(self.python), *arguments],
            cwd=self.directory,
            env=self.variables | variables,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def read_json(self, source: str, *flags: str, **variables: str) -> object:
        """Run a program that prints JSON and nothing on stderr, and return the parsed output."""
        done = self.run(*flags, "-c", source, **variables)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        printed: object = json.loads(done.stdout)
        return printed

    def plugins(self, *flags: str, **variables: str) -> list[Candidate]:
        """Return the list of its plugins."""
        printed: list[Candidate] = json.loads(self.run(*flags, "-c", PLUGINS, **variables).stdout)
        return printed


class EnvironmentMaker(Protocol):
    """Makes a new environment with intercede and the wheels of these plugin projects."""

    def __call__(self, *fixtures: str) -> Environment:
        """Make it."""
        ...


@contextmanager
def once(directory: Path) -> Generator[bool, None, None]:
    """Return True for the first worker, and False for the others."""
    with FileLock(f"{directory}.lock"):
        done = directory.with_name(f"{directory.name}.done")
        yield not done.exists()
        done.touch()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory that all workers of this test run share."""
    own = tmp_path_factory.getbasetemp()
    directory = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "integration"
    directory.mkdir(exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def build_wheel() -> Callable[[Path, Path], Path]:
    """Return a function that builds a project's wheel into a directory."""

    def build(project: Path, into: Path) -> Path:
        return Path(ProjectBuilder(project, runner=quiet_subprocess_runner).build("wheel", into))

    return build


@pytest.fixture(scope="session")
def wheelhouse(shared: Path, build_wheel: Callable[[Path, Path], Path]) -> Path:
    """Return the directory with the wheels of intercede and of every plugin project."""
    wheels = shared / "wheelhouse"
    projects = [PROJECT, *(path.parent for path in FIXTURES.glob("*/pyproject.toml"))]
    with once(wheels) as first:
        if first:
            with ThreadPoolExecutor(2) as pool:
                building = [pool.submit(build_wheel, project, wheels) for project in projects]
            assert all(wheel.result().exists() for wheel in building)
    return wheels


@pytest.fixture(scope="session")
def link(shared: Path) -> Callable[..., Path]:
    """Return a function that makes a directory of links to these distributions and their requirements only."""

    def links(*names: str) -> Path:
        directory = shared / f"libraries-{names[0]}"
        with once(directory) as first:
            if first:
                directory.mkdir()
                for name in sorted(_list_required(list(names), set()) - {"intercede"}):
                    _link(name, directory)
        return directory

    return links


@pytest.fixture(scope="session")
def libraries(link: Callable[..., Path]) -> Path:
    """Return the directory that every environment has on its path."""
    return link(*LIBRARIES, "intercede[all]")


def _list_required(requirements: list[str], seen: set[str]) -> set[str]:
    """Collect the names of distributions, with all that they require on this interpreter."""
    for requirement in map(Requirement, requirements):
        asked = f"{re.sub(r'[-_.]+', '-', requirement.name).lower()}{sorted(requirement.extras)}"
        if asked not in seen:
            seen.add(asked)
            needs = map(Requirement, distribution(requirement.name).requires or [])
            _list_required([_strip(need) for need in needs if _does_apply(need, requirement.extras)], seen)
    return {asked.partition("[")[0] for asked in seen}


def _does_apply(need: Requirement, extras: set[str]) -> bool:
    return need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras))


def _strip(need: Requirement) -> str:
    return str(need).partition(";")[0]


def _link(name: str, directory: Path) -> None:
    files = distribution(name).files or []
    for top in {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}:
        if not (directory / top).is_symlink():
            (directory / top).symlink_to(Path(str(distribution(name).locate_file(top))))


def _create(path: Path, *options: str) -> None:
    create = cast("Callable[..., None]", VirtualEnvironment(str(path)).create)  # pyright: ignore[reportUnknownMemberType]  # no types
    create(extra_args=list(options))


@pytest.fixture(scope="session")
def make_environment(shared: Path, wheelhouse: Path, libraries: Path) -> Callable[[Path, tuple[str, ...]], Environment]:
    """Return a function that makes an environment with intercede and these plugin projects in a directory."""

    def make(path: Path, fixtures: tuple[str, ...]) -> Environment:
        _create(path, "--quiet", "--clear", "--no-seed", "--app-data", str(shared / "virtualenv"))
        environment = Environment(path, wheelhouse)
        (environment.site_packages / "libraries.pth").write_text(f"{libraries}\n")
        environment.install("intercede[all]", *(f"intercede-{name}" for name in fixtures))
        return environment

    return make


@pytest.fixture(scope="session")
def environment(
    shared: Path, wheelhouse: Path, make_environment: Callable[[Path, tuple[str, ...]], Environment]
) -> Callable[[str], Environment]:
    """Return a function that returns one of the environments that all tests share."""

    def named(name: str) -> Environment:
        with once(shared / name) as first:
            if first:
                return make_environment(shared / name, SHARED[name])
        return Environment(shared / name, wheelhouse)

    return named


@pytest.fixture
def plain(environment: Callable[[str], Environment], tmp_path: Path) -> Environment:
    """Return an environment with intercede, the fake and the tracer, used from an empty directory."""
    return environment("plain").moved(tmp_path)


@pytest.fixture
def shadowed(environment: Callable[[str], Environment], tmp_path: Path) -> Environment:
    """Return an environment with a plugin that shadows the built-in transport."""
    return environment("shadowed").moved(tmp_path)


@pytest.fixture
def rivals(environment: Callable[[str], Environment], tmp_path: Path) -> Environment:
    """Return an environment with two plugins that shadow the built-in transport."""
    return environment("rivals").moved(tmp_path)


@pytest.fixture
def broken(environment: Callable[[str], Environment], tmp_path: Path) -> Environment:
    """Return an environment with a working plugin and one for each way to be broken."""
    return environment("broken").moved(tmp_path)


@pytest.fixture
def new_environment(
    tmp_path: Path, make_environment: Callable[[Path, tuple[str, ...]], Environment]
) -> Iterator[EnvironmentMaker]:
    """Return a function that makes environments which a test may change. They are removed after the test."""
    numbers = count()
    made: list[Path] = []

    def make(*fixtures: str) -> Environment:
        made.append(tmp_path / f"environment-{next(numbers)}")
        return make_environment(made[-1], fixtures)

    yield make
    for path in made:
        shutil.rmtree(path)


@pytest.hookimpl(tryfirst=True)  # before what is marked is selected
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this directory."""
    here = f"{Path(__file__).parent}{os.sep}"
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.slow)  # making an environment takes time


class MetadataWriter(Protocol):
    """A function that writes a distribution's metadata by hand, as no installer would, and returns its directory."""

    def __call__(self, directory: Path, distribution_name: str, version: str, entry_points: str | bytes) -> Path:
        """Write it."""
        ...


@pytest.fixture
def write_metadata() -> MetadataWriter:
    """Return the function that writes metadata."""

    def write(directory: Path, distribution_name: str, version: str, entry_points: str | bytes) -> Path:
        made = directory / f"{distribution_name.replace('-', '_')}-{version}.dist-info"
        made.mkdir(parents=True)
        (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution_name}\nVersion: {version}\n")
        data = entry_points if isinstance(entry_points, bytes) else entry_points.encode()
        (made / "entry_points.txt").write_bytes(data)
        return made

    return write
