"""Tests of trust: the transport ``ssh`` connects only to hosts with a known key, jump hosts included."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tests.transports.sshd import (
    format_endpoint,
    get_refusal,
    get_server_name,
)

from intercede.contract.errors import ConfigError
from intercede.transports.ssh import SshTransport

if TYPE_CHECKING:
    from pathlib import Path

    from tests.transports.conftest import Maker
    from tests.transports.sshd import Sshd


@pytest.mark.parametrize("known", ["", "# nobody\n", "elsewhere"], ids=["empty", "comment", "others"])
@pytest.mark.asyncio
async def test_an_unknown_host(sshd: Sshd, home: Path, known: str) -> None:
    """An unknown host gets no credentials and is not tried again; the error says what to do."""
    (home / "known").write_text(sshd.write_known_hosts_line(known) if known == "elsewhere" else known)
    error = await get_refusal(sshd.transport(known_hosts=str(home / "known")))
    assert "ssh-keyscan" in str(error)
    assert (sshd.connections, sshd.offered) == (1, [])


@pytest.mark.asyncio
async def test_a_changed_key(sshd: Sshd, make_sshd: Maker, home: Path) -> None:
    """A host with a changed key gets no credentials either."""
    (home / "known").write_text(make_sshd("other").write_known_hosts_line("*"))
    assert "in place of this host" in str(await get_refusal(sshd.transport(known_hosts=str(home / "known"))))
    assert (sshd.connections, sshd.offered) == (1, [])


@pytest.mark.asyncio
async def test_an_address_is_not_a_name(sshd: Sshd, home: Path) -> None:
    """A key that is known for an address does not prove the name that resolves to it."""
    (home / "known").write_text(sshd.write_known_hosts_line())
    await get_refusal(sshd.transport(host="localhost", known_hosts=str(home / "known")))
    (home / "known").write_text(sshd.write_known_hosts_line(f"[localhost]:{sshd.port}"))
    assert await get_server_name(sshd.transport(host="localhost", known_hosts=str(home / "known"))) == "only"


@pytest.mark.asyncio
async def test_a_revoked_key(sshd: Sshd, home: Path) -> None:
    """A revoked key is refused although the host is known by it."""
    (home / "known").write_text(sshd.write_known_hosts_line("*") + "@revoked " + sshd.write_known_hosts_line("*"))
    await get_refusal(sshd.transport(known_hosts=str(home / "known")))


@pytest.mark.asyncio
async def test_a_key_that_becomes_known(sshd: Sshd, home: Path) -> None:
    """A key that is added to the file is trusted by the next try of the same transport."""
    (home / "known").write_text("")
    transport = sshd.transport(known_hosts=str(home / "known"))
    await get_refusal(transport)
    (home / "known").write_text(sshd.write_known_hosts_line())
    assert await get_server_name(transport) == "only"


@pytest.mark.asyncio
async def test_the_users_known_hosts_are_the_default(hosts: dict[str, Sshd], home: Path) -> None:
    """The user's known_hosts files are read by default. Without them, no host is known."""
    assert await get_server_name(SshTransport("127.0.0.1", port=hosts["last"].port)) == "last"
    (home / ".ssh" / "known_hosts").unlink()
    await get_refusal(SshTransport("127.0.0.1", port=hosts["last"].port))


@pytest.mark.parametrize("name", ["known", ".ssh", "~no-such-user"], ids=["missing", "directory", "no such user"])
@pytest.mark.asyncio
async def test_known_hosts_that_cannot_be_read(sshd: Sshd, home: Path, name: str) -> None:
    """An unreadable known_hosts file is a ConfigError at once."""
    with pytest.raises(ConfigError) as raised:
        await get_server_name(sshd.transport(known_hosts=name if name.startswith("~") else str(home / name)))
    assert raised.value.field == "known_hosts"
    assert not sshd.connections


@pytest.mark.parametrize("names", [["first"], ["first", "second"]], ids=["one", "two"])
@pytest.mark.asyncio
async def test_jumps(hosts: dict[str, Sshd], names: list[str]) -> None:
    """Each login goes through the one before it, and commands run on the last host."""
    jump = [f"hopper@{format_endpoint(hosts[name])}" for name in names]
    assert await get_server_name(SshTransport(format_endpoint(hosts["last"]), jump=jump)) == "last"
    assert all(hosts[name].logins == 1 and not hosts[name].commands for name in names)
    assert {shown.split()[0] for shown in hosts["first"].offered} == {"hopper"}


@pytest.mark.asyncio
async def test_a_lost_jump(hosts: dict[str, Sshd]) -> None:
    """After the loss of a jump host the route is opened again, once, and no command runs on a jump host."""
    transport = SshTransport(
        format_endpoint(hosts["last"]), jump=[format_endpoint(hosts["first"]), format_endpoint(hosts["second"])]
    )

    async def later(seconds: float) -> bytes:
        await asyncio.sleep(seconds)
        return (await transport.run(["sh", "-c", "echo $SSHD"])).stdout

    async with transport:
        for sshd in hosts.values():
            sshd.hang_up()
            assert set(await asyncio.gather(*(later(0.004 * turn) for turn in range(25)))) == {b"last\n"}
    assert [sshd.logins for sshd in hosts.values()] == [4, 4, 4]


@pytest.mark.asyncio
async def test_leaving_closes_the_whole_route(hosts: dict[str, Sshd]) -> None:
    """Leaving closes every connection of the route."""
    jump = [format_endpoint(hosts["first"]), format_endpoint(hosts["second"])]
    async with SshTransport(format_endpoint(hosts["last"]), jump=jump) as transport:
        assert [sshd.open_connections for sshd in hosts.values()] == [1, 1, 1]
        await transport.run(["true"])
    for sshd in hosts.values():
        await sshd.wait_until(lambda sshd=sshd: sshd.open_connections == 0)  # type: ignore[misc]  # bound now
