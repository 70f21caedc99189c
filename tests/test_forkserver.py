"""A process of the fork server is like a new interpreter, and does not outlive its client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import pytest
from tests.testing.subjects import in_child

from intercede.forkserver import ForkServer, ForkServerError
from intercede.plugin import Plugin
from intercede.registry.subprocess_check import check_in_subprocess
from intercede.testing.subjects.child import run_child
from intercede.testing.subjects.subject import RegistrySubject

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

SHOWN = """
import json, os, resource, signal, sys, time
from pathlib import Path
signals = [name for name in signal.Signals if name not in (signal.SIGKILL, signal.SIGSTOP)]
shown = {
    "name": __name__,
    "main": sys.modules["__main__"].__dict__ is globals(),
    "arguments": sys.argv,
    "variables": dict(os.environ),
    "directory": os.getcwd(),
    "umask": os.umask(0),
    "descriptors": sorted(each.name for each in Path("/proc/self/fd").iterdir()),
    "stdin": sys.stdin.read(),
    "terminal": [each.isatty() for each in (sys.stdin, sys.stdout)],
    "encoding": sys.stderr.encoding,
    "path": sys.path,
    "leads": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()],
    "handlers": [str(signal.getsignal(each)) for each in signals],
    "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "limits": [resource.getrlimit(each) for each in range(16)],
    "zone": time.tzname,
    "wakeup": signal.set_wakeup_fd(-1),
    "groups": [os.getuid(), os.getgid(), os.getgroups()],
    "modules": [name for name in ("pytest", "asyncio") if name in sys.modules],
}
print(json.dumps(shown), file=sys.stderr)
sys.exit(7)
"""


@contextmanager
def make_server(*modules: str) -> Generator[ForkServer]:
    """Return a fork server for one test."""
    server = ForkServer(*modules)
    try:
        yield server
    finally:
        if server._running is not None:
            server._running.stop()


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """Return a fork server for tests that do it no harm."""
    with make_server() as one:
        yield one


def run_to_end(server: ForkServer, source: str, seconds: float = 30, **given: object) -> tuple[int, str]:
    """Run a source to its end, and return its exit code and its stderr."""
    with TemporaryFile() as stderr:
        process = server.start(source, given, {2: stderr.fileno()})
        try:
            code = process.wait(seconds)
        finally:
            process.close()
        stderr.seek(0)
        return code, stderr.read().decode()


def execute(source: str) -> tuple[int, str]:
    """Run the same source in a new interpreter."""
    path = f"import sys; sys.path[:] = {sys.path!r}; sys.argv[:] = ['-c']\n"
    done = subprocess.run(
        [sys.executable, "-c", path + source],
        env=os.environ,  # variables that C code has added do not count
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Poll until a condition holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never holds"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _start_sleeper(file: Path) -> str:
    """Return a source that starts a child which sleeps, and writes its process id."""
    note = f"open({str(file)!r}, 'w').write(f'{{child.pid}}\\n')"
    return f"import subprocess; child = subprocess.Popen(['sleep', '60']); {note}"


def wait_for_pid(file: Path) -> int:
    """Wait for a process id in a file, and return it."""
    wait_until(lambda: file.exists() and file.read_text().endswith("\n"))
    return int(file.read_text())


def test_a_process_is_like_a_new_interpreter(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process has the same name, arguments, variables, directory, umask and signals as a new one."""
    run_to_end(server, "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ODD", 'a\n"é"\udcff')
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    mask = os.umask(0o027)
    try:
        forked, new = run_to_end(server, SHOWN), execute(SHOWN)
    finally:
        os.umask(mask)

    assert forked[0] == new[0] == 7
    shown, expected = json.loads(forked[1]), json.loads(new[1])
    for each in (shown, expected):
        each["variables"].pop("LC_CTYPE", None)  # Python sets that itself
    assert shown == expected


@pytest.mark.parametrize(
    ("source", "code", "word"),
    [
        ("raise RuntimeError('mine')", 1, "RuntimeError: mine"),
        ("raise SystemExit('words')", 1, "words"),
        ("raise KeyboardInterrupt", -2, "KeyboardInterrupt"),
        ("import os; os._exit(9)", 9, ""),
        ("import os; os.kill(os.getpid(), 9)", -9, ""),
        ("import os; os.killpg(0, 15)", -15, ""),
        ("import os; os.closerange(0, 1000); os._exit(3)", 3, ""),
        ("import atexit, sys; atexit.register(print, 'at the end', file=sys.stderr)", 0, "at the end"),
        ("import threading, sys, time; threading.Thread(target=lambda: print('so', file=sys.stderr)).start()", 0, "so"),
        ("import builtins; builtins.open = builtins.print = None", 0, ""),
    ],
)
def test_each_way_to_end_is_reported(server: ForkServer, source: str, code: int, word: str) -> None:
    """Every way to end is reported as by subprocess."""
    forked = run_to_end(server, source)

    assert forked[0] == execute(source)[0] == code
    assert word in forked[1]


def test_a_process_does_not_see_another_s_changes(server: ForkServer) -> None:
    """A process sees neither modules nor variables of another, and has its own random numbers."""
    source = (
        "import json, os, sys; print(hasattr(json, 'x'), 'X' in os.environ, file=sys.stderr); "
        "json.x = os.environ['X'] = 'x'"
    )
    chance = "import random, sys; print(random.random(), file=sys.stderr)"

    assert [run_to_end(server, source) for _ in range(2)] == [(0, "False False\n")] * 2
    assert run_to_end(server, chance) != run_to_end(server, chance)


def test_given_names_and_descriptors_are_passed_on(server: ForkServer) -> None:
    """A process has the given names, however long their values, and the descriptors with the given numbers."""
    with TemporaryFile() as answer, TemporaryFile() as other:
        process = server.start(
            "import os; os.write(9, text[-9:].encode()); os.write(3, str(len(text)).encode())",
            {"text": "x" * 2_000_000 + "the end"},
            {3: other.fileno(), 9: answer.fileno()},
        )
        assert process.wait(30) == 0
        process.close()

        assert (os.pread(answer.fileno(), 99, 0), os.pread(other.fileno(), 99, 0)) == (b"xxthe end", b"2000007")


def test_preloaded_modules_are_not_loaded_again() -> None:
    """Modules that the server has loaded are not loaded again."""
    with make_server("asyncio") as server:
        assert run_to_end(server, "import sys; sys.exit('asyncio' in sys.modules)")[0] == 1


def test_a_module_that_cannot_be_preloaded_is_named() -> None:
    """If a module cannot be loaded, the server exits at once and reports it."""
    with make_server("intercede_nowhere") as server, pytest.raises(ForkServerError, match="intercede_nowhere"):
        run_to_end(server, "")


def test_variables_that_are_read_once_start_another_server(server: ForkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another hash seed starts another server."""
    source = "import sys; print(hash('text'), file=sys.stderr)"
    monkeypatch.setenv("PYTHONHASHSEED", "3")

    assert run_to_end(server, source) == execute(source)


def test_a_removed_working_directory_is_passed_on(
    server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removed working directory has no name, as in a new interpreter."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    code, said = run_to_end(server, "import os; os.getcwd()")

    assert code == 1
    assert "FileNotFoundError" in said


def test_children_end_with_the_process(server: ForkServer, tmp_path: Path) -> None:
    """The children of a process end with it, unless they may stay."""
    pids = {may_leave: tmp_path / str(may_leave) for may_leave in (True, False)}
    for may_leave, file in pids.items():
        source = _start_sleeper(file)
        process = server.start(source, {}, {}, may_leave=may_leave)
        assert process.wait(30) == 0
        process.close()

    assert is_running(wait_for_pid(pids[True]))
    wait_until(lambda: not is_running(wait_for_pid(pids[False])))
    os.kill(wait_for_pid(pids[True]), signal.SIGKILL)


def test_a_process_that_takes_too_long_is_killed(server: ForkServer, tmp_path: Path) -> None:
    """A process that takes too long is killed with its group."""
    file = tmp_path / "pid"
    source = f"{_start_sleeper(file)}; child.wait()"
    process = server.start(source, {}, {}, may_leave=True)
    child = wait_for_pid(file)
    with pytest.raises(TimeoutError):
        process.wait(0.01)
    process.kill()

    assert process.wait(30) == -signal.SIGKILL
    wait_until(lambda: not is_running(child))
    process.close()


def test_a_process_that_has_not_begun_can_be_killed(server: ForkServer) -> None:
    """A process that has not begun is killed at once."""
    for _ in range(20):
        process = server.start("import time; time.sleep(60)", {}, {})
        process.kill()
        assert process.wait(30) == -signal.SIGKILL
        process.close()


@pytest.mark.asyncio
async def test_many_at_once(server: ForkServer) -> None:
    """Many processes at once have a connection each."""
    processes = [server.start("raise SystemExit(number)", {"number": number}, {}) for number in range(20)]

    codes = await asyncio.gather(*(each.wait_async() for each in processes))

    assert codes == list(range(20))
    for each in processes:
        each.close()


def test_a_process_that_kills_its_keeper_is_an_error(server: ForkServer) -> None:
    """A process that kills its keeper is an error, and the next process works."""
    with pytest.raises(ForkServerError, match="the keeper of the process has ended"):
        run_to_end(server, "import os; os.kill(os.getppid(), 9)")

    assert run_to_end(server, "")[0] == 0


def test_a_server_that_was_killed_is_started_again(server: ForkServer) -> None:
    """After a kill of the server, its processes run on and a new one starts."""
    first = server.start("import time; time.sleep(0.2); raise SystemExit(5)", {}, {})
    run_to_end(server, "")  # the first is forked by now
    assert server._running is not None
    server._running._process.kill()
    server._running._process.wait()

    assert run_to_end(server, "raise SystemExit(4)")[0] == 4
    assert first.wait(30) == 5
    first.close()


def test_closed_descriptors_are_not_written_to(tmp_path: Path) -> None:
    """If other code closes all descriptors, new ones with the same numbers are not written to."""
    source = """
import os, socket
from intercede.forkserver import ForkServer
server = ForkServer()
process = server.start("raise SystemExit(3)", {}, {})
assert process.wait(30) == 3
process.close()
os.closerange(3, 100)
others = [socket.socketpair() for _ in range(10)]
process = server.start("raise SystemExit(4)", {}, {})
assert process.wait(30) == 4
process.close()
for _, other in others:
    other.setblocking(False)
    try:
        raise SystemExit(f"{other.recv(1)} was sent")
    except BlockingIOError:
        pass
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("way", ["raise SystemExit", "import os; os.kill(os.getpid(), 9)", "import os; os._exit(0)"])
def test_no_process_outlives_its_client(tmp_path: Path, way: str) -> None:
    """The server and its processes end with the client."""
    source = f"""
import os, sys
from pathlib import Path
from intercede.forkserver import ForkServer
server = ForkServer()
source = "import os, time; print(os.getpid(), os.getppid(), file=open('pids', 'w'), flush=True); time.sleep(60)"
process = server.start(source, {{}}, {{}})
while not Path("pids").exists() or not Path("pids").read_text().endswith("\\n"):
    pass
print(server._running._process.pid, Path("pids").read_text(), flush=True)
process._connection.detach()  # or it warns, rightly
{way}
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    pids = [int(each) for each in done.stdout.split()]

    assert len(pids) == 3
    assert done.stderr == ""
    wait_until(lambda: not any(map(is_running, pids)))


FORKS = """
import os
from intercede.forkserver import ForkServer

def ended(source):
    process = server.start(source, {}, {})
    try:
        return process.wait(20)
    finally:
        process.close()

server = ForkServer("json")
server.open()
before = server._running._process.pid
pid = os.fork()
if not pid:
    code = ended("raise SystemExit(6)") + 10 * (server._running._process.pid == before)
    server._running.stop()
    os._exit(code)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(code, ended("raise SystemExit(2)"), server._running._process.pid == before)
"""


def test_a_forked_client_shares_the_server() -> None:
    """A forked client shares the server, and leaves it to the process that owns it."""
    client = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=False)

    assert (client.stdout, client.stderr) == ("16 2 True\n", "")


def test_given_values_are_in_no_argument_list(server: ForkServer, tmp_path: Path) -> None:
    """Given values are not in an argument list, which every user of the machine can read."""
    file = tmp_path / "seen"
    lines = "Path(f'/proc/{each}/cmdline').read_bytes() for each in ('self', os.getppid())"
    source = f"from pathlib import Path; Path({str(file)!r}).write_bytes(b''.join({lines}))"
    assert run_to_end(server, f"import os; {source}", said="s3cr3t-of-a-test")[0] == 0

    assert b"forkserver" in file.read_bytes()
    assert b"s3cr3t" not in file.read_bytes()


def test_a_plugin_that_kills_its_keeper_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that kills its keeper is a problem in one sentence, and the next plugin is checked as usual."""
    (tmp_path / "kills_its_parent.py").write_text("import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(60)\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    plugin = Plugin(
        group="backends", name="kills", target="kills_its_parent:Backend",
        distribution="kills", version="1", location=str(tmp_path), builtin=False,
    )  # fmt: skip

    (problem,) = check_in_subprocess(plugin, 30)

    assert problem.startswith("it was not loaded: the keeper of the process has ended")


@pytest.mark.asyncio
async def test_a_child_that_kills_its_keeper_has_failed(tmp_path: Path) -> None:
    """A child that kills its keeper has failed, with the reason."""
    child = await run_child(RegistrySubject("x", "x"), in_child.kill_keeper, [], tmp_path, seconds=30)

    assert child.code != 0
    assert child.report is None
    assert "mine" in child.stderr
    assert child.last_words.startswith("the keeper of the process has ended")


@pytest.mark.asyncio
async def test_a_cancellation_waits_for_the_end_of_a_child(tmp_path: Path) -> None:
    """A cancellation waits for the end of a child, however often it comes."""
    file = tmp_path / "pid"
    sleeping = run_child(
        RegistrySubject("x", "x"), in_child.write_id_and_sleep, [str(file)], tmp_path, seconds=60, jobs=True
    )
    task = asyncio.ensure_future(sleeping)
    pid = await asyncio.to_thread(wait_for_pid, file)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not is_running(pid)


@pytest.mark.asyncio
async def test_a_cancellation_does_not_wait_for_one_that_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancellation does not wait for a keeper that the child has stopped."""
    for module in ("intercede.forkserver._PATIENCE", "intercede.testing.subjects.child._GRACE"):
        monkeypatch.setattr(module, 0.2)
    file = tmp_path / "pid"
    sleeping = run_child(RegistrySubject("x", "x"), in_child.stop_keeper_and_sleep, [str(file)], tmp_path, seconds=60)
    task = asyncio.ensure_future(sleeping)
    pid = await asyncio.to_thread(wait_for_pid, file)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    os.kill(pid, signal.SIGCONT)  # now it kills the child


def test_without_waitid_ends_are_seen_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without os.waitid (macOS before CPython 3.13, PyPy) ends are seen, and no process is left."""
    (tmp_path / "lacking_waitid.py").write_text("import os\ndel os.waitid\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    file = tmp_path / "pid"
    child = _start_sleeper(file)
    with make_server("lacking_waitid") as server:
        assert run_to_end(server, "import os, sys; sys.exit(hasattr(os, 'waitid') or 3)")[0] == 3
        assert run_to_end(server, "import os; os.kill(os.getpid(), 15)")[0] == -signal.SIGTERM
        assert run_to_end(server, child)[0] == 0
        wait_until(lambda: not is_running(wait_for_pid(file)))
        file.unlink()

        process = server.start(f"{child}; child.wait()", {}, {}, may_leave=True)
        left = wait_for_pid(file)
        process.kill()

        assert process.wait(30) == -signal.SIGKILL
        wait_until(lambda: not is_running(left))
        process.close()
