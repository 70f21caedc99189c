"""Final states are kept on file systems with limited hard links, or the root is refused."""

import os
from collections.abc import AsyncIterable, Mapping, Sequence
from pathlib import Path

import pytest

from intercede.batch import BatchBackend
from intercede.contract.errors import ConfigError, ResourceError, TransportError
from intercede.contract.job import JobState, JobStatus, SubmissionSpec
from intercede.contract.scheduler import Batch, Queued
from intercede.contract.transport import ByteSink, CommandResult
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport

COPIES = 5
#: An ln that fails with EXDEV between directories, as on BeeGFS and AFS (toil #2232, conda #805).
ACROSS = """\
#!/bin/sh
echo ln >>"$LINKS"
for last; do :; done
if [ -d "$last" ] || [ "$(dirname "$1")" != "$(dirname "$last")" ]; then
    echo "ln: failed to create hard link '$last' => '$1': Invalid cross-device link" >&2
    exit 1
fi
exec /bin/ln "$@"
"""
#: An ln that fails with EPERM, as on FAT and some network file systems.
NONE = """\
#!/bin/sh
echo "ln: failed to create hard link: Operation not permitted" >&2
exit 1
"""


class Cancelled(DirectScheduler):
    """A scheduler that queues nothing, calls all copies cancelled, and can forget them."""

    def __init__(self) -> None:
        super().__init__(1)
        self.knows = True

    def submit_script(self, batch: Batch) -> str:
        """Return a fragment that queues nothing."""
        return "echo started"

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Return made-up ids."""
        return Queued(ids={index: f"{batch.submission_id}.{index}" for index in range(batch.copies)})

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        """Return KILLED for all jobs, or nothing."""
        return dict.fromkeys(ids, JobStatus(state=JobState.KILLED)) if self.knows else {}


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that is first in PATH. Calls of ln may be recorded in a file beside it."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    monkeypatch.setenv("LINKS", str(tmp_path / "links"))
    return directory


def install_ln(links: Path, script: str) -> None:
    """Install a script as ln."""
    (links / "ln").write_text(script)
    (links / "ln").chmod(0o700)


def make_backend(tmp_path: Path, scheduler: DirectScheduler) -> BatchBackend:
    """Return a backend that is not entered."""
    return BatchBackend(LocalTransport(), scheduler, root=str(tmp_path / "root"), min_poll_interval=0)


async def get_statuses_twice(backend: BatchBackend, scheduler: Cancelled) -> list[list[JobStatus]]:
    """Return the statuses of cancelled copies while their scheduler knows them, and after it forgot them."""
    handles = (await backend.submit(SubmissionSpec(executable="true"), COPIES)).handles.values()
    told: list[list[JobStatus]] = []
    for knows in (True, False):
        scheduler.knows = knows
        told.append(list((await backend.status(handles)).values()))
    return told


@pytest.mark.asyncio
async def test_final_states_stay_without_links_across_directories(tmp_path: Path, links: Path) -> None:
    """Final states stay if hard links do not work across directories, with one process for each job."""
    install_ln(links, ACROSS)
    scheduler = Cancelled()
    async with make_backend(tmp_path, scheduler) as backend:
        first, second = await get_statuses_twice(backend, scheduler)

    assert {status.state for status in first} == {JobState.KILLED}
    assert second == first
    (finals,) = (tmp_path / "root").glob("*/finals")
    assert sorted(path.name for path in finals.iterdir()) == [str(index) for index in range(COPIES)]
    entering, submitting, all_at_once = 2, 1, 1
    assert len((tmp_path / "links").read_text().splitlines()) == entering + submitting + all_at_once + COPIES


@pytest.mark.asyncio
async def test_final_states_are_linked_by_one_process(tmp_path: Path, links: Path) -> None:
    """All final states are linked by one process if hard links work."""
    install_ln(links, '#!/bin/sh\necho ln >>"$LINKS"\nexec /bin/ln "$@"\n')
    scheduler = Cancelled()
    async with make_backend(tmp_path, scheduler) as backend:
        first, second = await get_statuses_twice(backend, scheduler)

    assert second == first
    entering, submitting, all_at_once = 2, 1, 1
    assert len((tmp_path / "links").read_text().splitlines()) == entering + submitting + all_at_once


@pytest.mark.asyncio
async def test_a_final_state_without_a_link_says_so(tmp_path: Path, links: Path) -> None:
    """A final state that cannot be linked is reported, and its evidence says that it is not kept."""
    scheduler = Cancelled()
    async with make_backend(tmp_path, scheduler) as backend:
        handle = (await backend.submit(SubmissionSpec(executable="true"))).handles[0]
        install_ln(links, NONE)
        status = (await backend.status([handle]))[handle]

    assert status.state is JobState.KILLED
    assert "could not be recorded" in (status.evidence or "")


@pytest.mark.asyncio
@pytest.mark.parametrize("used", [False, True], ids=["a new root", "one that was used"])
async def test_a_root_without_hard_links_is_refused(tmp_path: Path, links: Path, used: bool) -> None:
    """Entering a root without hard links is a ConfigError that says what to do, and leaves no file."""
    if used:
        async with make_backend(tmp_path, Cancelled()):
            pass
    install_ln(links, NONE)

    with pytest.raises(ConfigError, match=r"without hard links.*set root on another one"):
        await make_backend(tmp_path, Cancelled()).__aenter__()
    names = {path.name for path in (tmp_path / "root").iterdir()}
    assert names == ({".trash", "resource-id"} if used else {".trash"})


class Lost(LocalTransport):
    """A transport whose commands run, or are lost."""

    is_lost = False

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run a command, or raise that it was lost."""
        if self.is_lost:
            raise TransportError("lost")
        return await super().run(argv, stdin=stdin, stdout=stdout)


@pytest.mark.asyncio
async def test_a_find_that_cannot_stop_a_submission_is_an_error(tmp_path: Path, links: Path) -> None:
    """A find is a ResourceError if it cannot keep a lost submission from starting."""
    transport = Lost()
    async with BatchBackend(transport, Cancelled(), root=str(tmp_path / "root")) as backend:
        transport.is_lost = True
        with pytest.raises(TransportError, match="lost"):
            await backend.submit(SubmissionSpec(executable="true", tag="t"))
        transport.is_lost = False
        install_ln(links, NONE)
        with pytest.raises(ResourceError, match="cannot be kept from starting"):
            await backend.find("t")
        (links / "ln").unlink()
        assert await backend.find("t") == []
