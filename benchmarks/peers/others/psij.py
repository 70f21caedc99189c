"""psij-python: a job object and an sbatch for each job, on the login node. It polls all jobs in the background."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from benchmarks.peers.runs.scene import PAUSE, LeftOutError, Peer, main
from psij import Job, JobAttributes, JobExecutor, JobSpec, ResourceSpecV1
from psij.executors.batch.slurm import SlurmExecutorConfig


class Psij(Peer):
    """PSI/J's Slurm executor, which polls as often as the other programs; its default is 30 seconds."""

    def __init__(self) -> None:
        config = SlurmExecutorConfig(queue_polling_interval=int(PAUSE), initial_queue_polling_delay=1)
        self._executor = JobExecutor.get_instance("slurm", config=config)
        self._jobs: list[Job] = []

    async def submit(self, copies: int, command: Sequence[str]) -> None:
        """Submit one job after the other: the executor has no other way."""
        self._jobs = [Job(_spec(command)) for _ in range(copies)]
        for job in self._jobs:
            self._executor.submit(job)

    async def status(self) -> None:
        """Raise, because PSI/J has no such call."""
        raise LeftOutError("it asks in the background only")

    async def over(self) -> int:
        """Return the number of final jobs that its polling thread knows."""
        return sum(job.status.final for job in self._jobs)

    async def kill(self) -> None:
        """Cancel one job after the other: the executor has no other way."""
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
