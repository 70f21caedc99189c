"""BatchBackend runs each verb over local and direct, with few commands."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.batch.sites import Counting, Site, T, finish, make_script_spec

from intercede.batch import BatchBackend
from intercede.contract.backend import CAPABILITIES, capabilities
from intercede.contract.errors import (
    NotOpenError,
)
from intercede.contract.job import (
    JobHandle,
    JobState,
)
from intercede.schedulers.direct import DirectScheduler


@pytest.mark.asyncio
@pytest.mark.parametrize("copies", [1, 40])
async def test_each_verb_is_one_command_for_any_number_of_copies(site: Site, copies: int) -> None:
    """Each verb is one command for one copy and for forty, if all copies have an exit code."""
    transport = Counting()

    async def used(verb: Awaitable[T]) -> tuple[T, int]:
        before = len(transport.commands)
        return await verb, len(transport.commands) - before

    backend = site.backend(transport)
    _, entering = await used(backend.__aenter__())
    submission, submitting = await used(backend.submit(make_script_spec("echo out", tag="t"), copies))
    handles = list(submission.handles.values())
    await finish(backend, handles)
    _, status = await used(backend.status(handles))
    outputs, fetching = await used(backend.fetch_output(handles, site.dest))
    assert all(output.ok for output in outputs.values())
    others = [(await used(verb))[1] for verb in (backend.counts(), backend.find("t"), backend.diagnostics(handles))]
    killed, killing = await used(backend.kill(handles))
    purged, purging = await used(backend.purge(handles))
    assert all(outcome.ok for outcome in [*killed.values(), *purged.values()])
    assert [entering, submitting, status, fetching, *others, killing, purging] == [1] * 9
    await backend.__aexit__(None, None, None)


def test_a_batch_backend_claims_every_capability(site: Site) -> None:
    """BatchBackend claims all capabilities."""
    assert capabilities(site.backend()) == frozenset(CAPABILITIES)


@pytest.mark.asyncio
async def test_a_verb_outside_of_async_with_raises(site: Site) -> None:
    """A verb before entering and after leaving raises NotOpenError, also for an empty list."""
    backend = site.backend()
    for _ in range(2):
        for verb in (backend.status, backend.kill, backend.purge, backend.diagnostics):
            with pytest.raises(NotOpenError):
                await verb([])
        for call in (backend.counts(), backend.find("t"), backend.fetch_output([], site.dest)):
            with pytest.raises(NotOpenError):
                await call
        with pytest.raises(NotOpenError):
            await backend.submit(make_script_spec("true"))
        async with backend:
            assert await backend.status([]) == {}
    await backend.__aexit__(None, None, None)


@pytest.mark.asyncio
async def test_foreign_handles_are_answered_alone(site: Site, backend: BatchBackend) -> None:
    """A foreign, hostile or unknown handle is answered in each verb and harms no other."""
    hostile = ["../../etc", "$(touch x)", "aaaaaaaaaaaaa.0\n", "aaaaaaaaaaaaa.00", "aaaaaaaaaaaaa.-1", "é", "'; exit"]
    mine = (await backend.submit(make_script_spec("true"))).handles[0]
    foreign = [JobHandle(resource=mine.resource, job=job) for job in hostile]
    foreign.append(JobHandle(resource="another", job=mine.job))
    unknown = JobHandle(resource=mine.resource, job="a" * 13 + ".0")
    every = [mine, mine, unknown, *foreign]
    await finish(backend, [mine])
    told = await backend.status(every)
    assert set(told) == set(every)
    assert {told[handle].reason for handle in foreign} == {"foreign"}
    assert told[unknown].state is JobState.UNKNOWN
    killed, purged = await backend.kill(every), await backend.purge([unknown, *foreign])
    assert {killed[handle].reason for handle in foreign} == {"foreign"}
    assert (killed[unknown].reason, killed[mine].ok, purged[unknown].ok) == ("unknown", True, True)
    assert {purged[handle].reason for handle in foreign} == {"foreign"}
    outputs = await backend.fetch_output(every, site.dest)
    assert [handle for handle, output in outputs.items() if output.ok] == [mine]
    outputs = await backend.fetch_output([unknown, mine], site.dest)
    assert (outputs[unknown].ok, outputs[mine].ok) == (False, True)
    assert not (await backend.fetch_output([unknown], site.dest))[unknown].ok
    assert set(await backend.diagnostics(every)) == set(every)


@pytest.mark.asyncio
async def test_commands_in_flight_limits_the_commands(site: Site) -> None:
    """Twenty verbs at once run at most three commands at once if commands_in_flight is 3."""
    transport = Counting()
    backend = BatchBackend(transport, DirectScheduler(1), root=str(site.root), commands_in_flight=3)
    async with backend:
        await asyncio.gather(*(backend.find("t") for _ in range(20)))
    assert transport.most_out == 3


@pytest.mark.asyncio
@pytest.mark.parametrize("verb", ["status", "kill", "purge", "diagnostics", "fetch_output"])
async def test_wrong_values_for_handles_are_type_errors(site: Site, verb: str) -> None:
    """A submission, its handles or a single handle in the place of handles is a TypeError that says what to write."""
    async with site.backend() as backend:
        submission = await backend.submit(make_script_spec("exit 0"))
        asked: Callable[..., Awaitable[object]] = getattr(backend, verb)
        more = [site.dest] if verb == "fetch_output" else []

        for given in (submission.handles, submission):
            with pytest.raises(TypeError, match=r"write submission\.handles\.values\(\)"):
                await asked(given, *more)
        with pytest.raises(TypeError, match=r"write \[handle\]"):
            await asked(submission.handles[0], *more)
        await finish(backend, submission.handles.values())
