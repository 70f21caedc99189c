"""The one connection of the transport ``ssh``: shared by all commands, made again when lost, and never waited for long."""

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


async def data() -> AsyncIterator[bytes]:
    """Give what is to come back."""
    for _ in range(4):
        yield bytes(5000)


async def echoed(transport: SshTransport, count: int = 50) -> None:
    """Run so many commands at once, and see that each has its own answer."""
    ends = await asyncio.gather(*(transport.run(["echo", str(number)]) for number in range(count)))
    assert [end.stdout for end in ends] == [b"%d\n" % number for number in range(count)]


async def failed(transport: SshTransport, within: float) -> TransportError:
    """Enter it, in vain; return what it said in that time."""
    start = time.monotonic()
    with pytest.raises(TransportError) as raised:
        await transport.__aenter__()
    assert time.monotonic() - start < within
    return raised.value


@pytest.fixture
def silent() -> Iterator[int]:
    """Return the port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.asyncio
async def test_fifty_at_once_share_a_connection(sshd: Sshd) -> None:
    """And no more than the option says run at once."""
    async with sshd.open_transport(sessions=8) as transport:
        await echoed(transport)
    assert (sshd.connections, sshd.logins) == (1, 1)
    assert sshd.most_shells <= 8


@pytest.mark.asyncio
async def test_a_lost_connection_is_made_again_once(sshd: Sshd, transport: SshTransport) -> None:
    """However many need it at the same time."""
    for _ in range(3):
        await echoed(transport, 20)
        sshd.hang_up()
    assert sshd.connections == 3


@pytest.mark.asyncio
async def test_a_command_whose_connection_is_lost(sshd: Sshd, transport: SshTransport) -> None:
    """Is a TransportError worth trying again, at once; and the next command works."""
    run = asyncio.create_task(transport.run(["sh", "-c", "echo > began; sleep 100"]))
    await sshd.wait_until((sshd.home / "began").exists)
    sshd.hang_up()
    start = time.monotonic()
    with pytest.raises(TransportError, match="lost while a command ran") as raised:
        await run
    assert raised.value.retryable
    seconds = time.monotonic() - start
    await echoed(transport, 3)

    assert seconds < 2


@pytest.mark.asyncio
async def test_a_command_that_had_not_begun_is_begun_anew(sshd: Sshd, transport: SshTransport) -> None:
    """Where the connection is lost before anything was sent, nobody notices, and it runs once."""

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
    """Gives the right answer or a TransportError, never hangs, and runs nothing twice."""
    for count in counts:
        wire.cut_in(count)
        async with sshd.open_transport(port=wire.port) as transport:
            lines = sshd.home / f"lines-{count}"
            try:
                result = await transport.run([*ONCE, str(lines), "x" * 60_000], stdin=data())
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
    """All succeed, and after some refusals no more is tried than it allows."""
    sshd.sessions_allowed = 2
    async with sshd.open_transport(sessions=8) as transport:
        await echoed(transport)
    assert 1 <= sshd.refused <= 8
    assert sshd.connections == 1


@pytest.mark.asyncio
async def test_waiting_for_other_commands_is_no_failure(sshd: Sshd) -> None:
    """However long they take, and although the server allows fewer at once than the option."""
    sshd.sessions_allowed = 1
    async with sshd.open_transport(sessions=3, connect_s=0.8) as transport:
        ends = await asyncio.gather(*(transport.run(["sleep", "0.45"]) for _ in range(3)))
        assert not any(end.returncode for end in ends)


@pytest.mark.asyncio
async def test_a_server_that_allows_no_session(sshd: Sshd) -> None:
    """Is a TransportError in bounded time."""
    sshd.sessions_allowed = 0
    start = time.monotonic()
    with pytest.raises(TransportError, match="cannot begin a command"):
        async with sshd.open_transport(connect_s=0.5) as transport:
            await transport.run(["true"])
    assert time.monotonic() - start < 3


@pytest.mark.asyncio
async def test_a_server_that_drops_logins(sshd: Sshd) -> None:
    """As a busy one does: they are tried again, ever more slowly."""
    sshd.to_drop = 3
    start = time.monotonic()
    async with sshd.open_transport() as transport:
        await echoed(transport, 3)
    assert sshd.connections == 4
    assert time.monotonic() - start > 0.05 + 0.1 + 0.2


@pytest.mark.asyncio
async def test_a_server_that_drops_every_login(sshd: Sshd) -> None:
    """Is given up within the seconds that connecting may take."""
    sshd.to_drop = 10**6
    error = await failed(sshd.transport(connect_s=0.5), within=2)
    assert error.retryable
    assert sshd.connections > 1


@pytest.mark.asyncio
async def test_nobody_listens(sshd: Sshd) -> None:
    """A TransportError worth trying again says where."""
    sshd.stop()
    error = await failed(sshd.transport(connect_s=0.3), within=2)
    assert error.retryable
    assert f"127.0.0.1:{sshd.port}" in str(error)


@pytest.mark.asyncio
async def test_a_host_that_does_not_exist(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is told at once: another try would not help."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = await failed(sshd.transport(host="nowhere.invalid"), within=2)
    assert not error.retryable
    assert "nowhere.invalid" in str(error)


@pytest.mark.asyncio
async def test_a_server_that_never_answers(sshd: Sshd, silent: int) -> None:
    """Is given up in time, and the error says after how long."""
    error = await failed(sshd.transport(port=silent, connect_s=0.4), within=2)
    assert "0.4 s" in str(error)
    assert error.retryable


@pytest.mark.asyncio
async def test_what_is_no_ssh_server(sshd: Sshd) -> None:
    """Is a TransportError, too."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ESMTP\r\n" * 2000)
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        await failed(sshd.transport(port=server.sockets[0].getsockname()[1], connect_s=0.3), within=2)


@pytest.mark.asyncio
@pytest.mark.parametrize("when", ["connecting", "connected"])
async def test_cancelled_on_the_way_in(sshd: Sshd, silent: int, when: str) -> None:
    """Nothing is left open, and entering later works."""
    transport = sshd.transport(port=silent if when == "connecting" else None)
    entering = asyncio.create_task(transport.__aenter__())
    await (asyncio.sleep(0.1) if when == "connecting" else sshd.wait_until(lambda: sshd.logins > 0))
    entering.cancel()
    await asyncio.wait({entering})
    await transport.__aexit__(None, None, None)
    await sshd.wait_until(lambda: sshd.open_connections == 0)


@pytest.mark.asyncio
async def test_a_server_that_falls_silent(sshd: Sshd, wire: Wire) -> None:
    """Is noticed by whoever waits for a command, and by whoever starts one."""
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
    """A server that answers is there, however long a command says nothing."""
    async with sshd.open_transport(keepalive_s=0.1) as transport:
        result = await transport.run(["sleep", "0.7"])
    assert result.returncode == 0
    assert sshd.connections == 1


@pytest.mark.asyncio
async def test_leaving_a_server_that_fell_silent(sshd: Sshd, wire: Wire) -> None:
    """Takes a bounded time."""
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
async def test_a_server_that_gives_one_session_a_connection(sshd: Sshd) -> None:
    """As tinysshd does: each command has a login of its own, one after the other, and one that is cancelled ends."""
    sshd.sessions_a_connection = 1
    async with sshd.open_transport(sessions=4) as transport:
        await echoed(transport, 4)
        running = asyncio.create_task(transport.run(["sh", "-c", "echo > began; sleep 100"]))
        await sshd.wait_until((sshd.home / "began").exists)
        running.cancel()
        await asyncio.wait({running})
        await sshd.wait_until_idle()
    assert sshd.logins == 6


@pytest.mark.asyncio
async def test_a_server_that_does_not_answer_a_session(sshd: Sshd) -> None:
    """The error says so, and blames no rc file."""
    is_over = threading.Event()
    sshd.before_a_session = lambda: sshd.wait_until(is_over.is_set)
    async with sshd.open_transport(connect_s=0.3) as transport:
        with pytest.raises(TransportError, match="did not answer the request for a session in time"):
            await transport.run(["true"])
        is_over.set()
