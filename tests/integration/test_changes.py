"""Changes in the environment of a running process: upgrades, removals and editable installs."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Environment, EnvironmentMaker

FIXTURES = Path(__file__).parents[2] / "fixtures"

# Lists the fake, then runs the command of each argument and lists it again: without, and with a refresh.
STEPS = """
import json, subprocess, sys
from intercede import registry

def told():
    found = [plugin for plugin in registry.plugins("backends") if plugin.name == "fake"]
    return [[plugin.version, "restart needed" in plugin.reason] for plugin in found]

if sys.argv[1] == "loaded":
    registry.backend("fake")
answers = [told()]
for command in sys.argv[2:]:
    subprocess.run(json.loads(command), check=True)
    answers.append(told())
    registry.refresh()
    answers.append(told())
print(json.dumps(answers))
"""


@pytest.fixture
def newer(tmp_path: Path, build_wheel: Callable[[Path, Path], Path]) -> Path:
    """Return a directory with the wheel of a newer version of the fake."""
    project = tmp_path / "newer"
    shutil.copytree(FIXTURES / "fake", project, ignore=shutil.ignore_patterns("__pycache__"))
    text = (project / "pyproject.toml").read_text()
    assert 'version = "0.1"' in text
    (project / "pyproject.toml").write_text(text.replace('version = "0.1"', 'version = "0.2"'))
    build_wheel(project, tmp_path / "wheels")
    return tmp_path / "wheels"


@pytest.mark.parametrize("state", ["listed", "loaded"])
def test_upgrade_and_uninstall_within_one_process(new_environment: EnvironmentMaker, newer: Path, state: str) -> None:
    """Both are seen after refresh() and not before; if the old code is loaded, the reason is restart needed."""
    environment = new_environment("fake")
    quiet = ("--quiet", "--no-index")
    upgrade = environment.pip("install", *quiet, "--no-deps", "--upgrade", "--find-links", str(newer), "intercede-fake")
    uninstall = environment.pip("uninstall", "--quiet", "--yes", "intercede-fake")
    done = environment.run("-c", STEPS, state, json.dumps(upgrade), json.dumps(uninstall))
    assert done.returncode == 0, done.stderr
    loaded = state == "loaded"
    old, new = [["0.1", False]], [["0.2", loaded]]
    assert json.loads(done.stdout) == [old, old, new, new, []]


def test_installing_within_one_process(new_environment: EnvironmentMaker) -> None:
    """A plugin installed into the running process's environment is found, and works, after refresh()."""
    environment = new_environment()
    links = ("--find-links", str(environment.wheelhouse))
    install = environment.pip("install", "--quiet", "--no-index", "--no-deps", *links, "intercede-fake")
    done = environment.run("-c", f"{STEPS}\nregistry.backend('fake')", "listed", json.dumps(install))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], [], [["0.1", False]]]


def test_an_editable_install_is_found_from_anywhere(new_environment: EnvironmentMaker, tmp_path: Path) -> None:
    """An editable install is listed once and works from any directory, including its own project and source."""
    environment = new_environment()
    project = tmp_path / "project"
    shutil.copytree(FIXTURES / "fake", project, ignore=shutil.ignore_patterns("__pycache__"))
    environment.install("--no-build-isolation", "--no-deps", "--editable", str(project))
    program = """
import json, intercede_fake
from intercede import registry
registry.backend("fake")
plugins = [plugin for plugin in registry.plugins() if plugin.name == "fake"]
print(json.dumps([[each.status, each.version] for each in plugins] + [intercede_fake.__file__]))
"""
    for directory in (tmp_path, project, project / "src"):
        told = environment.moved(directory).read_json(program)
        assert told == [["active", "0.1"], str(project / "src" / "intercede_fake" / "__init__.py")]


def test_an_editable_plugin_may_shadow_a_built_in(new_environment: EnvironmentMaker, tmp_path: Path) -> None:
    """An editable plugin shadows a built-in as any installed one does, even from its own directory."""
    environment = new_environment()
    project = tmp_path / "project"
    shutil.copytree(FIXTURES / "site-local", project, ignore=shutil.ignore_patterns("__pycache__"))
    with (project / "pyproject.toml").open("a") as pyproject:
        pyproject.write('[tool.hatch.build]\ndev-mode-dirs = ["src"]\n')
    environment.install("--no-build-isolation", "--no-deps", "--editable", str(project))
    program = """
import json, warnings
warnings.simplefilter("ignore")
from intercede import registry
print(json.dumps([registry.resolve("transports", "local").distribution, type(registry.transport("local")).__name__]))
"""
    for directory in (tmp_path, project, project / "src"):
        assert environment.moved(directory).read_json(program) == ["intercede-site-local", "CountingTransport"]


def test_an_editable_intercede_has_its_built_ins(
    new_environment: EnvironmentMaker, tmp_path: Path, write_editable: Callable[[Environment, Path], None]
) -> None:
    """If intercede itself is editable, its metadata is not beside its code, and it has its built-ins."""
    environment = new_environment("site-local")
    uninstall = environment.pip("uninstall", "--quiet", "--yes", "intercede")
    subprocess.run(uninstall, env=environment.variables, check=True)
    write_editable(environment, tmp_path)
    program = """
import json, warnings
warnings.simplefilter("ignore")
from intercede import registry
local = [[each.distribution, each.status, each.builtin] for each in registry.plugins() if each.name == "local"]
print(json.dumps(local))
"""
    expected = [["intercede", "shadowed", True], ["intercede-site-local", "active", False]]
    for directory in (tmp_path, tmp_path / "checkout" / "src"):
        assert environment.moved(directory).read_json(program) == expected


@pytest.fixture
def write_editable() -> Callable[[Environment, Path], None]:
    """Return a function that installs a copy of this project as editable."""

    def install(environment: Environment, tmp_path: Path) -> None:
        root = FIXTURES.parent
        checkout = tmp_path / "checkout"
        shutil.copytree(root / "src", checkout / "src", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("README.md", "LICENSE", "pyproject.toml"):
            shutil.copy(root / name, checkout)
        environment.install("--no-build-isolation", "--no-deps", "--editable", str(checkout))

    return install
