"""Whom the transport ``ssh`` trusts: hosts whose key is known, on the way as well, and no configuration changes that."""

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
    """Nothing is shown to it, and nothing is tried again; the error says what to do."""
    (home / "known").write_text(sshd.write_known_hosts_line(known) if known == "elsewhere" else known)
    error = await get_refusal(sshd.transport(known_hosts=str(home / "known")))
    assert "ssh-keyscan" in str(error)
    assert (sshd.connections, sshd.offered) == (1, [])


@pytest.mark.asyncio
async def test_a_changed_key(sshd: Sshd, make_sshd: Maker, home: Path) -> None:
    """Is no better than an unknown one."""
    (home / "known").write_text(make_sshd("other").write_known_hosts_line("*"))
    assert "in place of this host" in str(await get_refusal(sshd.transport(known_hosts=str(home / "known"))))
    assert (sshd.connections, sshd.offered) == (1, [])


@pytest.mark.asyncio
async def test_an_address_is_not_a_name(sshd: Sshd, home: Path) -> None:
    """Whoever has the address of a name for now is not it by having a key that is known for that address."""
    (home / "known").write_text(sshd.write_known_hosts_line())
    await get_refusal(sshd.transport(host="localhost", known_hosts=str(home / "known")))
    (home / "known").write_text(sshd.write_known_hosts_line(f"[localhost]:{sshd.port}"))
    assert await get_server_name(sshd.transport(host="localhost", known_hosts=str(home / "known"))) == "only"


@pytest.mark.asyncio
async def test_a_revoked_key(sshd: Sshd, home: Path) -> None:
    """Is refused although the host is known by it."""
    (home / "known").write_text(sshd.write_known_hosts_line("*") + "@revoked " + sshd.write_known_hosts_line("*"))
    await get_refusal(sshd.transport(known_hosts=str(home / "known")))


@pytest.mark.asyncio
async def test_a_key_that_becomes_known(sshd: Sshd, home: Path) -> None:
    """Is good for the next try of the same transport."""
    (home / "known").write_text("")
    transport = sshd.transport(known_hosts=str(home / "known"))
    await get_refusal(transport)
    (home / "known").write_text(sshd.write_known_hosts_line())
    assert await get_server_name(transport) == "only"


@pytest.mark.asyncio
async def test_the_users_known_hosts_are_the_default(hosts: dict[str, Sshd], home: Path) -> None:
    """And where there are none no host is known."""
    assert await get_server_name(SshTransport("127.0.0.1", port=hosts["last"].port)) == "last"
    (home / ".ssh" / "known_hosts").unlink()
    await get_refusal(SshTransport("127.0.0.1", port=hosts["last"].port))


@pytest.mark.parametrize("name", ["known", ".ssh", "~no-such-user"], ids=["missing", "directory", "no such user"])
@pytest.mark.asyncio
async def test_known_hosts_that_cannot_be_read(sshd: Sshd, home: Path, name: str) -> None:
    """ConfigError, at once."""
    with pytest.raises(ConfigError) as raised:
        await get_server_name(sshd.transport(known_hosts=name if name.startswith("~") else str(home / name)))
    assert raised.value.field == "known_hosts"
    assert not sshd.connections


@pytest.mark.parametrize("names", [["first"], ["first", "second"]], ids=["one", "two"])
@pytest.mark.asyncio
async def test_jumps(hosts: dict[str, Sshd], names: list[str]) -> None:
    """Each login goes through the one before it, and commands run behind the last."""
    jump = [f"hopper@{format_endpoint(hosts[name])}" for name in names]
    assert await get_server_name(SshTransport(format_endpoint(hosts["last"]), jump=jump)) == "last"
    assert all(hosts[name].logins == 1 and not hosts[name].commands for name in names)
    assert {shown.split()[0] for shown in hosts["first"].offered} == {"hopper"}


@pytest.mark.asyncio
async def test_a_lost_jump(hosts: dict[str, Sshd]) -> None:
    """The way is made anew, once, and nothing ever runs on a host of the way meanwhile."""
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
async def test_a_way_that_is_left(hosts: dict[str, Sshd]) -> None:
    """Closes every connection of it."""
    jump = [format_endpoint(hosts["first"]), format_endpoint(hosts["second"])]
    async with SshTransport(format_endpoint(hosts["last"]), jump=jump) as transport:
        assert [sshd.open_connections for sshd in hosts.values()] == [1, 1, 1]
        await transport.run(["true"])
    for sshd in hosts.values():
        await sshd.wait_until(lambda sshd=sshd: sshd.open_connections == 0)  # type: ignore[misc]  # bound now
