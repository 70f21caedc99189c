"""The built-in scheduler slurm as a distribution of its own, made from the built-in's files alone."""

import re
import shutil
from importlib.metadata import distribution
from pathlib import Path

SCHEDULERS = Path(__file__).parents[1] / "src" / "intercede" / "schedulers"
PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "stranger-slurm"
version = "0.1"
dependencies = ["intercede>=0.1"]

[project.entry-points."intercede.schedulers"]
slurm = "stranger_slurm.slurm:SlurmScheduler"
"""


def write_slurm(directory: Path) -> Path:
    """Copy slurm's files into a project, and change only the package that they import each other from."""
    package = directory / "stranger_slurm"
    package.mkdir(parents=True)
    (directory / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").touch()
    for path in SCHEDULERS.glob("slurm.*.sh"):
        shutil.copy(path, package)
    for path in (SCHEDULERS / "slurm.py", *SCHEDULERS.glob("_slurm_*.py")):
        (package / path.name).write_text(re.sub(r"\bintercede\.schedulers\b", "stranger_slurm", path.read_text()))
    shutil.copytree(SCHEDULERS / "recordings" / "slurm", package / "recordings" / "slurm")
    return directory


def remove_slurm(site_packages: Path) -> None:
    """Remove the files and the entry point of the built-in slurm from an environment with intercede's wheel."""
    installed = site_packages / "intercede" / "schedulers"
    for path in [*installed.glob("slurm*"), *installed.glob("_slurm*")]:
        path.unlink()
    shutil.rmtree(installed / "recordings" / "slurm")
    (metadata,) = site_packages.glob(f"intercede-{distribution('intercede').version}.dist-info")
    entry_points = metadata / "entry_points.txt"
    lines = entry_points.read_text().splitlines(keepends=True)
    entry_points.write_text("".join(line for line in lines if not line.startswith("slurm ")))
