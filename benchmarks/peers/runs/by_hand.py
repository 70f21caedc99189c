"""The baseline: a program written by hand for this task only.

A job array, in as few calls as its limit allows, over an ssh connection that is kept open; tar for the way back, and
OpenSSH's sftp to compare. With the argument ``local`` the same without ssh.
"""

import asyncio
import os
import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.peers.runs.scene import LeftOutError, Peer, main

PATIENCE = 30.0

SUBMIT = """
mkdir -p "$1/out" && cd "$1" && cat >job.sh
limit=$(scontrol show config | sed -n 's/^MaxArraySize *= *//p')
first=0
while [ "$first" -lt "$2" ]; do
    size=$(($2 - first < limit ? $2 - first : limit))
    sbatch --parsable --array="0-$((size - 1))" -o out/%A_%a job.sh || exit
    first=$((first + size))
done
"""


class ByHand(Peer):
    """Runs sh, local or over ssh."""

    def __init__(self, way: str) -> None:
        self._way = way
        host = ["-F", os.environ["BENCH_SSH_CONFIG"], "-o", f"ControlPath={Path.home()}/.control", "bench"]
        self._ssh = ["ssh", *host]
        self._sftp = ["sftp", "-q", "-b", "-", *host]
        self._copies = 0
        self._directory = ""
        self._ids: list[str] = []

    async def __aenter__(self) -> Self:
        """Open the connection that all commands share."""
        if self._way != "local":
            await self._run(["ssh", "-o", "ControlMaster=yes", "-o", "ControlPersist=yes", *self._ssh[1:], "true"])
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close it."""
        if self._way != "local":
            await self._run(["ssh", "-q", "-O", "exit", *self._ssh[1:]])

    async def submit(self, copies: int, command: Sequence[str]) -> None:
        """Send one script, and queue it as an array."""
        self._copies, self._directory = copies, f"by-hand-{os.getpid()}-{len(self._ids)}"
        job = f"#!/bin/sh\nexec {shlex.join(command)}\n"
        self._ids = (await self._sh(SUBMIT, self._directory, str(copies), stdin=job)).split()

    async def over(self) -> int:
        """Return the number of jobs that squeue does not list."""
        listed = await self._sh('squeue -h -r -j "$1" -o "%i %T"', ",".join(self._ids))
        return self._copies - len(listed.splitlines())

    async def fetch(self, into: Path) -> None:
        """Pipe tar to tar."""
        packing = self._command('cd "$1/out" && exec tar -cf - .', self._directory)
        await self._run(["sh", "-c", f"{shlex.join(packing)} | tar -xf - -C {into}"])

    def fetches(self) -> Mapping[str, Callable[[Path], Awaitable[None]]]:
        """Return both ways: tar, and sftp file by file."""
        ways = super().fetches()
        return {**ways, "fetch by sftp": self._fetch_by_sftp} if self._way == "ssh" else ways

    async def _fetch_by_sftp(self, into: Path) -> None:
        """Fetch file by file. With a long delay, that takes minutes."""
        try:
            await asyncio.wait_for(self._run(self._sftp, f"get -r {self._directory}/out {into}\n"), PATIENCE)
        except TimeoutError:
            raise LeftOutError(f"not through after {PATIENCE:g} s") from None

    async def kill(self) -> None:
        """End the arrays."""
        await self._sh('exec scancel "$@"', *self._ids)

    async def _sh(self, script: str, *arguments: str, stdin: str = "") -> str:
        return await self._run(self._command(script, *arguments), stdin)

    def _command(self, script: str, *arguments: str) -> list[str]:
        command = ["sh", "-c", script, "sh", *arguments]
        return command if self._way == "local" else [*self._ssh, shlex.join(command)]

    async def _run(self, command: Sequence[str], stdin: str = "") -> str:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        try:
            out, _ = await process.communicate(stdin.encode())
        except asyncio.CancelledError:
            process.kill()
            raise
        if process.returncode:
            raise RuntimeError(f"{command[0]} ended with {process.returncode}")
        return out.decode()


if __name__ == "__main__":
    way = sys.argv.pop(1)
    main(ByHand(way))
