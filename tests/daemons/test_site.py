"""A stranger's plugin over a built-in, on the real thing: one that wraps it, and one that is the built-in's own files."""

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
    """Install the plugin in a directory of its own, beside what all combinations use."""
    project, place = client.at / "site-slurm", client.at / "site-packages"
    for directory in (project, place):
        shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(PLUGIN, project, ignore=shutil.ignore_patterns("__pycache__"))
    client.pip("install", "--no-deps", "--target", place, project)
    return place


def test_a_site_shadows_slurm(client: Client, grid: Host, installed: Path) -> None:
    """Shadowed by a package that wraps it, slurm stays conformant over ssh, and every job names the site's account."""
    for entity in (["account", "site", "Cluster=itest"], ["user", "griduser", "Account=site"]):
        grid.run("sacctmgr", "--immediate", "add", *entity, user="root")
    ended = client.kit("nobody", BACKEND, seconds=600, plugins=installed)
    assert "CONFORMANT to contract" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "intercede-site-slurm 0.1" in ended.stdout
    accounts = grid.run("sacct", "-X", "-n", "-P", "-o", "Account,JobName", "-u", "griduser").stdout.split()
    assert any(line.startswith("site|ic-") for line in accounts)


def test_slurm_is_conformant_as_a_stranger_s_distribution(client: Client, grid: Host) -> None:
    """Built from its files alone and installed in front of the built-in, it runs jobs of a real Slurm over ssh."""
    project, place = client.at / "stranger-slurm", client.at / "stranger-packages"
    for directory in (project, place):
        shutil.rmtree(directory, ignore_errors=True)
    client.pip("install", "--no-deps", "--target", place, write_slurm(project))
    ended = client.kit("nobody", {**BACKEND, "scheduler": "slurm"}, seconds=600, plugins=place)
    assert "CONFORMANT to contract" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "stranger-slurm 0.1" in ended.stdout
