"""Statuses over local and direct hold exit codes, signals and reasons, also of lost submissions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.batch.sites import Chunky, Counting, Site, finish, make_script_spec, wait_for_state, wait_until

from intercede.batch import BatchBackend
from intercede.contract.job import (
    JobHandle,
    JobState,
    Resources,
)


@pytest.mark.asyncio
@pytest.mark.parametrize("copies", [1, 20])
async def test_an_end_without_an_exit_code_costs_one_more_command(site: Site, copies: int) -> None:
    """The first verb that sees an end without an exit code runs a second command, and later ones do not."""
    transport = Counting()
    async with site.backend(transport) as backend, site.backend() as other:
        handles = list((await backend.submit(make_script_spec("sleep 60"), copies)).handles.values())
        await wait_for_state(backend, handles[0], JobState.RUNNING)
        before = len(transport.commands)
        assert all(outcome.ok for outcome in (await backend.kill(handles)).values())
        assert len(transport.commands) == before + 1
        await wait_until(other.counts, lambda counts: counts.queued + counts.running == 0)
        before = len(transport.commands)
        outputs = await backend.fetch_output(handles, site.dest)
        assert all(output.ok for output in outputs.values())
        assert len(transport.commands) == before + 2
        told = await backend.status(handles)
        assert {(each.state, each.reason) for each in told.values()} == {(JobState.KILLED, "killed_by_user")}
        assert len(transport.commands) == before + 3


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [0, 1, 2, 99, 100, 126, 127, 255])
async def test_exit_codes_are_reported(backend: BatchBackend, code: int) -> None:
    """A job with exit code 0 is DONE, and with another one FAILED."""
    handle = (await backend.submit(make_script_spec(f"exit {code}"))).handles[0]
    status = (await finish(backend, [handle]))[handle]
    assert status.exit_code == code
    assert (status.state, status.reason) == ((JobState.FAILED, "exit_code") if code else (JobState.DONE, None))


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [1, 2, 3, 9, 11, 13, 15])
async def test_a_death_by_signal_is_reported(backend: BatchBackend, number: int) -> None:
    """A job that dies of a signal is FAILED(signal). No payload ignores SIGINT or SIGPIPE by default."""
    handle = (await backend.submit(make_script_spec(f"kill -{number} $$; exit 5"))).handles[0]
    status = (await finish(backend, [handle]))[handle]
    assert (status.state, status.signal, status.reason) == (JobState.FAILED, number, "signal")


@pytest.mark.asyncio
async def test_a_final_state_does_not_change(site: Site) -> None:
    """A kill after the end changes no final state."""
    async with site.backend() as backend, site.backend() as other:
        handles = [(await backend.submit(make_script_spec(script))).handles[0] for script in ("exit 3", "kill -9 $$")]
        before = await finish(backend, handles)
        assert all(outcome.ok for outcome in (await other.kill(handles)).values())
        assert dict(await other.status(handles)) == dict(before)


@pytest.mark.asyncio
async def test_native_ids_are_read_once_by_each_client(site: Site) -> None:
    """A client that does not know the native ids of a submission reads them with one command."""
    spec = make_script_spec("while [ ! -e ../../../go ]; do sleep 0.02; done", tag="t")
    first, second, third = Counting(), Counting(), Counting()
    several = [BatchBackend(each, Chunky(4), root=str(site.root)) for each in (first, second, third)]
    async with several[0] as backend, several[1] as other, several[2] as late:
        submission = await backend.submit(spec, 4)
        assert list(submission.failures) == [3]
        handles = list(submission.handles.values())
        await wait_until(
            lambda: other.status(handles), lambda told: {s.state for s in told.values()} == {JobState.RUNNING}
        )
        before = len(second.commands)
        assert (await other.status(handles))[handles[0]].state is JobState.RUNNING
        assert len(second.commands) == before + 1
        before = len(third.commands)
        assert (await late.counts()).running == 3
        assert sorted(await late.find("t"), key=str) == sorted(handles, key=str)
        assert len(third.commands) == before + 2
        (site.directory(handles[0]).parents[1] / "go").touch()
        await finish(backend, handles)
        assert all(outcome.ok for outcome in (await backend.purge(handles)).values())
    assert {path.name for path in site.root.iterdir()} == {"resource-id", ".trash"}


@pytest.mark.asyncio
async def test_a_lost_answer_is_settled_by_the_schedulers_list(site: Site) -> None:
    """Another client gets the ids from the scheduler's list if the answer of the submit was lost."""
    async with site.backend() as backend, site.backend() as other:
        handles = (await backend.submit(make_script_spec("sleep 60", tag="t"), 2)).handles
        for name in ("natives", "submitted"):
            (site.directory(handles[0]).parents[1] / name).unlink()
        assert set(await other.find("t")) == set(handles.values())
        (site.directory(handles[0]).parents[1] / "natives").unlink(missing_ok=True)
        await wait_until(lambda: other.status([handles[0]]), lambda told: told[handles[0]].state is JobState.RUNNING)
        assert all(outcome.ok for outcome in (await other.kill(list(handles.values()))).values())
        await finish(other, handles.values())


@pytest.mark.asyncio
async def test_a_job_that_left_no_trace_is_lost(site: Site, backend: BatchBackend) -> None:
    """A job whose processes were killed from outside is UNKNOWN(lost), and can be purged."""
    handle = (await backend.submit(make_script_spec("sleep 60"))).handles[0]
    await wait_for_state(backend, handle, JobState.RUNNING)
    group = (site.root / handle.job.partition(".")[0] / "direct" / "0").read_text().split()[0]
    os.killpg(int(group), 9)
    told = await wait_until(lambda: backend.status([handle]), lambda told: told[handle].state is not JobState.RUNNING)
    assert (told[handle].state, told[handle].reason) == (JobState.UNKNOWN, "lost")
    assert not (await backend.fetch_output([handle], site.dest))[handle].ok
    assert (await backend.purge([handle]))[handle].ok


@pytest.mark.asyncio
async def test_jobs_survive_the_process_that_submitted_them(site: Site, backend: BatchBackend) -> None:
    """A client finishes jobs by their handles after the submitting process was killed."""
    program = f"""
import asyncio, os, signal
from intercede.batch import BatchBackend
from intercede.contract import SubmissionSpec
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport
async def main():
    async with BatchBackend(LocalTransport(), DirectScheduler(1), root={str(site.root)!r}) as backend:
        spec = SubmissionSpec(executable="sh", arguments=("-c", "sleep 0.3; echo survived"))
        submission = await backend.submit(spec, 2)
        print(*(handle.model_dump_json() for handle in submission.handles.values()), sep="\\n", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    handles = [JobHandle.model_validate_json(line) for line in result.stdout.splitlines()]
    told = await finish(backend, handles)
    assert [told[handle].state for handle in handles] == [JobState.DONE] * 2


@pytest.mark.asyncio
async def test_a_job_beyond_its_wall_time_is_a_timeout(backend: BatchBackend) -> None:
    """A job beyond its wall time is FAILED(timeout) with the signal that ended it."""
    handle = (await backend.submit(make_script_spec("sleep 60", resources=Resources(wall_time_s=1)))).handles[0]
    status = (await finish(backend, [handle]))[handle]
    assert (status.state, status.reason, status.signal) == (JobState.FAILED, "timeout", 15)


@pytest.mark.asyncio
async def test_a_job_is_not_lost_if_its_id_cannot_be_written(root: Path, tmp_path: Path) -> None:
    """A job is reported and killed even if a full disk keeps its native id from being written."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "mv").write_text('#!/bin/sh\ncase $2 in */natives) exit 1 ;; esac\nexec /bin/mv "$@"\n')
    (tmp_path / "bin" / "mv").chmod(0o700)
    transport = Counting({"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})
    async with BatchBackend(transport, Chunky(4, 1), root=str(root)) as backend:
        handle = (await backend.submit(make_script_spec("sleep 300"), 2)).handles[0]
        for _ in range(2):
            assert (await backend.status([handle]))[handle].state in {JobState.QUEUED, JobState.RUNNING}
        assert (await backend.kill([handle]))[handle].ok
        assert (await finish(backend, [handle]))[handle].state is JobState.KILLED
