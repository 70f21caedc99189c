"""submitit: a job array by its ``batch()``, a Python for each job; sacct for a whole array, an scancel for each job."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.runs.scene import Peer, main
from submitit import Job, SlurmExecutor
from submitit.helpers import CommandFunction


class Submitit(Peer):
    """submitit's executor, which submits in bulk."""

    def __init__(self) -> None:
        self._executor = SlurmExecutor(folder=Path.home() / "submitit")
        self._jobs: list[Job[str]] = []

    async def submit(self, copies: int, command: Sequence[str]) -> None:
        """Submit all jobs as one array."""
        self._executor.update_parameters(time=30, ntasks_per_node=1, array_parallelism=copies)
        payload = CommandFunction(list(command), verbose=False)
        with self._executor.batch():
            self._jobs = [self._executor.submit(payload) for _ in range(copies)]

    async def over(self) -> int:
        """Return the number of finished jobs, as submitit reports it. It calls sacct only for jobs without a result."""
        return sum(job.done() for job in self._jobs)

    async def fetch(self, into: Path) -> None:
        """Read the results from the shared file system."""
        for index, job in enumerate(self._jobs):
            (into / str(index)).write_text(job.result())

    async def kill(self) -> None:
        """Cancel one job after the other: submitit has no other way."""
        for job in self._jobs:
            job.cancel(check=False)


if __name__ == "__main__":
    main(Submitit())
