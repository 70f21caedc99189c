"""The transport ``local``: real commands, both streams, every way to end, and nothing left behind."""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import nested
from tests.sleepers import sleepers

from intercede.contract.errors import ConfigError, InvalidSpecError, NotOpenError, TransportError
from intercede.contract.transport import CommandResult, Transport
from intercede.transports import _process_tree, local
from intercede.transports.local import LocalTransport

ENDLESS = "while :; do sleep 1; done"


@pytest.fixture
def brief_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give what ignores TERM less time than it really has: the test would wait it out."""
    monkeypatch.setattr(local, "_TERM_SECONDS", 0.3)


@pytest_asyncio.fixture
async def transport() -> AsyncIterator[LocalTransport]:
    """Return one that has been entered; whatever the loop complains about fails the test."""
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context)))
    async with LocalTransport() as entered:
        yield entered
    assert not complaints


async def until(condition: Callable[[], bool], within: float = 20) -> None:
    """Wait for it, and fail when it does not come true."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether that process runs; a zombie of somebody else's does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except FileNotFoundError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def _all_children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


_EARLIER: set[str] = set()
"""What tests of something else, in the same worker, have left to this process."""


@pytest.fixture(autouse=True)
def _know_what_was_there() -> None:
    """Tell what a test starts from what was there before."""
    _EARLIER.clear()
    _EARLIER.update(_all_children())


def children() -> set[str]:
    """The children that this process got since the test began, zombies included."""
    return _all_children() - _EARLIER


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def written(path: Path) -> bool:
    """Whether a whole line is there."""
    return path.exists() and path.read_text().endswith("\n")


class Sink:
    """Takes bytes as told."""

    def __init__(self, act: Callable[[bytes], Awaitable[None]] | None = None) -> None:
        self.taken = bytearray()
        self.total = 0
        self._act = act

    async def write(self, data: bytes) -> None:
        """Keep the first of them, count all, and act."""
        assert data
        self.taken += data[: 2**20 - len(self.taken)]
        self.total += len(data)
        if self._act is not None:
            await self._act(data)


class Source:
    """An iterator that knows whether it was closed."""

    def __init__(self, chunk: bytes, count: int, *, wait: bool = False) -> None:
        self.given = 0
        self.closed = False
        self._chunk, self._count, self._wait = chunk, count, wait

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while self.given < self._count:
                self.given += 1
                yield self._chunk
            if self._wait:
                await asyncio.Event().wait()
        finally:
            self.closed = True


def test_it_is_a_transport() -> None:
    """Structurally, as the registry's gate asks."""
    assert isinstance(LocalTransport(), Transport)


@pytest.mark.asyncio
@given(arguments=st.lists(st.binary(max_size=40).filter(lambda argument: b"\0" not in argument), max_size=5))
@settings(max_examples=25, deadline=None)
async def test_arguments_arrive_byte_for_byte(arguments: list[bytes]) -> None:
    """Whatever bytes they hold, those that are no text included; no shell looks at them."""
    async with LocalTransport() as transport:
        result = await transport.run(
            ["sh", "-c", 'for a do printf "%s\\0" "$a"; done', "sh", *map(os.fsdecode, arguments)]
        )
    assert result.stdout == b"".join(argument + b"\0" for argument in arguments)


@pytest.mark.asyncio
@pytest.mark.parametrize("argv", [[], ["true", "a\0b"], ["\0"], ["true", "\ud800"]])
async def test_what_cannot_be_an_argument(transport: LocalTransport, argv: list[str]) -> None:
    """No command at all, a NUL, or what is no text: InvalidSpecError, and nothing starts."""
    with pytest.raises(InvalidSpecError) as raised:
        await transport.run(argv)
    assert raised.value.field == "argv"


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [0, 1, 2, 99, 126, 127, 254, 255])
async def test_exit_codes(transport: LocalTransport, code: int) -> None:
    """Come as they are."""
    assert (await transport.run(["sh", "-c", f"exit {code}"])).returncode == code


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGPIPE, signal.SIGRTMAX])
async def test_death_by_signal(transport: LocalTransport, number: int) -> None:
    """Is 128 + n."""
    assert (await transport.run(["sh", "-c", f"kill -{int(number)} $$"])).returncode == 128 + number


@pytest.mark.asyncio
async def test_streams_are_apart_and_exact(transport: LocalTransport) -> None:
    """Each holds all its bytes and none of the other's."""
    result = await transport.run(["sh", "-c", r"printf '\000\377out'; printf '\000\376err' >&2"])
    assert (result.stdout, result.stderr) == (b"\0\xffout", b"\0\xfeerr")


@pytest.mark.asyncio
async def test_without_stdin_there_is_nothing_to_read(transport: LocalTransport) -> None:
    """It is /dev/null, not ours."""
    assert (await transport.run(["readlink", "/proc/self/fd/0"])).stdout == b"/dev/null\n"


@pytest.mark.asyncio
async def test_the_command_sees_what_we_are(transport: LocalTransport) -> None:
    """Environment, working directory and umask are this process's own; no descriptor but the three is passed on."""
    other, writing = os.pipe()
    os.set_inheritable(other, True)  # noqa: FBT003  it has no keyword
    result = await transport.run(["sh", "-c", "env -0; pwd; umask; ls /proc/$$/fd"])
    os.close(other)
    os.close(writing)
    environment, _, rest = result.stdout.rpartition(b"\0")
    wanted = {os.fsencode(key + "=" + value) for key, value in os.environ.items()}
    assert wanted - set(environment.split(b"\0")) <= {b"_=" + os.fsencode(os.environ.get("_", ""))}
    directory, umask, *there = rest.decode().split()
    assert directory == str(Path.cwd())
    assert int(umask, 8) == int(subprocess.check_output(["sh", "-c", "umask"]), 8)
    assert set(there) <= {"0", "1", "2", "10"}  # a shell may keep one of its own


@pytest.mark.asyncio
async def test_signals_are_not_ignored_there(transport: LocalTransport) -> None:
    """Python ignores SIGPIPE; a command must not, or pipelines never end."""
    assert (await transport.run(["sh", "-c", "kill -PIPE $$; echo lived"])).stdout == b""


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "code", "word"),
    [
        ("no-such-command-anywhere", 127, b"No such file"),
        ("{tmp}/missing", 127, b"No such file"),
        ("{tmp}", 126, b"Permission denied"),
        ("{tmp}/plain", 126, b"Permission denied"),
        ("{tmp}/plain/below", 126, b"Not a directory"),
        ("{tmp}/garbage", 126, b"Exec format error"),
        ("x" * 300, 126, b"name too long"),
    ],
    ids=["on PATH", "by path", "directory", "not executable", "below a file", "no program", "long"],
)
async def test_what_cannot_be_executed_is_a_result(
    transport: LocalTransport, name: str, code: int, word: bytes, tmp_path: Path
) -> None:
    """127 for what is not there, 126 for what cannot run, a message on stderr, and stdin's iterator is closed."""
    (tmp_path / "plain").write_text("x")
    (tmp_path / "garbage").write_bytes(b"\x01\x02")
    (tmp_path / "garbage").chmod(0o755)
    source = aiter(Source(b"x", 1))
    result = await transport.run([name.format(tmp=tmp_path), "argument"], stdin=source)
    with pytest.raises(StopAsyncIteration):
        await anext(source)
    assert result.returncode == code
    assert word in result.stderr


@pytest.mark.asyncio
async def test_too_long_an_argument_list(transport: LocalTransport) -> None:
    """The system's limit is a result as well."""
    result = await transport.run(["true", "x" * 3_000_000])
    assert (result.returncode, result.stderr) == (126, b"true: Argument list too long\n")


@pytest.mark.asyncio
async def test_no_descriptors_left(transport: LocalTransport) -> None:
    """What fails for want of resources here is a TransportError worth trying again, and the next run works."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors(), hard))
    try:
        with pytest.raises(TransportError, match="Too many open files") as raised:
            await transport.run(["true"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert raised.value.retryable

    assert (await transport.run(["true"])).returncode == 0


@pytest.mark.asyncio
async def test_both_ways_at_once_in_bounded_memory(transport: LocalTransport) -> None:
    """100 MB go in and come out meanwhile, byte for byte, and the process grows by a fraction of that."""
    chunk = os.urandom(100_000)
    sink, source = Sink(), Source(chunk, 1000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = await transport.run(["cat"], stdin=source, stdout=sink)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (result.returncode, result.stdout, sink.total) == (0, b"", 10**8)
    assert sink.taken == (chunk * 11)[: 2**20]
    assert source.closed
    assert grown < 16 * 1024


@pytest.mark.asyncio
async def test_a_slow_sink_slows_the_command_and_the_iterator(transport: LocalTransport) -> None:
    """While it takes its time, no more is read than the pipes hold."""
    source = Source(bytes(65536), 1000)
    entered, release = asyncio.Event(), asyncio.Event()

    async def stall(_: bytes) -> None:
        entered.set()
        await release.wait()

    run = asyncio.create_task(transport.run(["cat"], stdin=source, stdout=Sink(stall)))
    await entered.wait()
    seen = -1
    while seen != source.given:
        seen = source.given
        await asyncio.sleep(0.2)
    release.set()
    await run
    assert seen < 40
    assert source.given == 1000


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [2**20 - 1, 2**20, 2**20 + 1, 5 * 2**20])
async def test_stderr_keeps_its_last_mebibyte(transport: LocalTransport, size: int) -> None:
    """All up to that, then the last of it."""
    script = f"head -c {size - 4} /dev/zero >&2; printf last >&2"
    stderr = (await transport.run(["sh", "-c", script])).stderr
    assert len(stderr) == min(size, 2**20)
    assert stderr.endswith(b"\0last")


@pytest.mark.asyncio
@pytest.mark.parametrize("wait", [False, True], ids=["endless", "waiting"])
async def test_an_early_exit_closes_the_iterator(transport: LocalTransport, wait: bool) -> None:
    """A command that reads nothing is no error, whether the iterator goes on or waits."""
    source = Source(bytes(65536), 1 if wait else 10**9, wait=wait)
    assert (await transport.run(["true"], stdin=source)).returncode == 0
    assert source.closed


@pytest.mark.asyncio
async def test_a_command_that_closes_its_stdin_runs_on(transport: LocalTransport) -> None:
    """EPIPE ends the feeding only."""
    source = Source(bytes(65536), 10**9)
    result = await transport.run(["sh", "-c", "exec <&-; sleep 0.3; echo on"], stdin=source)
    assert result.stdout == b"on\n"
    assert source.closed


@pytest.mark.asyncio
async def test_empty_pieces_are_no_end(transport: LocalTransport) -> None:
    """Nothing is written for them."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"", b"a", b"", b"b", b""):
            yield piece

    assert (await transport.run(["cat"], stdin=pieces())).stdout == b"ab"


class MineError(Exception):
    """What no library raises."""


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "error", [MineError("mine"), BrokenPipeError("mine"), TimeoutError(), asyncio.CancelledError()]
)
@pytest.mark.parametrize("where", ["sink", "iterator"])
async def test_their_exceptions_end_the_command_and_pass(
    transport: LocalTransport, error: BaseException, where: str, tmp_path: Path
) -> None:
    """The very object arrives, after the command and what it started are gone; a cut stdin is never taken for all."""
    pids = tmp_path / "pids"

    async def fail(_: bytes) -> None:
        await until(lambda: written(pids))
        raise error

    async def failing() -> AsyncIterator[bytes]:
        yield b"x"
        await fail(b"")

    script = f"trap '' HUP; echo x; sleep 100 & echo $$ $! > '{pids}'; cat; sleep 100"
    argv = ["sh", "-c", script]
    stdin, stdout = (None, Sink(fail)) if where == "sink" else (failing(), None)
    with pytest.raises(type(error)) as raised:
        await transport.run(argv, stdin=stdin, stdout=stdout)
    assert raised.value is error or isinstance(error, asyncio.CancelledError)  # asyncio makes a new one of it
    await until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))


@pytest.mark.asyncio
@pytest.mark.usefixtures("brief_grace")
async def test_a_cut_stdin_is_never_taken_for_all(transport: LocalTransport, tmp_path: Path) -> None:
    """When the iterator fails, not even a command that ignores TERM sees an end of file."""

    async def failing() -> AsyncIterator[bytes]:
        yield b"half"
        await until((tmp_path / "began").exists)
        raise MineError

    script = f"trap '' TERM; echo > {tmp_path}/began; cat; echo > {tmp_path}/whole"
    with pytest.raises(MineError):
        await transport.run(["sh", "-c", script], stdin=failing())
    assert not (tmp_path / "whole").exists()


@pytest.mark.asyncio
async def test_a_sink_may_fail_after_the_end(transport: LocalTransport) -> None:
    """What comes in the last bytes counts as well."""

    async def fail(_: bytes) -> None:
        await asyncio.sleep(0.2)
        raise MineError

    with pytest.raises(MineError):
        await transport.run(["echo", "x"], stdout=Sink(fail))


@pytest.mark.asyncio
@pytest.mark.usefixtures("brief_grace")
@pytest.mark.parametrize("trap", ["", "trap '' TERM HUP INT;"], ids=["meek", "deaf"])
async def test_cancelling_ends_the_whole_group(transport: LocalTransport, trap: str, tmp_path: Path) -> None:
    """In bounded time, whatever it ignores; nothing of it is left, and the transport is as good as before."""
    pids = tmp_path / "pids"
    script = f"{trap} (sleep 100; sleep 100) & echo $$ $! > '{pids}'; {ENDLESS}"
    run = asyncio.create_task(transport.run(["sh", "-c", script], stdin=Source(b"x", 1, wait=True)))
    await until(lambda: written(pids))
    start = time.monotonic()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    seconds = time.monotonic() - start
    await until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))
    assert (await transport.run(["echo", "fine"])).stdout == b"fine\n"

    assert seconds < 5
    assert not children()


@pytest.mark.asyncio
async def test_term_comes_first(transport: LocalTransport, tmp_path: Path) -> None:
    """A command may clean up within the grace."""
    ready = asyncio.Event()

    async def note(_: bytes) -> None:
        ready.set()

    script = f"trap 'echo tidying; echo clean > {tmp_path}/it; exit' TERM; echo ready; {ENDLESS}"
    run = asyncio.create_task(transport.run(["sh", "-c", script], stdout=Sink(note)))
    await ready.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert (tmp_path / "it").read_text() == "clean\n"


@pytest.mark.asyncio
@pytest.mark.usefixtures("brief_grace")
async def test_cancelling_again_and_again(transport: LocalTransport) -> None:
    """Does not leave the command behind."""
    ready = asyncio.Event()

    async def note(_: bytes) -> None:
        ready.set()

    script = f"trap '' TERM; echo ready; {ENDLESS}"
    run = asyncio.create_task(transport.run(["sh", "-c", script], stdout=Sink(note)))
    await ready.wait()
    while not run.done():
        run.cancel()
        await asyncio.sleep(0.05)
    assert run.cancelled()
    assert not children()


@pytest.mark.asyncio
async def test_cancelled_before_it_began(transport: LocalTransport) -> None:
    """Nothing starts."""
    run = asyncio.create_task(transport.run(["sh", "-c", ENDLESS]))
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not children()


@pytest.mark.asyncio
async def test_a_time_limit_is_a_cancellation(transport: LocalTransport) -> None:
    """As the contract advises: asyncio.timeout around the run."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await transport.run(["sleep", "100"])
    assert not children()


@pytest.mark.asyncio
async def test_a_daemon_outlives_the_command(transport: LocalTransport, tmp_path: Path) -> None:
    """What has detached itself, a session whose starter has ended, is not the command any more: cancelling leaves it."""
    pid = tmp_path / "pid"

    try:
        script = f"setsid setsid sh -c 'echo $$ > {pid}; exec sleep 100' >/dev/null 2>&1 </dev/null & {ENDLESS}"
        run = asyncio.create_task(transport.run(["sh", "-c", script]))
        await until(lambda: written(pid))
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert alive(int(pid.read_text()))
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.asyncio
@pytest.mark.parametrize("noise", ["sleep 100", "exec yes"], ids=["silent", "chattering"])
async def test_what_is_left_running_does_not_hold_the_command(
    transport: LocalTransport, noise: str, tmp_path: Path
) -> None:
    """The command is over when its own process is; a child that keeps stdout open lives on, unheard."""
    pid = tmp_path / "pid"
    script = f"({noise}) & echo $! > '{pid}'; echo done >&2"
    start = time.monotonic()
    try:
        sink = Sink()
        result = await transport.run(["sh", "-c", script], stdout=sink)
        assert (result.returncode, result.stderr) == (0, b"done\n")
        assert time.monotonic() - start < 5
    finally:
        with contextlib.suppress(ProcessLookupError):  # the chattering one dies of SIGPIPE
            os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.asyncio
async def test_what_a_child_says_soon_after_is_heard(transport: LocalTransport) -> None:
    """Half a second is left for it, and end of file ends the wait."""
    assert (await transport.run(["sh", "-c", "(sleep 0.1; echo late) & echo early"])).stdout == b"early\nlate\n"


@pytest.mark.asyncio
async def test_a_slow_sink_loses_nothing(transport: LocalTransport) -> None:
    """All that the command wrote arrives, however long after its end, even while a child keeps the pipe open."""

    async def slow(_: bytes) -> None:
        await asyncio.sleep(0.4)

    sink = Sink(slow)
    script = "sleep 3 & head -c 260000 /dev/zero"
    await transport.run(["sh", "-c", script], stdout=sink)
    assert sink.total == 260_000


@pytest.mark.asyncio
async def test_fifty_at_once(transport: LocalTransport) -> None:
    """Each gets its own."""

    async def one(number: int) -> CommandResult:
        return await transport.run(["cat"], stdin=Source(b"%d\n" % number, 1000))

    results = await asyncio.gather(*(one(number) for number in range(50)))
    assert [result.stdout for result in results] == [b"%d\n" % number * 1000 for number in range(50)]


@pytest.mark.asyncio
async def test_it_must_be_open() -> None:
    """Before entering and after leaving, run raises NotOpenError; leaving twice and entering again are fine."""
    transport = LocalTransport()
    with pytest.raises(NotOpenError):
        await transport.run(["true"])
    async with transport as entered:
        assert entered is transport
    await transport.__aexit__(None, None, None)
    with pytest.raises(NotOpenError):
        await transport.run(["true"])
    async with transport:
        assert (await transport.run(["true"])).returncode == 0


@pytest.mark.asyncio
async def test_leaving_ends_what_still_runs() -> None:
    """Those who wait for it are told; their tasks are not cancelled."""
    async with LocalTransport() as transport:
        runs = [asyncio.create_task(transport.run(["sh", "-c", ENDLESS])) for _ in range(3)]
        await until(lambda: len(children()) == 3)
    assert not children()
    for run in runs:
        with pytest.raises(NotOpenError, match="was left while 'sh' ran"):
            await run


@pytest.mark.asyncio
async def test_an_exception_of_the_body_passes() -> None:
    """And what ran is ended."""
    runs: list[asyncio.Task[CommandResult]] = []

    async def left() -> None:
        async with LocalTransport() as transport:
            runs.append(asyncio.create_task(transport.run(["sleep", "100"])))
            await until(lambda: bool(children()))
            raise MineError

    with pytest.raises(MineError):
        await left()
    assert not children()
    with pytest.raises(NotOpenError):
        await runs[0]


def test_interrupting_the_program_ends_the_command() -> None:
    """Ctrl-C, by way of asyncio.run: no orphan."""
    program = (
        "import asyncio; from intercede.transports.local import LocalTransport\n"
        "class Say:\n"
        "    async def write(self, data): print(data.decode(), flush=True)\n"
        "async def main():\n"
        "    async with LocalTransport() as transport:\n"
        "        await transport.run(['sh', '-c', 'echo $$; exec sleep 100'], stdout=Say())\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert not alive(pid)


@pytest.mark.asyncio
async def test_nothing_grows() -> None:
    """No task, thread, descriptor or child is left by any way to end; signal handlers are untouched."""

    def held() -> tuple[int, int, int, int]:
        tasks = len(asyncio.all_tasks())
        return tasks, threading.active_count(), descriptors(), len(children())

    async def cycle() -> tuple[int, int, int, int]:
        async with LocalTransport() as transport:
            await asyncio.gather(*(transport.run(["cat"], stdin=Source(b"x", 3)) for _ in range(5)))
            await transport.run(["no-such-command"])
            run = asyncio.create_task(transport.run(["sleep", "100"], stdin=Source(b"x", 1, wait=True)))
            await until(lambda: bool(children()))
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
        return held()

    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    cycles = [await cycle() for _ in range(10)]
    assert cycles[2] == cycles[9]
    assert cycles[9][1] == threading.active_count()
    assert handlers == {number: signal.getsignal(number) for number in signal.valid_signals()}


@pytest.mark.asyncio
async def test_the_loop_is_not_blocked(transport: LocalTransport) -> None:
    """Not by an iterator that never waits, nor by a command that never stops talking."""
    longest = 0.0
    runs = [
        asyncio.create_task(transport.run(["sh", "-c", "cat >/dev/null"], stdin=Source(bytes(65536), 5000))),
        asyncio.create_task(transport.run(["head", "-c", "300000000", "/dev/zero"], stdout=Sink())),
    ]
    while not all(run.done() for run in runs):
        start = time.thread_time()  # of this thread: others share the machine
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - start)
    assert longest < 0.1


def test_in_a_thread_of_its_own() -> None:
    """A loop that is not the main thread's will do: no signal handler is needed."""
    results: list[CommandResult] = []

    async def main() -> None:
        async with LocalTransport() as transport:
            results.append(await transport.run(["echo", "x"]))

    thread = threading.Thread(target=lambda: asyncio.run(main()))  # a loop of the thread's own
    thread.start()
    thread.join(30)
    assert [result.stdout for result in results] == [b"x\n"]


@pytest.mark.asyncio
async def test_without_pidfd(transport: LocalTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has none, or a sandbox forbids it, the end is seen all the same."""

    def refused(_pid: int) -> int:
        raise PermissionError

    monkeypatch.setattr("intercede.transports.local.os.pidfd_open", refused)
    assert (await transport.run(["sh", "-c", "sleep 0.2; exit 7"])).returncode == 7


@pytest.mark.asyncio
@pytest.mark.parametrize("pidfd", [True, False])
async def test_an_exit_code_that_somebody_else_took(
    transport: LocalTransport, pidfd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Is never made up: TransportError says that it cannot be told."""
    if not pidfd:
        monkeypatch.delattr("intercede.transports.local.os.pidfd_open")
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps then
    try:
        with pytest.raises(TransportError, match="exit code is lost") as raised:
            await transport.run(["sh", "-c", "exit 7"])
    finally:
        signal.signal(signal.SIGCHLD, old)
    assert not raised.value.retryable


LEAVERS = {
    "a group of its own": "timeout 300 sleep 297",  # hermes-agent #94187
    "a session of its own": "setsid sleep 297 & wait",
    "a deaf one": "trap '' TERM; timeout 300 setsid sleep 297",
    "an orphan of the session": "(timeout 300 sleep 297 &); wait; sleep 297",
}


@pytest.mark.asyncio
@pytest.mark.usefixtures("brief_grace")
@pytest.mark.parametrize("script", LEAVERS.values(), ids=LEAVERS)
async def test_cancelling_ends_what_left_the_group(transport: LocalTransport, script: str, tmp_path: Path) -> None:
    """By a group or a session of its own: nothing of it lives when the run has returned."""
    word = f"WORD={tmp_path}"
    run = asyncio.create_task(transport.run(["env", word, "sh", "-c", script]))
    await until(lambda: sleepers(word) != [])
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert sleepers(word) == []


@pytest.mark.asyncio
async def test_without_proc_the_group_ends(
    transport: LocalTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a system without one, and as in a container that was given another's: no number of it is believed."""
    monkeypatch.setattr(_process_tree, "_PROC", tmp_path)
    run = asyncio.create_task(transport.run(["env", f"WORD={tmp_path}", "sh", "-c", "sleep 297 & sleep 297"]))
    await until(lambda: len(sleepers(f"WORD={tmp_path}")) == 2)
    start = time.monotonic()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert time.monotonic() - start < 4
    await until(lambda: sleepers(f"WORD={tmp_path}") == [])  # it had KILL, and no look tells when that has been done


@pytest.mark.asyncio
async def test_a_python_that_cannot_watch_children_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyPy 8.0.1 has neither os.waitid nor os.pidfd_open: it is told on entering, not by an AttributeError of a verb."""
    monkeypatch.delattr(os, "waitid")
    with pytest.raises(
        ConfigError, match=r"needs os\.waitid, which this cpython does not have: use CPython \(on macOS, 3.13"
    ):
        await LocalTransport().__aenter__()


@pytest.mark.asyncio
async def test_what_is_asked_to_end_gets_no_signal_but_that(transport: LocalTransport, tmp_path: Path) -> None:
    """Linux sends HUP to a group that stands still when its last parent in the session ends: children go on first."""
    nested.write(tmp_path)
    run = asyncio.create_task(transport.run(["sh", "-c", 'cd "$0" && exec "$@"', str(tmp_path), *nested.COMMAND]))
    await until(lambda: nested.are_up(tmp_path))
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert nested.told(tmp_path) == {"TERM"}
