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
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intercede.contract.errors import InvalidSpecError, NotOpenError, TransportError
from intercede.contract.transport import CommandResult, Transport
from intercede.transports.local import LocalTransport

T = TypeVar("T")
Body = Callable[[LocalTransport], Coroutine[None, None, T]]

ENDLESS = "while :; do sleep 1; done"


def opened(body: Body[T]) -> T:
    """What the body returns, run in an entered transport; whatever the loop complains about fails the test."""
    complaints: list[str] = []

    async def main() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context)))
        async with LocalTransport() as transport:
            return await asyncio.wait_for(body(transport), 60)

    result = asyncio.run(main())
    assert not complaints
    return result


def ran(*argv: str) -> CommandResult:
    """How that command ends, given nothing."""
    return opened(lambda transport: transport.run(argv))


async def until(condition: Callable[[], bool], within: float = 20) -> None:
    """Wait for it, and fail when it does not come true."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether that process runs; a zombie of somebody else's does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
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


@given(arguments=st.lists(st.binary(max_size=40).filter(lambda argument: b"\0" not in argument), max_size=5))
@settings(max_examples=25, deadline=None)
def test_arguments_arrive_byte_for_byte(arguments: list[bytes]) -> None:
    """Whatever bytes they hold, those that are no text included; no shell looks at them."""
    result = ran("sh", "-c", 'for a do printf "%s\\0" "$a"; done', "sh", *map(os.fsdecode, arguments))
    assert result.stdout == b"".join(argument + b"\0" for argument in arguments)


@pytest.mark.parametrize("argv", [[], ["true", "a\0b"], ["\0"], ["true", "\ud800"]])
def test_what_cannot_be_an_argument(argv: list[str]) -> None:
    """No command at all, a NUL, or what is no text: InvalidSpecError, and nothing starts."""
    with pytest.raises(InvalidSpecError) as raised:
        ran(*argv)
    assert raised.value.field == "argv"


@pytest.mark.parametrize("code", [0, 1, 2, 99, 126, 127, 254, 255])
def test_exit_codes(code: int) -> None:
    """Come as they are."""
    assert ran("sh", "-c", f"exit {code}").returncode == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGPIPE, signal.SIGRTMAX])
def test_death_by_signal(number: int) -> None:
    """Is 128 + n."""
    assert ran("sh", "-c", f"kill -{int(number)} $$").returncode == 128 + number


def test_streams_are_apart_and_exact() -> None:
    """Each holds all its bytes and none of the other's."""
    result = ran("sh", "-c", r"printf '\000\377out'; printf '\000\376err' >&2")
    assert (result.stdout, result.stderr) == (b"\0\xffout", b"\0\xfeerr")


def test_without_stdin_there_is_nothing_to_read() -> None:
    """It is /dev/null, not ours."""
    assert ran("readlink", "/proc/self/fd/0").stdout == b"/dev/null\n"


def test_the_command_sees_what_we_are() -> None:
    """Environment, working directory and umask are this process's own; no descriptor but the three is passed on."""
    with Path("/dev/null").open() as other:
        os.set_inheritable(other.fileno(), True)  # noqa: FBT003  it has no keyword
        result = ran("sh", "-c", "env -0; pwd; umask; ls /proc/$$/fd")
    environment, _, rest = result.stdout.rpartition(b"\0")
    wanted = {os.fsencode(key + "=" + value) for key, value in os.environ.items()}
    assert wanted - set(environment.split(b"\0")) <= {b"_=" + os.fsencode(os.environ.get("_", ""))}
    directory, umask, *there = rest.decode().split()
    assert directory == str(Path.cwd())
    assert int(umask, 8) == int(subprocess.check_output(["sh", "-c", "umask"]), 8)
    assert set(there) <= {"0", "1", "2", "10"}  # a shell may keep one of its own


def test_signals_are_not_ignored_there() -> None:
    """Python ignores SIGPIPE; a command must not, or pipelines never end."""
    assert ran("sh", "-c", "kill -PIPE $$; echo lived").stdout == b""


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
def test_what_cannot_be_executed_is_a_result(name: str, code: int, word: bytes, tmp_path: Path) -> None:
    """127 for what is not there, 126 for what cannot run, a message on stderr, and stdin's iterator is closed."""
    (tmp_path / "plain").write_text("x")
    (tmp_path / "garbage").write_bytes(b"\x01\x02")
    (tmp_path / "garbage").chmod(0o755)
    source = aiter(Source(b"x", 1))

    async def body(transport: LocalTransport) -> CommandResult:
        result = await transport.run([name.format(tmp=tmp_path), "argument"], stdin=source)
        with pytest.raises(StopAsyncIteration):
            await anext(source)
        return result

    result = opened(body)
    assert result.returncode == code
    assert word in result.stderr


def test_too_long_an_argument_list() -> None:
    """The system's limit is a result as well."""
    result = ran("true", "x" * 3_000_000)
    assert (result.returncode, result.stderr) == (126, b"true: Argument list too long\n")


def test_no_descriptors_left() -> None:
    """What fails for want of resources here is a TransportError worth trying again, and the next run works."""

    async def body(transport: LocalTransport) -> CommandResult:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors(), hard))
        try:
            with pytest.raises(TransportError, match="Too many open files") as raised:
                await transport.run(["true"])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert raised.value.retryable
        return await transport.run(["true"])

    assert opened(body).returncode == 0


def test_both_ways_at_once_in_bounded_memory() -> None:
    """100 MB go in and come out meanwhile, byte for byte, and the process grows by a fraction of that."""
    chunk = os.urandom(100_000)
    sink, source = Sink(), Source(chunk, 1000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = opened(lambda transport: transport.run(["cat"], stdin=source, stdout=sink))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert (result.returncode, result.stdout, sink.total) == (0, b"", 10**8)
    assert sink.taken == (chunk * 11)[: 2**20]
    assert source.closed
    assert grown < 16 * 1024


def test_a_slow_sink_slows_the_command_and_the_iterator() -> None:
    """While it takes its time, no more is read than the pipes hold."""
    source = Source(bytes(65536), 1000)

    async def body(transport: LocalTransport) -> int:
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
        return seen

    assert opened(body) < 40
    assert source.given == 1000


@pytest.mark.parametrize("size", [2**20 - 1, 2**20, 2**20 + 1, 5 * 2**20])
def test_stderr_keeps_its_last_mebibyte(size: int) -> None:
    """All up to that, then the last of it."""
    script = f"head -c {size - 4} /dev/zero >&2; printf last >&2"
    stderr = ran("sh", "-c", script).stderr
    assert len(stderr) == min(size, 2**20)
    assert stderr.endswith(b"\0last")


@pytest.mark.parametrize("wait", [False, True], ids=["endless", "waiting"])
def test_an_early_exit_closes_the_iterator(wait: bool) -> None:
    """A command that reads nothing is no error, whether the iterator goes on or waits."""
    source = Source(bytes(65536), 1 if wait else 10**9, wait=wait)
    assert opened(lambda transport: transport.run(["true"], stdin=source)).returncode == 0
    assert source.closed


def test_a_command_that_closes_its_stdin_runs_on() -> None:
    """EPIPE ends the feeding only."""
    source = Source(bytes(65536), 10**9)
    result = opened(lambda transport: transport.run(["sh", "-c", "exec <&-; sleep 0.3; echo on"], stdin=source))
    assert result.stdout == b"on\n"
    assert source.closed


def test_empty_pieces_are_no_end() -> None:
    """Nothing is written for them."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"", b"a", b"", b"b", b""):
            yield piece

    assert opened(lambda transport: transport.run(["cat"], stdin=pieces())).stdout == b"ab"


class MineError(Exception):
    """What no library raises."""


@pytest.mark.parametrize(
    "error", [MineError("mine"), BrokenPipeError("mine"), TimeoutError(), asyncio.CancelledError()]
)
@pytest.mark.parametrize("where", ["sink", "iterator"])
def test_their_exceptions_end_the_command_and_pass(error: BaseException, where: str, tmp_path: Path) -> None:
    """The very object arrives, after the command and what it started are gone; a cut stdin is never taken for all."""
    pids = tmp_path / "pids"

    async def fail(_: bytes) -> None:
        await until(lambda: written(pids))
        raise error

    async def failing() -> AsyncIterator[bytes]:
        yield b"x"
        await fail(b"")

    async def body(transport: LocalTransport) -> None:
        script = f"trap '' HUP; echo x; sleep 100 & echo $$ $! > '{pids}'; cat; sleep 100"
        argv = ["sh", "-c", script]
        stdin, stdout = (None, Sink(fail)) if where == "sink" else (failing(), None)
        with pytest.raises(type(error)) as raised:
            await transport.run(argv, stdin=stdin, stdout=stdout)
        assert raised.value is error or isinstance(error, asyncio.CancelledError)  # asyncio makes a new one of it
        await until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))

    opened(body)


def test_a_cut_stdin_is_never_taken_for_all(tmp_path: Path) -> None:
    """When the iterator fails, not even a command that ignores TERM sees an end of file."""

    async def failing() -> AsyncIterator[bytes]:
        yield b"half"
        await until((tmp_path / "began").exists)
        raise MineError

    script = f"trap '' TERM; echo > {tmp_path}/began; cat; echo > {tmp_path}/whole"
    with pytest.raises(MineError):
        opened(lambda transport: transport.run(["sh", "-c", script], stdin=failing()))
    assert not (tmp_path / "whole").exists()


def test_a_sink_may_fail_after_the_end() -> None:
    """What comes in the last bytes counts as well."""

    async def fail(_: bytes) -> None:
        await asyncio.sleep(0.2)
        raise MineError

    with pytest.raises(MineError):
        opened(lambda transport: transport.run(["echo", "x"], stdout=Sink(fail)))


@pytest.mark.parametrize("trap", ["", "trap '' TERM HUP INT;"], ids=["meek", "deaf"])
def test_cancelling_ends_the_whole_group(trap: str, tmp_path: Path) -> None:
    """In bounded time, whatever it ignores; nothing of it is left, and the transport is as good as before."""
    pids = tmp_path / "pids"

    async def body(transport: LocalTransport) -> float:
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
        return seconds

    assert opened(body) < 5
    assert not children()


def test_term_comes_first(tmp_path: Path) -> None:
    """A command may clean up within the grace."""

    async def body(transport: LocalTransport) -> None:
        ready = asyncio.Event()

        async def note(_: bytes) -> None:
            ready.set()

        script = f"trap 'echo tidying; echo clean > {tmp_path}/it; exit' TERM; echo ready; {ENDLESS}"
        run = asyncio.create_task(transport.run(["sh", "-c", script], stdout=Sink(note)))
        await ready.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    opened(body)
    assert (tmp_path / "it").read_text() == "clean\n"


def test_cancelling_again_and_again() -> None:
    """Does not leave the command behind."""

    async def body(transport: LocalTransport) -> None:
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

    opened(body)


def test_cancelled_before_it_began() -> None:
    """Nothing starts."""

    async def body(transport: LocalTransport) -> None:
        run = asyncio.create_task(transport.run(["sh", "-c", ENDLESS]))
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert not children()

    opened(body)


def test_a_time_limit_is_a_cancellation() -> None:
    """As the contract advises: asyncio.timeout around the run."""

    async def body(transport: LocalTransport) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await transport.run(["sleep", "100"])
        assert not children()

    opened(body)


def test_a_daemon_outlives_the_command(tmp_path: Path) -> None:
    """What made itself a session is not the command any more, and cancelling leaves it."""
    pid = tmp_path / "pid"

    async def body(transport: LocalTransport) -> None:
        script = f"setsid sh -c 'echo $$ > {pid}; exec sleep 100' >/dev/null 2>&1 </dev/null & {ENDLESS}"
        run = asyncio.create_task(transport.run(["sh", "-c", script]))
        await until(lambda: written(pid))
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert alive(int(pid.read_text()))

    try:
        opened(body)
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("noise", ["sleep 100", "exec yes"], ids=["silent", "chattering"])
def test_what_is_left_running_does_not_hold_the_command(noise: str, tmp_path: Path) -> None:
    """The command is over when its own process is; a child that keeps stdout open lives on, unheard."""
    pid = tmp_path / "pid"
    script = f"({noise}) & echo $! > '{pid}'; echo done >&2"
    start = time.monotonic()
    try:
        sink = Sink()
        result = opened(lambda transport: transport.run(["sh", "-c", script], stdout=sink))
        assert (result.returncode, result.stderr) == (0, b"done\n")
        assert time.monotonic() - start < 5
    finally:
        with contextlib.suppress(ProcessLookupError):  # the chattering one dies of SIGPIPE
            os.kill(int(pid.read_text()), signal.SIGKILL)


def test_what_a_child_says_soon_after_is_heard() -> None:
    """Half a second is left for it, and end of file ends the wait."""
    assert ran("sh", "-c", "(sleep 0.1; echo late) & echo early").stdout == b"early\nlate\n"


def test_a_slow_sink_loses_nothing() -> None:
    """All that the command wrote arrives, however long after its end, even while a child keeps the pipe open."""

    async def slow(_: bytes) -> None:
        await asyncio.sleep(0.4)

    sink = Sink(slow)
    script = "sleep 3 & head -c 260000 /dev/zero"
    opened(lambda transport: transport.run(["sh", "-c", script], stdout=sink))
    assert sink.total == 260_000


def test_fifty_at_once() -> None:
    """Each gets its own."""

    async def body(transport: LocalTransport) -> list[CommandResult]:
        async def one(number: int) -> CommandResult:
            return await transport.run(["cat"], stdin=Source(b"%d\n" % number, 1000))

        return await asyncio.gather(*(one(number) for number in range(50)))

    assert [result.stdout for result in opened(body)] == [b"%d\n" % number * 1000 for number in range(50)]


def test_it_must_be_open() -> None:
    """Before entering and after leaving, run raises NotOpenError; leaving twice and entering again are fine."""

    async def body() -> None:
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

    asyncio.run(body())


def test_leaving_ends_what_still_runs() -> None:
    """Those who wait for it are told; their tasks are not cancelled."""

    async def body() -> None:
        async with LocalTransport() as transport:
            runs = [asyncio.create_task(transport.run(["sh", "-c", ENDLESS])) for _ in range(3)]
            await until(lambda: len(children()) == 3)
        assert not children()
        for run in runs:
            with pytest.raises(NotOpenError, match="was left while 'sh' ran"):
                await run

    asyncio.run(body())


def test_an_exception_of_the_body_passes() -> None:
    """And what ran is ended."""
    runs: list[asyncio.Task[CommandResult]] = []

    async def left() -> None:
        async with LocalTransport() as transport:
            runs.append(asyncio.create_task(transport.run(["sleep", "100"])))
            await until(lambda: bool(children()))
            raise MineError

    async def body() -> None:
        with pytest.raises(MineError):
            await left()
        assert not children()
        with pytest.raises(NotOpenError):
            await runs[0]

    asyncio.run(body())


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


def test_nothing_grows() -> None:
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

    async def body() -> tuple[tuple[int, int, int, int], ...]:
        return tuple([await cycle() for _ in range(10)])

    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    cycles = asyncio.run(body())
    assert cycles[2] == cycles[9]
    assert cycles[9][1] == threading.active_count()
    assert handlers == {number: signal.getsignal(number) for number in signal.valid_signals()}


def test_the_loop_is_not_blocked() -> None:
    """Not by an iterator that never waits, nor by a command that never stops talking."""

    async def body(transport: LocalTransport) -> float:
        longest = 0.0
        runs = [
            asyncio.create_task(transport.run(["sh", "-c", "cat >/dev/null"], stdin=Source(bytes(65536), 5000))),
            asyncio.create_task(transport.run(["head", "-c", "300000000", "/dev/zero"], stdout=Sink())),
        ]
        while not all(run.done() for run in runs):
            start = time.thread_time()  # of this thread: others share the machine
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - start)
        return longest

    assert opened(body) < 0.1


def test_in_a_thread_of_its_own() -> None:
    """A loop that is not the main thread's will do: no signal handler is needed."""
    results: list[CommandResult] = []
    thread = threading.Thread(target=lambda: results.append(ran("echo", "x")))
    thread.start()
    thread.join(30)
    assert [result.stdout for result in results] == [b"x\n"]


def test_without_pidfd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has none, or a sandbox forbids it, the end is seen all the same."""

    def refused(_pid: int) -> int:
        raise PermissionError

    monkeypatch.setattr("intercede.transports.local.os.pidfd_open", refused)
    assert ran("sh", "-c", "sleep 0.2; exit 7").returncode == 7


@pytest.mark.parametrize("pidfd", [True, False])
def test_an_exit_code_that_somebody_else_took(pidfd: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is never made up: TransportError says that it cannot be told."""
    if not pidfd:
        monkeypatch.delattr("intercede.transports.local.os.pidfd_open")
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps then
    try:
        with pytest.raises(TransportError, match="cannot be told") as raised:
            ran("sh", "-c", "exit 7")
    finally:
        signal.signal(signal.SIGCHLD, old)
    assert not raised.value.retryable
