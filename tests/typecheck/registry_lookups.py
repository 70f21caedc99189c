"""The types of the registry's answers are the contract's protocols, without a cast."""

from collections.abc import Mapping
from pathlib import Path
from typing import assert_type

from intercede import CredentialProvider, JobBackend, OutputRetriever, Scheduler, SubmissionSpec, Transport, registry
from intercede.config import load
from intercede.registry import Explanation, Plugin, Registry


async def count(config: Mapping[str, object], provider: CredentialProvider) -> int:
    """Open a backend from data and use it with its type."""
    async with registry.backend(config, credentials=provider) as backend:
        assert_type(backend, JobBackend)
        submission = await backend.submit(SubmissionSpec(executable="true"), copies=3)
        if isinstance(backend, OutputRetriever):
            await backend.fetch_output(list(submission.handles.values()), Path("out"))
        return len(submission.handles)


def look_up(provider: CredentialProvider) -> None:
    """Use each function of the module and of a registry of one's own."""
    own = Registry(load("intercede.toml"))
    assert_type(own.backend({"transport": "local", "scheduler": "direct", "slots": 4}), JobBackend)
    assert_type(registry.backend("fake"), JobBackend)
    assert_type(registry.transport({"type": "ssh", "host": "h"}, provider), Transport)
    assert_type(registry.scheduler("slurm"), Scheduler)
    assert_type(registry.plugins(), tuple[Plugin, ...])
    assert_type(registry.plugins("transports")[0].builtin, bool)
    assert_type(registry.resolve("transports", "ssh"), Plugin)
    assert_type(registry.explain("transports", "ssh"), Explanation)
    assert_type(registry.check(registry.resolve("transports", "ssh"), seconds=5), tuple[str, ...])
    registry.prefer("transports", "ssh", "acme-intercede")
    registry.refresh()
    if registry.resolve("transports", "ssh").status == "pinned":
        Registry("intercede.toml").problems()
