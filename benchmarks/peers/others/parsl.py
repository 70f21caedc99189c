"""Parsl's SlurmProvider alone: an sbatch for each block, sacct for fifty at a time, one scancel for all."""

from collections.abc import Sequence
from pathlib import Path
from shlex import join

from benchmarks.peers.runs.scene import Peer, main
from parsl.launchers import SimpleLauncher
from parsl.providers import SlurmProvider


class Parsl(Peer):
    """Parsl's provider, with one block for each job."""

    def __init__(self) -> None:
        self._provider = SlurmProvider(walltime="00:30:00", exclusive=False, launcher=SimpleLauncher(), cmd_timeout=60)
        scripts = Path.home() / "parsl"
        scripts.mkdir(exist_ok=True)
        self._provider.script_dir = str(scripts)
        self._ids: list[object] = []

    async def submit(self, copies: int, command: Sequence[str]) -> None:
        """Submit one job after the other: the provider has no other way."""
        self._ids = [self._provider.submit(join(command), 1) for _ in range(copies)]

    async def over(self) -> int:
        """Return the number of terminal jobs, from one call."""
        return sum(status.terminal for status in self._provider.status(self._ids))

    async def kill(self) -> None:
        """Cancel all jobs in one call."""
        self._provider.cancel(self._ids)


if __name__ == "__main__":
    main(Parsl())
