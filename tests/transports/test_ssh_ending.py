"""Tests of the end of a command of the transport ``ssh``: by cancellation, by an error, or by leaving."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import pytest
from tests.transports.streams import CustomError, Sink, Source

from intercede.contract.errors import NotOpenError, TransportError
from intercede.contract.transport import CommandResult
from intercede.transports.ssh import SshTransport

if TYPE_CHECKING:
    from tests.transports.sshd import Sshd


ENDLESS = "while :; do sleep 1; done"


def watch_for_start(sshd: Sshd) -> Callable[[], bool]:
    """Return a function that checks whether a command has created the file ``began``."""
    return (sshd.home / "began").exists


async def start_script(
    sshd: Sshd, transport: SshTransport, script: str, **streams: object
) -> asyncio.Task[CommandResult]:
    """Start a script, and wait until it runs."""
    argv = ["sh", "-c", f"echo > began; {script}"]
    run = asyncio.create_task(transport.run(argv, **streams))  # type: ignore[arg-type]  # the test knows
    await sshd.wait_until(watch_for_start(sshd))
    return run


async def cancel_and_time(run: asyncio.Task[CommandResult]) -> float:
    """Cancel the run, and return the seconds until it has ended."""
    began = time.monotonic()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    return time.monotonic() - began


@pytest.mark.asyncio
@pytest.mark.parametrize(("script", "code"), [("kill -TERM 0", 143), ("kill -INT 0", 130), ("kill -HUP 0", 129)])
async def test_a_command_that_ends_its_own_group(transport: SshTransport, script: str, code: int) -> None:
    """A command that signals its own process group still has its exit code reported."""
    assert (await transport.run(["sh", "-c", f"{script}; sleep 5"])).returncode == code


@pytest.mark.asyncio
async def test_a_killed_group_is_an_error(transport: SshTransport) -> None:
    """If even our remote sh is killed, the exit code is lost, which is a TransportError."""
    with pytest.raises(TransportError, match="ended before its command"):
        await transport.run(["sh", "-c", "kill -KILL 0; sleep 5"])


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [CustomError("mine"), BrokenPipeError("mine"), TimeoutError()])
@pytest.mark.parametrize("where", ["sink", "iterator"])
async def test_an_exception_of_a_stream_ends_the_command(
    sshd: Sshd, transport: SshTransport, error: BaseException, where: str
) -> None:
    """The same exception object is raised after the command has ended, and the connection stays usable."""

    async def fail(_: bytes) -> None:
        await sshd.wait_until(watch_for_start(sshd))
        raise error

    async def yield_and_fail() -> AsyncIterator[bytes]:
        yield b"x"
        await fail(b"")

    argv = ["sh", "-c", "trap '' HUP; echo x; sleep 100 & echo > began; cat; echo > whole; sleep 100"]
    stdin, stdout = (None, Sink(fail)) if where == "sink" else (yield_and_fail(), None)
    with pytest.raises(type(error)) as raised:
        await transport.run(argv, stdin=stdin, stdout=stdout)
    assert raised.value is error
    await sshd.wait_until_idle()

    assert (await transport.run(["echo", "fine"])).stdout == b"fine\n"
    assert sshd.connections == 1
    assert where == "sink" or not (sshd.home / "whole").exists()  # partial stdin has no end of file


@pytest.mark.asyncio
@pytest.mark.parametrize("limit", [1000, 1], ids=["sessions", "one session"])
@pytest.mark.parametrize("trap", ["", "trap '' TERM HUP INT;"], ids=["meek", "deaf"])
async def test_cancelling_ends_the_whole_group(sshd: Sshd, transport: SshTransport, trap: str, limit: int) -> None:
    """Cancelling ends a group in bounded time, over a second connection if the server allows no second session."""
    sshd.sessions_allowed = limit
    script = f"{trap} (sleep 100; sleep 100) & {ENDLESS}"
    seconds = await cancel_and_time(await start_script(sshd, transport, script, stdin=Source(b"x", 1, wait=True)))
    await sshd.wait_until_idle()
    assert (await transport.run(["echo", "fine"])).stdout == b"fine\n"

    assert seconds < 8
    assert sshd.connections == (2 if limit == 1 else 1)


@pytest.mark.asyncio
async def test_term_comes_first(sshd: Sshd, transport: SshTransport) -> None:
    """A command gets TERM first and has time to clean up."""
    await cancel_and_time(await start_script(sshd, transport, f"trap 'sleep 0.3; echo > clean; exit' TERM; {ENDLESS}"))
    assert (sshd.home / "clean").exists()


@pytest.mark.asyncio
async def test_cancelling_again_and_again(sshd: Sshd, transport: SshTransport) -> None:
    """Repeated cancellation does not leave the command behind."""
    run = await start_script(sshd, transport, f"trap '' TERM; {ENDLESS}")
    while True:
        run.cancel()
        done, _ = await asyncio.wait({run}, timeout=0.05)
        if done:
            break
    assert run.cancelled()
    await sshd.wait_until_idle()


@pytest.mark.asyncio
@pytest.mark.parametrize("sessions", [1, 8])
async def test_cancelling_at_any_moment(sshd: Sshd, sessions: int) -> None:
    """A run may be cancelled while it opens, waits or sends; it leaves no process, and other commands run on."""
    delays = [0.0, *(0.0002 * 1.2**step for step in range(24))]
    async with sshd.open_transport(sessions=sessions) as transport:
        await transport.run(["true"])
        for delay in delays:
            run = asyncio.create_task(transport.run(["sh", "-c", ENDLESS], stdin=Source(bytes(65536), 10**9)))
            await asyncio.sleep(delay)
            await cancel_and_time(run)
        await sshd.wait_until(lambda: sshd.sessions == 0)
        await sshd.wait_until_idle()
        assert (await transport.run(["echo", "fine"])).stdout == b"fine\n"
    assert sshd.connections == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("when", ["opening", "waiting for the mark"])
async def test_a_run_cancelled_before_it_begins(sshd: Sshd, transport: SshTransport, when: str) -> None:
    """The session of a run that is cancelled at once is closed when the server opens it, and no command runs."""
    arrived, release = threading.Event(), threading.Event()

    async def stall() -> None:
        arrived.set()
        await asyncio.to_thread(release.wait, 20)

    if when == "opening":
        sshd.before_a_session = stall
    else:
        sshd.before_a_command = stall
    run = asyncio.create_task(transport.run(["sh", "-c", "echo > began"]))
    await sshd.wait_until(arrived.is_set)
    assert await cancel_and_time(run) < 2
    release.set()
    await sshd.wait_until(lambda: sshd.sessions == 0)
    await sshd.wait_until_idle()
    assert not watch_for_start(sshd)()


@pytest.mark.asyncio
async def test_a_time_limit_is_a_cancellation(sshd: Sshd, transport: SshTransport) -> None:
    """A time limit by asyncio.timeout ends the command, as the contract advises."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await transport.run(["sleep", "100"])
    await sshd.wait_until_idle()


@pytest.mark.asyncio
async def test_leaving_ends_running_commands(sshd: Sshd) -> None:
    """Leaving ends running commands, whose callers get NotOpenError, and leaves no process."""
    transport = sshd.transport()
    async with transport:
        runs = [await start_script(sshd, transport, ENDLESS) for _ in range(3)]
        runs += [asyncio.create_task(transport.run(["sleep", "100"])) for _ in range(10)]  # some wait for a session
        await asyncio.sleep(0)
    ends = await asyncio.gather(*runs, return_exceptions=True)
    assert {type(end) for end in ends} == {NotOpenError}
    await sshd.wait_until_idle()
    await sshd.wait_until(lambda: sshd.open_connections == 0)


@pytest.mark.asyncio
async def test_a_cancelled_leave_closes_the_connection(sshd: Sshd) -> None:
    """A leave that is cancelled closes the connection as well."""
    transport = sshd.transport()
    await transport.__aenter__()
    run = await start_script(sshd, transport, f"trap '' TERM; {ENDLESS}")
    leaving = asyncio.create_task(transport.__aexit__(None, None, None))
    await asyncio.sleep(0.1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await sshd.wait_until(lambda: sshd.open_connections == 0)
    with pytest.raises(NotOpenError):
        await run


@pytest.mark.asyncio
async def test_a_body_that_fails(sshd: Sshd) -> None:
    """An exception of the body is raised unchanged, and everything is closed."""
    transport = sshd.transport()

    with pytest.raises(CustomError):
        async with transport:
            raise CustomError
    await sshd.wait_until(lambda: sshd.open_connections == 0)
