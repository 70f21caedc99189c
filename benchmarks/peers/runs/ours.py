"""intercede, with the transport that the command line names: ``ssh`` or ``local``."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from benchmarks.peers.runs.scene import Peer, main

from intercede import JobHandle, SubmissionSpec, registry
from intercede.batch import BatchBackend


class Intercede(Peer):
    """A backend without a pause between two queries, like the other programs."""

    def __init__(self, transport: object) -> None:
        table = {"transport": transport, "scheduler": "slurm", "batch": {"min_poll_interval": 0}}
        self._backend = cast("BatchBackend", registry.backend(table))  # every such table makes one
        self._handles: list[JobHandle] = []

    async def __aenter__(self) -> Self:
        """Open the backend."""
        await self._backend.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Leave the backend."""
        await self._backend.__aexit__(exc_type, exc, traceback)

    async def submit(self, copies: int, command: Sequence[str]) -> None:
        """Submit all jobs in one call."""
        spec = SubmissionSpec(executable=command[0], arguments=tuple(command[1:]))
        submission = await self._backend.submit(spec, copies)
        if submission.failures:
            raise RuntimeError(f"{len(submission.failures)} copies were refused")
        self._handles = list(submission.handles.values())

    async def over(self) -> int:
        """Return the number of final jobs, from one query."""
        return sum(status.state.final for status in (await self._backend.status(self._handles)).values())

    async def fetch(self, into: Path) -> None:
        """Fetch all outputs in one call."""
        outputs = await self._backend.fetch_output(self._handles, into)
        if not all(output.ok for output in outputs.values()):
            raise RuntimeError("not everything was fetched")

    async def kill(self) -> None:
        """Kill all jobs in one call."""
        outcomes = await self._backend.kill(self._handles)
        if not all(outcome.ok for outcome in outcomes.values()):
            raise RuntimeError("not everything was ended")


TRANSPORTS = {"local": "local", "ssh": {"type": "ssh", "host": "bench", "ssh_config": os.environ["BENCH_SSH_CONFIG"]}}

if __name__ == "__main__":
    main(Intercede(TRANSPORTS[sys.argv.pop(1)]))
