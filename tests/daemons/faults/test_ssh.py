"""No job is lost, doubled or wrongly final if the connection to a host fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from intercede.contract import JobState, TransportError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection
    from pathlib import Path

    from tests.daemons.conftest import Daemons, Line
    from tests.daemons.faults.conftest import Manager, Score, Site, Trial, Wire

    from intercede.contract import JobHandle

    Verb = Callable[[Manager, Collection[JobHandle], Path], Awaitable[object]]

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(600)]


async def get_status(manager: Manager, handles: Collection[JobHandle], _: Path) -> object:
    """Return the statuses."""
    return {handle: each.state for handle, each in (await manager.backend.status(handles)).items()}


async def fetch_output(manager: Manager, handles: Collection[JobHandle], dest: Path) -> object:
    """Return whether the outputs are ok."""
    outputs = await manager.backend.fetch_output(handles, dest)
    return {handle: (each.ok, each.stdout and each.stdout.read_text()) for handle, each in outputs.items()}


async def get_diagnostics(manager: Manager, handles: Collection[JobHandle], _: Path) -> object:
    """Return the diagnostics."""
    return dict(await manager.backend.diagnostics(handles))


async def get_counts(manager: Manager, _handles: Collection[JobHandle], _: Path) -> object:
    """Return the counts."""
    return await manager.backend.counts()


async def kill(manager: Manager, handles: Collection[JobHandle], _: Path) -> object:
    """Return the outcomes of a kill."""
    return sorted(each.ok for each in (await manager.backend.kill(handles)).values())


async def purge(manager: Manager, handles: Collection[JobHandle], _: Path) -> object:
    """Return the outcomes of a purge."""
    return sorted(each.ok for each in (await manager.backend.purge(handles)).values())


@pytest.mark.asyncio
async def test_submit_is_cut(site: Site, wire: Wire, trial: Callable[..., Trial], score: Score) -> None:
    """Submit is cut at each piece: a find, and a submit if it sees nothing, lose no job."""
    trials: list[tuple[Trial, list[JobHandle]]] = []
    async with wire.up(), site.manager(way=site.way(wire)) as manager:

        async def submit() -> None:
            each = trial()
            trials.append((each, await manager.submit(each)))

        assert await wire.cuts(submit) > 5
        for each, handles in trials:
            each.judge(score, await manager.finish(handles))
    score.check()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "verb", [get_status, fetch_output, get_diagnostics, get_counts], ids=lambda verb: verb.__name__
)
async def test_a_reading_verb_is_cut(
    site: Site, wire: Wire, trial: Callable[..., Trial], verb: Verb, tmp_path: Path
) -> None:
    """A verb that only reads is cut at each piece: it has its whole answer or an error, and can be repeated."""
    async with wire.up(), site.manager(way=site.way(wire)) as manager:
        handles = await manager.submit(trial(copies=5))
        await manager.finish(handles)
        expected = await verb(manager, handles, tmp_path / "whole")

        async def ask() -> None:
            assert await manager.insist(lambda: verb(manager, handles, tmp_path / "cut")) == expected

        assert await wire.cuts(ask) > 3


@pytest.mark.asyncio
@pytest.mark.parametrize(("verb", "seconds"), [(kill, 300), (purge, 0)], ids=["kill", "purge"])
async def test_a_kill_or_purge_is_cut(
    site: Site, wire: Wire, trial: Callable[..., Trial], verb: Verb, seconds: int
) -> None:
    """A kill or a purge is cut at each piece: repeating it affects the given jobs and no others."""
    async with wire.up(), site.manager(way=site.way(wire)) as manager:
        handles = await manager.submit(trial(copies=60, seconds=seconds))
        if not seconds:
            await manager.finish(handles)
        asked: list[JobHandle] = []

        async def ask() -> None:
            asked.append(handles[len(asked)])
            assert await manager.insist(lambda: verb(manager, asked[-1:], site.tmp)) == [True]

        assert await wire.cuts(ask) > 3
        told = await manager.finish(asked) if seconds else await manager.backend.status(asked)
        assert {each.reason for each in told.values()} == {"killed_by_user" if seconds else "purged"}
        rest = {each.state for each in (await manager.backend.status(handles[len(asked) :])).values()}
        assert rest <= ({JobState.QUEUED, JobState.RUNNING} if seconds else {JobState.DONE})
        await manager.insist(lambda: manager.backend.kill(handles))


@pytest.mark.asyncio
async def test_sshd_is_restarted(
    site: Site, daemons: Daemons, trial: Callable[..., Trial], score: Score, tmp_path: Path
) -> None:
    """The ssh server is restarted five times during calls of each kind."""
    sshd = daemons.up("ssh", HOST="faults")

    async def lives(manager: Manager, each: Trial) -> None:
        handles = await manager.submit(each)
        told = await manager.finish(handles)
        outputs = await manager.insist(lambda: manager.backend.fetch_output(handles, tmp_path))
        assert [output.stdout and output.stdout.read_text() for output in outputs.values()] == ["done\n"] * each.copies
        assert all(outcome.ok for outcome in (await manager.insist(lambda: manager.backend.purge(handles))).values())
        each.judge(score, told)

    async with site.manager() as manager, asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(lives(manager, trial(seconds=2)))
        for _ in range(5):
            await asyncio.sleep(0.5)
            await asyncio.to_thread(daemons.restart, sshd, "sshd")
    score.check()


@pytest.mark.asyncio
@pytest.mark.parametrize("lost_percent", [0, 2])
async def test_a_slow_and_lossy_connection(
    site: Site, daemons: Daemons, trial: Callable[..., Trial], score: Score, lost_percent: int
) -> None:
    """The connection has a round trip of 200 ms and loses packets: each verb works."""
    daemons.up("delay", HOST="faults", RTT_MS="200", LOST_PERCENT=str(lost_percent))
    far = site.way() | {"host": site.host.address.replace("10.77", "10.78")}
    async with site.manager(way=far) as manager:
        each = trial(copies=100)
        handles = await manager.submit(each)
        told = await manager.finish(handles)
        outputs = await manager.backend.fetch_output(handles, site.tmp)
        assert all(output.ok for output in outputs.values())
        each.judge(score, told)
    score.check()


@pytest.mark.asyncio
async def test_a_cut_cable(site: Site, daemons: Daemons, trial: Callable[..., Trial], line: Line) -> None:
    """The cable is cut: a call ends within its keepalives, and the next one works afterwards."""
    daemons.up("delay", HOST="faults", RTT_MS="10")
    to_site = replace(line, host="faults")
    far = site.way() | {"host": site.host.address.replace("10.77", "10.78"), "keepalive_s": 1, "connect_s": 5}
    async with site.manager(way=far) as manager:
        handles = await manager.submit(trial())
        with to_site.cut():
            async with asyncio.timeout(20):
                with pytest.raises(TransportError):
                    await manager.backend.status(handles)
        await manager.finish(handles)


@pytest.mark.asyncio
async def test_few_sessions_and_few_logins(
    site: Site, daemons: Daemons, trial: Callable[..., Trial], score: Score
) -> None:
    """MaxSessions 2 and MaxStartups 2: ten clients with ten calls each wait for each other."""
    daemons.up(
        "ssh", HOST="faults", SSH_NAME="faultstight", SSH_PORT="2223", SSH_MAX_SESSIONS="2", SSH_MAX_STARTUPS="2"
    )
    way = site.way() | {"port": 2223}

    async def client() -> None:
        async with site.manager("direct", way=way) as manager, asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(lives(manager, trial(copies=1)))

    async def lives(manager: Manager, each: Trial) -> None:
        handles = await manager.submit(each)
        each.judge(score, await manager.finish(handles))

    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(client())
    score.check()


@pytest.mark.asyncio
@pytest.mark.parametrize("user", ["gridcsh", "gridnoise"])
async def test_unusual_login_shells(site: Site, trial: Callable[..., Trial], user: str, tmp_path: Path) -> None:
    """A login shell is csh, or has rc files that print, trace and define: answers are the same."""
    async with site.manager("direct", way=site.way() | {"username": user}) as manager:
        handles = await manager.submit(trial())
        told = await manager.finish(handles)
        outputs = await manager.backend.fetch_output(handles, tmp_path)
        assert {each.state for each in told.values()} == {JobState.DONE}
        assert [each.stdout and each.stdout.read_text() for each in outputs.values()] == ["done\n"] * 3
        assert all(each.ok for each in (await manager.backend.purge(handles)).values())


@pytest.mark.asyncio
async def test_another_login_node_knows_the_jobs(
    site: Site, manager: Manager, another_login_node: int, trial: Callable[..., Trial], score: Score
) -> None:
    """A second login node with the same files: jobs of Slurm are known and killed there."""
    short, long = trial(seconds=3, bystander=True), trial(seconds=300)
    its, killed = await manager.submit(short), await manager.submit(long)
    async with site.manager(way=site.way() | {"port": another_login_node}) as other:
        assert set(await other.backend.find(short.tag)) == set(its)
        assert all(outcome.ok for outcome in (await other.backend.kill(killed)).values())
        short.judge(score, await other.finish(its))
        long.judge(score, await other.finish(killed))
    score.check()


@pytest.mark.asyncio
async def test_another_login_node_cannot_see_processes(
    site: Site, another_login_node: int, trial: Callable[..., Trial]
) -> None:
    """A second login node cannot see processes: jobs of direct are UNKNOWN there and not lost."""
    async with site.manager("direct") as manager:
        handles = await manager.submit(trial(seconds=2))
        async with site.manager("direct", way=site.way() | {"port": another_login_node}) as other:
            told = await other.backend.status(handles)
            assert {(each.state, each.reason) for each in told.values()} == {(JobState.UNKNOWN, None)}
        assert {each.state for each in (await manager.finish(handles)).values()} == {JobState.DONE}
