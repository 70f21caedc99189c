"""Plugins of other distributions run jobs of a real Slurm: one wraps the built-in, and one has the built-in's files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.strangers import write_slurm

if TYPE_CHECKING:
    from tests.daemons.conftest import Client, Host

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(900)]
PLUGIN = Path(__file__).parents[2] / "fixtures" / "site-slurm"
BACKEND: dict[str, object] = {
    "transport": {"type": "ssh", "host": "grid", "ssh_config": "{ssh_config}"},
    "scheduler": {"type": "slurm", "account": "site"},
    "batch": {"min_poll_interval": 0.2},
}


@pytest.fixture
def installed(client: Client) -> Path:
    """Install a plugin in a directory beside the client's environment."""
    project, place = client.at / "site-slurm", client.at / "site-packages"
    for directory in (project, place):
        shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(PLUGIN, project, ignore=shutil.ignore_patterns("__pycache__"))
    client.pip("install", "--no-deps", "--target", place, project)
    return place


def test_a_plugin_that_wraps_slurm_is_conformant(client: Client, grid: Host, installed: Path) -> None:
    """A plugin that wraps slurm and shadows it is CONFORMANT over ssh, and each job has the site's account."""
    for entity in (["account", "site", "Cluster=itest"], ["user", "griduser", "Account=site"]):
        grid.run("sacctmgr", "--immediate", "add", *entity, user="root")
    ended = client.kit("nobody", BACKEND, seconds=600, plugins=installed)
    assert "CONFORMANT to contract" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "intercede-site-slurm 0.1" in ended.stdout
    accounts = grid.run("sacct", "-X", "-n", "-P", "-o", "Account,JobName", "-u", "griduser").stdout.split()
    assert any(line.startswith("site|ic-") for line in accounts)


def test_slurm_is_conformant_as_another_distribution(client: Client, grid: Host) -> None:
    """The files of the built-in slurm as another distribution are CONFORMANT on a real Slurm over ssh."""
    project, place = client.at / "stranger-slurm", client.at / "stranger-packages"
    for directory in (project, place):
        shutil.rmtree(directory, ignore_errors=True)
    client.pip("install", "--no-deps", "--target", place, write_slurm(project))
    ended = client.kit("nobody", {**BACKEND, "scheduler": "slurm"}, seconds=600, plugins=place)
    assert "CONFORMANT to contract" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "stranger-slurm 0.1" in ended.stdout
