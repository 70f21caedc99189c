"""Tests of the end of a command of the transport ``local``: by cancellation, by an error, or by leaving."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests import nested
from tests.sleepers import list_sleepers
from tests.transports.local_processes import (
    ENDLESS,
    has_line,
    is_alive,
    list_children,
    open_transport,
    remember_children,
    wait_until,
)
from tests.transports.streams import CustomError, Sink, Source

from intercede.contract.errors import NotOpenError
from intercede.contract.transport import CommandResult
from intercede.transports import _process_tree, local
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


@pytest.fixture
def shorten_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time that a command gets after TERM, so that the test need not wait for it."""
    monkeypatch.setattr(local, "_TERM_SECONDS", 0.3)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "error", [CustomError("mine"), BrokenPipeError("mine"), TimeoutError(), asyncio.CancelledError()]
)
@pytest.mark.parametrize("where", ["sink", "iterator"])
async def test_an_exception_of_a_stream_ends_the_command(
    transport: LocalTransport, error: BaseException, where: str, tmp_path: Path
) -> None:
    """The same exception object is raised after the command and what it started have ended."""
    pids = tmp_path / "pids"

    async def fail(_: bytes) -> None:
        await wait_until(lambda: has_line(pids))
        raise error

    async def yield_and_fail() -> AsyncIterator[bytes]:
        yield b"x"
        await fail(b"")

    script = f"trap '' HUP; echo x; sleep 100 & echo $$ $! > '{pids}'; cat; sleep 100"
    argv = ["sh", "-c", script]
    stdin, stdout = (None, Sink(fail)) if where == "sink" else (yield_and_fail(), None)
    with pytest.raises(type(error)) as raised:
        await transport.run(argv, stdin=stdin, stdout=stdout)
    assert raised.value is error or isinstance(error, asyncio.CancelledError)  # asyncio raises a new one
    await wait_until(lambda: not any(is_alive(int(pid)) for pid in pids.read_text().split()))


@pytest.mark.asyncio
@pytest.mark.usefixtures("shorten_grace")
async def test_partial_stdin_has_no_end_of_file(transport: LocalTransport, tmp_path: Path) -> None:
    """If the iterator fails, even a command that ignores TERM reads no end of file."""

    async def yield_and_fail() -> AsyncIterator[bytes]:
        yield b"half"
        await wait_until((tmp_path / "began").exists)
        raise CustomError

    script = f"trap '' TERM; echo > {tmp_path}/began; cat; echo > {tmp_path}/whole"
    with pytest.raises(CustomError):
        await transport.run(["sh", "-c", script], stdin=yield_and_fail())
    assert not (tmp_path / "whole").exists()


@pytest.mark.asyncio
async def test_a_sink_may_fail_after_the_end(transport: LocalTransport) -> None:
    """An exception of the sink for the last bytes is raised, too."""

    async def fail(_: bytes) -> None:
        await asyncio.sleep(0.2)
        raise CustomError

    with pytest.raises(CustomError):
        await transport.run(["echo", "x"], stdout=Sink(fail))


@pytest.mark.asyncio
@pytest.mark.usefixtures("shorten_grace")
@pytest.mark.parametrize("trap", ["", "trap '' TERM HUP INT;"], ids=["meek", "deaf"])
async def test_cancelling_ends_the_whole_group(transport: LocalTransport, trap: str, tmp_path: Path) -> None:
    """Cancelling ends a group in bounded time, even if it ignores TERM, and the transport stays usable."""
    pids = tmp_path / "pids"
    script = f"{trap} (sleep 100; sleep 100) & echo $$ $! > '{pids}'; {ENDLESS}"
    run = asyncio.create_task(transport.run(["sh", "-c", script], stdin=Source(b"x", 1, wait=True)))
    await wait_until(lambda: has_line(pids))
    start = time.monotonic()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    seconds = time.monotonic() - start
    await wait_until(lambda: not any(is_alive(int(pid)) for pid in pids.read_text().split()))
    assert (await transport.run(["echo", "fine"])).stdout == b"fine\n"

    assert seconds < 5
    assert not list_children()


@pytest.mark.asyncio
async def test_term_comes_first(transport: LocalTransport, tmp_path: Path) -> None:
    """A command gets TERM first and has time to clean up."""
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
@pytest.mark.usefixtures("shorten_grace")
async def test_cancelling_again_and_again(transport: LocalTransport) -> None:
    """Repeated cancellation does not leave the command behind."""
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
    assert not list_children()


@pytest.mark.asyncio
async def test_a_run_cancelled_before_it_begins(transport: LocalTransport) -> None:
    """A run that is cancelled at once starts no process."""
    run = asyncio.create_task(transport.run(["sh", "-c", ENDLESS]))
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not list_children()


@pytest.mark.asyncio
async def test_a_time_limit_is_a_cancellation(transport: LocalTransport) -> None:
    """A time limit by asyncio.timeout ends the command, as the contract advises."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await transport.run(["sleep", "100"])
    assert not list_children()


@pytest.mark.asyncio
async def test_a_daemon_outlives_the_command(transport: LocalTransport, tmp_path: Path) -> None:
    """Cancelling spares a detached process: it has a session of its own, and its parent has ended."""
    pid = tmp_path / "pid"

    try:
        script = f"setsid setsid sh -c 'echo $$ > {pid}; exec sleep 100' >/dev/null 2>&1 </dev/null & {ENDLESS}"
        run = asyncio.create_task(transport.run(["sh", "-c", script]))
        await wait_until(lambda: has_line(pid))
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert is_alive(int(pid.read_text()))
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


@pytest.mark.asyncio
async def test_leaving_ends_running_commands() -> None:
    """Leaving ends running commands; their callers get NotOpenError and are not cancelled."""
    async with LocalTransport() as transport:
        runs = [asyncio.create_task(transport.run(["sh", "-c", ENDLESS])) for _ in range(3)]
        await wait_until(lambda: len(list_children()) == 3)
    assert not list_children()
    for run in runs:
        with pytest.raises(NotOpenError, match="was left while 'sh' ran"):
            await run


@pytest.mark.asyncio
async def test_an_exception_of_the_body_passes() -> None:
    """An exception of the body is raised unchanged, and running commands are ended."""
    runs: list[asyncio.Task[CommandResult]] = []

    async def leave_with_error() -> None:
        async with LocalTransport() as transport:
            runs.append(asyncio.create_task(transport.run(["sleep", "100"])))
            await wait_until(lambda: bool(list_children()))
            raise CustomError

    with pytest.raises(CustomError):
        await leave_with_error()
    assert not list_children()
    with pytest.raises(NotOpenError):
        await runs[0]


def test_interrupting_the_program_ends_the_command() -> None:
    """Ctrl-C in a program of asyncio.run leaves no orphan."""
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
    assert not is_alive(pid)


LEAVERS = {
    "a group of its own": "timeout 300 sleep 297",  # hermes-agent #94187
    "a session of its own": "setsid sleep 297 & wait",
    "a deaf one": "trap '' TERM; timeout 300 setsid sleep 297",
    "an orphan of the session": "(timeout 300 sleep 297 &); wait; sleep 297",
}


@pytest.mark.asyncio
@pytest.mark.usefixtures("shorten_grace")
@pytest.mark.parametrize("script", LEAVERS.values(), ids=LEAVERS)
async def test_cancelling_ends_processes_outside_the_group(
    transport: LocalTransport, script: str, tmp_path: Path
) -> None:
    """Cancelling also ends processes in a group or session of their own before run returns."""
    word = f"WORD={tmp_path}"
    run = asyncio.create_task(transport.run(["env", word, "sh", "-c", script]))
    await wait_until(lambda: list_sleepers(word) != [])
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert list_sleepers(word) == []


@pytest.mark.asyncio
async def test_without_proc_the_group_ends(
    transport: LocalTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a /proc of its own pid namespace, the transport trusts no pid and signals the process group."""
    monkeypatch.setattr(_process_tree, "_PROC", tmp_path)
    run = asyncio.create_task(transport.run(["env", f"WORD={tmp_path}", "sh", "-c", "sleep 297 & sleep 297"]))
    await wait_until(lambda: len(list_sleepers(f"WORD={tmp_path}")) == 2)
    start = time.monotonic()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert time.monotonic() - start < 4
    # The group has got KILL, and no event reports the end of its processes.
    await wait_until(lambda: list_sleepers(f"WORD={tmp_path}") == [])


@pytest.mark.asyncio
async def test_ending_sends_only_term(transport: LocalTransport, tmp_path: Path) -> None:
    """Children continue first: else Linux would send HUP to a stopped group whose last parent ends."""
    nested.write(tmp_path)
    run = asyncio.create_task(transport.run(["sh", "-c", 'cd "$0" && exec "$@"', str(tmp_path), *nested.COMMAND]))
    await wait_until(lambda: nested.are_up(tmp_path))
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert nested.read_signals(tmp_path) == {"TERM"}
