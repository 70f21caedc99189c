"""A candidate is checked in a child process."""

import sys
import time
from pathlib import Path

import pytest
from tests.registry.sites import TRANSPORT, Site

from intercede.registry import Registry


def check_transport(site: Site, code: str, attribute: str = "T", seconds: float = 20) -> tuple[str, ...]:
    """Install a transport ``x``, and return its problems."""
    site.install("sub", "4.2", code=code, transports__x=attribute)
    registry = Registry()
    (plugin,) = [each for each in registry.plugins("transports") if each.name == "x"]
    return registry.check(plugin, seconds)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("print('noise'); raise ImportError('missing thing')", "could not be imported: ImportError: missing thing"),
        ("raise SystemExit(3)", "could not be imported: SystemExit: 3"),
        ("raise KeyboardInterrupt", "could not be imported: KeyboardInterrupt"),
        ("import os; os._exit(7)", "loading it ended the process, with exit code 7"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "loading it ended the process, with signal 9"),
        ("T = 3", "mod_sub:T is not callable, it is int"),
        ("def T(): raise ValueError('x')", "could not be made: ValueError: x"),
        ("def T(): return 3", "run is missing: the contract has async def run(self, argv, *, stdin=None, stdout=None)"),
    ],
)
def test_a_broken_candidate_is_reported_by_a_child_process(site: Site, code: str, says: str) -> None:
    """A broken candidate is reported in one clear sentence, and this process loads nothing of it."""
    assert says in check_transport(site, code)[-1]
    assert "mod_sub" not in sys.modules


def test_a_candidate_that_hangs_times_out(site: Site, tmp_path: Path) -> None:
    """A candidate that hangs is killed in bounded time, with all processes that it started."""
    pid = tmp_path / "pid"
    code = (
        "import subprocess, time, pathlib\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)"
    )

    assert check_transport(site, code, seconds=5) == ("it was not loaded within 5 s: importing or making it hangs",)
    deadline = time.monotonic() + 30
    while is_running(int(pid.read_text())):
        assert time.monotonic() < deadline, "what it started is still there"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("attribute", ["Site", "Named", "Demanding", "factory"])
def test_a_good_candidate_has_no_problems(site: Site, attribute: str) -> None:
    """A candidate that needs options is checked by its class, and a factory that needs them is not checked."""
    code = TRANSPORT + "def factory(host): raise OSError\nimport atexit, time; atexit.register(time.sleep, 600)"

    assert check_transport(site, code, attribute) == ()


def test_a_class_that_needs_options_is_checked_by_the_class(site: Site) -> None:
    """A class that cannot be called without options is checked as far as the class shows its members."""
    assert check_transport(site, TRANSPORT + "class T(Named): run = None")[0].startswith("run is missing")


def test_denied_and_malformed_candidates_are_not_loaded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A denied candidate has no problems, and a malformed one has its reason as the problem."""
    site.install("acme", code="raise OSError", transports__rsh="T")
    site.install("beta", transports__odd="!:")
    monkeypatch.setenv("INTERCEDE_PLUGINS", "allow:beta")
    registry = Registry()
    by_name = {each.name: each for each in registry.plugins("transports")}

    assert registry.check(by_name["rsh"]) == ()
    assert registry.check(by_name["odd"]) == (by_name["odd"].reason,)
