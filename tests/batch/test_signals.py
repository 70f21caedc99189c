"""Payloads that handle the signal that is to end them: what their wrapper writes, and what is told of them.

Frameworks that checkpoint do this: they catch TERM, save their state, and exit with 0, or with a code of their own
(BSC-ES/autosubmit #2806, qiita #3521).
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.tools import each_tool

from intercede.batch.backend import BatchBackend
from intercede.batch.remote.api import load_script
from intercede.contract.job import CopyVars, JobHandle, JobState, JobStatus, Resources, SubmissionSpec
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport

SHELLS = each_tool("dash", "bash --posix", "busybox sh", "mksh", "zsh --emulate sh")
SECONDS = 30
HANDLES = 'trap "exit $CODE" TERM'
LOOP = ": >ready; while :; do sleep 0.05; done"


class Wrapped:
    """Copies of one submission, each with a payload of its own, and the wrapper that runs them."""

    def __init__(self, root: Path, shell: tuple[str, ...]) -> None:
        self.root, self.shell = root, shell
        (root / "wrapper").write_text(load_script("wrapper"))
        command = 'exec sh ../payload </dev/null >"$1" 2>"$2"'
        functions = f"_ic_set_environment() {{ :; }}\n_ic_become() {{\n{command}\n}}\n"
        (root / "payload").write_text(f"_ic_stdout=../stdout _ic_stderr=../stderr\n{functions}")

    def copy(self, index: int) -> Path:
        """Return where a copy lies."""
        return self.root / "copies" / str(index)

    def run(self, script: str, number: int | None = None, index: int = 0) -> str:
        """Run a copy in a session of its own; once it is ready send that signal to its group. Return how it ended."""
        self.copy(index).mkdir(parents=True, exist_ok=True)
        (self.copy(index) / "payload").write_text(script)
        command = [*self.shell, "./wrapper", str(index)]
        with subprocess.Popen(command, cwd=self.root, start_new_session=True) as wrapper:
            if number is not None:
                ready = self.copy(index) / "work" / "ready"
                until(ready.exists)
                os.killpg(wrapper.pid, number)
                (self.copy(index) / "sent").touch()
            wrapper.wait(SECONDS)
        return " ".join((self.copy(index) / "exit").read_text().split()[:2])


def until(look: Callable[[], bool]) -> None:
    """Wait for it, for a bounded time."""
    deadline = time.monotonic() + SECONDS
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(params=SHELLS)
def wrapped(request: pytest.FixtureRequest, tmp_path: Path) -> Wrapped:
    """Copies, in each shell that is here."""
    return Wrapped(tmp_path, request.param)


ENDS: list[tuple[str, int | None, str]] = [
    (f'trap "exit 0" TERM; {LOOP}', signal.SIGTERM, "caught 0"),
    (f'trap "exit 3" TERM; {LOOP}', signal.SIGTERM, "caught 3"),
    (f'trap "exit 85" USR1; {LOOP}', signal.SIGUSR1, "caught 85"),
    (LOOP, signal.SIGTERM, "signal 15"),
    ("exit 3", None, "code 3"),
    ("trap : TERM; kill -s TERM 0; exit 0", None, "caught 0"),
    ("kill -s TERM $$; exit 0", None, "signal 15"),
]


def test_a_record_says_that_a_signal_came(wrapped: Wrapped) -> None:
    """A code is one for certain only where no signal came to the whole group before it."""
    with ThreadPoolExecutor(len(ENDS)) as pool:
        runs = [pool.submit(wrapped.run, script, number, i) for i, (script, number, _) in enumerate(ENDS)]
        assert [run.result() for run in runs] == [record for _, _, record in ENDS]


def test_a_payload_may_be_signalled_alone_after_all_were_woken(wrapped: Wrapped) -> None:
    """Slurm wakes every process of a job, then asks one after the other to end: the payload may be over before its wrapper is asked."""
    script = f'trap "exit 0" TERM; echo "$$" >pid; {LOOP}'
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(wrapped.run, script, signal.SIGCONT)
        pid = wrapped.copy(0) / "work" / "pid"
        until(lambda: pid.exists() and (wrapped.copy(0) / "sent").exists())
        os.kill(int(pid.read_text()), signal.SIGTERM)
        assert run.result() == "caught 0"


def test_a_signal_behind_the_end_had_no_part_in_it(wrapped: Wrapped) -> None:
    """The payload has exited; the signal finds the wrapper about to write so."""
    wrapped.copy(0).mkdir(parents=True)
    (wrapped.copy(0) / "secrets").write_text("kill -s TERM $$\n")
    assert wrapped.run("exit 0") == "code 0"
    assert wrapped.run("exit 7") == "code 0", "what has run does not run again"


def test_what_was_signalled_runs_again_where_the_scheduler_starts_it_again(wrapped: Wrapped) -> None:
    """It was preempted and queued anew: its code 0 meant that its state is saved, and it goes on from there."""
    assert wrapped.run(f'trap "exit 0" TERM; {LOOP}', signal.SIGTERM) == "caught 0"
    assert wrapped.run("exit 3") == "code 3"
    assert (wrapped.copy(0) / "exit").read_text().split()[5] == "2"


@asynccontextmanager
async def opened(root: Path) -> AsyncGenerator[BatchBackend]:
    """Give a backend; everything that it ran is ended."""
    async with BatchBackend(LocalTransport(), DirectScheduler(slots=8, grace_s=2), root=str(root)) as backend:
        yield backend


async def ended(backend: BatchBackend, handles: list[JobHandle]) -> list[JobStatus]:
    """Wait for the end of all."""
    deadline = time.monotonic() + SECONDS
    while True:
        told = await backend.status(handles)
        if all(told[handle].state.final for handle in handles):
            return [told[handle] for handle in handles]
        assert time.monotonic() < deadline, told
        await asyncio.sleep(0.02)


async def submitted(backend: BatchBackend, root: Path, script: str, wall_time_s: int | None = None) -> list[JobHandle]:
    """Submit a script for the codes 0 and 3, and wait until its copies are ready."""
    spec = SubmissionSpec(
        executable="sh", arguments=("-c", f"{script}; {LOOP}"), resources=Resources(wall_time_s=wall_time_s)
    )
    copies = [CopyVars(environment={"CODE": code, "HANDLES": f"{HANDLES}; {LOOP}"}) for code in ("0", "3")]
    handles = list((await backend.submit(spec, copies)).handles.values())
    until(lambda: len(list(root.glob("*/copies/*/work/ready"))) == len(handles))
    return handles


@pytest.mark.parametrize("script", [HANDLES, 'exec timeout 300 sh -c "$HANDLES"'], ids=["plain", "in its own group"])
@pytest.mark.asyncio
async def test_what_is_killed_is_killed_whatever_it_exits_with(tmp_path: Path, script: str) -> None:
    """KILLED by the user, with the code beside it; a kill afterwards and another client change nothing."""
    async with opened(tmp_path / "root") as backend, opened(tmp_path / "root") as other:
        handles = await submitted(backend, tmp_path / "root", script)
        assert all(each.ok for each in (await backend.kill(handles)).values())
        statuses = await ended(backend, handles)
        told = [(each.state, each.reason, each.exit_code, each.signal) for each in statuses]
        assert told == [(JobState.KILLED, "killed_by_user", code, None) for code in (0, 3)]
        assert all(each.ok for each in (await other.kill(handles)).values())
        assert await ended(other, handles) == statuses
        outputs = await other.fetch_output(handles, tmp_path / "dest")
        assert all(output.ok for output in outputs.values())


@pytest.mark.asyncio
async def test_what_had_its_wall_time_had_it_whatever_it_exits_with(tmp_path: Path) -> None:
    """FAILED by timeout, with the code beside it."""
    async with opened(tmp_path / "root") as backend:
        handles = await submitted(backend, tmp_path / "root", HANDLES, wall_time_s=1)
        told = [(each.state, each.reason, each.exit_code) for each in await ended(backend, handles)]
        assert told == [(JobState.FAILED, "timeout", code) for code in (0, 3)]


@pytest.mark.asyncio
async def test_what_signals_its_own_group_ends_as_it_says(tmp_path: Path) -> None:
    """Nobody else ended it: DONE and FAILED, by the exit code; a kill that comes later changes nothing."""
    async with opened(tmp_path / "root") as backend:
        script = 'trap : TERM; kill -s TERM 0; : >ready; exit "$CODE"'
        handles = await submitted(backend, tmp_path / "root", script)
        until(lambda: all("caught" in path.read_text() for path in tmp_path.glob("root/*/copies/*/exit")))
        assert all(each.ok for each in (await backend.kill(handles)).values())
        told = [(each.state, each.reason, each.exit_code) for each in await ended(backend, handles)]
        assert told == [(JobState.DONE, None, 0), (JobState.FAILED, "exit_code", 3)]


@pytest.mark.asyncio
async def test_what_ends_with_everything_around_it_is_not_done(tmp_path: Path) -> None:
    """A machine that goes down signals the runner, too: nothing tells whether 0 means that it was finished."""
    root = tmp_path / "root"
    async with opened(root) as backend:
        handles = await submitted(backend, root, HANDLES)
        (direct,) = root.glob("*/direct")
        everybody = [(direct / name).read_text().split() for name in ("host", "0", "1")]
        os.killpg(int(everybody[0][2]), signal.SIGTERM)
        for pid, *_ in everybody[1:]:
            os.killpg(int(pid), signal.SIGTERM)
        told = await backend.status(handles)
        while any(status.state is JobState.RUNNING for status in told.values()):
            told = await backend.status(handles)
        lost, failed = (told[handle] for handle in handles)
        assert (lost.state, lost.reason, lost.exit_code) == (JobState.UNKNOWN, "lost", 0)
        assert (failed.reason, failed.exit_code) == ("exit_code", 3)
        assert all(each.ok for each in (await backend.purge(handles)).values())
