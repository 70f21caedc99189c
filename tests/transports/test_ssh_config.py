"""What a configuration of OpenSSH's client does to the transport ``ssh``: what it does to ``ssh``, or an error."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.transports.conftest import place, refused, where

from intercede.contract.errors import ConfigError, TransportError
from intercede.transports.ssh import SshTransport

if TYPE_CHECKING:
    from tests.transports.conftest import Configured, Sshd

pytestmark = [pytest.mark.needs("ssh"), pytest.mark.asyncio]
NOWHERE = "/no/such"


async def say(*words: str) -> tuple[int, str, str]:
    """Run it; return its code, stdout and stderr."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *words, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(), 20)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return await process.wait(), stdout.decode().strip(), stderr.decode()


async def where_ssh_goes(written: str, host: str, *words: str) -> str:
    """Return the name of the server that ``ssh`` comes to; "": none."""
    _, name, _ = await say("ssh", "-F", written, "-o", "BatchMode=yes", *words, host, "echo $SSHD")
    return name


async def where_we_go(transport: SshTransport) -> str:
    """Return the name of the server that we come to; "": none."""
    try:
        return await where(transport)
    except (ConfigError, TransportError):
        return ""


# ---- the way


WAYS = {
    "a host behind another": (["Host pool", "HostName 127.0.0.1", "Port {last}", "ProxyJump 127.0.0.1:{first}"], "last"),
    "a chain": (["Host pool", "HostName 127.0.0.1", "Port {last}", "ProxyJump 127.0.0.1:{first},[127.0.0.1]:{second}"], "last"),
    "paramiko #1907: behind Match final": (
        ["Host pool", "HostName 127.0.0.1", "Port {last}", "Match final host 127.0.0.1", "ProxyJump hop",
         "Host hop", "HostName localhost", "Port {first}"],
        "last",
    ),
    "ProxyCommand counts where it comes first": (
        ["Host pool", "HostName 127.0.0.1", "Port {last}", "ProxyCommand {cat} 127.0.0.1 {first}", "ProxyJump 127.0.0.1:{second}"],
        "first",
    ),
    "ProxyJump counts where it comes first": (
        ["Host pool", "HostName 127.0.0.1", "Port {last}", "ProxyJump 127.0.0.1:{second}", "ProxyCommand false"],
        "last",
    ),
    "none": (["Host pool", "HostName 127.0.0.1", "Port {last}", "ProxyJump none", "Host *", "ProxyJump 127.0.0.1:{first}"], "last"),
    "a URI and a comment": (["Host pool", "HostName 127.0.0.1", "Port {last}", "ProxyJump ssh://me@127.0.0.1:{first} # the only way"], "last"),
    "tokens": (["Host pool", "HostName 127.0.0.1", "Port {last}", "User me", "ProxyJump %r@127.0.0.1:{first}"], "last"),
    "a hop with a way of its own": (
        ["Host pool", "HostName 127.0.0.1", "Port {last}", "ProxyJump hop",
         "Host hop", "HostName 127.0.0.1", "Port {second}", "ProxyJump 127.0.0.1:{first}"],
        "last",
    ),
    "Match exec with a token and an equals sign": (
        ["Host pool", "HostName 127.0.0.1", 'Match exec "test %n:a=b = pool:a=b"', "Port {last}", "Match all", "Port 1"],
        "last",
    ),
    "capitals": (["Host POOL pool", "HostName LocalHost", "HostKeyAlias ALIAS", "Port {last}"], "last"),
    "comments, units and words": (
        ["Host pool", "HostName 127.0.0.1", "Port {last} # of the pool", "ServerAliveInterval 1m",
         "PubkeyAuthentication unbound", "ConnectTimeout 1m"],
        "last",
    ),
    "files in order": (["Include {home}/parts/*.conf"], "last"),
    "an identity that is not there": (["Host pool", "HostName 127.0.0.1", "Port {last}", "IdentityFile {home}/none"], "last"),
    "an agent that is not there": (["Host pool", "HostName 127.0.0.1", "Port {last}", "IdentityAgent $NO_SUCH"], "last"),
    "what is no configuration": (["Host pool", "HostName 127.0.0.1", "Port {last}", "NoSuchWord yes"], ""),
}  # fmt: skip


@pytest.mark.parametrize("case", WAYS)
async def test_the_way_is_the_one_of_ssh(
    hosts: dict[str, Sshd], config: Configured, home: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each host of it, in every form in which a configuration names it."""
    monkeypatch.delenv("NO_SUCH", raising=False)
    lines, expected = WAYS[case]
    ports = {name: sshd.port for name, sshd in hosts.items()}
    cat = home / "cat"
    cat.write_text('#!/bin/bash\nexec 3<>"/dev/tcp/$1/$2"; cat <&3 & exec cat >&3\n')
    cat.chmod(0o700)
    (home / "parts").mkdir()
    for name, port in (("b", 1), ("a", ports["last"]), ("c", 2)):
        (home / "parts" / f"{name}.conf").write_text(f"Host pool\n  HostName 127.0.0.1\n  Port {port}\n")
    with (home / ".ssh" / "known_hosts").open("a") as known:
        for sshd in hosts.values():
            known.write(sshd.known_as(f"[localhost]:{sshd.port}"))
        known.write(hosts["last"].known_as("alias"))
    if "ProxyCommand" in case and expected == "first":  # it leads elsewhere than its name says
        with (home / ".ssh" / "known_hosts").open("a") as known:
            known.write(hosts["first"].known_as(f"[127.0.0.1]:{ports['last']}"))
    written = config(*(line.format(**ports, home=home, cat=cat) for line in lines))
    assert await where_we_go(SshTransport("pool", ssh_config=written)) == expected
    ours = {name: (sshd.logins, {each.split()[0] for each in sshd.shown}) for name, sshd in hosts.items()}
    for sshd in hosts.values():
        sshd.logins = 0
        sshd.shown.clear()
    assert await where_ssh_goes(written, "pool") == expected
    assert ours == {name: (sshd.logins, {each.split()[0] for each in sshd.shown}) for name, sshd in hosts.items()}


async def test_what_a_proxy_command_said_is_told(hosts: dict[str, Sshd], config: Configured) -> None:
    """Where it is no way to the host; its words are no part of the connection."""
    written = config("ProxyCommand echo no such host as %h >&2")
    with pytest.raises(TransportError, match="no such host as pool"):
        await where(SshTransport("pool", ssh_config=written, connect_s=0.5))


async def test_a_proxy_command_ends_with_its_connection(hosts: dict[str, Sshd], config: Configured, home: Path) -> None:
    """And whatever it started."""
    (home / "proxy").write_text('#!/bin/bash\necho $$ >"$3"; exec 3<>"/dev/tcp/$1/$2"; cat <&3 & cat >&3; sleep 100\n')
    (home / "proxy").chmod(0o700)
    written = config(f"Port {hosts['last'].port}", f"ProxyCommand {home}/proxy %h %p {home}/pid")
    assert await where(SshTransport("127.0.0.1", ssh_config=written)) == "last"
    await hosts["last"].until(lambda: not is_group_alive((home / "pid").read_text().strip()))


def is_group_alive(group: str) -> bool:
    """Whether a process of it runs."""
    stats: list[list[str]] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            stats.append(stat.read_text().rpartition(")")[2].split())
    return any(stat[2] == group and stat[0] != "Z" for stat in stats)


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


async def test_options_win_over_the_configuration(hosts: dict[str, Sshd], config: Configured) -> None:
    """As they do for ssh."""
    written = config("Host *", "  HostName 127.0.0.1", "  Port 1", "  User somebody")
    assert await where(SshTransport("pool", port=hosts["last"].port, username="me", ssh_config=written)) == "last"
    assert {shown.split()[0] for shown in hosts["last"].shown} == {"me"}


async def test_without_the_option_no_configuration_is_read(hosts: dict[str, Sshd], home: Path) -> None:
    """Not even the user's own."""
    (home / ".ssh" / "config").write_text("Host *\n  Port 1\n")
    assert await where(SshTransport(place(hosts["last"]))) == "last"


@pytest.mark.parametrize("jump", [[], ["second"]], ids=["of the configuration", "of the option"])
async def test_a_jump_option_wins(hosts: dict[str, Sshd], config: Configured, jump: list[str]) -> None:
    """Over the ProxyJump of the configuration."""
    written = config(f"Match originalhost pool\n  ProxyJump {place(hosts['first'])}", "HostName 127.0.0.1")
    hops = [place(hosts[name]) for name in jump]
    assert await where(SshTransport("pool", port=hosts["last"].port, jump=hops, ssh_config=written)) == "last"
    assert [hosts[name].logins for name in ("first", "second")] == ([0, 1] if jump else [1, 0])


@pytest.mark.parametrize("unknown", ["first", "second", "last"])
@pytest.mark.parametrize("by", ["option", "configuration"])
async def test_every_host_on_the_way_is_verified(
    hosts: dict[str, Sshd], config: Configured, home: Path, unknown: str, by: str
) -> None:
    """One that is not known ends the way; the error names it, and nothing is shown to it."""
    known = home / ".ssh" / "known_hosts"
    known.write_text("".join(sshd.known_as() for name, sshd in hosts.items() if name != unknown))
    jump = [place(hosts["first"]), place(hosts["second"])]
    configured = [f"ProxyJump {','.join(jump)}"] if by == "configuration" else []
    written = config("Host pool", "HostName 127.0.0.1", f"Port {hosts['last'].port}", *configured)
    transport = SshTransport("pool", jump=jump if by == "option" else (), ssh_config=written)
    assert ("pool" if unknown == "last" else place(hosts[unknown])) in str(await refused(transport))
    assert not hosts[unknown].shown
    assert not hosts["last"].commands


@pytest.mark.parametrize("lines", [None, "Port x", "IdentityFile %z", "Host"], ids=["missing", "port", "token", "host"])
async def test_a_configuration_that_cannot_be_read(
    hosts: dict[str, Sshd], config: Configured, lines: str | None
) -> None:
    """ConfigError, at once."""
    written = NOWHERE if lines is None else config(lines)
    with pytest.raises(ConfigError) as raised:
        await where(SshTransport(place(hosts["last"]), ssh_config=written))
    assert raised.value.field == "ssh_config"
    assert not hosts["last"].connections


async def test_a_configuration_without_a_client(
    hosts: dict[str, Sshd], config: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ConfigError: nobody else reads it as ssh does."""
    monkeypatch.setenv("PATH", NOWHERE)
    with pytest.raises(ConfigError, match="no `ssh` on PATH"):
        await where(SshTransport(place(hosts["last"]), ssh_config=config()))
    assert not hosts["last"].connections


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("BindInterface lo", "bindinterface lo"),
        ("ProxyUseFdpass yes\nProxyCommand nc %h", "proxyusefdpass yes"),
        ("KexAlgorithms sntrup761x25519-sha512@openssh.com", "asyncssh"),
        ('UserKnownHostsFile "/a b"', "blank"),
        ("IdentityFile ${NO_SUCH}", "NO_SUCH"),
        ('KnownHostsCommand /bin/echo "a b"', "quotes"),
        ("KnownHostsCommand /bin/echo %K", "%K"),
        ("RevokedHostKeys {home}/krl", "RevokedHostKeys"),
        ("ProxyJump a;b", "ProxyJump"),
    ],
)
async def test_what_we_cannot_do_is_refused(
    hosts: dict[str, Sshd], config: Configured, home: Path, line: str, words: str
) -> None:
    """ConfigError, before anything connects: ``ssh`` would do it."""
    (home / "krl").write_bytes(b"SSHKRL\n\0" + bytes(40))
    with pytest.raises(ConfigError, match=words):
        await where(SshTransport(place(hosts["last"]), ssh_config=config(line.replace("{home}", str(home)))))
    assert not hosts["last"].connections


async def test_a_hanging_match_exec(config: Configured) -> None:
    """Is given up in time, and ends."""
    written = config('Match exec "sleep 123.25"', "Port 1")
    with pytest.raises(TransportError, match="no answer within"):
        await where(SshTransport("127.0.0.1", ssh_config=written, connect_s=0.2))
    _, listing, _ = await say("ps", "-eo", "args")
    assert "sleep 123.25" not in listing
