"""No job is lost, doubled or wrongly final if Slurm fails, is slow, or is given a wrong answer."""

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


async def stop_daemon(site: Site, process: str, seconds: float = STOPPED_SECONDS) -> None:
    """Stop a daemon for some seconds."""
    with site.host.stopped(process):
        await asyncio.sleep(seconds)


@pytest.mark.asyncio
@pytest.mark.parametrize("offset", [0.0, 0.01, 0.05])
async def test_slurmctld_hangs_during_submit(
    site: Site, trial: Callable[..., Trial], score: Score, offset: float
) -> None:
    """The controller hangs for 20 s during submit: a job that sbatch gave up on is found once."""
    async with site.manager() as manager, asyncio.TaskGroup() as group:
        trials = [trial() for _ in range(4)]
        submitting = [group.create_task(manager.submit(each)) for each in trials]
        await asyncio.sleep(offset)
        await stop_daemon(site, "slurmctld")
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
def late_sbatch(site: Site) -> Iterator[Callable[[], str]]:
    """Replace sbatch by one that fails.

    Return a function that lets Slurm take the job after all, and returns its id.
    """
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
    site: Site, trial: Callable[..., Trial], score: Score, late_sbatch: Callable[[], str]
) -> None:
    """Slurm takes a job late, after a find did not see it and it was submitted again: the late one never begins."""
    each = trial()
    async with site.manager() as manager:
        with pytest.raises(SchedulerError, match="find them by their tag"):
            await manager.backend.submit(each.spec, each.each)
        assert list(await manager.backend.find(each.tag)) == []
        job = await asyncio.to_thread(late_sbatch)
        await site.wait(lambda: not site.host.run("squeue", "--noheader", f"--jobs={job}").stdout)
        assert each.read_ledger().total() == 0
        assert list(await manager.backend.find(each.tag)) == []
    site.host.run("umount", "/usr/bin/sbatch", user="root")
    async with site.manager() as manager:
        each.judge(score, await manager.finish(await manager.submit(each)))
    score.check()


@pytest.mark.asyncio
async def test_slurmctld_hangs_during_status_and_kill(
    site: Site, manager: Manager, trial: Callable[..., Trial], score: Score
) -> None:
    """The controller hangs for 20 s during status and kill: answers are right or errors, and killed jobs end."""
    early, short, long = trial(bystander=True), trial(seconds=1, bystander=True), trial(seconds=300)
    over = await manager.submit(early)
    early.judge(score, await manager.finish(over))
    its, killed = await manager.submit(short), await manager.submit(long)
    async with asyncio.TaskGroup() as group:
        group.create_task(stop_daemon(site, "slurmctld"))
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
    """The controller is restarted three times during calls of each kind."""
    slurm = daemons.up("slurm", HOST="faults", ACCT="1", MINJOBAGE="10", CPUS="256")

    async def lives(manager: Manager, each: Trial) -> None:
        each.judge(score, await manager.finish(await manager.submit(each)))

    async with site.manager() as manager, asyncio.TaskGroup() as group:
        for _ in range(3):
            for _ in range(5):
                group.create_task(lives(manager, trial(seconds=1)))
            await asyncio.to_thread(daemons.restart, slurm, "slurmctld")
    score.check()


def list_queue(site: Site) -> str:
    """Return the jobs that squeue lists, without a call of intercede."""
    return site.host.run("squeue", "--noheader", "--states=all", "--me").stdout


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["stopped", "ended"])
async def test_accounting_is_down(
    site: Site, manager: Manager, daemons: Daemons, trial: Callable[..., Trial], score: Score, how: str
) -> None:
    """Accounting hangs or is down after jobs left squeue: records are reported, and no state is guessed."""
    slurm = daemons.up("slurm", HOST="faults", ACCT="1", MINJOBAGE="10", CPUS="256")
    good, silent = trial(), trial(seconds=300)
    its, without = await manager.submit(good), await manager.submit(silent)
    await site.wait(lambda: len(silent.read_ledger()) == silent.copies)
    await site.wait(lambda: not list_unrecorded(site, its))
    site.kill("slurm_script|wrapper|sleep 300")  # no record is left
    await site.wait(lambda: not list_queue(site))
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


def list_unrecorded(site: Site, handles: list[JobHandle]) -> str:
    """Return the copies that have not written down how they ended."""
    files = [f".intercede/{handle.job.replace('.', '/copies/')}/exit" for handle in handles]
    return site.host.run("grep", "-Lx", "code .*", *files).stdout


@pytest.mark.asyncio
@pytest.mark.parametrize("scheduler", ["slurm", {"type": "direct", "slots": 8}], ids=["slurm", "direct"])
async def test_the_wrapper_is_killed(
    site: Site, trial: Callable[..., Trial], score: Score, scheduler: str | dict[str, object]
) -> None:
    """The wrapper is killed with SIGKILL: its job is never reported as DONE."""
    async with site.manager(scheduler) as manager:
        each = trial(seconds=8)
        handles = await manager.submit(each)
        await site.wait(lambda: len(each.read_ledger()) == each.copies)
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
    """Make sbatch two seconds slower. Return the name of a file that exists once Slurm has taken the job."""
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
            variables = [CopyVars(environment=each) for each in json.loads(copies)]
            await backend.submit(SubmissionSpec.model_validate_json(spec), variables)

asyncio.run(main())
"""


@contextmanager
def run_submitter(site: Site, each: Trial, scheduler: str = "slurm") -> Generator[subprocess.Popen[bytes]]:
    """Submit in a process of its own, which is killed at the end of the block."""
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
    """The submitter is killed between Slurm's answer and the record: a find sees all jobs once."""
    each = trial(seconds=5)
    with run_submitter(site, each):
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
    """The submitter is killed at any time: a find sees all jobs, or none and none begins later."""
    moments = random.Random(4)  # noqa: S311 -- repeatable, no cryptography

    async def one(manager: Manager) -> None:
        each = trial()
        with run_submitter(site, each, scheduler) as process:
            await asyncio.sleep(moments.uniform(0.3, 1.5))
        assert process.returncode in {0, -signal.SIGKILL}
        handles = list(await manager.insist(lambda: manager.backend.find(each.tag)))
        each.judge(score, await manager.finish(handles or await manager.submit(each)))

    async with site.manager(scheduler) as manager:
        for _ in range(15):
            await one(manager)
    score.check()


def reset_controller(site: Site, daemons: Daemons) -> None:
    """Make the controller lose its state, so that its numbers begin from 1 again."""
    slurm = daemons.up("slurm", HOST="faults", ACCT="1", MINJOBAGE="10", CPUS="256")
    site.host.end("slurmctld")
    wiped = site.host.run("sh", "-c", "rm -rf /var/spool/slurmctld/*", user="root")
    assert wiped.returncode == 0, wiped.stderr
    daemons.up(slurm.name, **slurm.settings)


@pytest.mark.asyncio
async def test_numbers_are_reused(site: Site, daemons: Daemons, trial: Callable[..., Trial], score: Score) -> None:
    """The controller lost its state and reuses numbers: old jobs are not confused with new ones."""
    held: dict[str, object] = {"type": "slurm", "submit_arguments": ["--hold"]}
    reset_controller(site, daemons)
    async with site.manager(held) as before, site.manager() as manager:
        old, new = trial(), trial(seconds=15, bystander=True)
        its = await before.submit(old)
        numbers = {native.partition("@")[0] for native in read_natives(site, its)}
        await asyncio.to_thread(reset_controller, site, daemons)
        handles = await manager.submit(new)
        assert {native.partition("@")[0] for native in read_natives(site, handles)} == numbers
        told = await manager.insist(lambda: manager.backend.status(its))  # accounting may know that they were dropped
        assert {(status.exit_code, status.signal) for status in told.values()} == {(None, None)}, told
        killed = await manager.insist(lambda: manager.backend.kill(its))
        assert all(outcome.ok for outcome in killed.values())
        ends = await manager.finish(handles)
        assert {status.state for status in ends.values()} == {JobState.DONE}
        new.judge(score, ends)
        told = await manager.insist(lambda: manager.backend.status(its))
        assert old.read_ledger().total() == 0
        assert {(status.exit_code, status.signal) for status in told.values()} == {(None, None)}, told
        purged = await manager.insist(lambda: manager.backend.purge(its))
        assert all(outcome.ok for outcome in purged.values()), (told, purged)
    score.check()


@pytest.mark.asyncio
async def test_accounting_has_two_jobs_of_one_number(
    site: Site, daemons: Daemons, trial: Callable[..., Trial], score: Score
) -> None:
    """Accounting has two jobs of one number: the end of our own is reported."""
    reset_controller(site, daemons)
    async with site.manager() as manager:
        old = trial()
        its = await manager.submit(old)
        (native,) = read_natives(site, its)
        await site.wait(lambda: old.read_ledger().total() == 2 * old.copies)
        await site.wait(lambda: not list_queue(site))
        submission_id = its[0].job.partition(".")[0]
        site.host.run("sh", "-c", f"rm .intercede/{submission_id}/copies/*/exit")
        await asyncio.to_thread(reset_controller, site, daemons)
        other = ["sbatch", "--parsable", "--array=0-2", "--output=/dev/null", "--wrap=exit 5"]
        assert site.host.run(*other, user="griduser2").stdout.strip() == native.partition("@")[0]
        seen = ["sacct", "--noheader", "--allocations", "--format=State", f"--jobs={native.partition('@')[0]}"]
        await site.wait(lambda: site.host.run(*seen, user="root").stdout.split() == ["FAILED"] * 3)
        old.judge(score, await manager.finish(its))
    score.check()


def read_natives(site: Site, handles: list[JobHandle]) -> list[str]:
    """Return the native ids of a submission from its files."""
    submission_id = handles[0].job.partition(".")[0]
    said = site.host.run("cat", f".intercede/{submission_id}/ids").stdout
    numbers = [line.partition(";")[0] for line in said.splitlines() if line.partition(";")[0].isdecimal()]
    assert len(numbers) == 1, said
    return [f"{numbers[0]}@{submission_id}-0"]


@pytest.mark.asyncio
async def test_final_states_lie_on_another_file_system(site: Site, trial: Callable[..., Trial], score: Score) -> None:
    """Final states lie on another file system: they stay after Slurm forgot the jobs."""
    async with site.manager() as manager:
        each = trial(seconds=300)
        handles = await manager.submit(each)
        await site.wait(lambda: len(each.read_ledger()) == each.copies)
        finals = f"/home/griduser/.intercede/{handles[0].job.partition('.')[0]}/finals"
        mounted = site.host.run(
            "sh", "-exc", f"mkdir {finals}; mount -t tmpfs -o uid=2001,gid=2001,mode=700 own {finals}", user="root"
        )
        assert mounted.returncode == 0, mounted.stderr
        try:
            site.kill("slurm_script|wrapper|sleep 300")
            told = await manager.finish(handles)
            await site.wait(lambda: not list_queue(site))
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
def test_a_submit_inside_of_a_job_has_its_own_variables(site: Site, client: Client, way: str) -> None:
    """A job is submitted inside of another job: it sees its own Slurm variables, and its srun works."""
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
    """Forty payloads save their state at SIGTERM and exit with 0: none that is killed is DONE."""
    async with site.manager(scheduler) as manager:
        each = trial(copies=40, seconds=300, code=5, first='trap "exit 0" TERM;')
        handles = await manager.submit(each)
        await site.wait(lambda: each.read_ledger().total() == each.copies)
        killed = await manager.insist(lambda: manager.backend.kill(handles))
        assert all(outcome.ok for outcome in killed.values())
        told = await manager.finish(handles)
        assert {status.reason for status in told.values()} == {"killed_by_user"}
        each.judge(score, told)
    score.check()
