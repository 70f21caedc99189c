"""Tests of the transport ``local``: arguments, streams, results, and the resources of this process."""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transports.local_processes import (
    count_descriptors,
    list_children,
    open_transport,
    remember_children,
    wait_until,
)
from tests.transports.streams import Sink, Source

from intercede.contract.errors import ConfigError, InvalidSpecError, NotOpenError, TransportError
from intercede.contract.transport import CommandResult, Transport
from intercede.transports.local import LocalTransport


@pytest.fixture(autouse=True)
def _remember_children() -> None:
    """Remember the children that earlier tests have left, so that a test sees only its own."""
    remember_children()


@pytest_asyncio.fixture
async def transport() -> AsyncIterator[LocalTransport]:
    """Return an entered transport; an error that the event loop reports fails the test."""
    async with open_transport() as entered:
        yield entered


def test_the_class_is_a_transport() -> None:
    """The class satisfies the protocol that the registry requires."""
    assert isinstance(LocalTransport(), Transport)


@pytest.mark.asyncio
@given(arguments=st.lists(st.binary(max_size=40).filter(lambda argument: b"\0" not in argument), max_size=5))
@settings(max_examples=25, deadline=None)
async def test_arguments_arrive_byte_for_byte(arguments: list[bytes]) -> None:
    """Arguments of any bytes arrive unchanged, invalid text included, because no shell reads them."""
    async with LocalTransport() as transport:
        result = await transport.run(
            ["sh", "-c", 'for a do printf "%s\\0" "$a"; done', "sh", *map(os.fsdecode, arguments)]
        )
    assert result.stdout == b"".join(argument + b"\0" for argument in arguments)


@pytest.mark.asyncio
@pytest.mark.parametrize("argv", [[], ["true", "a\0b"], ["\0"], ["true", "\ud800"]])
async def test_an_invalid_argv_is_refused(transport: LocalTransport, argv: list[str]) -> None:
    """An empty argv, a NUL or a lone surrogate is an InvalidSpecError, and no process starts."""
    with pytest.raises(InvalidSpecError) as raised:
        await transport.run(argv)
    assert raised.value.field == "argv"


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [0, 1, 2, 99, 126, 127, 254, 255])
async def test_exit_codes(transport: LocalTransport, code: int) -> None:
    """The result has the exit code of the command."""
    assert (await transport.run(["sh", "-c", f"exit {code}"])).returncode == code


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGPIPE, signal.SIGRTMAX])
async def test_death_by_signal(transport: LocalTransport, number: int) -> None:
    """The code is 128 + n for death by signal n."""
    assert (await transport.run(["sh", "-c", f"kill -{int(number)} $$"])).returncode == 128 + number


@pytest.mark.asyncio
async def test_both_streams_are_exact(transport: LocalTransport) -> None:
    """Each stream holds all of its bytes and no byte of the other stream."""
    result = await transport.run(["sh", "-c", r"printf '\000\377out'; printf '\000\376err' >&2"])
    assert (result.stdout, result.stderr) == (b"\0\xffout", b"\0\xfeerr")


@pytest.mark.asyncio
async def test_without_stdin_it_is_dev_null(transport: LocalTransport) -> None:
    """Without stdin, the command reads from /dev/null and not from our own stdin."""
    assert (await transport.run(["readlink", "/proc/self/fd/0"])).stdout == b"/dev/null\n"


@pytest.mark.asyncio
async def test_the_command_inherits_our_environment(transport: LocalTransport) -> None:
    """The command has our environment, working directory and umask, and no descriptor but its three streams."""
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
    assert set(there) <= {"0", "1", "2", "10"}  # a shell may keep a descriptor of its own


@pytest.mark.asyncio
async def test_the_command_ignores_no_signal(transport: LocalTransport) -> None:
    """Python ignores SIGPIPE; a command does not, or a pipeline would never end."""
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
async def test_a_command_that_cannot_run_is_a_result(
    transport: LocalTransport, name: str, code: int, word: bytes, tmp_path: Path
) -> None:
    """The code is 127 for a missing command and 126 for an invalid one; stdin's iterator is closed."""
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
    """An argument list that is too long for the system is a result with code 126."""
    result = await transport.run(["true", "x" * 3_000_000])
    assert (result.returncode, result.stderr) == (126, b"true: Argument list too long\n")


@pytest.mark.asyncio
async def test_a_shortage_of_descriptors(transport: LocalTransport) -> None:
    """A shortage on this machine is a retryable TransportError, and a later run works."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count_descriptors(), hard))
    try:
        with pytest.raises(TransportError, match="Too many open files") as raised:
            await transport.run(["true"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert raised.value.retryable

    assert (await transport.run(["true"])).returncode == 0


@pytest.mark.asyncio
async def test_both_ways_at_once_in_bounded_memory(transport: LocalTransport) -> None:
    """A command streams 100 MB in and out at once, byte for byte, in bounded memory."""
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
    """While a sink is slow, only as much is read as the pipes hold."""
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
    """The result has the last mebibyte of stderr, or all of it if it is shorter."""
    script = f"head -c {size - 4} /dev/zero >&2; printf last >&2"
    stderr = (await transport.run(["sh", "-c", script])).stderr
    assert len(stderr) == min(size, 2**20)
    assert stderr.endswith(b"\0last")


@pytest.mark.asyncio
@pytest.mark.parametrize("wait", [False, True], ids=["endless", "waiting"])
async def test_an_early_exit_closes_the_iterator(transport: LocalTransport, wait: bool) -> None:
    """A command that does not read its stdin is no error, even if the iterator is endless or waits."""
    source = Source(bytes(65536), 1 if wait else 10**9, wait=wait)
    assert (await transport.run(["true"], stdin=source)).returncode == 0
    assert source.closed


@pytest.mark.asyncio
async def test_a_command_that_closes_its_stdin_runs_on(transport: LocalTransport) -> None:
    """A command that closes its stdin runs on; EPIPE only stops the writing."""
    source = Source(bytes(65536), 10**9)
    result = await transport.run(["sh", "-c", "exec <&-; sleep 0.3; echo on"], stdin=source)
    assert result.stdout == b"on\n"
    assert source.closed


@pytest.mark.asyncio
async def test_empty_chunks_do_not_end_stdin(transport: LocalTransport) -> None:
    """Empty chunks of stdin are skipped and do not end it."""

    async def yield_chunks() -> AsyncIterator[bytes]:
        for chunk in (b"", b"a", b"", b"b", b""):
            yield chunk

    assert (await transport.run(["cat"], stdin=yield_chunks())).stdout == b"ab"


@pytest.mark.asyncio
@pytest.mark.parametrize("noise", ["sleep 100", "exec yes"], ids=["silent", "noisy"])
async def test_a_background_process_is_not_waited_for(transport: LocalTransport, noise: str, tmp_path: Path) -> None:
    """A command has ended when its own process has, even if a background process keeps stdout open."""
    pid = tmp_path / "pid"
    script = f"({noise}) & echo $! > '{pid}'; echo done >&2"
    start = time.monotonic()
    try:
        sink = Sink()
        result = await transport.run(["sh", "-c", script], stdout=sink)
        assert (result.returncode, result.stderr) == (0, b"done\n")
        assert time.monotonic() - start < 5
    finally:
        with contextlib.suppress(ProcessLookupError):  # the noisy one dies of SIGPIPE
            os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.asyncio
async def test_late_output_of_a_child_is_read(transport: LocalTransport) -> None:
    """Output of a background process within half a second is read, and end of file ends the wait."""
    assert (await transport.run(["sh", "-c", "(sleep 0.1; echo late) & echo early"])).stdout == b"early\nlate\n"


@pytest.mark.asyncio
async def test_a_slow_sink_loses_nothing(transport: LocalTransport) -> None:
    """All output of a command reaches a slow sink, even if a background process keeps the pipe open."""

    async def wait_briefly(_: bytes) -> None:
        await asyncio.sleep(0.4)

    sink = Sink(wait_briefly)
    script = "sleep 3 & head -c 260000 /dev/zero"
    await transport.run(["sh", "-c", script], stdout=sink)
    assert sink.total == 260_000


@pytest.mark.asyncio
async def test_fifty_at_once(transport: LocalTransport) -> None:
    """Fifty commands at once each get their own input and output."""

    async def one(number: int) -> CommandResult:
        return await transport.run(["cat"], stdin=Source(b"%d\n" % number, 1000))

    results = await asyncio.gather(*(one(number) for number in range(50)))
    assert [result.stdout for result in results] == [b"%d\n" % number * 1000 for number in range(50)]


@pytest.mark.asyncio
async def test_run_needs_an_open_transport() -> None:
    """Outside ``async with``, run raises NotOpenError; leaving twice and entering again are allowed."""
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
async def test_no_resource_is_leaked() -> None:
    """Commands leave no task, thread, descriptor or child, and signal handlers are unchanged."""

    def count_resources() -> tuple[int, int, int, int]:
        tasks = len(asyncio.all_tasks())
        return tasks, threading.active_count(), count_descriptors(), len(list_children())

    async def cycle() -> tuple[int, int, int, int]:
        async with LocalTransport() as transport:
            await asyncio.gather(*(transport.run(["cat"], stdin=Source(b"x", 3)) for _ in range(5)))
            await transport.run(["no-such-command"])
            run = asyncio.create_task(transport.run(["sleep", "100"], stdin=Source(b"x", 1, wait=True)))
            await wait_until(lambda: bool(list_children()))
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
        return count_resources()

    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    cycles = [await cycle() for _ in range(10)]
    assert cycles[2] == cycles[9]
    assert cycles[9][1] == threading.active_count()
    assert handlers == {number: signal.getsignal(number) for number in signal.valid_signals()}


@pytest.mark.asyncio
async def test_the_loop_is_not_blocked(transport: LocalTransport) -> None:
    """An iterator that never waits and a command that never stops writing do not block the event loop."""
    longest = 0.0
    runs = [
        asyncio.create_task(transport.run(["sh", "-c", "cat >/dev/null"], stdin=Source(bytes(65536), 5000))),
        asyncio.create_task(transport.run(["head", "-c", "300000000", "/dev/zero"], stdout=Sink())),
    ]
    while not all(run.done() for run in runs):
        start = time.thread_time()  # CPU time of this thread: others share the machine
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - start)
    assert longest < 0.1


def test_an_event_loop_in_another_thread() -> None:
    """The transport works in an event loop outside the main thread, since it needs no signal handler."""
    results: list[CommandResult] = []

    async def main() -> None:
        async with LocalTransport() as transport:
            results.append(await transport.run(["echo", "x"]))

    thread = threading.Thread(target=lambda: asyncio.run(main()))  # the thread has its own event loop
    thread.start()
    thread.join(30)
    assert [result.stdout for result in results] == [b"x\n"]


@pytest.mark.asyncio
async def test_without_pidfd(transport: LocalTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pidfds, on an old system or in a sandbox, the end of a command is noticed as well."""

    def refuse(_pid: int) -> int:
        raise PermissionError

    monkeypatch.setattr("intercede.transports.local.os.pidfd_open", refuse)
    assert (await transport.run(["sh", "-c", "sleep 0.2; exit 7"])).returncode == 7


@pytest.mark.asyncio
@pytest.mark.parametrize("pidfd", [True, False])
async def test_a_lost_exit_code_is_an_error(
    transport: LocalTransport, pidfd: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If other code has reaped the command, run raises TransportError and never invents an exit code."""
    if not pidfd:
        monkeypatch.delattr("intercede.transports.local.os.pidfd_open")
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # now the system reaps the children
    try:
        with pytest.raises(TransportError, match="exit code is lost") as raised:
            await transport.run(["sh", "-c", "exit 7"])
    finally:
        signal.signal(signal.SIGCHLD, old)
    assert not raised.value.retryable


@pytest.mark.asyncio
async def test_a_python_without_waitid_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyPy 8.0.1 has neither os.waitid nor os.pidfd_open, so entering raises a ConfigError."""
    monkeypatch.delattr(os, "waitid")
    with pytest.raises(
        ConfigError, match=r"needs os\.waitid, which this cpython does not have: use CPython \(on macOS, 3.13"
    ):
        await LocalTransport().__aenter__()
