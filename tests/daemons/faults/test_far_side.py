"""No job is misjudged and no secret is shown if the remote disk is full, the clock is wrong, or another user looks."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretBytes

from intercede.contract import CopyVars, ResourceError, SubmissionSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from tests.daemons.conftest import Daemons
    from tests.daemons.faults.conftest import Manager, Score, Site, Trial

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(300)]
SCHEDULERS = pytest.mark.parametrize("scheduler", ["slurm", "direct"])
LIMITS = pytest.mark.parametrize("limit", ["disk", "quota"])
MOUNTS = {
    "disk": "mkdir -p {0}; mount -t tmpfs -o size=2m,uid=2001,gid=2001,mode=700 small {0}",
    "quota": """
        mkdir -p {0}; truncate -s 128M /tmp/small; mkfs.btrfs -q -f /tmp/small; mount -o loop /tmp/small {0}
        btrfs quota enable {0}; btrfs subvolume create {0}/s; btrfs qgroup limit 2M {0}/s; umount {0}
        mount -o loop,subvol=s /tmp/small {0}; rm /tmp/small; chown 2001:2001 {0}; chmod 700 {0}
    """,
}
SMALL = "/home/griduser/small"


@pytest.fixture(autouse=True)
def disks(daemons: Daemons) -> None:
    """Start the daemon that allows to mount disks."""
    daemons.up("disk", HOST="faults")


@contextmanager
def mount_small_disk(site: Site, limit: str) -> Generator[None]:
    """Give griduser a directory with little space: a disk of its own, or a quota of btrfs."""
    mounted = site.host.run("sh", "-exc", MOUNTS[limit].format(SMALL), user="root")
    assert mounted.returncode == 0, mounted.stderr
    try:
        yield
    finally:
        site.host.run("umount", "--lazy", SMALL, user="root")


def fill(site: Site) -> None:
    """Fill that directory."""
    site.host.run("sh", "-c", f"cat /dev/zero >{SMALL}/full")
    site.host.run("sh", "-c", f"cat /dev/zero >{SMALL}/fuller")


@pytest.mark.asyncio
@SCHEDULERS
@LIMITS
async def test_a_submit_on_a_full_disk_starts_nothing(
    site: Site, trial: Callable[..., Trial], score: Score, scheduler: str, limit: str
) -> None:
    """A disk or a quota is full before submit: submit raises an error, nothing starts, and a later submit works."""
    with mount_small_disk(site, limit):
        async with site.manager(scheduler, batch={"root": f"{SMALL}/root"}) as manager:
            each = trial()
            fill(site)
            with pytest.raises(ResourceError):
                await manager.backend.submit(each.spec, each.each)
            assert each.read_ledger().total() == 0
            site.host.run("sh", "-c", f"rm {SMALL}/full*")
            assert await manager.insist(lambda: manager.backend.find(each.tag)) == []
            each.judge(score, await manager.finish(await manager.submit(each)))
    score.check()


@pytest.mark.asyncio
@SCHEDULERS
@LIMITS
async def test_a_payload_fills_the_disk(
    site: Site, trial: Callable[..., Trial], score: Score, scheduler: str, limit: str
) -> None:
    """A payload fills a disk or a quota: its exit code is reported, or the job is lost."""
    with mount_small_disk(site, limit):
        async with site.manager(scheduler, batch={"root": f"{SMALL}/root"}) as manager:
            each = trial(copies=1, code=3, first=f"cat /dev/zero >{SMALL}/full; cat /dev/zero >fuller;")
            handles = await manager.submit(each)
            told = await manager.finish(handles, may_be_lost=True)
            if (scheduler, limit) == ("direct", "quota"):  # btrfs cannot overwrite, and no queue knows the code
                assert {status.reason for status in told.values()} == {"lost"}
            else:
                assert {status.exit_code for status in told.values()} == {3}
                each.judge(score, told)
            purged = await manager.insist(lambda: manager.backend.purge(handles))
            assert all(outcome.ok for outcome in purged.values())
    score.check()


@pytest.fixture(params=[("+1h", 2225), ("-1h", 2226)], ids=["ahead", "behind"])
def port(request: pytest.FixtureRequest, daemons: Daemons) -> int:
    """Return the port of an sshd whose logins have a wrong clock."""
    clock, port = request.param
    daemons.up("ssh", HOST="faults", SSH_NAME=f"faults{port}", SSH_PORT=str(port), SSH_CLOCK=clock)
    return int(port)


@pytest.mark.asyncio
@SCHEDULERS
async def test_the_clock_is_wrong(
    site: Site, port: int, trial: Callable[..., Trial], score: Score, scheduler: str
) -> None:
    """The login node's clock is an hour off: states, finds, kills and ends are right."""
    async with site.manager(scheduler, way=site.way() | {"port": port}) as manager:
        short, long = trial(copies=1, bystander=True), trial(copies=1, seconds=300)
        its, killed = await manager.submit(short), await manager.submit(long)
        assert list(await manager.backend.find(short.tag)) == its
        assert all(outcome.ok for outcome in (await manager.backend.kill(killed)).values())
        short.judge(score, await manager.finish(its))
        long.judge(score, await manager.finish(killed))
    score.check()


LOOKS = """
    ps -eo pid,args --no-headers -ww; cat /proc/[0-9]*/environ | tr '\\0' '\\n'
    squeue --all --states=all --Format=ALL; squeue --all --states=all --format=%all
    scontrol --details show job; scontrol show config
    sacct --allusers --format=ALL --parsable2
    find /var/log /var/spool/slurmctld /var/spool/slurmd -type f -exec cat {} +
"""


@pytest.mark.asyncio
@SCHEDULERS
async def test_no_secret_is_shown(site: Site, scheduler: str, caplog: pytest.LogCaptureFixture) -> None:
    """Processes, environments, queue, accounting, spools and logs hold no secret while jobs with secrets run."""
    caplog.set_level("DEBUG")
    secret = b"hush-3c1f9a77d2e5"

    async def running(manager: Manager) -> str:
        spec = SubmissionSpec(executable="sh", arguments=("-c", "test -s key && sleep 20"), tag="secretive")
        copies = [CopyVars(secrets={"key": SecretBytes(secret)}) for _ in range(3)]
        submission = await manager.backend.submit(spec, copies)
        handles = list(submission.handles.values())
        await site.wait(lambda: len(site.host.pids("sleep")) >= len(copies))
        seen = (await asyncio.to_thread(site.host.run, "sh", "-c", LOOKS, user="root")).stdout
        assert "sleep 20" in seen
        told = await manager.backend.status(handles)
        await manager.backend.kill(handles)
        await manager.finish(handles)
        left = site.host.run("grep", "-rlF", secret.decode(), ".intercede").stdout
        assert left == ""
        return seen + json.dumps([each.model_dump(mode="json") for each in handles]) + repr(told) + repr(copies)

    async with site.manager({"type": "direct", "slots": 8} if scheduler == "direct" else scheduler) as manager:
        shown = (await running(manager)) + caplog.text
    key = site.key.read_text().splitlines()[1]
    assert secret.decode() not in shown
    assert key not in shown
