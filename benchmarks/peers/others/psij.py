"""psij-python: a job object and an sbatch for each job, on the login node; it polls in the background, for all of them."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from benchmarks.peers.runs.scene import PAUSE, LeftOutError, Peer, main
from psij import Job, JobAttributes, JobExecutor, JobSpec, ResourceSpecV1
from psij.executors.batch.slurm import SlurmExecutorConfig


class Psij(Peer):
    """Its Slurm executor, which asks as often as the others: 30 seconds are its own choice."""

    def __init__(self) -> None:
        config = SlurmExecutorConfig(queue_polling_interval=int(PAUSE), initial_queue_polling_delay=1)
        self._executor = JobExecutor.get_instance("slurm", config=config)
        self._jobs: list[Job] = []

    async def submit(self, copies: int, command: Sequence[str]) -> None:
        """One after the other: it has no other way."""
        self._jobs = [Job(_spec(command)) for _ in range(copies)]
        for job in self._jobs:
            self._executor.submit(job)

    async def status(self) -> None:
        """It has no such call."""
        raise LeftOutError("it asks in the background only")

    async def over(self) -> int:
        """Count what its polling thread has heard."""
        return sum(job.status.final for job in self._jobs)

    async def kill(self) -> None:
        """One after the other, likewise."""
        for job in self._jobs:
            job.cancel()


def _spec(command: Sequence[str]) -> JobSpec:
    return JobSpec(
        executable=command[0],
        arguments=list(command[1:]),
        directory=Path.home(),
        launcher="single",
        resources=ResourceSpecV1(process_count=1, cpu_cores_per_process=1),
        attributes=JobAttributes(duration=timedelta(minutes=30)),
    )


if __name__ == "__main__":
    main(Psij())
