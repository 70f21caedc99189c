"""Jobs that write ledgers, a manager that retries, a wire that can be cut, and a table of results."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
import pytest_asyncio

from intercede import registry
from intercede.batch import BatchBackend
from intercede.contract import CopyVars, JobHandle, JobState, JobStatus, ResourceError, SubmissionSpec
from intercede.credentials import FileCredentials

if TYPE_CHECKING:
    from tests.daemons.conftest import Daemons, Host

T = TypeVar("T")
ROOT = Path(os.environ.get("DAEMONS_ROOT", "/var/tmp/intercede-daemons"))  # noqa: S108  # as in common.sh
INSISTS = 120.0
LASTS = 180.0
SCORES = pytest.StashKey[list["Score"]]()


@dataclass
class Score:
    """The results of jobs that ran under a fault."""

    fault: str
    times: int = 0
    jobs: int = 0
    lost: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])
    false: list[str] = field(default_factory=list[str])
    ended: list[str] = field(default_factory=list[str])

    def check(self) -> None:
        """Check that no job was lost, run twice, wrongly called final, or ended without a request."""
        assert (self.lost, self.doubled, self.false, self.ended) == ([], [], [], [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a table of the faults and the results."""
    scores = terminalreporter.config.stash.get(SCORES, list[Score]())
    if scores:
        terminalreporter.section("faults")
        rows: list[tuple[str, ...]] = [("fault", "times", "jobs", "lost", "doubled", "false finals", "others ended")]
        for each in scores:
            wrong = (each.lost, each.doubled, each.false, each.ended)
            rows.append((each.fault, str(each.times), str(each.jobs), *(str(len(found)) for found in wrong)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            terminalreporter.line("  ".join(map(str.ljust, row, widths)).rstrip())


@dataclass
class Trial:
    """One submission.

    Each copy writes into a remote ledger when it begins and when it ends. A bystander is a submission that must reach
    its end, since no test kills it.
    """

    host: Host
    copies: int = 3
    seconds: float = 0.2
    code: int = 0
    first: str = ""
    bystander: bool = False
    tag: str = field(default_factory=lambda: f"t-{secrets.token_hex(6)}")

    @property
    def spec(self) -> SubmissionSpec:
        """The specification of the jobs."""
        note = f'echo "$1 $IC_COPY" >>"$HOME/ledger-{self.tag}"'
        script = f"note() {{ {note}; }}; note begun; {self.first} sleep {self.seconds} || exit; note ended; echo done"
        script += f"; exit {self.code}"
        return SubmissionSpec(executable="sh", arguments=("-c", script), tag=self.tag)

    @property
    def each(self) -> list[CopyVars]:
        """The variables of each copy."""
        return [CopyVars(environment={"IC_COPY": str(index)}) for index in range(self.copies)]

    def read_ledger(self) -> Counter[str]:
        """Read the ledger."""
        text = self.host.run("cat", f"/home/griduser/ledger-{self.tag}").stdout
        return Counter(text.splitlines())

    def judge(self, score: Score, told: Mapping[JobHandle, JobStatus]) -> None:
        """Compare the reported statuses with the ledger."""
        score.times += 1
        score.jobs += self.copies
        read_ledger = self.read_ledger()
        if len(told) != self.copies:
            score.lost.append(f"{self.tag}: {len(told)} handles for {self.copies} copies")
        by_index = {handle.job.rpartition(".")[2]: status for handle, status in told.items()}
        for index in map(str, range(self.copies)):
            begun, ended, status = read_ledger[f"begun {index}"], read_ledger[f"ended {index}"], by_index.get(index)
            if begun == 0 and (status is None or status.state is not JobState.KILLED):
                score.lost.append(f"{self.tag}.{index} never ran: {status}")
            if begun > 1:
                score.doubled.append(f"{self.tag}.{index} ran {begun} times")
            if self.bystander and ended == 0:
                score.ended.append(f"{self.tag}.{index} did not come to its end: {status}")
            if status is not None and not is_true(status, code=self.code, ended=ended == 1):
                score.false.append(f"{self.tag}.{index} ended {ended} times: {status}")


def is_true(status: JobStatus, *, code: int, ended: bool) -> bool:
    """Say whether a final state is right: a copy that reached its end has its exit code, and no other has it.

    A payload that handled a signal may have exited with 0, which is no success.
    """
    if not status.state.final or (status.state is JobState.DONE and not (ended and code == 0)):
        return False
    return (status.exit_code == code) == ended


class Manager:
    """Does what a workload manager does: it retries retryable calls, and searches before it submits again."""

    def __init__(self, backend: BatchBackend) -> None:
        self.backend = backend
        self.errors: Counter[str] = Counter()

    async def insist(self, ask: Callable[[], Awaitable[T]], seconds: float = INSISTS) -> T:
        """Repeat a call until it has an answer."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    return await ask()
                except ResourceError as error:
                    self.errors[f"{type(error).__name__}: {error}"[:200]] += 1
                    await asyncio.sleep(0.2)

    async def submit(self, trial: Trial) -> list[JobHandle]:
        """Submit once, despite errors."""

        async def found_or_submitted() -> list[JobHandle]:
            found = await self.backend.find(trial.tag)
            return list(found) or list((await self.backend.submit(trial.spec, trial.each)).handles.values())

        try:
            return list((await self.backend.submit(trial.spec, trial.each)).handles.values())
        except ResourceError as error:
            self.errors[f"{type(error).__name__}: {error}"[:200]] += 1
            return await self.insist(found_or_submitted)

    async def finish(
        self, handles: Collection[JobHandle], *, may_be_lost: bool = False
    ) -> Mapping[JobHandle, JobStatus]:
        """Wait until all jobs are final, or lost if that is allowed."""
        async with asyncio.timeout(LASTS):
            while True:
                told = await self.insist(lambda: self.backend.status(handles))
                if all(each.state.final or (may_be_lost and each.reason == "lost") for each in told.values()):
                    return told
                await asyncio.sleep(0.1)


class Wire:
    """A connection to a server, which is cut in both directions after a number of pieces."""

    def __init__(self, address: str, port: int = 22) -> None:
        self._there = (address, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._carriers: set[asyncio.Task[None]] = set()
        self.pieces = 0
        self.cut_after: int | None = None
        self.is_cut = False
        self.port = 0

    @asynccontextmanager
    async def up(self) -> AsyncGenerator[Wire]:
        """Listen on this machine."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self
        self._cut()
        await asyncio.gather(*self._carriers)

    async def cuts(self, attempt: Callable[[], Awaitable[object]]) -> int:
        """Repeat an attempt and cut it one piece later each time. Return how often it was cut."""
        number = whole = 0
        while whole < 2:  # the number of pieces varies
            number += 1
            self.pieces, self.cut_after, self.is_cut = 0, number, False
            await attempt()
            whole = 0 if self.is_cut else whole + 1
        self.cut_after = None
        return number - whole

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._there)
        self._writers |= {writer, far_writer}
        for way in ((reader, far_writer), (far_reader, writer)):
            self._carriers.add(asyncio.create_task(self._carry(*way)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # the wire is cut
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
                self.pieces += 1
                if self.pieces == self.cut_after:
                    self.is_cut = True
                    self._cut()
        writer.close()


@dataclass
class Site:
    """A host, and the ways to reach it."""

    host: Host
    key: Path
    known_hosts: Path
    tmp: Path

    def way(self, wire: Wire | None = None) -> dict[str, object]:
        """Return the options of a transport to the host, over a wire or directly."""
        if wire is None:
            return {
                "type": "ssh",
                "host": self.host.address,
                "username": "griduser",
                "known_hosts": str(self.known_hosts),
            }
        lines = self.known_hosts.read_text().splitlines()
        key = next(line.partition(" ")[2] for line in lines if line.startswith(f"{self.host.address} "))
        known = self.tmp / f"known_hosts-{wire.port}"
        known.write_text(f"[127.0.0.1]:{wire.port} {key}\n")
        return {
            "type": "ssh",
            "host": "127.0.0.1",
            "port": wire.port,
            "username": "griduser",
            "known_hosts": str(known),
        }

    async def wait(self, look: Callable[[], object], seconds: float = 60) -> None:
        """Wait until a function returns something."""
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(look):  # noqa: ASYNC110 -- daemons set no event
                await asyncio.sleep(0.2)

    def kill(self, pattern: str) -> None:
        """Kill each process of the host whose command line matches. Other hosts' processes are spared."""
        for pid in self.host.processes():
            with suppress(FileNotFoundError, ProcessLookupError):  # the process has ended
                if re.search(pattern, Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")):
                    os.kill(pid, signal.SIGKILL)

    @asynccontextmanager
    async def manager(
        self,
        scheduler: str | dict[str, object] = "slurm",
        *,
        way: Mapping[str, object] | None = None,
        batch: Mapping[str, object] | None = None,
    ) -> AsyncGenerator[Manager]:
        """Yield a manager with an open backend on the host."""
        config = {
            "transport": way or self.way(),
            "scheduler": scheduler,
            "batch": {"min_poll_interval": 0.1, **(batch or {})},
        }
        async with FileCredentials(private_key=self.key) as credentials:
            backend = registry.backend(config, credentials=credentials)
            assert isinstance(backend, BatchBackend)
            async with backend:
                yield Manager(backend)


@pytest.fixture
def score(request: pytest.FixtureRequest) -> Score:
    """Return the row of the table for this test. Its label is the docstring up to a colon."""
    scores = request.config.stash.setdefault(SCORES, [])
    function = getattr(request.node, "obj", None)
    fault = (getattr(function, "__doc__", None) or request.node.name).splitlines()[0].partition(":")[0]
    scores.append(Score(fault))
    return scores[-1]


@pytest.fixture
def site(daemons: Daemons, tmp_path: Path) -> Iterator[Site]:
    """Return the host `faults` with sshd, and with Slurm and accounting, where jobs leave squeue after ten seconds."""
    daemons.up("slurm", HOST="faults", ACCT="1", MINJOBAGE="10", CPUS="256")
    host = daemons.up("ssh", HOST="faults").host
    keys, key = ROOT / "client" / "ssh", tmp_path / "key"
    key.write_bytes((keys / "id_ed25519").read_bytes())  # a copy, since the user must own a key
    key.chmod(0o600)
    yield Site(host, key, keys / "known_hosts", tmp_path)
    host.run("scancel", "--user=griduser", user="root")  # a failed test may have left jobs


@pytest_asyncio.fixture
async def manager(site: Site) -> AsyncIterator[Manager]:
    """Return a manager of jobs on that host's Slurm."""
    async with site.manager() as opened:
        yield opened


@pytest.fixture
def trial(site: Site) -> Callable[..., Trial]:
    """Return a function that makes submissions for that host."""
    return partial(Trial, site.host)


@pytest.fixture
def wire(site: Site) -> Wire:
    """Return a wire to that host."""
    return Wire(site.host.address)


@pytest.fixture
def another_login_node(site: Site, wait_until: Callable[[Callable[[], object], float], None]) -> Iterator[int]:
    """Return the port of an sshd with another hostname and the same files."""
    options = "-f /run/daemons/ssh/sshd_config -E /var/log/sshd-login2.log -o Port=2224 -o PidFile=/run/sshd-login2.pid"
    sshd = f"/usr/sbin/sshd {options}"
    started = site.host.run("unshare", "--uts", "sh", "-c", f"hostname login2; {sshd}", user="root")
    assert started.returncode == 0, started.stderr
    wait_until(lambda: site.host.run("ss", "-Hltn", "sport = :2224", user="root").stdout, 10)
    yield 2224
    site.host.run("sh", "-c", "kill $(cat /run/sshd-login2.pid)", user="root")
