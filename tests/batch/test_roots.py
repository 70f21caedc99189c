"""A root must belong to the user alone."""

import asyncio
import os
import stat
import subprocess
from pathlib import Path

import pytest
from tests.batch.sites import Counting, Site, finish, make_script_spec

from intercede.batch import BatchBackend
from intercede.batch.remote.api import load_script
from intercede.contract.errors import (
    ConfigError,
    ResourceError,
)
from intercede.schedulers.direct import DirectScheduler


@pytest.mark.asyncio
async def test_a_root_that_others_can_change_is_refused(tmp_path: Path) -> None:
    """A root that is a link, a file, or can be changed by other users is a ConfigError with the reason."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()
    (tmp_path / "wide").mkdir()
    (tmp_path / "wide").chmod(0o770)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)
    (tmp_path / "loose" / "ours").mkdir(parents=True)
    (tmp_path / "loose").chmod(0o777)
    cases = {
        "link": "link",
        "file": "not a directory",
        "wide": "other users may write",
        "open/root": "every user",
        "loose/ours/root": "can be replaced",
    }
    for name, why in cases.items():
        backend = BatchBackend(Counting(), DirectScheduler(), root=str(tmp_path / name))
        with pytest.raises(ConfigError, match=why) as caught:
            await backend.__aenter__()
        assert caught.value.field == "root"


@pytest.mark.asyncio
async def test_a_root_that_was_replaced_is_not_used(tmp_path: Path) -> None:
    """No script runs in a root that belongs to another user by now."""
    if os.getuid() != 0:
        pytest.skip("only root can make what belongs to somebody else")
    async with BatchBackend(Counting(), DirectScheduler(), root=str(tmp_path / "root")) as backend:
        (tmp_path / "root").rename(tmp_path / "away")
        (tmp_path / "root").mkdir()
        os.chown(tmp_path / "root", 23456, 23456)
        with pytest.raises(ResourceError):
            await backend.submit(make_script_spec("true"))
        with pytest.raises(ResourceError, match="does not belong to the user any more"):
            await backend.counts()
    assert list((tmp_path / "root").iterdir()) == []


@pytest.mark.asyncio
async def test_the_default_root_lies_in_the_home(tmp_path: Path) -> None:
    """The default root is made in the home with mode 700, whatever the home's name, and keeps its resource id."""
    home = tmp_path / "a home's"
    home.mkdir()
    for _ in range(2):
        async with BatchBackend(Counting({"HOME": str(home)}), DirectScheduler()) as backend:
            handle = (await backend.submit(make_script_spec("true"))).handles[0]
            assert handle.resource == (home / ".intercede" / "resource-id").read_text().strip()
            await finish(backend, [handle])
    assert stat.S_IMODE((home / ".intercede").stat().st_mode) == 0o700
    with pytest.raises(ConfigError, match="HOME"):
        await BatchBackend(Counting({"HOME": ""}), DirectScheduler()).__aenter__()


@pytest.mark.asyncio
async def test_foreign_files_in_the_root_are_ignored(site: Site) -> None:
    """Foreign files and directories in the root are ignored, whatever their names."""
    async with asyncio.timeout(20):
        async with site.backend() as backend:
            handle = (await backend.submit(make_script_spec("true", tag="mine"))).handles[0]
            await finish(backend, [handle])
            root = site.root
            for name in ("x-$(touch owned)", "stray", handle.job.split(".")[0]):
                (root / name / "copies" / "notanumber").mkdir(parents=True)
            os.mkfifo(root / "x-$(touch owned)" / "tag")
            counts, found = await backend.counts(), await backend.find("mine")
            assert (counts.queued + counts.running, found) == (0, [handle])
            assert not list(root.rglob("owned"))


@pytest.mark.parametrize("stderr", ["", "2>&-"], ids=["stderr", "no stderr"])
def test_a_script_exits_in_another_users_root(tmp_path: Path, stderr: str) -> None:
    """A script exits with 1 in a root of another user, even if stderr is closed."""
    root = tmp_path if os.getuid() == 0 else Path("/")
    if os.getuid() == 0:
        os.chown(tmp_path, 23456, 23456)
    script = f"{{ root={root}\n{load_script('remote/home')}\necho went on\n}} {stderr}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
