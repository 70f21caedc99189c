"""Real daemons for tests: what is marked `daemons` runs with `make test-daemons`, as root, and never by accident.

Daemons start when a test asks for them and stay up until `down.sh` ends them all. A daemon that this machine cannot run
is red, not skipped: the test that asked for it says NOT HAD, and why.
"""

import json
import os
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from intercede.contract import CAPABILITIES

HERE = Path(__file__).parent
ROOT = Path(os.environ.get("DAEMONS_ROOT", "/var/tmp/intercede-daemons"))  # noqa: S108  # as in common.sh
NOT_HAD = 77
UP_SECONDS = 660


@dataclass(frozen=True)
class Combination:
    """One line of the table: the daemons, the user who runs the kit, and the subject."""

    name: str
    up: list[str]
    client: str
    backend: dict[str, object]


COMBINATIONS = [
    Combination(name, **line) for name, line in tomllib.loads((HERE / "combinations.toml").read_text()).items()
]
TITLES = list(dict.fromkeys(title for combination in COMBINATIONS for title in combination.up))
Row = tuple[str, str, str, str, str]
TABLE = pytest.StashKey[list[Row]]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test each combination of the table, or each daemon in it."""
    if "combination" in metafunc.fixturenames:
        metafunc.parametrize("combination", COMBINATIONS, ids=lambda combination: combination.name)
    if "title" in metafunc.fixturenames:
        metafunc.parametrize("title", TITLES)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that need daemons, unless the command line names their mark."""
    if "daemons" not in str(config.option.markexpr):
        deselected = [item for item in items if item.get_closest_marker("daemons")]
        items[:] = [item for item in items if item not in deselected]
        config.hook.pytest_deselected(items=deselected)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which combinations ran."""
    rows = terminalreporter.config.stash.get(TABLE, None)
    if rows:
        terminalreporter.section("combinations")
        rows = [("combination", "verdict", "checks", "seconds", "daemons"), *rows]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            terminalreporter.line("  ".join(map(str.ljust, row, widths)).rstrip())


@pytest.fixture(scope="session")
def table(pytestconfig: pytest.Config) -> list[Row]:
    """Return the rows of the table that is printed at the end of the run."""
    return pytestconfig.stash.setdefault(TABLE, [])


def run(*command: str | Path, seconds: float, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end or its time limit. Then its process group is killed, and the code is 124."""
    bounded = ["timeout", "--kill-after=10", str(seconds), *map(str, command)]
    environment = os.environ | {"DAEMONS_ROOT": str(ROOT)} | variables
    with TemporaryFile("w+", errors="replace") as out, TemporaryFile("w+", errors="replace") as err:
        # Files instead of pipes, since a daemon that keeps a pipe open would delay the end.
        ended = subprocess.run(
            bounded, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False, text=True
        )
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(bounded, ended.returncode, out.read(), err.read())


def wait_until_true(condition: Callable[[], object], seconds: float) -> None:
    """Wait until a condition is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        time.sleep(0.05)


@dataclass(frozen=True)
class Host:
    """A pretend host on this machine, with its own network, hostname and daemons."""

    name: str

    @property
    def address(self) -> str:
        """The address at which the machine reaches the host."""
        return f"10.77.{(ROOT / 'hosts' / self.name / 'number').read_text().strip()}.1"

    def run(self, *command: str, user: str = "griduser", seconds: float = 60) -> "subprocess.CompletedProcess[str]":
        """Run a command on the host, in the home of a user. The exit code is not checked."""
        return run(HERE / "on.sh", self.name, user, *command, seconds=seconds)

    def processes(self) -> dict[int, str]:
        """Return the names of the processes on the host, by their pids."""
        network = (ROOT / "hosts" / self.name / "net").stat().st_ino
        found: dict[int, str] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # the process has ended, or cannot be read
                if (entry / "ns" / "net").stat().st_ino == network:
                    found[int(entry.name)] = (entry / "comm").read_text().strip()
        return found

    def pids(self, process: str) -> list[int]:
        """Return the processes of one name on the host."""
        return [pid for pid, name in self.processes().items() if name == process]

    def signal(self, process: str, number: signal.Signals) -> None:
        """Send a signal to each process of one name on the host."""
        for pid in self.pids(process):
            os.kill(pid, number)

    @contextmanager
    def stopped(self, process: str) -> Generator[None]:
        """Stop each process of one name meanwhile, so that its clients get neither an answer nor a refusal."""
        self.signal(process, signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(process, signal.SIGCONT)

    def end(self, process: str) -> None:
        """Kill each process of one name."""
        self.signal(process, signal.SIGTERM)
        try:
            wait_until_true(lambda: not self.pids(process), 10)
        except AssertionError:
            self.signal(process, signal.SIGKILL)
            wait_until_true(lambda: not self.pids(process), 5)


@dataclass(frozen=True)
class Daemon:
    """The daemon that one `up.sh` has started."""

    name: str
    settings: dict[str, str]
    version: str
    seconds: float

    @property
    def host(self) -> Host:
        """The host on which the daemon runs."""
        return Host(self.settings["HOST"])


@dataclass
class Daemons:
    """Starts daemons."""

    failures: dict[str, str] = field(default_factory=dict[str, str])

    def up(self, name: str, **settings: str) -> Daemon:
        """Run a daemon's `up.sh` with these settings. It starts only what is not running yet."""
        title = " ".join([name, *(f"{name}={value}" for name, value in settings.items())])
        if title not in self.failures:  # once for each run
            begun = time.monotonic()
            ended = run(HERE / name / "up.sh", seconds=UP_SECONDS, **settings)
            if ended.returncode == 0:
                return Daemon(name, settings, ended.stdout.strip(), time.monotonic() - begun)
            said = ended.stderr.strip()
            had = ended.returncode != NOT_HAD
            self.failures[title] = f"{title}: exit code {ended.returncode}\n{said}" if had else said.splitlines()[-1]
        pytest.fail(self.failures[title], pytrace=False)

    def bring(self, title: str) -> Daemon:
        """Start the daemon that the table writes as a name and settings in one text."""
        name, *settings = title.split()
        return self.up(name, **dict(setting.split("=", 1) for setting in settings))

    def restart(self, daemon: Daemon, *processes: str) -> None:
        """Kill these processes of a daemon, and start again what has ended."""
        for process in processes:
            daemon.host.end(process)
        self.up(daemon.name, **daemon.settings)


@dataclass(frozen=True)
class Line:
    """The delay line to a host, which clients reach over it by the host's name and `slow`."""

    host: str

    @property
    def address(self) -> str:
        """The address at its end."""
        return Host(self.host).address.replace("10.77.", "10.78.")

    def set(self, *, rtt_ms: float, lost_percent: float = 0) -> None:
        """Change the line, from the next packet on."""
        line = ROOT / "delay" / f"{self.host}.line"
        new = line.with_suffix(".new")
        new.write_text(f"{rtt_ms} {lost_percent}\n")
        new.replace(line)

    @contextmanager
    def cut(self) -> Generator[None]:
        """Drop all packets in both directions, without a message to either end."""
        before = (ROOT / "delay" / f"{self.host}.line").read_text().split()
        self.set(rtt_ms=0, lost_percent=100)
        try:
            yield
        finally:
            self.set(rtt_ms=float(before[0]), lost_percent=float(before[1]))


@dataclass(frozen=True)
class Client:
    """An environment with this project's wheel, and a user without rights who runs the kit in it."""

    at: Path

    @property
    def ssh_config(self) -> Path:
        """The ssh_config file that has all hosts."""
        return self.at / "ssh" / "config"

    def pip(self, *arguments: str | Path) -> None:
        """Run pip in the environment."""
        done = run(self.at / "venv" / "bin" / "python", "-m", "pip", "--quiet", *arguments, seconds=300)
        assert done.returncode == 0, done.stderr

    def kit(
        self, who: str, backend: dict[str, object], *, seconds: float, plugins: Path | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run the whole kit as `USER`, on the machine, or as `USER@HOST`, with the plugins of a directory."""
        subject = json.dumps(backend).replace("{ssh_config}", str(self.ssh_config))
        user, _, host = who.partition("@")
        if host:
            login = [str(HERE / "on.sh"), host, user]
        else:
            home = f"HOME={self.at / 'home'}"
            login = ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups", "--reset-env", "env", home]
        command = [
            "env", f"PYTHONPATH={plugins or ''}", str(self.at / "venv" / "bin" / "python"), "-m", "pytest", "-q",
            "-p", "no:cacheprovider",
            "-c", str(self.at / "pytest.ini"), f"--intercede-require={','.join(CAPABILITIES)}",
            f"--intercede-backend={subject}",
        ]  # fmt: skip
        return run(*login, *command, seconds=seconds)


@pytest.fixture(scope="session")
def daemons() -> Daemons:
    """Return an object that starts daemons, which needs root."""
    assert os.geteuid() == 0, "only root can make pretend hosts"
    return Daemons()


@pytest.fixture(scope="session")
def client(daemons: Daemons) -> Client:
    """Return the environment in which the kit runs."""
    daemons.up("client")
    return Client(ROOT / "client")


@pytest.fixture
def grid(daemons: Daemons) -> Host:
    """Return the host `grid`, which has Slurm with accounting, and sshd."""
    daemons.up("slurm", HOST="grid", ACCT="1")
    return daemons.up("ssh", HOST="grid").host


@pytest.fixture
def line(daemons: Daemons) -> Iterator[Line]:
    """Return the delay line to the host `far`, which clients call `farslow`, with 50 ms and no lost packets."""
    daemons.up("ssh", HOST="far")
    daemons.up("delay", HOST="far", RTT_MS="50")
    line = Line("far")
    yield line
    line.set(rtt_ms=50)


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object], float], None]:
    """Return a function that waits for a condition, for a number of seconds at most."""
    return wait_until_true
