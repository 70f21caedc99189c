"""Each clause declares how many jobs its check runs at once, so that a run stays within the limit of a resource."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from intercede.contract import CopyVars, JobHandle, JobStatus, OpOutcome, Submission, SubmissionSpec
from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.check import run_checks
from intercede.testing.gallery import matrix
from intercede.testing.gallery.fake import FakeBackend
from intercede.testing.model.clause import Clause
from intercede.testing.model.verdict import State

CHECKS = [each for each in CLAUSES.values() if each.role == "backend" and each.area != "life"]
"""The clauses of backends, without those of IC-LIFE, whose checks need a process of their own."""


class _Counting(FakeBackend):
    """A fake that counts the jobs which are submitted and not yet seen final, over all instances."""

    out: set[JobHandle] = set()  # noqa: RUF012 -- all instances share it, and each test empties it
    most = 0

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        told = await super().submit(spec, copies)
        self.out.update(told.handles.values())
        type(self).most = max(self.most, len(self.out))
        return told

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        told = await super().status(handles)
        self.out.difference_update(handle for handle, each in told.items() if each.state.final)
        return told

    async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        told = await super().purge(handles)
        self.out.difference_update(handle for handle, each in told.items() if each.ok)
        return told


@pytest.fixture(autouse=True)
def _use_own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the jobs of the fake in a directory of the test, and end those that are left."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    _Counting.out.clear()
    _Counting.most = 0
    yield
    matrix.kill_jobs(tmp_path)


@pytest.mark.parametrize("clause", CHECKS, ids=[each.id for each in CHECKS])
def test_no_check_runs_more_jobs_than_its_clause_declares(clause: Clause) -> None:
    """The check of each clause passes for the fake, and runs at most as many jobs at once as the clause declares."""
    alone = replace(clause, depends=())

    report = run_checks(_Counting, clauses={clause.id: alone})

    assert report.results[clause.id].state is State.PASSED, report.results[clause.id].detail
    assert _Counting.most <= clause.jobs
