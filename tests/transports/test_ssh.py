"""The transport ``ssh``: real commands over a real connection, both streams, every way to end, nothing left behind."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.transports.streams import Sink, Source

from intercede.contract.errors import ConfigError, InvalidSpecError, NotOpenError
from intercede.contract.transport import Transport
from intercede.transports.ssh import SshTransport

if TYPE_CHECKING:
    from tests.transports.conftest import Maker
    from tests.transports.sshd import Sshd

MARKS = bytes([2, 3, 4, 5, 6, *range(0x0E, 0x1A)])


class Measuring(Sink):
    """Takes its time, and sees how this process grows meanwhile."""

    def __init__(self, seconds: float) -> None:
        super().__init__(self._measure)
        self.grown = 0
        self._seconds = seconds
        self._before = resident()

    async def _measure(self, _: bytes) -> None:
        self.grown = max(self.grown, resident() - self._before)
        await asyncio.sleep(self._seconds)


def resident() -> int:
    """Return how many bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_it_is_a_transport() -> None:
    """Structurally, as the registry's gate asks; it tells how many commands it takes at once."""
    transport = SshTransport("somewhere", sessions=5)
    assert isinstance(transport, Transport)
    assert transport.commands_in_flight() == 5


@pytest.mark.asyncio
@pytest.mark.parametrize("argv", [[], ["true", "a\0b"], ["true", "\ud800"]])
async def test_what_cannot_be_an_argument(sshd: Sshd, transport: SshTransport, argv: list[str]) -> None:
    """InvalidSpecError, and no session is opened for it."""
    with pytest.raises(InvalidSpecError):
        await transport.run(argv)
    assert not sshd.commands


@pytest.mark.asyncio
@pytest.mark.parametrize("last", [b"", b"\n", b"end", *(bytes([byte]) for byte in MARKS), MARKS * 3, MARKS + b"\n"])
async def test_whatever_a_command_writes_comes(transport: SshTransport, last: bytes, tmp_path: Path) -> None:
    """Byte for byte on either stream, what looks like the beginning of a mark of ours included."""
    written = b"\x02" + bytes(range(256)) * 50 + last
    (tmp_path / "it").write_bytes(written)
    result = await transport.run(["sh", "-c", f"cat {tmp_path}/it; cat {tmp_path}/it >&2"])
    assert (result.stdout, result.stderr) == (written, written)


@pytest.mark.asyncio
async def test_what_comes_byte_by_byte(sshd: Sshd, transport: SshTransport) -> None:
    """Nothing that may begin a mark is kept back for long."""
    sink = Sink()

    async def pieces() -> AsyncIterator[bytes]:
        for byte in MARKS:
            yield bytes([byte, 0])
            await sshd.wait_until(lambda byte=byte: sink.taken[-2:] == bytes([byte, 0]))  # type: ignore[misc]  # bound now

    assert (await transport.run(["cat"], stdin=pieces(), stdout=sink)).returncode == 0


@pytest.mark.asyncio
async def test_both_ways_at_once_in_bounded_memory(transport: SshTransport) -> None:
    """20 MB go in and come out meanwhile."""
    chunk = os.urandom(100_000)
    sink, source = Measuring(0), Source(chunk, 200)
    result = await transport.run(["cat"], stdin=source, stdout=sink)
    assert (result.returncode, result.stdout, sink.total) == (0, b"", 20_000_000)
    assert sink.taken == (chunk * 11)[: 2**20]
    assert source.closed
    assert sink.grown < 20 * 2**20  # the server's part included


@pytest.mark.asyncio
async def test_a_slow_sink_slows_the_command_and_the_iterator(transport: SshTransport) -> None:
    """While it takes its time, no more is read than may be on its way."""
    source = Source(bytes(65536), 400)
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
    assert seen < 200
    assert source.given == 400


@pytest.mark.asyncio
async def test_a_sink_that_is_slow_throughout(transport: SshTransport) -> None:
    """What it has not taken yet waits there, not here."""
    sink = Measuring(0.02)
    argv = ["head", "-c", "100000000", "/dev/zero"]
    await transport.run(argv, stdout=sink)
    assert sink.total == 100_000_000
    assert sink.grown < 40 * 2**20


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [2**20, 2**20 + 1, 3 * 2**20])
async def test_stderr_keeps_its_last_mebibyte(transport: SshTransport, size: int) -> None:
    """All up to that, then the last of it."""
    script = f"head -c {size - 4} /dev/zero >&2; printf last >&2"
    stderr = (await transport.run(["sh", "-c", script])).stderr
    assert len(stderr) == min(size, 2**20)
    assert stderr.endswith(b"\0last")


@pytest.mark.asyncio
@pytest.mark.parametrize("wait", [False, True], ids=["endless", "waiting"])
async def test_an_early_exit_closes_the_iterator(transport: SshTransport, wait: bool) -> None:
    """A command that reads nothing is no error, whether the iterator goes on or waits."""
    source = Source(bytes(65536), 1 if wait else 10**9, wait=wait)
    assert (await transport.run(["true"], stdin=source)).returncode == 0
    assert source.closed


@pytest.mark.asyncio
async def test_a_command_that_closes_its_stdin_runs_on(transport: SshTransport) -> None:
    """Nobody reads what is sent, and that ends nothing."""
    source = Source(bytes(65536), 300)
    result = await transport.run(["sh", "-c", "exec <&-; sleep 0.3; echo on"], stdin=source)
    assert result.stdout == b"on\n"
    assert source.closed


@pytest.mark.asyncio
async def test_empty_pieces_are_no_end(transport: SshTransport) -> None:
    """Nothing is sent for them."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"", b"a", b"", b"b", b""):
            yield piece

    assert (await transport.run(["cat"], stdin=pieces())).stdout == b"ab"


@pytest.mark.asyncio
async def test_what_is_left_in_the_background_delays_nothing(sshd: Sshd, transport: SshTransport) -> None:
    """A child that holds both streams open is not waited for, and what it writes later is not heard."""
    waits = "until [ -e go ]; do sleep 0.05; done; echo late"
    async with asyncio.timeout(20):
        result = await transport.run(["sh", "-c", f"({waits}) & echo soon; echo err >&2; exit 4"])
    assert sshd.list_processes()
    (sshd.home / "go").touch()
    await sshd.wait_until_idle()
    assert (result.returncode, result.stdout, result.stderr) == (4, b"soon\n", b"err\n")


@pytest.mark.asyncio
async def test_only_inside(sshd: Sshd) -> None:
    """Run raises NotOpenError before entering and after leaving; leaving twice is fine."""
    transport = sshd.transport()
    with pytest.raises(NotOpenError):
        await transport.run(["true"])
    async with transport as entered:
        assert entered is transport
    await transport.__aexit__(None, None, None)
    with pytest.raises(NotOpenError):
        await transport.run(["true"])


def test_constructing_opens_nothing(sshd: Sshd) -> None:
    """Nor does it read a file or need a loop."""
    SshTransport("127.0.0.1", port=sshd.port, known_hosts="/no/such/file", ssh_config="/no/such/file")
    assert sshd.connections == 0


def test_again_and_in_another_loop(sshd: Sshd) -> None:
    """A transport that was left may be entered again, in whatever loop."""
    transport = sshd.transport(sessions=2)

    async def main() -> None:
        for _ in range(2):
            async with transport:
                ends = await asyncio.gather(*(transport.run(["echo", str(number)]) for number in range(5)))
                assert [end.stdout for end in ends] == [b"0\n", b"1\n", b"2\n", b"3\n", b"4\n"]

    asyncio.run(main())  # each time a loop
    asyncio.run(main())  # of its own
    assert sshd.connections == 4


@pytest.mark.asyncio
async def test_two_do_not_disturb_each_other(make_sshd: Maker) -> None:
    """Each runs its commands where it leads."""
    here, there = make_sshd("here"), make_sshd("there")
    async with here.transport() as one, there.transport() as other:
        runs = [transport.run(["sh", "-c", "echo $SSHD"]) for transport in (one, other) * 5]
        ends = await asyncio.gather(*runs)
    assert [end.stdout for end in ends] == [b"here\n", b"there\n"] * 5


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("host", {"host": ""}),
        ("host", {"host": "two words"}),
        ("host", {"host": "-oProxyCommand=x"}),
        ("host", {"host": "user@-l"}),
        ("host", {"host": "a;b"}),
        ("host", {"host": "$(b)"}),
        ("host", {"host": "host:0"}),
        ("host", {"host": "host:65536"}),
        ("port", {"port": 0}),
        ("port", {"port": -1}),
        ("port", {"port": 65536}),
        ("username", {"username": ""}),
        ("username", {"username": "-x"}),
        ("username", {"username": "a`b`"}),
        ("username", {"username": "a\\"}),
        ("username", {"username": "a\x7f"}),
        ("ssh_config", {"ssh_config": "~no-such-user/config"}),
        ("jump", {"jump": ["ok", "-x"]}),
        ("jump", {"jump": ["ok:x"]}),
        ("connect_s", {"connect_s": 0.0}),
        ("connect_s", {"connect_s": float("nan")}),
        ("keepalive_s", {"keepalive_s": -1.0}),
        ("keepalive_s", {"keepalive_s": float("inf")}),
        ("sessions", {"sessions": 0}),
        ("sessions", {"sessions": -1}),
    ],
)
def test_options_without_sense(field: str, options: dict[str, object]) -> None:
    """ConfigError says which, and what would do."""
    with pytest.raises(ConfigError) as raised:
        SshTransport(**{"host": "somewhere", **options})  # type: ignore[arg-type]  # that is the test
    assert raised.value.field == field
    assert raised.value.expected


@pytest.mark.parametrize(
    "host", ["host", "user@host:22", "user.name@host", "[::1]:2222", "10.0.0.1", "my_alias-1", "ü.org"]
)
def test_options_with_sense(host: str) -> None:
    """Whatever ssh would take for a place."""
    assert SshTransport(host).commands_in_flight()


@pytest.mark.parametrize(
    ("host", "jump"),
    [
        ("me:Tr0ub4dor@h", ()),
        ("ssh://me:Tr0ub4dor@h:22", ()),
        ("h", ("me:Tr0ub4dor@j",)),
        ("me:Tr0ub4dor@h:99999", ()),
        ("me:(Tr0ub4dor@h", ()),
        ("me: Tr0ub4dor@h", ()),
        ("me:Tr0ub4dorh", ()),
        ("me:@Tr0ub4dor@-h", ()),
    ],
)
def test_a_password_in_a_place_is_refused_and_not_repeated(host: str, jump: tuple[str, ...]) -> None:
    """It is written like that in URLs; it would be shown with each error about the host."""
    with pytest.raises(ConfigError, match="an option must never hold a secret") as caught:
        SshTransport(host, jump=jump)

    assert "Tr0ub4dor" not in f"{caught.value!r} {vars(caught.value)}"


def test_a_username_that_seems_to_hold_a_password_is_not_repeated() -> None:
    """If it has no sense otherwise: gateways take names such as ``me@target:SSH:me``."""
    assert SshTransport("gateway", username="me@target:SSH:me").commands_in_flight()
    with pytest.raises(ConfigError, match="an option must never hold a secret") as caught:
        SshTransport("host", username="me:Tr0ub4dor;")

    assert caught.value.field == "username"
    assert "Tr0ub4dor" not in f"{caught.value!r} {vars(caught.value)}"
