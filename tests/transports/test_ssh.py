"""Tests of the transport ``ssh``: arguments, streams and options, over a real connection."""

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


class MeasuringSink(Sink):
    """A slow sink that measures how the memory of this process grows."""

    def __init__(self, seconds: float) -> None:
        super().__init__(self._measure)
        self.grown = 0
        self._seconds = seconds
        self._before = measure_memory()

    async def _measure(self, _: bytes) -> None:
        self.grown = max(self.grown, measure_memory() - self._before)
        await asyncio.sleep(self._seconds)


def measure_memory() -> int:
    """Return the memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_the_class_is_a_transport() -> None:
    """The class satisfies the registry's protocol, and reports the number of commands at once."""
    transport = SshTransport("somewhere", sessions=5)
    assert isinstance(transport, Transport)
    assert transport.commands_in_flight() == 5


@pytest.mark.asyncio
@pytest.mark.parametrize("argv", [[], ["true", "a\0b"], ["true", "\ud800"]])
async def test_an_invalid_argv_is_refused(sshd: Sshd, transport: SshTransport, argv: list[str]) -> None:
    """An invalid argv is an InvalidSpecError, and no session is opened for it."""
    with pytest.raises(InvalidSpecError):
        await transport.run(argv)
    assert not sshd.commands


@pytest.mark.asyncio
@pytest.mark.parametrize("last", [b"", b"\n", b"end", *(bytes([byte]) for byte in MARKS), MARKS * 3, MARKS + b"\n"])
async def test_both_streams_are_exact(transport: SshTransport, last: bytes, tmp_path: Path) -> None:
    """Both streams arrive byte for byte, even bytes that look like the start of a mark."""
    written = b"\x02" + bytes(range(256)) * 50 + last
    (tmp_path / "it").write_bytes(written)
    result = await transport.run(["sh", "-c", f"cat {tmp_path}/it; cat {tmp_path}/it >&2"])
    assert (result.stdout, result.stderr) == (written, written)


@pytest.mark.asyncio
async def test_single_bytes_arrive_at_once(sshd: Sshd, transport: SshTransport) -> None:
    """A byte that may start a mark is passed on as soon as the next byte arrives."""
    sink = Sink()

    async def yield_chunks() -> AsyncIterator[bytes]:
        for byte in MARKS:
            last = bytes([byte, 0])
            yield last
            await sshd.wait_until(lambda last=last: sink.taken[-2:] == last)  # type: ignore[misc]  # bound now

    assert (await transport.run(["cat"], stdin=yield_chunks(), stdout=sink)).returncode == 0


@pytest.mark.asyncio
async def test_both_ways_at_once_in_bounded_memory(transport: SshTransport) -> None:
    """A command streams 20 MB in and out at once, in bounded memory."""
    chunk = os.urandom(100_000)
    sink, source = MeasuringSink(0), Source(chunk, 200)
    result = await transport.run(["cat"], stdin=source, stdout=sink)
    assert (result.returncode, result.stdout, sink.total) == (0, b"", 20_000_000)
    assert sink.taken == (chunk * 11)[: 2**20]
    assert source.closed
    assert sink.grown < 20 * 2**20  # this includes the memory of the server


@pytest.mark.asyncio
async def test_a_slow_sink_slows_the_command_and_the_iterator(transport: SshTransport) -> None:
    """While a sink is slow, only as much is read as may be in transit."""
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
    """Output that a slow sink has not taken yet waits on the server and not in this process."""
    sink = MeasuringSink(0.02)
    argv = ["head", "-c", "100000000", "/dev/zero"]
    await transport.run(argv, stdout=sink)
    assert sink.total == 100_000_000
    assert sink.grown < 40 * 2**20


@pytest.mark.asyncio
@pytest.mark.parametrize("size", [2**20, 2**20 + 1, 3 * 2**20])
async def test_stderr_keeps_its_last_mebibyte(transport: SshTransport, size: int) -> None:
    """The result has the last mebibyte of stderr, or all of it if it is shorter."""
    script = f"head -c {size - 4} /dev/zero >&2; printf last >&2"
    stderr = (await transport.run(["sh", "-c", script])).stderr
    assert len(stderr) == min(size, 2**20)
    assert stderr.endswith(b"\0last")


@pytest.mark.asyncio
@pytest.mark.parametrize("wait", [False, True], ids=["endless", "waiting"])
async def test_an_early_exit_closes_the_iterator(transport: SshTransport, wait: bool) -> None:
    """A command that does not read its stdin is no error, even if the iterator is endless or waits."""
    source = Source(bytes(65536), 1 if wait else 10**9, wait=wait)
    assert (await transport.run(["true"], stdin=source)).returncode == 0
    assert source.closed


@pytest.mark.asyncio
async def test_a_command_that_closes_its_stdin_runs_on(transport: SshTransport) -> None:
    """A command that closes its stdin runs on."""
    source = Source(bytes(65536), 300)
    result = await transport.run(["sh", "-c", "exec <&-; sleep 0.3; echo on"], stdin=source)
    assert result.stdout == b"on\n"
    assert source.closed


@pytest.mark.asyncio
async def test_empty_chunks_do_not_end_stdin(transport: SshTransport) -> None:
    """Empty chunks of stdin are skipped and do not end it."""

    async def yield_chunks() -> AsyncIterator[bytes]:
        for chunk in (b"", b"a", b"", b"b", b""):
            yield chunk

    assert (await transport.run(["cat"], stdin=yield_chunks())).stdout == b"ab"


@pytest.mark.asyncio
async def test_a_background_process_is_not_waited_for(sshd: Sshd, transport: SshTransport) -> None:
    """A background process that holds both streams open is not waited for, and its later output is ignored."""
    waits = "until [ -e go ]; do sleep 0.05; done; echo late"
    async with asyncio.timeout(20):
        result = await transport.run(["sh", "-c", f"({waits}) & echo soon; echo err >&2; exit 4"])
    assert sshd.list_processes()
    (sshd.home / "go").touch()
    await sshd.wait_until_idle()
    assert (result.returncode, result.stdout, result.stderr) == (4, b"soon\n", b"err\n")


@pytest.mark.asyncio
async def test_run_needs_an_open_transport(sshd: Sshd) -> None:
    """Outside ``async with``, run raises NotOpenError; leaving twice is allowed."""
    transport = sshd.transport()
    with pytest.raises(NotOpenError):
        await transport.run(["true"])
    async with transport as entered:
        assert entered is transport
    await transport.__aexit__(None, None, None)
    with pytest.raises(NotOpenError):
        await transport.run(["true"])


def test_constructing_opens_nothing(sshd: Sshd) -> None:
    """Constructing opens no connection, reads no file and needs no event loop."""
    SshTransport("127.0.0.1", port=sshd.port, known_hosts="/no/such/file", ssh_config="/no/such/file")
    assert sshd.connections == 0


def test_entering_again_in_another_loop(sshd: Sshd) -> None:
    """A transport that was left can be entered again, in any event loop."""
    transport = sshd.transport(sessions=2)

    async def main() -> None:
        for _ in range(2):
            async with transport:
                ends = await asyncio.gather(*(transport.run(["echo", str(number)]) for number in range(5)))
                assert [end.stdout for end in ends] == [b"0\n", b"1\n", b"2\n", b"3\n", b"4\n"]

    asyncio.run(main())  # each call
    asyncio.run(main())  # has a new event loop
    assert sshd.connections == 4


@pytest.mark.asyncio
async def test_two_transports_are_independent(make_sshd: Maker) -> None:
    """Two transports at the same time each run commands on their own server."""
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
def test_invalid_options_are_refused(field: str, options: dict[str, object]) -> None:
    """An invalid option is a ConfigError with the option's name and a description of valid values."""
    with pytest.raises(ConfigError) as raised:
        SshTransport(**{"host": "somewhere", **options})  # type: ignore[arg-type]  # that is the test
    assert raised.value.field == field
    assert raised.value.expected


@pytest.mark.parametrize(
    "host", ["host", "user@host:22", "user.name@host", "[::1]:2222", "10.0.0.1", "my_alias-1", "ü.org"]
)
def test_valid_hosts_are_accepted(host: str) -> None:
    """Every form of a host that ssh accepts is accepted."""
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
        ("me:Tr0ub4dor@@h", ()),
        ("me:@Tr0ub4dor@-h", ()),
    ],
)
def test_a_password_in_a_host_is_refused_and_not_repeated(host: str, jump: tuple[str, ...]) -> None:
    """URLs may hold a password; it is refused, because every error about the host would show it."""
    with pytest.raises(ConfigError, match="an option must never hold a secret") as caught:
        SshTransport(host, jump=jump)

    assert "Tr0ub4dor" not in f"{caught.value!r} {vars(caught.value)}"


def test_a_username_that_seems_to_hold_a_password_is_not_repeated() -> None:
    """A username with a colon is valid for some gateways; an invalid one is refused without repeating it."""
    assert SshTransport("gateway", username="me@target:SSH:me").commands_in_flight()
    with pytest.raises(ConfigError, match="an option must never hold a secret") as caught:
        SshTransport("host", username="me:Tr0ub4dor;")

    assert caught.value.field == "username"
    assert "Tr0ub4dor" not in f"{caught.value!r} {vars(caught.value)}"
