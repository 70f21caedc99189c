"""Containers on one host share a home, a host name and a boot id, and do not see each other's processes."""

from __future__ import annotations

import os
import secrets
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from intercede.contract import JobState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.daemons.faults.conftest import Manager, Score, Site, Trial

    from intercede.contract import JobHandle

    Opens = Callable[[], AbstractAsyncContextManager[Manager]]

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(300)]
PORT = 2227
STARTS = """
setsid unshare --pid --fork --kill-child --mount-proc /usr/sbin/sshd -D -f /run/daemons/ssh/sshd_config \
    -E /var/log/sshd-container.log -o Port={port} -o PidFile=none >/dev/null 2>&1 </dev/null &
echo $!
"""
SLOTS: dict[str, object] = {"type": "direct", "slots": 2, "grace_s": 1}
WORDS = "another pid namespace"


@asynccontextmanager
async def open_container(site: Site, port: int) -> AsyncGenerator[int]:
    """Start an sshd as the first process of a new pid namespace, and yield the process that ends all in it."""
    started = site.host.run("sh", "-c", STARTS.format(port=port), user="root")
    pid = int(started.stdout)
    try:
        await site.wait(lambda: site.host.run("ss", "-Hltn", f"sport = :{port}", user="root").stdout, 10)
        yield pid
    finally:
        await end(site, pid, port)


async def end(site: Site, pid: int, port: int) -> None:
    """End a container with all of its processes."""
    if site.host.processes().get(pid) == "unshare":
        os.kill(pid, signal.SIGKILL)
    await site.wait(lambda: not site.host.run("ss", "-Hltn", f"sport = :{port}", user="root").stdout, 10)


@pytest_asyncio.fixture
async def container(site: Site) -> AsyncIterator[int]:
    """Return the process with which a container ends. The container's sshd listens on PORT."""
    async with open_container(site, PORT) as pid:
        yield pid


@pytest.fixture
def outside(site: Site) -> Opens:
    """Return a function that opens a manager on the host itself."""
    return lambda: site.manager(SLOTS)


@pytest.fixture
def inside(site: Site, container: int) -> Opens:
    """Return a function that opens a manager in the container."""
    assert container
    return lambda: site.manager(SLOTS, way=site.way() | {"port": PORT})


@pytest.fixture(params=["from a container", "of a container"])
def ways(request: pytest.FixtureRequest, outside: Opens, inside: Opens) -> tuple[Opens, Opens]:
    """Return functions that open a manager where jobs are submitted, and one that cannot see their processes."""
    return (outside, inside) if request.param == "from a container" else (inside, outside)


async def expect_elsewhere(manager: Manager, handles: Collection[JobHandle], dest: Path) -> None:
    """Check that no verb calls jobs of another namespace lost or ended, or kills them, and that each says why."""
    told = await manager.backend.status(handles)
    assert {(each.state, each.reason) for each in told.values()} == {(JobState.UNKNOWN, None)}
    killed, purged = await manager.backend.kill(handles), await manager.backend.purge(handles)
    assert [each.ok for each in (*killed.values(), *purged.values())] == [False] * 2 * len(handles)
    said = [*(each.evidence for each in told.values()), *(each.detail for each in (*killed.values(), *purged.values()))]
    assert [each for each in said if WORDS not in (each or "")] == []
    assert not any(each.ok for each in (await manager.backend.fetch_output(handles, dest)).values())


async def expect_over(manager: Manager, trial: Trial, handles: Collection[JobHandle], dest: Path) -> None:
    """Check that jobs that have ended are reported, fetched and purged from anywhere."""
    assert {each.state for each in (await manager.backend.status(handles)).values()} == {JobState.DONE}
    outputs = await manager.backend.fetch_output(handles, dest)
    assert [each.stdout and each.stdout.read_text() for each in outputs.values()] == ["done\n"] * trial.copies
    assert all(each.ok for each in (await manager.backend.purge(handles)).values())


@pytest.mark.asyncio
async def test_jobs_of_another_container_are_left_alone(
    site: Site, trial: Callable[..., Trial], score: Score, ways: tuple[Opens, Opens]
) -> None:
    """Jobs of another container: they are found, and neither lost, killed nor purged."""
    there, elsewhere = ways
    async with there() as manager, elsewhere() as other:
        go = f"$HOME/go-{secrets.token_hex(6)}"
        each = trial(copies=2, first=f"until [ -e {go} ]; do sleep 0.1; done;", bystander=True)
        long = trial(copies=1, seconds=300)
        handles, killed = await manager.submit(each), await manager.submit(long)
        await site.wait(lambda: each.read_ledger().total() + long.read_ledger().total() == each.copies + long.copies)
        assert set(await other.backend.find(each.tag)) == set(handles)
        await expect_elsewhere(other, [*handles, *killed], site.tmp / "early")
        told = await manager.backend.status([*handles, *killed])
        assert {status.state for status in told.values()} == {JobState.RUNNING}
        assert all(outcome.ok for outcome in (await manager.backend.kill(killed)).values())
        long.judge(score, await manager.finish(killed))
        site.host.run("sh", "-c", f": >{go}")
        each.judge(score, await manager.finish(handles))
        await expect_over(other, each, handles, site.tmp / "late")
    score.check()


@pytest.mark.asyncio
async def test_queued_jobs_of_another_container_can_be_killed(
    site: Site, trial: Callable[..., Trial], score: Score, ways: tuple[Opens, Opens]
) -> None:
    """Queued jobs are killed from another container: exactly the killed ones never begin."""
    there, elsewhere = ways
    async with there() as manager, elsewhere() as other:
        each = trial(copies=6, seconds=5)
        handles = await manager.submit(each)
        await site.wait(lambda: each.read_ledger().total() == 2)
        killed = await other.backend.kill(handles)
        assert sorted(outcome.ok for outcome in killed.values()) == [False] * 2 + [True] * 4
        told = await manager.finish(handles)
        each.judge(score, told)
        assert {handle for handle, status in told.items() if status.state is JobState.KILLED} == {
            handle for handle, outcome in killed.items() if outcome.ok
        }
        assert await other.backend.status(handles) == told
    score.check()


@pytest.mark.asyncio
async def test_jobs_of_a_container_that_is_gone(
    site: Site, trial: Callable[..., Trial], score: Score, container: int, outside: Opens, inside: Opens
) -> None:
    """A container is gone with its jobs: ended jobs keep their states, and the others get no final state."""
    async with outside() as manager:
        ended, cut, beside = trial(bystander=True), trial(copies=1, seconds=300), trial(seconds=3, bystander=True)
        async with inside() as submitter:
            over, left = await submitter.submit(ended), await submitter.submit(cut)
            await submitter.finish(over)
            await site.wait(lambda: cut.read_ledger().total() == 1)
        its = await manager.submit(beside)
        await end(site, container, PORT)
        ended.judge(score, await manager.finish(over))
        await expect_elsewhere(manager, left, site.tmp / "gone")
        async with open_container(site, PORT + 1), site.manager(SLOTS, way=site.way() | {"port": PORT + 1}) as anew:
            await expect_elsewhere(anew, left, site.tmp / "anew")
            beside.judge(score, await manager.finish(its))
            assert list(await anew.backend.find(cut.tag)) == left
        await expect_over(manager, ended, over, site.tmp / "over")
    score.check()
