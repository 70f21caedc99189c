"""Containers on one host share a home, a host name and a boot id, and see no process of each other."""

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
async def a_container(site: Site, port: int) -> AsyncGenerator[int]:
    """Start an sshd that is the first process of a pid namespace with its own /proc; yield what ends all in there."""
    started = site.host.run("sh", "-c", STARTS.format(port=port), user="root")
    pid = int(started.stdout)
    try:
        await site.wait(lambda: site.host.run("ss", "-Hltn", f"sport = :{port}", user="root").stdout, 10)
        yield pid
    finally:
        await end(site, pid, port)


async def end(site: Site, pid: int, port: int) -> None:
    """End a container, and with it all that runs there."""
    if site.host.processes().get(pid) == "unshare":
        os.kill(pid, signal.SIGKILL)
    await site.wait(lambda: not site.host.run("ss", "-Hltn", f"sport = :{port}", user="root").stdout, 10)


@pytest_asyncio.fixture
async def container(site: Site) -> AsyncIterator[int]:
    """Return the process that a container on that host ends with; it listens on PORT."""
    async with a_container(site, PORT) as pid:
        yield pid


@pytest.fixture
def outside(site: Site) -> Opens:
    """Return what opens a manager on the host itself."""
    return lambda: site.manager(SLOTS)


@pytest.fixture
def inside(site: Site, container: int) -> Opens:
    """Return what opens a manager in the container."""
    assert container
    return lambda: site.manager(SLOTS, way=site.way() | {"port": PORT})


@pytest.fixture(params=["from a container", "of a container"])
def ways(request: pytest.FixtureRequest, outside: Opens, inside: Opens) -> tuple[Opens, Opens]:
    """Return what opens a manager where jobs are submitted, and one that cannot see their processes."""
    return (outside, inside) if request.param == "from a container" else (inside, outside)


async def is_elsewhere(manager: Manager, handles: Collection[JobHandle], dest: Path) -> None:
    """See that no verb takes jobs that began there for lost, over or its own, and that each says why."""
    told = await manager.backend.status(handles)
    assert {(each.state, each.reason) for each in told.values()} == {(JobState.UNKNOWN, None)}
    killed, purged = await manager.backend.kill(handles), await manager.backend.purge(handles)
    assert [each.ok for each in (*killed.values(), *purged.values())] == [False] * 2 * len(handles)
    said = [*(each.evidence for each in told.values()), *(each.detail for each in (*killed.values(), *purged.values()))]
    assert [each for each in said if WORDS not in (each or "")] == []
    assert not any(each.ok for each in (await manager.backend.fetch_output(handles, dest)).values())


async def is_over(manager: Manager, trial: Trial, handles: Collection[JobHandle], dest: Path) -> None:
    """See that what came to its end is told, fetched and purged, wherever it ran."""
    assert {each.state for each in (await manager.backend.status(handles)).values()} == {JobState.DONE}
    outputs = await manager.backend.fetch_output(handles, dest)
    assert [each.stdout and each.stdout.read_text() for each in outputs.values()] == ["done\n"] * trial.copies
    assert all(each.ok for each in (await manager.backend.purge(handles)).values())


@pytest.mark.asyncio
async def test_another_pid_namespace(
    site: Site, trial: Callable[..., Trial], score: Score, ways: tuple[Opens, Opens]
) -> None:
    """Containers that share a home, one asked for jobs of the other: they are found, and neither lost, ended nor purged."""
    there, elsewhere = ways
    async with there() as manager, elsewhere() as other:
        go = f"$HOME/go-{secrets.token_hex(6)}"
        each = trial(copies=2, first=f"until [ -e {go} ]; do sleep 0.1; done;", bystander=True)
        long = trial(copies=1, seconds=300)
        handles, killed = await manager.submit(each), await manager.submit(long)
        await site.wait(lambda: each.noted().total() + long.noted().total() == each.copies + long.copies)
        assert set(await other.backend.find(each.tag)) == set(handles)
        await is_elsewhere(other, [*handles, *killed], site.tmp / "early")
        told = await manager.backend.status([*handles, *killed])
        assert {status.state for status in told.values()} == {JobState.RUNNING}
        assert all(outcome.ok for outcome in (await manager.backend.kill(killed)).values())
        long.judge(score, await manager.finish(killed))
        site.host.run("sh", "-c", f": >{go}")
        each.judge(score, await manager.finish(handles))
        await is_over(other, each, handles, site.tmp / "late")
    score.check()


@pytest.mark.asyncio
async def test_what_waits_in_another_pid_namespace(
    site: Site, trial: Callable[..., Trial], score: Score, ways: tuple[Opens, Opens]
) -> None:
    """Containers that share a home, one kills what waits in the other: what is told to be killed never begins, and no other."""
    there, elsewhere = ways
    async with there() as manager, elsewhere() as other:
        each = trial(copies=6, seconds=5)
        handles = await manager.submit(each)
        await site.wait(lambda: each.noted().total() == 2)
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
async def test_a_pid_namespace_is_gone(
    site: Site, trial: Callable[..., Trial], score: Score, container: int, outside: Opens, inside: Opens
) -> None:
    """A container is gone with what ran in it: its ends stay told, no end is made up for the rest, and what ran beside it goes on."""
    async with outside() as manager:
        ended, cut, beside = trial(bystander=True), trial(copies=1, seconds=300), trial(seconds=3, bystander=True)
        async with inside() as submitter:
            over, left = await submitter.submit(ended), await submitter.submit(cut)
            await submitter.finish(over)
            await site.wait(lambda: cut.noted().total() == 1)
        its = await manager.submit(beside)
        await end(site, container, PORT)
        ended.judge(score, await manager.finish(over))
        await is_elsewhere(manager, left, site.tmp / "gone")
        async with a_container(site, PORT + 1), site.manager(SLOTS, way=site.way() | {"port": PORT + 1}) as anew:
            await is_elsewhere(anew, left, site.tmp / "anew")
            beside.judge(score, await manager.finish(its))
            assert list(await anew.backend.find(cut.tag)) == left
        await is_over(manager, ended, over, site.tmp / "over")
    score.check()
