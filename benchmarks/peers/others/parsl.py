"""Parsl's SlurmProvider, by itself: an sbatch for each block, sacct for fifty at a time, one scancel for all."""

from collections.abc import Sequence
from pathlib import Path
from shlex import join

from benchmarks.peers.runs.scene import Peer, main
from parsl.launchers import SimpleLauncher
from parsl.providers import SlurmProvider


class Parsl(Peer):
    """The provider, with a block for a job."""

    def __init__(self) -> None:
        self._provider = SlurmProvider(walltime="00:30:00", exclusive=False, launcher=SimpleLauncher(), cmd_timeout=60)
        scripts = Path.home() / "parsl"
        scripts.mkdir(exist_ok=True)
        self._provider.script_dir = str(scripts)
        self._ids: list[object] = []

    async def submit(self, copies: int, command: Sequence[str]) -> None:
        """One after the other: it has no other way."""
        self._ids = [self._provider.submit(join(command), 1) for _ in range(copies)]

    async def over(self) -> int:
        """Ask for all."""
        return sum(status.terminal for status in self._provider.status(self._ids))

    async def kill(self) -> None:
        """End all."""
        self._provider.cancel(self._ids)


if __name__ == "__main__":
    main(Parsl())
