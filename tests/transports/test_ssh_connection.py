"""Tests of the connection of the transport ``ssh``: commands share it, it is opened again, and errors come in time."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest

from intercede.contract.errors import TransportError
from intercede.contract.transport import CommandResult

if TYPE_CHECKING:
    from tests.transports.sshd import Sshd, Wire

    from intercede.transports.ssh import SshTransport

ONCE = ["sh", "-c", 'echo >> "$1"; cat; exit 5', "sh"]


async def read_chunks() -> AsyncIterator[bytes]:
    """Yield the input that is echoed."""
    for _ in range(4):
        yield bytes(5000)


async def echo_at_once(transport: SshTransport, count: int = 50) -> None:
    """Run this many commands at once, and check that each gets its own answer."""
    ends = await asyncio.gather(*(transport.run(["echo", str(number)]) for number in range(count)))
    assert [end.stdout for end in ends] == [b"%d\n" % number for number in range(count)]


async def fail_to_enter(transport: SshTransport, within: float) -> TransportError:
    """Try to enter the transport within this time, and return the error."""
    start = time.monotonic()
    with pytest.raises(TransportError) as raised:
        await transport.__aenter__()
    assert time.monotonic() - start < within
    return raised.value


@pytest.fixture
def silent() -> Iterator[int]:
    """Return the port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.asyncio
async def test_fifty_at_once_share_a_connection(sshd: Sshd) -> None:
    """Fifty commands share one connection, and no more run at once than the option allows."""
    async with sshd.open_transport(sessions=8) as transport:
        await echo_at_once(transport)
    assert (sshd.connections, sshd.logins) == (1, 1)
    assert sshd.most_shells <= 8


@pytest.mark.asyncio
async def test_a_lost_connection_is_opened_again_once(sshd: Sshd, transport: SshTransport) -> None:
    """A lost connection is opened again only once for any number of commands."""
    for _ in range(3):
        await echo_at_once(transport, 20)
        sshd.hang_up()
    assert sshd.connections == 3


@pytest.mark.asyncio
async def test_a_command_whose_connection_is_lost(sshd: Sshd, transport: SshTransport) -> None:
    """A command on a lost connection raises a retryable TransportError at once, and the next command works."""
    run = asyncio.create_task(transport.run(["sh", "-c", "echo > began; sleep 100"]))
    await sshd.wait_until((sshd.home / "began").exists)
    sshd.hang_up()
    start = time.monotonic()
    with pytest.raises(TransportError, match="lost while a command ran") as raised:
        await run
    assert raised.value.retryable
    seconds = time.monotonic() - start
    await echo_at_once(transport, 3)

    assert seconds < 2


@pytest.mark.asyncio
async def test_a_command_that_was_not_sent_is_sent_again(sshd: Sshd, transport: SshTransport) -> None:
    """If the connection is lost before a command is sent, it runs once on the next connection."""

    async def lose() -> None:
        sshd.before_a_command = None
        sshd.drop()

    sshd.before_a_command = lose

    assert (await transport.run(["sh", "-c", "echo >> lines; echo fine"])).stdout == b"fine\n"
    assert sshd.connections == 2
    assert (sshd.home / "lines").read_text() == "\n"


@pytest.mark.asyncio
@pytest.mark.parametrize("counts", [range(0, 6000, 500), range(6000, 100_000, 13_000)], ids=["connecting", "running"])
async def test_a_connection_that_is_cut_anywhere(sshd: Sshd, wire: Wire, counts: range) -> None:
    """A cut connection gives the right answer or a TransportError, never hangs, and runs no command twice."""
    for count in counts:
        wire.cut_in(count)
        async with sshd.open_transport(port=wire.port) as transport:
            lines = sshd.home / f"lines-{count}"
            try:
                result = await transport.run([*ONCE, str(lines), "x" * 60_000], stdin=read_chunks())
            except TransportError:
                pass
            else:
                assert result == CommandResult(returncode=5, stdout=bytes(20_000))
                assert lines.exists()
            assert (await transport.run(["echo", "fine"])).stdout == b"fine\n"
            await sshd.wait_until_idle()
    assert all(lines.read_text() == "\n" for lines in sshd.home.glob("lines-*"))
    assert sshd.connections > len(counts)


@pytest.mark.asyncio
async def test_a_server_that_allows_fewer_sessions(sshd: Sshd) -> None:
    """All commands succeed, and after some refusals the transport opens no more sessions than allowed."""
    sshd.sessions_allowed = 2
    async with sshd.open_transport(sessions=8) as transport:
        await echo_at_once(transport)
    assert 1 <= sshd.refused <= 8
    assert sshd.connections == 1


@pytest.mark.asyncio
async def test_waiting_for_other_commands_is_no_failure(sshd: Sshd) -> None:
    """A command waits for others as long as they take, even if the server allows fewer than the option."""
    sshd.sessions_allowed = 1
    async with sshd.open_transport(sessions=3, connect_s=0.8) as transport:
        ends = await asyncio.gather(*(transport.run(["sleep", "0.45"]) for _ in range(3)))
        assert not any(end.returncode for end in ends)


@pytest.mark.asyncio
async def test_a_server_that_allows_no_session(sshd: Sshd) -> None:
    """A server that allows no session is a TransportError in bounded time."""
    sshd.sessions_allowed = 0
    start = time.monotonic()
    with pytest.raises(TransportError, match="cannot begin a command"):
        async with sshd.open_transport(connect_s=0.5) as transport:
            await transport.run(["true"])
    assert time.monotonic() - start < 3


@pytest.mark.asyncio
async def test_a_server_that_drops_logins(sshd: Sshd) -> None:
    """Logins that a busy server drops are tried again, with increasing pauses."""
    sshd.to_drop = 3
    start = time.monotonic()
    async with sshd.open_transport() as transport:
        await echo_at_once(transport, 3)
    assert sshd.connections == 4
    assert time.monotonic() - start > 0.05 + 0.1 + 0.2


@pytest.mark.asyncio
async def test_a_server_that_drops_every_login(sshd: Sshd) -> None:
    """If every login is dropped, connecting times out."""
    sshd.to_drop = 10**6
    error = await fail_to_enter(sshd.transport(connect_s=0.5), within=2)
    assert error.retryable
    assert sshd.connections > 1


@pytest.mark.asyncio
async def test_a_port_without_a_server(sshd: Sshd) -> None:
    """The retryable TransportError for a port without a server names the host and the port."""
    sshd.stop()
    error = await fail_to_enter(sshd.transport(connect_s=0.3), within=2)
    assert error.retryable
    assert f"127.0.0.1:{sshd.port}" in str(error)


@pytest.mark.asyncio
async def test_a_host_that_does_not_exist(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that does not exist is an error at once, because trying again would not help."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = await fail_to_enter(sshd.transport(host="nowhere.invalid"), within=2)
    assert not error.retryable
    assert "nowhere.invalid" in str(error)


@pytest.mark.asyncio
async def test_a_server_that_never_answers(sshd: Sshd, silent: int) -> None:
    """A server that never answers times out, and the error says after how many seconds."""
    error = await fail_to_enter(sshd.transport(port=silent, connect_s=0.4), within=2)
    assert "0.4 s" in str(error)
    assert error.retryable


@pytest.mark.asyncio
async def test_another_kind_of_server(sshd: Sshd) -> None:
    """A server of another protocol is a TransportError, too."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ESMTP\r\n" * 2000)
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        await fail_to_enter(sshd.transport(port=server.sockets[0].getsockname()[1], connect_s=0.3), within=2)


@pytest.mark.asyncio
@pytest.mark.parametrize("when", ["connecting", "connected"])
async def test_a_cancelled_enter(sshd: Sshd, silent: int, when: str) -> None:
    """Cancelling while entering closes the connection, and entering again works."""
    transport = sshd.transport(port=silent if when == "connecting" else None)
    entering = asyncio.create_task(transport.__aenter__())
    await (asyncio.sleep(0.1) if when == "connecting" else sshd.wait_until(lambda: sshd.logins > 0))
    entering.cancel()
    await asyncio.wait({entering})
    await transport.__aexit__(None, None, None)
    await sshd.wait_until(lambda: sshd.open_connections == 0)


@pytest.mark.asyncio
async def test_a_server_that_falls_silent(sshd: Sshd, wire: Wire) -> None:
    """Running and new commands notice a server that falls silent."""
    async with sshd.open_transport(port=wire.port, keepalive_s=0.1, connect_s=0.5) as transport:
        run = asyncio.create_task(transport.run(["sh", "-c", "echo > began; sleep 100"]))
        await sshd.wait_until((sshd.home / "began").exists)
        wire.is_silent = True
        start = time.monotonic()
        for one in (run, transport.run(["true"])):
            with pytest.raises(TransportError):
                await one

        assert time.monotonic() - start < 5


@pytest.mark.asyncio
async def test_a_quiet_command_is_no_silence(sshd: Sshd) -> None:
    """A command may be quiet for any time while the server answers."""
    async with sshd.open_transport(keepalive_s=0.1) as transport:
        result = await transport.run(["sleep", "0.7"])
    assert result.returncode == 0
    assert sshd.connections == 1


@pytest.mark.asyncio
async def test_leaving_a_server_that_fell_silent(sshd: Sshd, wire: Wire) -> None:
    """Leaving a silent server takes bounded time."""
    transport = sshd.transport(port=wire.port, keepalive_s=0.2)

    start = time.monotonic()
    async with transport:
        await transport.run(["true"])
        run = asyncio.create_task(transport.run(["sleep", "100"]))
        await asyncio.sleep(0.1)
        wire.is_silent = True
    await asyncio.wait({run})
    assert run.exception()
    assert time.monotonic() - start < 6


@pytest.mark.asyncio
async def test_a_server_with_one_session_per_connection(sshd: Sshd) -> None:
    """On tinysshd each command logs in on its own, one after the other, and a cancelled command ends."""
    sshd.sessions_a_connection = 1
    async with sshd.open_transport(sessions=4) as transport:
        await echo_at_once(transport, 4)
        running = asyncio.create_task(transport.run(["sh", "-c", "echo > began; sleep 100"]))
        await sshd.wait_until((sshd.home / "began").exists)
        running.cancel()
        await asyncio.wait({running})
        await sshd.wait_until_idle()
    assert sshd.logins == 6


@pytest.mark.asyncio
async def test_a_server_that_does_not_answer_a_session_request(sshd: Sshd) -> None:
    """The error names the request for a session, and does not blame an rc file."""
    is_over = threading.Event()
    sshd.before_a_session = lambda: sshd.wait_until(is_over.is_set)
    async with sshd.open_transport(connect_s=0.3) as transport:
        with pytest.raises(TransportError, match="did not answer the request for a session in time"):
            await transport.run(["true"])
        is_over.set()
