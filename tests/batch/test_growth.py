"""The number of remote programs does not grow with the number of jobs."""

import asyncio
import os
import shutil
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import pytest
from tests.prefixed import Prefixed, set_variables
from tests.tools import marks

from intercede.batch import BatchBackend
from intercede.batch.remote.layout import make_submission_id
from intercede.contract.job import JobHandle, JobState, SubmissionSpec
from intercede.schedulers.direct import DirectScheduler

T = TypeVar("T")
PROGRAMS = ("awk", "cat", "find", "ln", "mkdir", "mv", "printf", "stat", "tail", "tar")


class Counted(Prefixed):
    """The transport local with a shell of its own. It counts the programs that a verb runs, without those of jobs."""

    def __init__(self, place: Path, shell: str = "dash") -> None:
        self._path = {"PATH": f"{place}:{os.environ['PATH']}"}
        super().__init__(*set_variables(self._path))
        place.mkdir()
        self._log = place / "log"
        (place / "sh").symlink_to(shutil.which(shell) or "")
        for name in PROGRAMS:
            note = f'[ -z "$COUNTED" ] || echo {name} >>"$COUNTED"'
            (place / name).write_text(f'#!/bin/dash\n{note}\nexec {shutil.which(name)} "$@"\n')
            (place / name).chmod(0o755)

    async def runs(self, verb: Awaitable[T]) -> tuple[T, int]:
        """Return an answer, and the number of programs that were run for it."""
        self._log.write_text("")
        self._prefix = set_variables({**self._path, "COUNTED": str(self._log)})
        answer = await verb
        self._prefix = set_variables(self._path)
        return answer, len(self._log.read_text().splitlines())


def copy_submission(root: Path, handle: JobHandle, many: int) -> list[JobHandle]:
    """Copy a submission many times, and return the handles."""
    submission_id, _, index = handle.job.partition(".")
    submission_ids = [make_submission_id() for _ in range(many)]
    for new in submission_ids:
        shutil.copytree(root / submission_id, root / new)
        for path in (path for path in (root / new).rglob("*") if path.is_file()):
            path.write_text(path.read_text().replace(submission_id, new))
    return [JobHandle(resource=handle.resource, job=f"{new}.{index}") for new in submission_ids]


@pytest.mark.asyncio
async def test_many_submissions_take_no_more_programs(tmp_path: Path) -> None:
    """Status, counts and purge run as many programs for 45 submissions as for 5, and fetch at most four more."""
    transport, root = Counted(tmp_path / "programs"), tmp_path / "root"
    async with BatchBackend(transport, DirectScheduler(1, 0), root=str(root)) as backend:
        outputs = {"members": [{"pattern": "*.txt"}]}
        spec = SubmissionSpec.model_validate(
            {"executable": "sh", "arguments": ("-c", "echo out; echo x >a.txt"), "outputs": outputs}
        )
        handle = (await backend.submit(spec)).handles[0]
        async with asyncio.timeout(30):
            while not (await backend.status([handle]))[handle].state.final:  # noqa: ASYNC110 -- jobs set no event
                await asyncio.sleep(0.02)
        used: dict[int, list[int]] = {}
        for many in (5, 45):
            handles = copy_submission(root, handle, many)
            told, for_status = await transport.runs(backend.status(handles))
            _, for_counts = await transport.runs(backend.counts())
            fetched, for_fetch = await transport.runs(backend.fetch_output(handles, tmp_path / "dest"))
            purged, for_purge = await transport.runs(backend.purge(handles))
            assert {status.state for status in told.values()} == {JobState.DONE}
            assert all(output.ok and set(output.files) == {"a.txt"} for output in fetched.values())
            assert all(outcome.ok for outcome in purged.values())
            used[many] = [for_status, for_counts, for_purge, for_fetch]
        assert used[45][:-1] == used[5][:-1]
        assert used[45][-1] <= used[5][-1] + 4
    assert {path.name for path in root.iterdir()} == {"resource-id", ".trash", handle.job.partition(".")[0]}


@pytest.mark.parametrize(
    "shell", ["dash", *(pytest.param(name, marks=[*marks(name), pytest.mark.slow]) for name in ("mksh", "posh"))]
)
@pytest.mark.asyncio
async def test_many_queued_copies_take_no_more_programs(tmp_path: Path, shell: str) -> None:
    """A status of 60 queued copies runs as many programs as one of 2, also in shells whose printf is a program."""
    transport = Counted(tmp_path / "programs", shell)
    async with BatchBackend(transport, DirectScheduler(1, 0), root=str(tmp_path / "root")) as backend:
        used: dict[int, int] = {}
        for many in (2, 60):
            spec = SubmissionSpec(executable="sleep", arguments=("60",))
            handles = list((await backend.submit(spec, many)).handles.values())
            async with asyncio.timeout(30):
                while (await backend.status(handles))[handles[0]].state is not JobState.RUNNING:  # noqa: ASYNC110 -- jobs set no event
                    await asyncio.sleep(0.02)
            told, used[many] = await transport.runs(backend.status(handles))
            assert [status.state for status in told.values()].count(JobState.QUEUED) == many - 1
            assert all(outcome.ok for outcome in (await backend.kill(handles)).values())
        assert used[60] == used[2]
