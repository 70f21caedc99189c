"""Jobs are found by their tag, also those of a cancelled submission."""

import asyncio

import pytest
from tests.batch.sites import Site, finish, make_script_spec

from intercede.batch import BatchBackend
from intercede.contract.job import (
    JobState,
)

TAGS = ["t", "t ", "*", "$(false)", "new\nline", "é/..", "'", "x" * 256]


@pytest.mark.asyncio
async def test_tags_are_data_and_found_by_other_clients(site: Site) -> None:
    """Another client finds each job with exactly the tag once, whatever characters the tag has."""
    async with site.backend() as backend, site.backend() as other:
        made = {tag: [await backend.submit(make_script_spec("true", tag=tag), 2) for _ in range(2)] for tag in TAGS[:3]}
        made |= {tag: [await backend.submit(make_script_spec("true", tag=tag))] for tag in TAGS[3:]}
        for tag, submissions in made.items():
            wanted = [handle for each in submissions for handle in each.handles.values()]
            assert sorted(handle.job for handle in await other.find(tag)) == sorted(handle.job for handle in wanted)
        assert await other.find("none") == []
        await finish(other, [h for some in made.values() for each in some for h in each.handles.values()])


@pytest.mark.asyncio
@pytest.mark.parametrize("after_s", [0.0, 0.005, 0.02, 0.05, 0.1, 0.2])
async def test_a_find_returns_all_jobs_of_a_cancelled_submit(site: Site, backend: BatchBackend, after_s: float) -> None:
    """A find after a cancelled submit returns all jobs that ever run, and the backend can be used further."""
    marks = site.root.parent / "marks"
    marks.mkdir()
    task = asyncio.create_task(backend.submit(make_script_spec(f"touch {marks}/$PPID-$$", tag="t"), 3))
    await asyncio.sleep(after_s)
    task.cancel()
    await asyncio.wait({task})
    found = await backend.find("t")
    assert len(found) in {0, 3}
    assert set(await backend.find("t")) == set(found)
    told = await finish(backend, found)
    assert {status.state for status in told.values()} <= {JobState.DONE}
    last = (await backend.submit(make_script_spec("true"))).handles[0]
    await finish(backend, [last])
    assert len(list(marks.iterdir())) == len(found)
