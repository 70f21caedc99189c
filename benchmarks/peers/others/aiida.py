"""AiiDA's transport over asyncssh and its Slurm plugin, called as its engine calls them: job by job, SFTP for files.

The engine's own work, its database and its daemons, is left out, and so is its interval of at least 30 seconds between
two queries. Up to eight transfers run at once, as by default.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from shlex import join
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import greenback
from aiida import load_profile
from aiida.schedulers.plugins.slurm import SlurmScheduler
from aiida.storage.sqlite_temp import SqliteTempBackend
from aiida.transports.plugins.ssh_async import AsyncSshTransport
from benchmarks.peers.runs.scene import Peer, main


class Aiida(Peer):
    """AiiDA's transport and scheduler plugin, without its engine."""

    def __init__(self) -> None:
        self._transport = AsyncSshTransport(machine="bench", backend="asyncssh", use_login_shell=False)
        self._scheduler = SlurmScheduler()
        self._scheduler.set_transport(self._transport)
        self._places: list[str] = []
        self._ids: list[str] = []
        self._rounds = 0

    async def __aenter__(self) -> Self:
        """Open the connection. The plugin's many blocking calls need a profile and a portal."""
        load_profile(SqliteTempBackend.create_profile("bench"), allow_switch=True)
        await greenback.ensure_portal()
        await self._transport.open_async()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close the connection."""
        await self._transport.close_async()

    async def submit(self, copies: int, command: Sequence[str]) -> None:
        """Upload each job's directory and script, eight at a time; then queue one job after the other."""
        home = f"/home/{await self._transport.whoami_async()}/aiida-{os.getpid()}-{self._rounds}"
        self._rounds += 1
        self._places = [f"{home}/{index}" for index in range(copies)]
        with TemporaryDirectory() as directory:
            script = Path(directory) / "_aiidasubmit.sh"
            script.write_text(f"#!/bin/bash\n#SBATCH --output=_scheduler-stdout.txt\n{join(command)} >aiida.out\n")
            await _gathered(self._upload, [(script, place) for place in self._places])
        self._ids = [str(self._scheduler.submit_job(place, "_aiidasubmit.sh")) for place in self._places]

    async def _upload(self, job: tuple[Path, str]) -> None:
        script, place = job
        await self._transport.makedirs_async(place, ignore_existing=True)
        await self._transport.put_async(str(script), f"{place}/{script.name}")

    async def over(self) -> int:
        """Return the number of jobs that are over: those that one listing does not contain, as AiiDA does it."""
        listed = self._scheduler.get_jobs(jobs=self._ids, as_dict=True)
        return sum(str(listed[job].job_state) == "done" if job in listed else 1 for job in self._ids)

    async def fetch(self, into: Path) -> None:
        """Fetch the files of each job."""
        for index in range(len(self._places)):
            (into / str(index)).mkdir()
        await _gathered(self._retrieve, [(into / str(index), place) for index, place in enumerate(self._places)])

    async def _retrieve(self, job: tuple[Path, str]) -> None:
        into, place = job
        for name in ("aiida.out", "_scheduler-stdout.txt"):
            await self._transport.get_async(f"{place}/{name}", str(into / name), ignore_nonexisting=True)

    async def kill(self) -> None:
        """Kill one job after the other: the plugin has no other way."""
        for job in self._ids:
            self._scheduler.kill_job(job)


async def _gathered(work: Callable[[tuple[Path, str]], Awaitable[None]], jobs: Iterable[tuple[Path, str]]) -> None:
    await asyncio.gather(*(work(job) for job in jobs))


if __name__ == "__main__":
    main(Aiida())
