"""Slurm fails, or is slow, or is lied about: no job is lost, none is doubled, none is told to be over that is not."""

from __future__ import annotations

import asyncio
import json
import random
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from intercede.contract import JobState, SchedulerError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from tests.daemons.conftest import Client, Daemons
    from tests.daemons.faults.conftest import Manager, Score, Site, Trial

    from intercede.contract import JobHandle

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(600)]
STOPPED_SECONDS = 20


async def stand_still(site: Site, process: str, seconds: float = STOPPED_SECONDS) -> None:
    """Stop a daemon for so long."""
    with site.host.stopped(process):
        await asyncio.sleep(seconds)


@pytest.mark.asyncio
@pytest.mark.parametrize("offset", [0.0, 0.01, 0.05])
async def test_slurmctld_stands_still_during_submit(
    site: Site, trial: Callable[..., Trial], score: Score, offset: float
) -> None:
    """The controller stopped for 20 s during submit: what sbatch gave up on may be queued afterwards, and is found, once."""
    async with site.manager() as manager, asyncio.TaskGroup() as group:
        trials = [trial() for _ in range(4)]
        submitting = [group.create_task(manager.submit(each)) for each in trials]
        await asyncio.sleep(offset)
        await stand_still(site, "slurmctld")
        for each, task in zip(trials, submitting, strict=True):
            each.judge(score, await manager.finish(await task))
    score.check()


LATE = "/home/griduser/late"
GIVES_UP = f"""\
#!/bin/sh
(until [ -e {LATE}/now ]; do sleep 0.1; done; exec {LATE}/sbatch "$@") </dev/null >{LATE}/taken 2>&1 &
echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2
exit 1
"""


@pytest.fixture
def late(site: Site) -> Iterator[Callable[[], str]]:
    """An sbatch that gives up, though Slurm takes the job: when this is called, which returns the job."""
    script = (
        f'rm -rf {LATE}; install -d -o griduser {LATE} && cp /usr/bin/sbatch {LATE} && printf %s "$1" >{LATE}/gives-up'
    )
    script += f" && chmod 755 {LATE}/gives-up && mount --bind {LATE}/gives-up /usr/bin/sbatch"
    made = site.host.run("sh", "-c", script, "sh", GIVES_UP, user="root")
    assert made.returncode == 0, made.stderr

    def now() -> str:
        site.host.run("touch", f"{LATE}/now")
        return site.host.run("sh", "-c", f"until [ -s {LATE}/taken ]; do sleep 0.1; done; cat {LATE}/taken").stdout

    yield now
    site.host.run("umount", "/usr/bin/sbatch", user="root")
    site.host.run("touch", f"{LATE}/now")


@pytest.mark.asyncio
async def test_sbatch_gives_up_and_slurm_takes_the_job_late(
    site: Site, trial: Callable[..., Trial], score: Score, late: Callable[[], str]
) -> None:
    """A job is looked for, not found, submitted again, and comes to Slurm then: what was not there never begins."""
    each = trial()
    async with site.manager() as manager:
        with pytest.raises(SchedulerError, match="find them by their tag"):
            await manager.backend.submit(each.spec, each.each)
        assert list(await manager.backend.find(each.tag)) == []
        job = await asyncio.to_thread(late)
        await site.wait(lambda: not site.host.run("squeue", "--noheader", f"--jobs={job}").stdout)
        assert each.noted().total() == 0
        assert list(await manager.backend.find(each.tag)) == []
    site.host.run("umount", "/usr/bin/sbatch", user="root")
    async with site.manager() as manager:
        each.judge(score, await manager.finish(await manager.submit(each)))
    score.check()


@pytest.mark.asyncio
async def test_slurmctld_stands_still_during_status_and_kill(
    site: Site, manager: Manager, trial: Callable[..., Trial], score: Score
) -> None:
    """The controller stopped for 20 s during status and kill: an error, or the truth; what was asked to end ends."""
    early, short, long = trial(bystander=True), trial(seconds=1, bystander=True), trial(seconds=300)
    over = await manager.submit(early)
    early.judge(score, await manager.finish(over))
    its, killed = await manager.submit(short), await manager.submit(long)
    async with asyncio.TaskGroup() as group:
        group.create_task(stand_still(site, "slurmctld"))
        asked = group.create_task(manager.insist(lambda: manager.backend.status(its)))
        ended = group.create_task(manager.insist(lambda: manager.backend.kill([*over, *killed])))
    assert set(await asked) == set(its)
    assert all(each.ok for each in (await ended).values())
    early.judge(score, await manager.finish(over))
    short.judge(score, await manager.finish(its))
    long.judge(score, await manager.finish(killed))
    score.check()


@pytest.mark.asyncio
async def test_slurmctld_is_restarted(site: Site, daemons: Daemons, trial: Callable[..., Trial], score: Score) -> None:
    """The controller ended and started again, three times, under calls of every kind."""
    slurm = daemons.up("slurm", HOST="faults", ACCT="1", MINJOBAGE="10", CPUS="256")

    async def lives(manager: Manager, each: Trial) -> None:
        each.judge(score, await manager.finish(await manager.submit(each)))

    async with site.manager() as manager, asyncio.TaskGroup() as group:
        for _ in range(3):
            for _ in range(5):
                group.create_task(lives(manager, trial(seconds=1)))
            await asyncio.to_thread(daemons.restart, slurm, "slurmctld")
    score.check()


def listed(site: Site) -> str:
    """Return the jobs that squeue still has. We are not asked: what was told once stays told."""
    return site.host.run("squeue", "--noheader", "--states=all", "--me").stdout


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["stopped", "ended"])
async def test_accounting_cannot_be_asked(
    site: Site, manager: Manager, daemons: Daemons, trial: Callable[..., Trial], score: Score, how: str
) -> None:
    """The accounting daemon stands still, or is down, when jobs have left squeue: records tell what they can, and nothing is guessed."""
    slurm = daemons.up("slurm", HOST="faults", ACCT="1", MINJOBAGE="10", CPUS="256")
    good, silent = trial(), trial(seconds=300)
    its, without = await manager.submit(good), await manager.submit(silent)
    await site.wait(lambda: len(silent.noted()) == silent.copies)
    await site.wait(lambda: not unrecorded(site, its))
    site.kill("slurm_script|wrapper|sleep 300")  # and no record is left
    await site.wait(lambda: not listed(site))
    site.host.signal("slurmdbd", signal.SIGSTOP) if how == "stopped" else site.host.end("slurmdbd")
    try:
        told = await manager.insist(lambda: manager.backend.status([*its, *without]))
        good.judge(score, {handle: told[handle] for handle in its})
        assert not any(told[handle].state is JobState.DONE for handle in without)
        assert not any(told[handle].state.final for handle in without)
    finally:
        site.host.signal("slurmdbd", signal.SIGCONT)
        await asyncio.to_thread(daemons.up, slurm.name, **slurm.settings)
    silent.judge(score, await manager.finish(without))
    score.check()


def unrecorded(site: Site, handles: list[JobHandle]) -> str:
    """Return the copies that have not written down how they ended."""
    files = [f".intercede/{handle.job.replace('.', '/copies/')}/exit" for handle in handles]
    return site.host.run("grep", "-Lx", "code .*", *files).stdout


@pytest.mark.asyncio
@pytest.mark.parametrize("scheduler", ["slurm", {"type": "direct", "slots": 8}], ids=["slurm", "direct"])
async def test_the_wrapper_is_killed(
    site: Site, trial: Callable[..., Trial], score: Score, scheduler: str | dict[str, object]
) -> None:
    """The wrapper killed with -9: what it ran is over, or still runs, and is never told to be done."""
    async with site.manager(scheduler) as manager:
        each = trial(seconds=8)
        handles = await manager.submit(each)
        await site.wait(lambda: len(each.noted()) == each.copies)
        site.kill(r"sh \./wrapper")
        async with asyncio.timeout(60):
            while True:
                told = await manager.insist(lambda: manager.backend.status(handles))
                assert not any(status.state is JobState.DONE for status in told.values())
                if all(status.state.final or status.reason == "lost" for status in told.values()):
                    break
        if scheduler == "slurm":
            each.judge(score, told)
    score.check()


@pytest.fixture
def slow_sbatch(site: Site) -> Iterator[str]:
    """Make sbatch take two seconds more, and leave a file when Slurm has said yes. Returns that file's name."""
    script = """
        mkdir -p bin && cat >bin/sbatch && chmod 755 bin/sbatch && rm -f answered
        { echo 'PATH=$HOME/bin:$PATH'; cat /etc/skel/.bashrc; } >.bashrc
    """
    shim = '#!/bin/sh\n/usr/bin/sbatch "$@" && touch "$HOME/answered" && sleep 2\n'
    site.host.run("sh", "-c", f"printf '%s' {shlex.quote(shim)} | {{ {script} }}")
    yield "answered"
    site.host.run("sh", "-c", "rm -rf bin answered; cp /etc/skel/.bashrc .bashrc")


SUBMITS = """
import asyncio, json, sys
from intercede import registry
from intercede.contract import CopyVars, SubmissionSpec
from intercede.credentials import FileCredentials

key, config, spec, copies = sys.argv[1:]

async def main():
    async with FileCredentials(private_key=key) as credentials:
        async with registry.backend(json.loads(config), credentials=credentials) as backend:
            await backend.submit(SubmissionSpec.model_validate_json(spec), [CopyVars(environment=each) for each in json.loads(copies)])

asyncio.run(main())
"""


@contextmanager
def submitting(site: Site, each: Trial, scheduler: str = "slurm") -> Generator[subprocess.Popen[bytes]]:
    """Submit from a process of its own, which is killed with -9 at the end, wherever it is by then."""
    config = json.dumps({"transport": site.way(), "scheduler": scheduler})
    copies = json.dumps([copy.environment for copy in each.each], default=dict)
    command = [sys.executable, "-c", SUBMITS, str(site.key), config, each.spec.model_dump_json(), copies]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.asyncio
@pytest.mark.parametrize("far_side", ["lives", "dies"])
async def test_the_submitter_is_killed_before_it_knows(
    site: Site,
    slow_sbatch: str,
    trial: Callable[..., Trial],
    score: Score,
    wait_until: Callable[[Callable[[], object], float], None],
    far_side: str,
) -> None:
    """Killed with -9 between Slurm's yes and our record, with what ran for it there or alone: the tag finds all, once."""
    each = trial(seconds=5)
    with submitting(site, each):
        wait_until(lambda: site.host.run("test", "-e", slow_sbatch).returncode == 0, 60)
    if far_side == "dies":
        site.kill("submit.sh|bin/sbatch")
    async with site.manager() as manager:
        handles = list(await manager.insist(lambda: manager.backend.find(each.tag)))
        each.judge(score, await manager.finish(handles))
    score.check()


@pytest.mark.asyncio
@pytest.mark.parametrize("scheduler", ["slurm", "direct"])
async def test_the_submitter_is_killed_at_any_time(
    site: Site, trial: Callable[..., Trial], score: Score, scheduler: str
) -> None:
    """Killed with -9 at any time: what another process then finds is all of it, or nothing and never will be."""
    moments = random.Random(4)  # noqa: S311 -- the same each time

    async def one(manager: Manager) -> None:
        each = trial()
        with submitting(site, each, scheduler) as process:
            await asyncio.sleep(moments.uniform(0.3, 1.5))
        assert process.returncode in {0, -signal.SIGKILL}
        handles = list(await manager.insist(lambda: manager.backend.find(each.tag)))
        each.judge(score, await manager.finish(handles or await manager.submit(each)))

    async with site.manager(scheduler) as manager:
        for _ in range(15):
            await one(manager)
    score.check()


def forget_everything(site: Site, daemons: Daemons) -> None:
    """Have the controller lose its state, so that it counts from 1 again."""
    slurm = daemons.up("slurm", HOST="faults", ACCT="1", MINJOBAGE="10", CPUS="256")
    site.host.end("slurmctld")
    wiped = site.host.run("sh", "-c", "rm -rf /var/spool/slurmctld/*", user="root")
    assert wiped.returncode == 0, wiped.stderr
    daemons.up(slurm.name, **slurm.settings)


@pytest.mark.asyncio
async def test_numbers_are_given_again(site: Site, daemons: Daemons, trial: Callable[..., Trial], score: Score) -> None:
    """The controller lost its state and gave a number again: a kill of the old copies ends none of the new, and none of their ends is told of the old."""
    held: dict[str, object] = {"type": "slurm", "submit_arguments": ["--hold"]}
    forget_everything(site, daemons)
    async with site.manager(held) as before, site.manager() as manager:
        old, new = trial(), trial(seconds=15, bystander=True)
        its = await before.submit(old)
        numbers = {native.partition("@")[0] for native in natives(site, its)}
        await asyncio.to_thread(forget_everything, site, daemons)
        handles = await manager.submit(new)
        assert {native.partition("@")[0] for native in natives(site, handles)} == numbers
        told = await manager.insist(lambda: manager.backend.status(its))  # accounting may know that they were given up
        assert {(status.exit_code, status.signal) for status in told.values()} == {(None, None)}, told
        killed = await manager.insist(lambda: manager.backend.kill(its))
        assert all(outcome.ok for outcome in killed.values())
        ends = await manager.finish(handles)
        assert {status.state for status in ends.values()} == {JobState.DONE}
        new.judge(score, ends)
        told = await manager.insist(lambda: manager.backend.status(its))
        assert old.noted().total() == 0
        assert {(status.exit_code, status.signal) for status in told.values()} == {(None, None)}, told
        purged = await manager.insist(lambda: manager.backend.purge(its))
        assert all(outcome.ok for outcome in purged.values()), (told, purged)
    score.check()


@pytest.mark.asyncio
async def test_only_accounting_knows_an_end_and_its_number_is_anothers(
    site: Site, daemons: Daemons, trial: Callable[..., Trial], score: Score
) -> None:
    """Only accounting knows how copies ended, and their number is another user's job since: their own ends are told, not its."""
    forget_everything(site, daemons)
    async with site.manager() as manager:
        old = trial()
        its = await manager.submit(old)
        (native,) = natives(site, its)
        await site.wait(lambda: old.noted().total() == 2 * old.copies)
        await site.wait(lambda: not listed(site))
        submission_id = its[0].job.partition(".")[0]
        site.host.run("sh", "-c", f"rm .intercede/{submission_id}/copies/*/exit")
        await asyncio.to_thread(forget_everything, site, daemons)
        other = ["sbatch", "--parsable", "--array=0-2", "--output=/dev/null", "--wrap=exit 5"]
        assert site.host.run(*other, user="griduser2").stdout.strip() == native.partition("@")[0]
        seen = ["sacct", "--noheader", "--allocations", "--format=State", f"--jobs={native.partition('@')[0]}"]
        await site.wait(lambda: site.host.run(*seen, user="root").stdout.split() == ["FAILED"] * 3)
        old.judge(score, await manager.finish(its))
    score.check()


def natives(site: Site, handles: list[JobHandle]) -> list[str]:
    """Return what Slurm calls the copies of a submission, as it is written there."""
    submission_id = handles[0].job.partition(".")[0]
    said = site.host.run("cat", f".intercede/{submission_id}/ids").stdout
    numbers = [line.partition(";")[0] for line in said.splitlines() if line.partition(";")[0].isdecimal()]
    assert len(numbers) == 1, said
    return [f"{numbers[0]}@{submission_id}-0"]


@pytest.mark.asyncio
async def test_no_link_leads_to_another_directory(site: Site, trial: Callable[..., Trial], score: Score) -> None:
    """Verdicts lie on another file system, so that no link leads there: what is told stays told after Slurm forgot the job."""
    async with site.manager() as manager:
        each = trial(seconds=300)
        handles = await manager.submit(each)
        await site.wait(lambda: len(each.noted()) == each.copies)
        finals = f"/home/griduser/.intercede/{handles[0].job.partition('.')[0]}/finals"
        mounted = site.host.run(
            "sh", "-exc", f"mkdir {finals}; mount -t tmpfs -o uid=2001,gid=2001,mode=700 own {finals}", user="root"
        )
        assert mounted.returncode == 0, mounted.stderr
        try:
            site.kill("slurm_script|wrapper|sleep 300")
            told = await manager.finish(handles)
            await site.wait(lambda: not listed(site))
            assert await manager.insist(lambda: manager.backend.status(handles)) == told
            assert len(site.host.run("ls", finals).stdout.split()) == each.copies
            each.judge(score, told)
        finally:
            site.host.run("umount", finals, user="root")
    score.check()


INSIDE = """
import asyncio, sys
from pathlib import Path
from tempfile import mkdtemp
from intercede import registry
from intercede.contract import Resources, SubmissionSpec

SCRIPT = "env | grep -E '^(SLURM|PMI)' | sort; srun --quiet true && echo step"

async def main():
    config = {"transport": "local", "scheduler": "slurm", "batch": {"min_poll_interval": 0.2}}
    async with registry.backend(config) as backend:
        spec = SubmissionSpec(executable="sh", arguments=("-c", SCRIPT), resources=Resources(memory_mb=50))
        handle = (await backend.submit(spec)).handles[0]
        while not (status := (await backend.status([handle]))[handle]).state.final:
            await asyncio.sleep(0.2)
        output = (await backend.fetch_output([handle], Path(mkdtemp())))[handle]
        print(output.stdout.read_text(), output.stderr and output.stderr.read_text(), status)
        await backend.purge([handle])

asyncio.run(main())
"""


@pytest.mark.parametrize("way", ["by hand", "inside of a job"])
def test_submitted_from_inside_of_a_job(site: Site, client: Client, way: str) -> None:
    """Submitted from inside of a job whose memory is told by the core: a copy sees its own job's variables, and its srun runs."""
    outer = ["srun", "--quiet", "--mem-per-cpu=10", "--ntasks=1", "--export=ALL,SBATCH_ACCOUNT=itest"]
    command = [str(client.at / "venv" / "bin" / "python"), "-c", INSIDE]
    ended = site.host.run(*(outer if way == "inside of a job" else []), *command, seconds=120)
    assert ended.returncode == 0, ended.stderr
    seen = dict(
        line.split("=", 1) for line in ended.stdout.splitlines() if line.startswith(("SLURM", "PMI")) and "=" in line
    )
    assert "\nstep\n" in ended.stdout
    assert (seen["SLURM_MEM_PER_NODE"], "SLURM_MEM_PER_CPU" in seen, "SLURM_STEP_ID" in seen) == ("50", False, False)
    assert not [name for name in seen if name.startswith("PMI")]


@pytest.mark.asyncio
@pytest.mark.parametrize("scheduler", ["slurm", {"type": "direct", "slots": 40}], ids=["slurm", "direct"])
async def test_payloads_handle_term(
    site: Site, trial: Callable[..., Trial], score: Score, scheduler: str | dict[str, object]
) -> None:
    """Forty that save their state at TERM and exit with 0, killed at once: none is told to be done."""
    async with site.manager(scheduler) as manager:
        each = trial(copies=40, seconds=300, code=5, first='trap "exit 0" TERM;')
        handles = await manager.submit(each)
        await site.wait(lambda: each.noted().total() == each.copies)
        killed = await manager.insist(lambda: manager.backend.kill(handles))
        assert all(outcome.ok for outcome in killed.values())
        told = await manager.finish(handles)
        assert {status.reason for status in told.values()} == {"killed_by_user"}
        each.judge(score, told)
    score.check()
