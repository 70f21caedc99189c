"""File systems with fewer hard links than others: what is told stays told, or the backend says so when it is entered."""

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
#: BeeGFS and AFS: EXDEV (toil #2232, conda #805).
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
#: FAT, and some that are mounted from elsewhere: EPERM.
NONE = """\
#!/bin/sh
echo "ln: failed to create hard link: Operation not permitted" >&2
exit 1
"""


class Cancelled(DirectScheduler):
    """Queues nothing, calls all of it cancelled, and forgets it."""

    def __init__(self) -> None:
        super().__init__(1)
        self.knows = True

    def submit_script(self, batch: Batch) -> str:
        """Queue nothing."""
        return "echo started"

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Make ids up."""
        return Queued(ids={index: f"{batch.submission_id}.{index}" for index in range(batch.copies)})

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        """Tell of all or of none."""
        return dict.fromkeys(ids, JobStatus(state=JobState.KILLED)) if self.knows else {}


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory that is the first in PATH, beside a list of the calls of ln that were noted."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    monkeypatch.setenv("LINKS", str(tmp_path / "links"))
    return directory


def put(links: Path, script: str) -> None:
    """Have this ln from now on."""
    (links / "ln").write_text(script)
    (links / "ln").chmod(0o700)


def opened(tmp_path: Path, scheduler: DirectScheduler) -> BatchBackend:
    """Return a backend, not entered."""
    return BatchBackend(LocalTransport(), scheduler, root=str(tmp_path / "root"), min_poll_interval=0)


async def told_twice(backend: BatchBackend, scheduler: Cancelled) -> list[list[JobStatus]]:
    """Return what is told of cancelled copies while their scheduler knows them, and after it forgot them."""
    handles = (await backend.submit(SubmissionSpec(executable="true"), COPIES)).handles.values()
    told: list[list[JobStatus]] = []
    for knows in (True, False):
        scheduler.knows = knows
        told.append(list((await backend.status(handles)).values()))
    return told


@pytest.mark.asyncio
async def test_verdicts_stay_where_no_link_leads_to_another_directory(tmp_path: Path, links: Path) -> None:
    """KILLED stays KILLED, for a process a verdict and no more, and nothing lies about."""
    put(links, ACROSS)
    scheduler = Cancelled()
    async with opened(tmp_path, scheduler) as backend:
        first, second = await told_twice(backend, scheduler)

    assert {status.state for status in first} == {JobState.KILLED}
    assert second == first
    (finals,) = (tmp_path / "root").glob("*/finals")
    assert sorted(path.name for path in finals.iterdir()) == [str(index) for index in range(COPIES)]
    entering, submitting, all_at_once = 2, 1, 1
    assert len((tmp_path / "links").read_text().splitlines()) == entering + submitting + all_at_once + COPIES


@pytest.mark.asyncio
async def test_verdicts_are_links_of_one_process_where_they_can_be(tmp_path: Path, links: Path) -> None:
    """However many copies there are."""
    put(links, '#!/bin/sh\necho ln >>"$LINKS"\nexec /bin/ln "$@"\n')
    scheduler = Cancelled()
    async with opened(tmp_path, scheduler) as backend:
        first, second = await told_twice(backend, scheduler)

    assert second == first
    entering, submitting, all_at_once = 2, 1, 1
    assert len((tmp_path / "links").read_text().splitlines()) == entering + submitting + all_at_once


@pytest.mark.asyncio
async def test_a_verdict_that_cannot_be_written_says_so(tmp_path: Path, links: Path) -> None:
    """It is told, and that nothing keeps it; what links there were when it was entered is no matter."""
    scheduler = Cancelled()
    async with opened(tmp_path, scheduler) as backend:
        handle = (await backend.submit(SubmissionSpec(executable="true"))).handles[0]
        put(links, NONE)
        status = (await backend.status([handle]))[handle]

    assert status.state is JobState.KILLED
    assert "could not be written down" in (status.evidence or "")


@pytest.mark.asyncio
@pytest.mark.parametrize("used", [False, True], ids=["a new root", "one that was used"])
async def test_a_root_without_links_is_refused(tmp_path: Path, links: Path, used: bool) -> None:
    """When it is entered, with what to do, and nothing is left there."""
    if used:
        async with opened(tmp_path, Cancelled()):
            pass
    put(links, NONE)

    with pytest.raises(ConfigError, match=r"without hard links.*set root on another one"):
        await opened(tmp_path, Cancelled()).__aenter__()
    names = {path.name for path in (tmp_path / "root").iterdir()}
    assert names == ({".trash", "resource-id"} if used else {".trash"})


class Lost(LocalTransport):
    """Its commands begin, or are lost on the way."""

    is_lost = False

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run it, or lose it."""
        if self.is_lost:
            raise TransportError("lost")
        return await super().run(argv, stdin=stdin, stdout=stdout)


@pytest.mark.asyncio
async def test_what_cannot_be_kept_from_starting_is_not_called_absent(tmp_path: Path, links: Path) -> None:
    """Whoever is told that nothing is there submits again, and the first might start after all."""
    transport = Lost()
    async with BatchBackend(transport, Cancelled(), root=str(tmp_path / "root")) as backend:
        transport.is_lost = True
        with pytest.raises(TransportError, match="lost"):
            await backend.submit(SubmissionSpec(executable="true", tag="t"))
        transport.is_lost = False
        put(links, NONE)
        with pytest.raises(ResourceError, match="cannot be kept from starting"):
            await backend.find("t")
        (links / "ln").unlink()
        assert await backend.find("t") == []
