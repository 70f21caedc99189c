"""The files of the built-in scheduler slurm work as another distribution, without the built-in."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.strangers import remove_slurm, write_slurm

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.conftest import EnvironmentMaker


@pytest.mark.slow
def test_slurm_is_conformant_as_a_distribution_of_its_own(
    new_environment: EnvironmentMaker, build_wheel: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    """The built-in slurm's files as a distribution of their own pass each clause on their recordings."""
    environment = new_environment()
    remove_slurm(environment.site_packages)
    environment.install(str(build_wheel(write_slurm(tmp_path / "project"), tmp_path / "wheels")))
    assert environment.run("-c", "import intercede.schedulers.slurm").returncode == 1
    candidates = [each for each in environment.plugins() if each["name"] == "slurm"]
    assert [(each["distribution"], each["builtin"]) for each in candidates] == [("stranger-slurm", False)]

    kit = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--intercede-scheduler=slurm", "--intercede-report=report")
    done = subprocess.run(
        [environment.python, *kit],
        cwd=environment.directory,
        env=environment.variables,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("intercede: slurm 0.1 (stranger-slurm) is CONFORMANT to contract 1.0, full: ")
    report = json.loads((environment.directory / "report" / "conformance.json").read_text())
    assert (report["verdict"], report["subject"]["distribution"]) == ("CONFORMANT", "stranger-slurm")
    assert {each["outcome"] for each in report["clauses"] if each["role"] == "scheduler"} == {"PASSED"}
