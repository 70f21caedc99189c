"""The surroundings of the benchmark: a host with Slurm, an sshd, tools that count calls, a delay line, environments.

The host is one of `tests/daemons`, and has a Slurm of its own. Everything else is in ``$DAEMONS_ROOT/peers``.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.plan import PEERS, Run

__all__ = ["Host"]

HOST, THERE, HERE = "bench", "griduser", "nobody"
"""The host; the remote user, whose jobs run; the local user, who has a key."""
REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = REPOSITORY / "tests" / "daemons"
ROOT = Path(os.environ.get("DAEMONS_ROOT", "/var/tmp/intercede-daemons"))  # noqa: S108 -- the recipes' own directory
PYTHON = "/usr/bin/python3"
"""A Python that every user may execute."""
PORT = 2299
MEASURED = ("intercede", "psij-python", "parsl", "submitit", "aiida-core", "asyncssh")
TOOLS = ("sacct", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")

SSHD = """\
Port {port}
HostKey {keys}/host
PidFile {pid}
AuthorizedKeysFile {keys}/id.pub
AllowUsers {there}
SetEnv PATH={path}
LogLevel VERBOSE
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
StrictModes no
PrintMotd no
Subsystem sftp internal-sftp
"""
CLIENT = """\
Host bench
  HostName {address}
  Port {port}
  User {there}
  IdentityFile {keys}/id
  IdentitiesOnly yes
  UserKnownHostsFile {keys}/known_hosts
  StrictHostKeyChecking yes
  BatchMode yes
"""


class Host:
    """The host and the environments in which the programs run."""

    def __init__(self) -> None:
        self._root = ROOT / "peers"
        self._keys = self._root / "keys"
        self._home = self._root / "home"
        self._log = self._root / "sshd.log"
        self._calls = self._root / "calls"
        self._path = f"{self._root}/tools:/usr/bin:/bin"

    def prepare(self) -> None:
        """Make everything but the sshd. Existing parts are kept, except those from this repository."""
        self._root.mkdir(parents=True, exist_ok=True)
        self._recipe("slurm", ACCT="1", MAXJOBS="60000")
        self._recipe("ssh")
        self._environments()
        self._tools()
        self._make_keys()
        self._homes()

    def _recipe(self, name: str, **settings: str) -> None:
        """Start the daemons of a folder. They would hold a pipe open."""
        subprocess.run(
            [RECIPES / name / "up.sh"],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "HOST": HOST, **settings},
        )

    def _environments(self) -> None:
        code = self._root / "code" / "benchmarks" / "peers"
        shutil.rmtree(code.parents[1], ignore_errors=True)
        shutil.copytree(Path(__file__).parent, code, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("peers", "aiida"):
            self._environment(name, code / f"{name}.txt")
        wheels = self._root / "wheels"
        shutil.rmtree(wheels, ignore_errors=True)
        _said(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, REPOSITORY)
        install = (self.python("peers"), "-m", "pip", "install", "--quiet")
        _said(*install, "--constraint", REPOSITORY / "constraints.txt", *wheels.iterdir())
        _said(*install, "--force-reinstall", "--no-deps", *wheels.iterdir())

    def _environment(self, name: str, wanted: Path) -> None:
        there = self._root / name
        have = there / "requirements.txt"
        if not have.exists() or have.read_text() != wanted.read_text():
            shutil.rmtree(there, ignore_errors=True)
            _said(PYTHON, "-m", "venv", there)
            _said(self.python(name), "-m", "pip", "install", "--quiet", "--requirement", wanted)
            shutil.copy(wanted, have)

    def _tools(self) -> None:
        """Write a script for each of Slurm's commands that records the call."""
        tools = self._root / "tools"
        tools.mkdir(exist_ok=True)
        for name in TOOLS:
            script = tools / name
            script.write_text(f'#!/bin/sh\necho {name} >>{self._calls}\nexec /usr/bin/{name} "$@"\n')
            script.chmod(0o755)

    def _make_keys(self) -> None:
        self._keys.mkdir(exist_ok=True)
        for name in ("host", "id"):
            if not (self._keys / name).exists():
                _said("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._keys / name)
        shutil.chown(self._keys / "id", HERE)
        host = (self._keys / "host.pub").read_text()
        (self._keys / "known_hosts").write_text("".join(f"[{self._address(rtt)}]:{PORT} {host}" for rtt in (0, 1)))

    def _homes(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)
        for directory in (self._home, self._home / ".ssh"):
            directory.mkdir(mode=0o700)
            shutil.chown(directory, HERE)
        self._there("sh", "-c", 'rm -rf "$HOME"/* "$HOME"/.intercede')

    def _address(self, rtt: int) -> str:
        number = (ROOT / "hosts" / HOST / "number").read_text().strip()
        return f"10.78.{number}.1" if rtt else f"10.77.{number}.1"

    @contextmanager
    def sshd(self, rtt: int) -> Generator[None]:
        """Start the host's sshd, with this round trip in milliseconds."""
        config, pid = self._keys / "sshd_config", self._keys / "sshd.pid"
        known = {"port": PORT, "there": THERE, "keys": self._keys}
        config.write_text(SSHD.format(path=self._path, pid=pid, **known))
        (self._home / ".ssh" / "config").write_text(CLIENT.format(address=self._address(rtt), **known))
        if rtt:
            self._recipe("delay", RTT_MS=str(rtt))
        self.reset()
        subprocess.run([*_on("root"), "/usr/sbin/sshd", "-f", config, "-E", self._log], check=True)
        try:
            self._until_it_answers()
            yield
        finally:
            os.kill(int(pid.read_text()), signal.SIGTERM)

    def _until_it_answers(self) -> None:
        deadline = time.monotonic() + 20
        probe = [*self._here(), "ssh", "-F", f"{self._home}/.ssh/config", "bench", "true"]
        while subprocess.run(probe, capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                raise SystemExit(f"no sshd answers: see {self._log}")
            time.sleep(0.2)

    def reset(self) -> None:
        """Reset the counters."""
        for file in (self._calls, self._log):
            file.write_text("")
            file.chmod(0o666)

    def command(self, run: Run, seconds: float) -> list[str]:
        """Return the command that runs a program."""
        peer = PEERS[run.peer]
        way = self._here() if peer.place == "ssh" else [*_on(THERE), *self._env(f"/home/{THERE}")]
        module = f"benchmarks.peers.{peer.program}"
        arguments = [*peer.argument, str(run.copies), str(seconds), *run.scenes]
        return [*way, str(self.python(peer.environment)), "-P", "-m", module, *arguments]

    def _here(self) -> list[str]:
        user = ["setpriv", f"--reuid={HERE}", "--regid=nogroup", "--clear-groups"]
        return [*user, *self._env(str(self._home))]

    def _env(self, home: str) -> list[str]:
        variables = {
            "HOME": home,
            "PATH": self._path,
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(self._root / "code"),
            "PYTHONDONTWRITEBYTECODE": "1",  # the code belongs to another user
            "BENCH_CALLS": str(self._calls),
            "BENCH_SSHD_LOG": str(self._log),
            "BENCH_SSH_CONFIG": f"{home}/.ssh/config",
        }
        return ["env", "-i", f"--chdir={home}", *(f"{name}={value}" for name, value in variables.items())]

    def python(self, environment: str) -> Path:
        """Return the Python of an environment."""
        return self._root / environment / "bin" / "python"

    def still_there(self) -> int:
        """Return the number of jobs that wait or run in Slurm."""
        return len(self._there("squeue", "--noheader", "--array", "--me", "--states=PENDING,RUNNING").splitlines())

    def drain(self) -> None:
        """Cancel all remaining jobs, and wait until Slurm has none."""
        self._there("scancel", "--me")
        deadline = time.monotonic() + 120
        while self._there("squeue", "--noheader", "--me"):
            if time.monotonic() > deadline:
                raise SystemExit("Slurm still has jobs of the benchmark's user after two minutes")
            time.sleep(0.5)

    def _there(self, *command: str) -> str:
        return _said(*_on(THERE), *command)

    def versions(self) -> Mapping[str, str]:
        """Return the version of each measured program."""
        found = {"Slurm": self._there("sbatch", "--version").split()[-1], "Python": _said(PYTHON, "-V").split()[-1]}
        found["OpenSSH"] = self._there("sh", "-c", "ssh -V 2>&1").split(",")[0].removeprefix("OpenSSH_")
        for environment in ("peers", "aiida"):
            listed = _said(self.python(environment), "-m", "pip", "list", "--format", "freeze")
            found |= dict(line.split("==", 1) for line in listed.splitlines() if line.split("==")[0] in MEASURED)
        return found


def _on(user: str) -> list[str]:
    return [str(RECIPES / "on.sh"), HOST, user]


def _said(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
