"""Fixtures that run pytest with the kit."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.testing.frontends.pytest_runs import CONFTEST, ENTRIES, HERE, SOURCES, Pytest, Run

if TYPE_CHECKING:
    from tests.conftest import RunModule


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory of installed subjects."""
    metadata = tmp_path_factory.mktemp("site") / "frame-1.5.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: frame\nVersion: 1.5\n")
    (metadata / "entry_points.txt").write_text(ENTRIES)
    (metadata.parent / "frame_broken.py").write_text("raise ImportError('no licence for this module')\n")
    return metadata.parent


@pytest.fixture
def run(tmp_path: Path, site: Path, run_module: "RunModule") -> Pytest:
    """Return a function that runs pytest in a directory with the conftest alone, and with no plugin but the kit's."""

    def pytest_run(
        *arguments: str, conftest: str = "", plugin: str = "", where: str = ".", path: Path = tmp_path
    ) -> Run:
        (tmp_path / "conftest.py").write_text(CONFTEST + conftest)
        (tmp_path / "another_plugin.py").write_text(plugin)
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "INTERCEDE"))}
        variables = {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": os.pathsep.join(map(str, (SOURCES, HERE, site, path))),
        }
        options = ("-p", "intercede_pytest", *(("-p", "another_plugin") if plugin else ()))
        return Run(run_module("pytest", *options, *arguments, directory=tmp_path / where, variables=ours | variables))

    return pytest_run
