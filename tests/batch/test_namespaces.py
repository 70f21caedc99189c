"""Clients in different pid namespaces, as in containers, share a root."""

import asyncio
from pathlib import Path

import pytest
from tests.batch.clients import get_submission, make_client
from tests.batch.sites import finish, make_script_spec, wait_until
from tests.prefixed import Prefixed

from intercede.batch import BatchBackend
from intercede.batch.remote.api import load_script
from intercede.contract.job import JobState

QUEUER = (
    "_ic_find_machine; _ic_identify_process self; printf '%s\\n' \"$machine $process\" >queuer; echo ready; read -r _"
)


@pytest.mark.needs("unshare")
@pytest.mark.asyncio
async def test_a_find_waits_for_a_submit_in_another_pid_namespace(root: Path, backend: BatchBackend) -> None:
    """A find waits for a submit in a container that shares home, host name and boot id. See gbrain #2840."""
    handle = (await backend.submit(make_script_spec("true", tag="t"))).handles[0]
    await finish(backend, [handle])
    place = get_submission(root, handle)
    (place / "submitted").rename(place / "aside")
    pipe = asyncio.subprocess.PIPE
    container = (
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "--kill-child",
        "sh",
        "-c",
        f"{load_script('remote/prelude')}{QUEUER}",
    )
    queuer = await asyncio.create_subprocess_exec(*container, cwd=place, stdin=pipe, stdout=pipe)
    assert queuer.stdout is not None
    assert await queuer.stdout.readline() == b"ready\n"
    finding = asyncio.create_task(backend.find("t"))
    await asyncio.wait({finding}, timeout=0.3)
    assert not finding.done()
    (place / "aside").rename(place / "submitted")
    assert await finding == [handle]
    await queuer.communicate(b"")


@pytest.mark.needs("unshare")
@pytest.mark.asyncio
@pytest.mark.parametrize("verb", ["status", "kill", "purge", "counts", "fetch_output"])
async def test_a_job_of_another_pid_namespace_is_left_alone(root: Path, backend: BatchBackend, verb: str) -> None:
    """A job in another pid namespace is neither lost, killed nor purged, and the answer says where it runs."""
    tmp = root.parent
    handle = (await backend.submit(make_script_spec(f"until [ -e '{tmp}/go' ]; do sleep 0.02; done"))).handles[0]
    await wait_until(lambda: backend.status([handle]), lambda told: told[handle].state is JobState.RUNNING)
    async with make_client(root, transport=Prefixed("unshare", "--pid", "--fork", "--mount-proc")) as other:
        if verb == "status":
            told = (await other.status([handle]))[handle]
            assert (told.state, told.reason) == (JobState.UNKNOWN, None)
            assert "another pid namespace" in (told.evidence or "")
        elif verb == "counts":
            assert (await other.counts()).running == 0
        elif verb == "fetch_output":
            assert not (await other.fetch_output([handle], tmp / "dest"))[handle].ok
        else:
            outcome = (await (other.kill if verb == "kill" else other.purge)([handle]))[handle]
            assert not outcome.ok
            assert "another pid namespace" in (outcome.detail or "")
    assert (await backend.status([handle]))[handle].state is JobState.RUNNING
    (tmp / "go").touch()
    state = (await finish(backend, [handle]))[handle].state
    assert state is JobState.DONE
