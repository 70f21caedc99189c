"""What the benchmark stands on: environments, an sshd that counts, tools that count, and a delay line.

All of it lies under ``$DAEMONS_ROOT/peers``. Slurm is there already: ``tests/daemons/slurm`` starts it. Over ssh the
client is behind the delay line, and the sshd on the machine where Slurm is.
"""

import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["USER", "Ground"]

USER = "griduser"
REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = Path(os.environ.get("DAEMONS_RECIPES", REPOSITORY / "tests" / "daemons"))
ROOT = Path(os.environ.get("DAEMONS_ROOT", "/var/tmp/intercede-daemons"))  # noqa: S108 -- the recipes' own directory
PYTHON = "/usr/bin/python3"
"""One that the user may execute, whoever runs this."""
NAMESPACE = "/run/intercede-daemons/farhost.net"
NEAR, BEHIND = "127.0.0.1", "10.78.9.254"
"""Where the sshd listens: at once, and at the other end of the delay line."""
PORT = 2299
MEASURED = ("intercede", "psij-python", "parsl", "submitit", "aiida-core", "asyncssh")
TOOLS = ("sacct", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")

SSHD = """\
Port {port}
ListenAddress {address}
HostKey {here}/host
PidFile {here}/sshd.pid
AuthorizedKeysFile {here}/authorized_keys
AllowUsers {user}
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
  User {user}
  IdentityFile {here}/id
  IdentitiesOnly yes
  UserKnownHostsFile {here}/known_hosts
  StrictHostKeyChecking yes
  BatchMode yes
"""


class Ground:
    """The directory of it, and how a command runs on it."""

    def __init__(self) -> None:
        self.root = ROOT / "peers"
        self.home = self.root / "home"
        self.log = self.root / "sshd.log"
        self.calls = self.root / "calls"
        self.path = f"{self.root}/tools:/usr/local/bin:/usr/bin:/bin"
        self._ssh = self.root / "ssh"

    def prepare(self) -> None:
        """Make everything but the sshd. What is there already is kept, but for what comes from this repository."""
        self.root.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.home, ignore_errors=True)
        for directory in (self.home, self.home / ".ssh"):
            directory.mkdir(mode=0o700)
            shutil.chown(directory, USER, USER)
        self._environments()
        self._tools()
        self._keys()

    def _environments(self) -> None:
        code = self.root / "code" / "benchmarks" / "peers"
        shutil.rmtree(code.parents[1], ignore_errors=True)
        shutil.copytree(Path(__file__).parent, code, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("peers", "aiida"):
            wanted, environment = code / f"{name}.txt", self.root / name
            have = environment / "requirements.txt"
            if not have.exists() or have.read_text() != wanted.read_text():
                shutil.rmtree(environment, ignore_errors=True)
                _run(PYTHON, "-m", "venv", environment)
                _run(environment / "bin" / "pip", "install", "--quiet", "--requirement", wanted)
                shutil.copy(wanted, have)
        wheels = self.root / "wheels"
        shutil.rmtree(wheels, ignore_errors=True)
        _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, REPOSITORY)
        install = (self.root / "peers" / "bin" / "pip", "install", "--quiet", "--force-reinstall")
        constraints = ("--constraint", REPOSITORY / "constraints.txt", "--upgrade-strategy", "only-if-needed")
        _run(*install[:-1], *constraints, *wheels.iterdir())
        _run(*install, "--no-deps", *wheels.iterdir())

    def _tools(self) -> None:
        """Put a script in front of each of Slurm's commands, which notes that it was called."""
        tools = self.root / "tools"
        tools.mkdir(exist_ok=True)
        for name in TOOLS:
            script = tools / name
            script.write_text(f'#!/bin/sh\necho {name} >>{self.calls}\nexec /usr/bin/{name} "$@"\n')
            script.chmod(0o755)
        self.reset()

    def _keys(self) -> None:
        self._ssh.mkdir(exist_ok=True)
        for name in ("host", "id"):
            key = self._ssh / name
            if not key.exists():
                _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        shutil.chown(self._ssh / "id", USER, USER)
        shutil.copy(self._ssh / "id.pub", self._ssh / "authorized_keys")
        key = (self._ssh / "host.pub").read_text()
        (self._ssh / "known_hosts").write_text("".join(f"[{host}]:{PORT} {key}" for host in (NEAR, BEHIND)))

    def reset(self) -> None:
        """Count from zero."""
        for file in (self.calls, self.log):
            file.write_text("")
            file.chmod(0o666)

    @contextmanager
    def sshd(self, rtt: int) -> Iterator[None]:
        """Have the sshd answer, so many milliseconds away."""
        address = BEHIND if rtt else NEAR
        values = {"address": address, "port": PORT, "user": USER, "path": self.path, "here": self._ssh}
        (self._ssh / "sshd_config").write_text(SSHD.format(**values))
        (self.home / ".ssh" / "config").write_text(CLIENT.format(**values))
        with _delayed(rtt):
            command = ["/usr/sbin/sshd", "-D", "-f", self._ssh / "sshd_config", "-E", self.log]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            try:
                self._until_it_answers(rtt)
                yield
            finally:
                process.terminate()
                process.wait()

    def _until_it_answers(self, rtt: int) -> None:
        deadline = time.monotonic() + 20
        probe = self.near(rtt, ["ssh", "-F", self.home / ".ssh" / "config", "bench", "true"])
        while subprocess.run(probe, capture_output=True, check=False, env=self.environment()).returncode:
            if time.monotonic() > deadline:
                raise SystemExit(f"no sshd answers: see {self.log}")
            time.sleep(0.2)

    def near(self, rtt: int, command: Sequence[str | Path]) -> list[str]:
        """Write a command that runs as the user, behind the delay line where there is one."""
        way = ["nsenter", f"--net={NAMESPACE}"] if rtt else []
        user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]
        return [*way, *user, *map(str, command)]

    def environment(self) -> dict[str, str]:
        """Return what a peer finds in its environment."""
        return {
            "HOME": str(self.home),
            "USER": USER,
            "LOGNAME": USER,
            "LANG": "C.UTF-8",
            "PATH": self.path,
            "PYTHONPATH": str(self.root / "code"),
            "BENCH_CALLS": str(self.calls),
            "BENCH_SSHD_LOG": str(self.log),
            "BENCH_SSH_CONFIG": str(self.home / ".ssh" / "config"),
        }

    def python(self, environment: str) -> Path:
        """Return an environment's Python."""
        return self.root / environment / "bin" / "python"

    def versions(self) -> dict[str, str]:
        """Tell the version of everything that is measured."""
        found = {"slurm": _said("sbatch", "--version").split()[-1], "python": _said(PYTHON, "-V").split()[-1]}
        found["openssh"] = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr.split(",")[0]
        for environment in ("peers", "aiida"):
            listed = _said(self.root / environment / "bin" / "pip", "list", "--format", "freeze")
            found |= dict(line.split("==", 1) for line in listed.splitlines() if line.split("==")[0] in MEASURED)
        return found

    def clean(self) -> None:
        """Remove what the jobs left in both homes."""
        shutil.rmtree(self.home, ignore_errors=True)
        there = Path(pwd.getpwnam(USER).pw_dir)
        for place in (*there.glob("floor-*"), *there.glob("aiida-*"), there / ".intercede"):
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _delayed(rtt: int) -> Iterator[None]:
    if not rtt:
        yield
        return
    environment = {**os.environ, "RTT_MS": str(rtt)}
    subprocess.run([RECIPES / "netns" / "up.sh"], check=True, env=environment, stdin=subprocess.DEVNULL)
    yield


def _run(*command: str | Path) -> None:
    _said(*command)


def _said(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
