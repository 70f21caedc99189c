"""Whom the transport ``ssh`` trusts: hosts whose key is known, on the way as well, and no configuration changes that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from intercede.contract.errors import ConfigError, TransportError
from intercede.transports.ssh import SshTransport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.transports.conftest import Maker, Sshd

    Configured = Callable[..., str]

WHERE = ["sh", "-c", "echo $SSHD"]


@pytest.fixture
def config(home: Path) -> Configured:
    """Return a function that writes an ``ssh_config`` and returns its path."""

    def write(*lines: str) -> str:
        (home / "config").write_text("\n".join(lines) + "\n")
        return str(home / "config")

    return write


@pytest.fixture
def hosts(make_sshd: Maker, home: Path) -> dict[str, Sshd]:
    """Return three servers, each of which knows its name, and whose keys are known by default."""
    made = {name: make_sshd(name) for name in ("first", "second", "last")}
    (home / ".ssh" / "known_hosts").write_text("".join(sshd.known_as() for sshd in made.values()))
    return made


def place(sshd: Sshd) -> str:
    """Write where a server is."""
    return f"127.0.0.1:{sshd.port}"


async def where(transport: SshTransport) -> str:
    """Return the name of the server on which its commands run."""
    async with transport:
        return (await transport.run(WHERE)).stdout.decode().strip()


async def refused(transport: SshTransport) -> TransportError:
    """Return why it did not come to a login."""
    with pytest.raises(TransportError, match="host key") as raised:
        await where(transport)
    assert not raised.value.retryable
    return raised.value


@pytest.mark.parametrize("known", ["", "# nobody\n", "elsewhere"], ids=["empty", "comment", "others"])
@pytest.mark.asyncio
async def test_an_unknown_host(sshd: Sshd, home: Path, known: str) -> None:
    """Nothing is shown to it, and nothing is tried again; the error says what to do."""
    (home / "known").write_text(sshd.known_as(known) if known == "elsewhere" else known)
    error = await refused(sshd.transport(known_hosts=str(home / "known")))
    assert "ssh-keyscan" in str(error)
    assert (sshd.connections, sshd.shown) == (1, [])


@pytest.mark.asyncio
async def test_a_changed_key(sshd: Sshd, make_sshd: Maker, home: Path) -> None:
    """Is no better than an unknown one."""
    (home / "known").write_text(make_sshd("other").known_as("*"))
    assert "somebody else" in str(await refused(sshd.transport(known_hosts=str(home / "known"))))
    assert (sshd.connections, sshd.shown) == (1, [])


@pytest.mark.asyncio
async def test_an_address_is_not_a_name(sshd: Sshd, home: Path) -> None:
    """Whoever has the address of a name for now is not it by having a key that is known for that address."""
    (home / "known").write_text(sshd.known_as())
    await refused(sshd.transport(host="localhost", known_hosts=str(home / "known")))
    (home / "known").write_text(sshd.known_as(f"[localhost]:{sshd.port}"))
    assert await where(sshd.transport(host="localhost", known_hosts=str(home / "known"))) == "only"


@pytest.mark.asyncio
async def test_a_way_to_a_jump_host_is_not_guessed(hosts: dict[str, Sshd], config: Configured) -> None:
    """Where the configuration has a way of its own to a jump host, the whole way is to be named."""
    first, second = hosts["first"].port, hosts["second"].port
    written = config(
        f"Match host target\n  ProxyJump 127.0.0.1:{second}",
        f"Match host 127.0.0.1\n  ProxyJump localhost:{first}",
    )
    with pytest.raises(ConfigError, match="name the whole way"):
        await where(SshTransport("target", ssh_config=written))


@pytest.mark.asyncio
async def test_a_revoked_key(sshd: Sshd, home: Path) -> None:
    """Is refused although the host is known by it."""
    (home / "known").write_text(sshd.known_as("*") + "@revoked " + sshd.known_as("*"))
    await refused(sshd.transport(known_hosts=str(home / "known")))


@pytest.mark.asyncio
async def test_a_key_that_becomes_known(sshd: Sshd, home: Path) -> None:
    """Is good for the next try of the same transport."""
    (home / "known").write_text("")
    transport = sshd.transport(known_hosts=str(home / "known"))
    await refused(transport)
    (home / "known").write_text(sshd.known_as())
    assert await where(transport) == "only"


@pytest.mark.asyncio
async def test_the_users_known_hosts_are_the_default(hosts: dict[str, Sshd], home: Path) -> None:
    """And where there are none no host is known."""
    assert await where(SshTransport("127.0.0.1", port=hosts["last"].port)) == "last"
    (home / ".ssh" / "known_hosts").unlink()
    await refused(SshTransport("127.0.0.1", port=hosts["last"].port))


@pytest.mark.parametrize("content", [None, "nonsense\n", "\x00\xff"], ids=["missing", "nonsense", "binary"])
@pytest.mark.asyncio
async def test_known_hosts_that_cannot_be_read(sshd: Sshd, home: Path, content: str | None) -> None:
    """ConfigError, at once."""
    if content is not None:
        (home / "known").write_text(content, "latin-1")
    with pytest.raises(ConfigError) as raised:
        await where(sshd.transport(known_hosts=str(home / "known")))
    assert raised.value.field == "known_hosts"


@pytest.mark.asyncio
async def test_the_configuration_file(hosts: dict[str, Sshd], config: Configured, home: Path) -> None:
    """An alias is found there, with its port, user, key, and known hosts; what is not there is ignored."""
    last = hosts["last"]
    (home / "known").write_text(last.known_as("alias-of-keys"))
    (home / ".ssh" / "id_ed25519").rename(home / "key")
    written = config(
        "Host pool",
        "  HostName 127.0.0.1",
        f"  Port {last.port}",
        "  User somebody",
        f"  IdentityFile {home}/key",
        f"  UserKnownHostsFile {home}/none-such {home}/known",
        "  HostKeyAlias alias-of-keys",
        "  RemoteCommand rm -rf /tmp/nothing",
        "  RequestTTY force",
        "  ForwardAgent yes",
        "  ControlMaster auto",
    )
    assert await where(SshTransport("pool", ssh_config=written)) == "last"
    assert {shown.split()[0] for shown in last.shown} == {"somebody"}


@pytest.mark.asyncio
async def test_options_win_over_the_configuration(hosts: dict[str, Sshd], config: Configured) -> None:
    """As they do for ssh."""
    written = config("Host *", "  HostName 127.0.0.1", "  Port 1", "  User somebody")
    assert await where(SshTransport("pool", port=hosts["last"].port, username="me", ssh_config=written)) == "last"
    assert {shown.split()[0] for shown in hosts["last"].shown} == {"me"}


@pytest.mark.asyncio
async def test_without_the_option_no_configuration_is_read(hosts: dict[str, Sshd], home: Path) -> None:
    """Not even the user's own."""
    (home / ".ssh" / "config").write_text("Host *\n  Port 1\n")
    assert await where(SshTransport(place(hosts["last"]))) == "last"


@pytest.mark.parametrize("lines", [None, "Port x", "IdentityFile %z", "Host"], ids=["missing", "port", "token", "host"])
@pytest.mark.asyncio
async def test_a_configuration_that_cannot_be_read(
    hosts: dict[str, Sshd], config: Configured, lines: str | None
) -> None:
    """ConfigError, at once."""
    written = "/no/such/file" if lines is None else config(lines)
    with pytest.raises(ConfigError) as raised:
        await where(SshTransport(place(hosts["last"]), ssh_config=written))
    assert raised.value.field == "ssh_config"


@pytest.mark.parametrize(
    "lines", [["UserKnownHostsFile none"], ["Match user me", "UserKnownHostsFile none"]], ids=["for all", "for a user"]
)
@pytest.mark.asyncio
async def test_a_configuration_without_known_hosts(
    hosts: dict[str, Sshd], config: Configured, lines: list[str]
) -> None:
    """ConfigError: host keys are always verified; where the option says how, the configuration may say what it likes."""
    transport = SshTransport(place(hosts["last"]), username="me", ssh_config=config(*lines))
    with pytest.raises(ConfigError, match="always verified"):
        await where(transport)
    assert not hosts["last"].connections
    assert await where(hosts["last"].transport(username="me", ssh_config=config(*lines))) == "last"


@pytest.mark.asyncio
async def test_strictness_is_no_option(hosts: dict[str, Sshd], config: Configured, home: Path) -> None:
    """``StrictHostKeyChecking no`` changes nothing, nor is a key learnt."""
    (home / ".ssh" / "known_hosts").write_text("")
    written = config("StrictHostKeyChecking no", "UpdateHostKeys yes", "VerifyHostKeyDNS yes")
    await refused(SshTransport(place(hosts["last"]), ssh_config=written))
    assert (home / ".ssh" / "known_hosts").read_text() == ""


@pytest.mark.parametrize("names", [["first"], ["first", "second"]], ids=["one", "two"])
@pytest.mark.asyncio
async def test_jumps(hosts: dict[str, Sshd], names: list[str]) -> None:
    """Each login goes through the one before it, and commands run behind the last."""
    jump = [f"hopper@{place(hosts[name])}" for name in names]
    assert await where(SshTransport(place(hosts["last"]), jump=jump)) == "last"
    assert all(hosts[name].logins == 1 and not hosts[name].commands for name in names)
    assert {shown.split()[0] for shown in hosts["first"].shown} == {"hopper"}


@pytest.mark.parametrize("names", [["first"], ["first", "second"]], ids=["one", "two"])
@pytest.mark.asyncio
async def test_jumps_of_the_configuration(hosts: dict[str, Sshd], config: Configured, names: list[str]) -> None:
    """ProxyJump is honoured where no jump is given, for one host as for a chain."""
    jumps = ",".join(place(hosts[name]) for name in names)
    written = config("Host pool", "  HostName 127.0.0.1", f"  Port {hosts['last'].port}", f"  ProxyJump {jumps}")
    assert await where(SshTransport("pool", ssh_config=written)) == "last"
    assert [hosts[name].logins for name in names] == [1] * len(names)


@pytest.mark.asyncio
async def test_a_jump_option_wins(hosts: dict[str, Sshd], config: Configured) -> None:
    """Over the ProxyJump of the configuration."""
    written = config(f"ProxyJump {place(hosts['first'])}")
    assert await where(SshTransport(place(hosts["last"]), jump=[place(hosts["second"])], ssh_config=written)) == "last"
    assert (hosts["first"].logins, hosts["second"].logins) == (0, 1)


@pytest.mark.asyncio
async def test_no_jump(hosts: dict[str, Sshd], config: Configured) -> None:
    """``ProxyJump none`` is what it says."""
    written = config("Host 127.0.0.1", "  ProxyJump none", "Host *", f"  ProxyJump {place(hosts['first'])}")
    assert await where(SshTransport(place(hosts["last"]), ssh_config=written)) == "last"
    assert hosts["first"].logins == 0


@pytest.mark.parametrize("unknown", ["first", "second", "last"])
@pytest.mark.parametrize("by", ["option", "configuration"])
@pytest.mark.asyncio
async def test_every_host_on_the_way_is_verified(
    hosts: dict[str, Sshd], config: Configured, home: Path, unknown: str, by: str
) -> None:
    """One that is not known ends the way; the error names it, and nothing is shown to it."""
    known = home / ".ssh" / "known_hosts"
    known.write_text("".join(sshd.known_as() for name, sshd in hosts.items() if name != unknown))
    jump = [place(hosts["first"]), place(hosts["second"])]
    written = config(
        f"Match host 127.0.0.1 user {'*' if by == 'configuration' else 'nobody'}", f"ProxyJump {','.join(jump)}"
    )
    transport = SshTransport(place(hosts["last"]), jump=jump if by == "option" else (), ssh_config=written)
    assert place(hosts[unknown]) in str(await refused(transport))
    assert not hosts[unknown].shown
    assert not hosts["last"].commands


@pytest.mark.asyncio
async def test_a_lost_jump(hosts: dict[str, Sshd]) -> None:
    """The way is made anew, once, and nothing ever runs on a host of the way meanwhile."""
    transport = SshTransport(place(hosts["last"]), jump=[place(hosts["first"]), place(hosts["second"])])

    async def later(seconds: float) -> bytes:
        await asyncio.sleep(seconds)
        return (await transport.run(WHERE)).stdout

    async with transport:
        for sshd in hosts.values():
            sshd.hang_up()
            assert set(await asyncio.gather(*(later(0.004 * turn) for turn in range(25)))) == {b"last\n"}
    assert [sshd.logins for sshd in hosts.values()] == [4, 4, 4]


@pytest.mark.asyncio
async def test_a_way_that_is_left(hosts: dict[str, Sshd]) -> None:
    """Closes every connection of it."""
    jump = [place(hosts["first"]), place(hosts["second"])]
    async with SshTransport(place(hosts["last"]), jump=jump) as transport:
        assert [sshd.open_connections for sshd in hosts.values()] == [1, 1, 1]
        await transport.run(["true"])
    for sshd in hosts.values():
        await sshd.until(lambda sshd=sshd: sshd.open_connections == 0)  # type: ignore[misc]  # bound now
