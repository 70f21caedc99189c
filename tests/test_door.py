"""Each pytest run of an environment with intercede loads its entry point, and hardly more."""

import json
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src"


def _run_python(source: str, directory: Path | None = None) -> str:
    boot = f"import sys; sys.path.insert(0, {str(SOURCES)!r})\n"
    command = [sys.executable, "-c", boot + source]
    return subprocess.run(command, capture_output=True, cwd=directory, text=True, check=True).stdout


def test_intercede_has_one_entry_point_of_pytest() -> None:
    """Installing intercede adds one entry point to pytest."""
    points = distribution("intercede").entry_points.select(group="pytest11")

    assert [point.value for point in points] == ["intercede_pytest"]


def test_the_entry_point_loads_one_module() -> None:
    """The entry point loads neither intercede nor a library that it needs."""
    loaded = _run_python(
        "import pytest, json; before = set(sys.modules)\n"
        "import intercede_pytest; print(json.dumps(sorted(set(sys.modules) - before)))"
    )

    assert json.loads(loaded) == ["intercede_pytest"]


def test_a_run_without_options_loads_no_module_of_the_kit(tmp_path: Path) -> None:
    """A pytest run without options of the kit loads none of its modules."""
    (tmp_path / "test_own.py").write_text(
        "import sys\n"
        "def test_own(): assert [m for m in sys.modules if m.startswith('intercede')] == ['intercede_pytest']\n"
    )
    arguments = ["-q", "-p", "intercede_pytest", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path)]

    output = _run_python(
        "import os; os.environ['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1'\n"
        f"import pytest; sys.exit(pytest.main({arguments!r}))"
    )

    assert "1 passed" in output


def test_the_options_are_one_group() -> None:
    """Each option begins with --intercede-, so that it clashes with no other plugin's."""
    output = _run_python(
        "import os; os.environ['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1'\n"
        "import pytest; sys.exit(pytest.main(['-p', 'intercede_pytest', '--help']))"
    )

    _, _, group = output.partition("conformance to the intercede contract:")
    assert group.strip().startswith("--intercede-backend=NAME|JSON")
    for option in ("config", "profile", "require", "report", "timeout-scale", "list", "explain"):
        assert f"  --intercede-{option}" in group


@pytest.mark.parametrize("option", ["--intercede-backend=fake", "--intercede-list"])
def test_another_project_named_intercede_is_reported(tmp_path: Path, option: str) -> None:
    """Another project named intercede on the path, as from the public index, is reported."""
    (tmp_path / "intercede").mkdir()
    (tmp_path / "intercede" / "__init__.py").write_text('__version__ = "0.0.1a1"\n')

    output = _run_python(
        f"import os; os.environ['PYTEST_DISABLE_PLUGIN_AUTOLOAD'] = '1'; sys.path.insert(0, {str(tmp_path)!r})\n"
        f"import pytest; sys.stderr = sys.stdout; print(pytest.main(['-p', 'intercede_pytest', {option!r}]))",
        tmp_path,
    )

    assert output.startswith(
        f"ERROR: the 'intercede' that Python finds, {tmp_path}/intercede/__init__.py, is not the one"
    )
    assert 'pip install "intercede[testing] @ ' in output
    assert output.splitlines()[-1] == "4"
