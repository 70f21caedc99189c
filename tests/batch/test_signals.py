"""Payloads may handle the signal that ends them, as frameworks do that save their state.

They catch SIGTERM, save their state, and exit with 0 or a code of their own. See BSC-ES/autosubmit #2806 and qiita
#3521.
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
        """Return the directory of a copy."""
        return self.root / "copies" / str(index)

    def run(self, script: str, number: int | None = None, index: int = 0) -> str:
        """Run a copy in a session of its own, and send a signal to its group once it is ready. Return its record."""
        self.copy(index).mkdir(parents=True, exist_ok=True)
        (self.copy(index) / "payload").write_text(script)
        command = [*self.shell, "./wrapper", str(index)]
        with subprocess.Popen(command, cwd=self.root, start_new_session=True) as wrapper:
            if number is not None:
                ready = self.copy(index) / "work" / "ready"
                wait_until(ready.exists)
                os.killpg(wrapper.pid, number)
                (self.copy(index) / "sent").touch()
            wrapper.wait(SECONDS)
        return " ".join((self.copy(index) / "exit").read_text().split()[:2])


def wait_until(look: Callable[[], bool]) -> None:
    """Wait until a condition holds, for a limited time."""
    deadline = time.monotonic() + SECONDS
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(params=SHELLS)
def wrapped(request: pytest.FixtureRequest, tmp_path: Path) -> Wrapped:
    """Return copies, once for each installed shell."""
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


def test_a_record_says_that_a_signal_was_caught(wrapped: Wrapped) -> None:
    """A record says `caught` if a signal came to the whole group before the payload exited."""
    with ThreadPoolExecutor(len(ENDS)) as pool:
        runs = [pool.submit(wrapped.run, script, number, i) for i, (script, number, _) in enumerate(ENDS)]
        assert [run.result() for run in runs] == [record for _, _, record in ENDS]


def test_a_signal_to_a_payload_alone_is_recorded(wrapped: Wrapped) -> None:
    """A payload that gets SIGTERM before its wrapper, after SIGCONT to all, is recorded as `caught`.

    Slurm signals the processes of a job one after the other.
    """
    script = f'trap "exit 0" TERM; echo "$$" >pid; {LOOP}'
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(wrapped.run, script, signal.SIGCONT)
        pid = wrapped.copy(0) / "work" / "pid"
        wait_until(lambda: pid.exists() and (wrapped.copy(0) / "sent").exists())
        os.kill(int(pid.read_text()), signal.SIGTERM)
        assert run.result() == "caught 0"


def test_a_signal_after_the_end_is_not_recorded(wrapped: Wrapped) -> None:
    """A signal that comes after the payload has exited does not change its record."""
    wrapped.copy(0).mkdir(parents=True)
    (wrapped.copy(0) / "secrets").write_text("kill -s TERM $$\n")
    assert wrapped.run("exit 0") == "code 0"
    assert wrapped.run("exit 7") == "code 0", "what has run does not run again"


def test_a_signalled_copy_runs_again_if_it_is_requeued(wrapped: Wrapped) -> None:
    """A copy that caught a signal runs again if the scheduler starts it again, since its state was saved."""
    assert wrapped.run(f'trap "exit 0" TERM; {LOOP}', signal.SIGTERM) == "caught 0"
    assert wrapped.run("exit 3") == "code 3"
    assert (wrapped.copy(0) / "exit").read_text().split()[5] == "2"


@asynccontextmanager
async def open_backend(root: Path) -> AsyncGenerator[BatchBackend]:
    """Yield an open backend."""
    async with BatchBackend(LocalTransport(), DirectScheduler(slots=8, grace_s=2), root=str(root)) as backend:
        yield backend


async def wait_for_ends(backend: BatchBackend, handles: list[JobHandle]) -> list[JobStatus]:
    """Wait until all jobs are final, and return their statuses."""
    deadline = time.monotonic() + SECONDS
    while True:
        told = await backend.status(handles)
        if all(told[handle].state.final for handle in handles):
            return [told[handle] for handle in handles]
        assert time.monotonic() < deadline, told
        await asyncio.sleep(0.02)


async def submit_ready(
    backend: BatchBackend, root: Path, script: str, wall_time_s: int | None = None
) -> list[JobHandle]:
    """Submit a script for the codes 0 and 3, and wait until its copies are ready."""
    spec = SubmissionSpec(
        executable="sh", arguments=("-c", f"{script}; {LOOP}"), resources=Resources(wall_time_s=wall_time_s)
    )
    copies = [CopyVars(environment={"CODE": code, "HANDLES": f"{HANDLES}; {LOOP}"}) for code in ("0", "3")]
    handles = list((await backend.submit(spec, copies)).handles.values())
    wait_until(lambda: len(list(root.glob("*/copies/*/work/ready"))) == len(handles))
    return handles


@pytest.mark.parametrize("script", [HANDLES, 'exec timeout 300 sh -c "$HANDLES"'], ids=["plain", "in its own group"])
@pytest.mark.asyncio
async def test_a_killed_job_is_killed_with_any_exit_code(tmp_path: Path, script: str) -> None:
    """A killed job is KILLED by the user with its exit code, for each client, also after another kill."""
    async with open_backend(tmp_path / "root") as backend, open_backend(tmp_path / "root") as other:
        handles = await submit_ready(backend, tmp_path / "root", script)
        assert all(each.ok for each in (await backend.kill(handles)).values())
        statuses = await wait_for_ends(backend, handles)
        told = [(each.state, each.reason, each.exit_code, each.signal) for each in statuses]
        assert told == [(JobState.KILLED, "killed_by_user", code, None) for code in (0, 3)]
        assert all(each.ok for each in (await other.kill(handles)).values())
        assert await wait_for_ends(other, handles) == statuses
        outputs = await other.fetch_output(handles, tmp_path / "dest")
        assert all(output.ok for output in outputs.values())


@pytest.mark.asyncio
async def test_a_job_beyond_its_wall_time_fails_with_any_exit_code(tmp_path: Path) -> None:
    """A job beyond its wall time is FAILED(timeout) with its exit code."""
    async with open_backend(tmp_path / "root") as backend:
        handles = await submit_ready(backend, tmp_path / "root", HANDLES, wall_time_s=1)
        told = [(each.state, each.reason, each.exit_code) for each in await wait_for_ends(backend, handles)]
        assert told == [(JobState.FAILED, "timeout", code) for code in (0, 3)]


@pytest.mark.asyncio
async def test_a_job_that_signals_itself_ends_with_its_exit_code(tmp_path: Path) -> None:
    """A job that signals its own group is DONE or FAILED by its exit code, and a later kill changes nothing."""
    async with open_backend(tmp_path / "root") as backend:
        script = 'trap : TERM; kill -s TERM 0; : >ready; exit "$CODE"'
        handles = await submit_ready(backend, tmp_path / "root", script)
        wait_until(lambda: all("caught" in path.read_text() for path in tmp_path.glob("root/*/copies/*/exit")))
        assert all(each.ok for each in (await backend.kill(handles)).values())
        told = [(each.state, each.reason, each.exit_code) for each in await wait_for_ends(backend, handles)]
        assert told == [(JobState.DONE, None, 0), (JobState.FAILED, "exit_code", 3)]


@pytest.mark.asyncio
async def test_a_job_that_ends_with_its_machine_is_not_done(tmp_path: Path) -> None:
    """A job that exits with 0 while its machine shuts down is lost, since its runner did not see the end."""
    root = tmp_path / "root"
    async with open_backend(root) as backend:
        handles = await submit_ready(backend, root, HANDLES)
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
