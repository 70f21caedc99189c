"""Tests of ssh configuration files: the transport ``ssh`` follows them as OpenSSH's ``ssh`` does, or refuses them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from tests.transports.sshd import (
    find_our_destination,
    find_ssh_destination,
    format_endpoint,
    get_refusal,
    get_server_name,
    make_key,
    run_command,
)

from intercede.contract.errors import AuthenticationError, ConfigError, TransportError
from intercede.transports._ssh_config import Login, expand_tokens, parse_answer
from intercede.transports._ssh_proxy import ProxyCommand
from intercede.transports.ssh import SshTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.transports.conftest import WriteConfig
    from tests.transports.sshd import Sshd

pytestmark = pytest.mark.needs("ssh")
NOWHERE = "/no/such"


# ---- the route


POOL = ["Host pool", "HostName 127.0.0.1", "Port {last}"]
ROUTES = {
    "a host behind another": ([*POOL, "ProxyJump 127.0.0.1:{first}"], "last"),
    "a chain": ([*POOL, "ProxyJump 127.0.0.1:{first},[127.0.0.1]:{second}"], "last"),
    "paramiko #1907: behind Match final": (
        [*POOL, "Match final host 127.0.0.1", "ProxyJump hop",
         "Host hop", "HostName localhost", "Port {first}"],
        "last",
    ),
    "ProxyCommand first": (
        [*POOL, "ProxyCommand {cat} 127.0.0.1 {first}", "ProxyJump 127.0.0.1:{second}"],
        "first",
    ),
    "ProxyJump first": (
        [*POOL, "ProxyJump 127.0.0.1:{second}", "ProxyCommand false"],
        "last",
    ),
    "none": ([*POOL, "ProxyJump none", "Host *", "ProxyJump 127.0.0.1:{first}"], "last"),
    "a URI and a comment": ([*POOL, "ProxyJump ssh://me@127.0.0.1:{first} # the only hop"], "last"),
    "tokens": ([*POOL, "User me", "ProxyJump %r@127.0.0.1:{first}"], "last"),
    "a hop with a route of its own": (
        [*POOL, "ProxyJump hop",
         "Host hop", "HostName 127.0.0.1", "Port {second}", "ProxyJump 127.0.0.1:{first}"],
        "last",
    ),
    "Match exec with a token and an equals sign": (
        ["Host pool", "HostName 127.0.0.1", 'Match exec "test %n:a=b = pool:a=b"', "Port {last}",
         "Match all", "Port 1"],
        "last",
    ),
    "capitals": (["Host POOL pool", "HostName LocalHost", "HostKeyAlias ALIAS", "Port {last}"], "last"),
    "comments, units and words": (
        ["Host pool", "HostName 127.0.0.1", "Port {last} # of the pool", "ServerAliveInterval 1m",
         "PubkeyAuthentication unbound", "ConnectTimeout 1m"],
        "last",
    ),
    "files in order": (["Include {home}/parts/*.conf"], "last"),
    "a missing identity": ([*POOL, "IdentityFile {home}/none"], "last"),
    "a missing agent": ([*POOL, "IdentityAgent $NO_SUCH"], "last"),
    "an invalid configuration": ([*POOL, "NoSuchWord yes"], ""),
}  # fmt: skip


@pytest.mark.parametrize("case", ROUTES)
@pytest.mark.asyncio
async def test_the_route_is_the_one_of_ssh(
    hosts: dict[str, Sshd], config: WriteConfig, home: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every form of a configuration leads over the same hosts as in ``ssh``."""
    monkeypatch.delenv("NO_SUCH", raising=False)
    lines, expected = ROUTES[case]
    ports = {name: sshd.port for name, sshd in hosts.items()}
    cat = home / "cat"
    # ssh ends the command with HUP, maybe before the last message is sent. Then the reader waits until the server ends,
    # so it must not hold the stderr of this test open.
    cat.write_text('#!/bin/bash\nexec 3<>"/dev/tcp/$1/$2" 2>/dev/null; cat <&3 & exec cat >&3\n')
    cat.chmod(0o700)
    (home / "parts").mkdir()
    for name, port in (("b", 1), ("a", ports["last"]), ("c", 2)):
        (home / "parts" / f"{name}.conf").write_text(f"Host pool\n  HostName 127.0.0.1\n  Port {port}\n")
    with (home / ".ssh" / "known_hosts").open("a") as known:
        for sshd in hosts.values():
            known.write(sshd.write_known_hosts_line(f"[localhost]:{sshd.port}"))
        known.write(hosts["last"].write_known_hosts_line("alias"))
    if "ProxyCommand" in case and expected == "first":  # the command leads to another server than its name says
        with (home / ".ssh" / "known_hosts").open("a") as known:
            known.write(hosts["first"].write_known_hosts_line(f"[127.0.0.1]:{ports['last']}"))
    written = config(*(line.format(**ports, home=home, cat=cat) for line in lines))
    assert await find_our_destination(SshTransport("pool", ssh_config=written)) == expected
    ours = {name: (sshd.logins, {each.split()[0] for each in sshd.offered}) for name, sshd in hosts.items()}
    for sshd in hosts.values():
        sshd.logins = 0
        sshd.offered.clear()
    assert await find_ssh_destination(written, "pool") == expected
    assert ours == {name: (sshd.logins, {each.split()[0] for each in sshd.offered}) for name, sshd in hosts.items()}


@pytest.mark.asyncio
async def test_a_circular_route(config: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A circular route is a ConfigError; the limit is lowered here, since ``ssh`` may not end on a circle."""
    monkeypatch.setattr("intercede.transports._ssh_connection._MAX_HOPS", 0)
    written = config("Host pool", "ProxyJump hop", "Host hop", "ProxyJump other")
    with pytest.raises(ConfigError, match=r"circle"):
        await get_server_name(SshTransport("pool", ssh_config=written))


@pytest.mark.asyncio
async def test_the_stderr_of_a_proxy_command_is_reported(config: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a ProxyCommand fails, its stderr is part of the error."""
    monkeypatch.setattr("intercede.transports._ssh_connection._ATTEMPTS", 1)
    written = config("ProxyCommand echo no such host as %h >&2")
    with pytest.raises(TransportError, match="no such host as pool"):
        await get_server_name(SshTransport("pool", ssh_config=written))


@pytest.mark.asyncio
async def test_a_proxy_command_ends_with_its_connection(
    hosts: dict[str, Sshd], config: WriteConfig, home: Path
) -> None:
    """A ProxyCommand and what it started end together with the connection."""
    (home / "proxy").write_text('#!/bin/bash\necho $$ >"$3"; exec 3<>"/dev/tcp/$1/$2"; cat <&3 & cat >&3; sleep 100\n')
    (home / "proxy").chmod(0o700)
    written = config(f"Port {hosts['last'].port}", f"ProxyCommand {home}/proxy %h %p {home}/pid")
    assert await get_server_name(SshTransport("127.0.0.1", ssh_config=written)) == "last"
    await hosts["last"].wait_until(lambda: not is_group_alive((home / "pid").read_text().strip()))


@pytest.mark.asyncio
async def test_an_ended_proxy_command_is_not_signalled(tmp_path: Path) -> None:
    """The pid of an ended ProxyCommand may be reused, so it is not signalled. Here a process that it left has it."""
    open_before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- names, no paths
    proxy = await ProxyCommand.start(f"sh -c 'sleep 60 >/dev/null & echo $! >{tmp_path}/pid'")
    async with asyncio.timeout(10):
        await proxy.has_ended.wait()
    left = int((tmp_path / "pid").read_text())
    try:
        await proxy.end()
        assert is_group_alive(str(os.getpgid(left)))
        async with asyncio.timeout(5):
            while len(os.listdir("/proc/self/fd")) > open_before:  # noqa: PTH208, ASYNC110 -- as above; files set no event
                await asyncio.sleep(0.01)
    finally:
        os.kill(left, signal.SIGKILL)


def is_group_alive(group: str) -> bool:
    """Return whether a process of the group runs."""
    stats: list[list[str]] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            stats.append(stat.read_text(errors="replace").rpartition(")")[2].split())
    return any(stat[2] == group and stat[0] != "Z" for stat in stats)


@pytest.mark.asyncio
async def test_the_configuration_file(hosts: dict[str, Sshd], config: WriteConfig, home: Path) -> None:
    """An alias gets its port, user, key and known hosts from the file; missing files are ignored."""
    last = hosts["last"]
    (home / "known").write_text(last.write_known_hosts_line("alias-of-keys"))
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
    assert await get_server_name(SshTransport("pool", ssh_config=written)) == "last"
    assert {shown.split()[0] for shown in last.offered} == {"somebody"}


@pytest.mark.asyncio
async def test_options_win_over_the_configuration(hosts: dict[str, Sshd], config: WriteConfig) -> None:
    """Options override the configuration, as in ``ssh``."""
    written = config("Host *", "  HostName 127.0.0.1", "  Port 1", "  User somebody")
    assert (
        await get_server_name(SshTransport("pool", port=hosts["last"].port, username="me", ssh_config=written))
        == "last"
    )
    assert {shown.split()[0] for shown in hosts["last"].offered} == {"me"}


@pytest.mark.asyncio
async def test_without_the_option_no_configuration_is_read(hosts: dict[str, Sshd], home: Path) -> None:
    """Without the option no configuration is read, not even the user's own."""
    (home / ".ssh" / "config").write_text("Host *\n  Port 1\n")
    assert await get_server_name(SshTransport(format_endpoint(hosts["last"]))) == "last"


@pytest.mark.parametrize("jump", [[], ["second"]], ids=["of the configuration", "of the option"])
@pytest.mark.asyncio
async def test_a_jump_option_wins(hosts: dict[str, Sshd], config: WriteConfig, jump: list[str]) -> None:
    """The option ``jump`` overrides ProxyJump of the configuration."""
    written = config(f"Match originalhost pool\n  ProxyJump {format_endpoint(hosts['first'])}", "HostName 127.0.0.1")
    hops = [format_endpoint(hosts[name]) for name in jump]
    assert await get_server_name(SshTransport("pool", port=hosts["last"].port, jump=hops, ssh_config=written)) == "last"
    assert [hosts[name].logins for name in ("first", "second")] == ([0, 1] if jump else [1, 0])


@pytest.mark.parametrize("unknown", ["first", "second", "last"])
@pytest.mark.parametrize("by", ["option", "configuration"])
@pytest.mark.asyncio
async def test_every_jump_host_is_verified(
    hosts: dict[str, Sshd], config: WriteConfig, home: Path, unknown: str, by: str
) -> None:
    """An unknown jump host ends the route; the error names it, and no credentials are sent to it."""
    known = home / ".ssh" / "known_hosts"
    known.write_text("".join(sshd.write_known_hosts_line() for name, sshd in hosts.items() if name != unknown))
    jump = [format_endpoint(hosts["first"]), format_endpoint(hosts["second"])]
    configured = [f"ProxyJump {','.join(jump)}"] if by == "configuration" else []
    written = config("Host pool", "HostName 127.0.0.1", f"Port {hosts['last'].port}", *configured)
    transport = SshTransport("pool", jump=jump if by == "option" else (), ssh_config=written)
    assert ("pool" if unknown == "last" else format_endpoint(hosts[unknown])) in str(await get_refusal(transport))
    assert not hosts[unknown].offered
    assert not hosts["last"].commands


@pytest.mark.parametrize("lines", [None, "Port x", "IdentityFile %z", "Host"], ids=["missing", "port", "token", "host"])
@pytest.mark.asyncio
async def test_a_configuration_that_cannot_be_read(
    hosts: dict[str, Sshd], config: WriteConfig, lines: str | None
) -> None:
    """An unreadable configuration is a ConfigError at once."""
    written = NOWHERE if lines is None else config(lines)
    with pytest.raises(ConfigError) as raised:
        await get_server_name(SshTransport(format_endpoint(hosts["last"]), ssh_config=written))
    assert raised.value.field == "ssh_config"
    assert not hosts["last"].connections


@pytest.mark.asyncio
async def test_a_configuration_without_a_client(
    hosts: dict[str, Sshd], config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without OpenSSH's client a configuration is a ConfigError, because only ``ssh`` can interpret it."""
    monkeypatch.setenv("PATH", NOWHERE)
    with pytest.raises(ConfigError, match="no `ssh` on PATH"):
        await get_server_name(SshTransport(format_endpoint(hosts["last"]), ssh_config=config()))
    assert not hosts["last"].connections


@pytest.mark.asyncio
async def test_a_client_that_is_not_openssh(
    hosts: dict[str, Sshd], config: WriteConfig, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropbear's ``ssh`` ignores -G and exits with 0; the ConfigError quotes its output."""
    (home / "ssh").write_text('#!/bin/sh\necho "WARNING: Ignoring unknown option -G" >&2\n')
    (home / "ssh").chmod(0o700)
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(ConfigError, match="Ignoring unknown option -G"):
        await get_server_name(SshTransport(format_endpoint(hosts["last"]), ssh_config=config()))
    assert not hosts["last"].connections


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("BindInterface lo", "bindinterface lo"),
        ("ProxyUseFdpass yes\nProxyCommand nc %h", "proxyusefdpass yes"),
        ("KexAlgorithms sntrup761x25519-sha512@openssh.com", "asyncssh"),
        ('UserKnownHostsFile "/a b"', "space"),
        ("IdentityFile ${NO_SUCH}", "NO_SUCH"),
        ('KnownHostsCommand /bin/echo "a b"', "quotes"),
        ("KnownHostsCommand /bin/echo %K", "%K"),
        ("KnownHostsCommand echo %H", "absolute"),
        ("KnownHostsCommand /bin/echo %H\nCheckHostIP yes", "addresses"),
        ("RevokedHostKeys {home}/krl", "RevokedHostKeys"),
        ("ProxyJump a;b", "ProxyJump"),
    ],
)
@pytest.mark.asyncio
async def test_unsupported_settings_are_refused(
    hosts: dict[str, Sshd], config: WriteConfig, home: Path, line: str, words: str
) -> None:
    """A setting that only ``ssh`` supports is a ConfigError before any connection."""
    (home / "krl").write_bytes(b"SSHKRL\n\0" + bytes(40))
    with pytest.raises(ConfigError, match=words):
        await get_server_name(
            SshTransport(format_endpoint(hosts["last"]), ssh_config=config(line.replace("{home}", str(home))))
        )
    assert not hosts["last"].connections


@pytest.mark.asyncio
async def test_a_hanging_match_exec(config: WriteConfig) -> None:
    """A Match exec that hangs times out and is ended."""
    written = config('Match exec "sleep 123.25"', "Port 1")
    with pytest.raises(TransportError, match="no answer within"):
        await get_server_name(SshTransport("127.0.0.1", ssh_config=written, connect_s=0.2))
    _, listing, _ = await run_command("ps", "-eo", "args")
    assert "sleep 123.25" not in listing


@pytest.mark.asyncio
async def test_a_background_process_of_match_exec(config: WriteConfig) -> None:
    """A background process of Match exec holds stderr open, and is not waited for, as in ``ssh``."""
    written = config('Match exec "sleep 5 & true"', "Port 123")
    async with asyncio.timeout(3):
        assert (await Login.resolve(written, "pool", None, None)).port == 123


# ---- the keys


@pytest.mark.asyncio
async def test_a_library_for_smart_cards_is_not_loaded(config: WriteConfig) -> None:
    """A library for smart cards is not loaded: its keys come from the agent, and with credentials not at all."""
    login = await Login.resolve(config("PKCS11Provider /no/such.so"), "pool", None, None)
    assert "pkcs11_provider" not in login.options


@pytest.mark.parametrize(
    "lines", [[], ["IdentityFile none"], ["CertificateFile {home}/%r-cert.pub"]], ids=["few", "none", "certificate"]
)
@pytest.mark.asyncio
async def test_the_same_key_files_are_used_as_by_ssh(
    sshd: Sshd, config: WriteConfig, home: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens, variables and tildes expand to the files that ``ssh -v`` names."""
    monkeypatch.setenv("KEYS", f"{home}/of a variable")
    names = ["~/.ssh/of_root", "~root/%d", "${KEYS}/%%-%C-%d-%h-%i-%k-%L-%l-%n-%p-%r-%u", '"with a blank/%n"']
    written = config(
        "Host pool", "HostName 127.0.0.1", f"Port {sshd.port}", "User me", "HostKeyAlias other",
        *(line.format(home=home) for line in lines), *(f"IdentityFile {name}" for name in names),
    )  # fmt: skip
    login = await Login.resolve(written, "pool", None, None)
    _, _, said = await run_command("ssh", "-v", "-F", written, "-o", "BatchMode=yes", "pool", "true")
    named = dict.fromkeys(re.findall(r"^debug1: identity file (.*) type", said, re.MULTILINE))
    assert [name for name in named if not name.endswith("-cert")] == list(dict.fromkeys(login.identities))


@pytest_asyncio.fixture
async def agent(home: Path) -> AsyncIterator[Path]:
    """Yield the socket of an agent with two keys, ``a`` and ``b``; their public halves are in the home directory."""
    for name in "abc":
        key = make_key()
        (home / name).touch(mode=0o600)
        (home / name).write_bytes(key.export_private_key())  # pyright: ignore[reportUnknownMemberType]  # its keywords
        (home / f"{name}.pub").write_bytes(key.export_public_key())
    path = home / "agent"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("ssh-agent", "-D", "-a", str(path), stdout=pipe)
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20)  # the agent listens
    environment = {**os.environ, "SSH_AUTH_SOCK": str(path)}
    adding = await asyncio.create_subprocess_exec("ssh-add", "-q", str(home / "a"), str(home / "b"), env=environment)
    assert await adding.wait() == 0
    (home / "a").unlink()
    yield path
    process.terminate()
    await process.communicate()


SHOWN = {
    "all of the agent, then files": ["IdentityAgent {agent}", "IdentityFile {home}/c"],
    "what is configured first": ["IdentityAgent {agent}", "IdentityFile {home}/b", "IdentityFile {home}/c"],
    "only what is configured": [
        "IdentityAgent {agent}",
        "IdentitiesOnly yes",
        "IdentityFile {home}/a.pub",
        "IdentityFile {home}/c",
    ],
    "no agent": ["IdentityAgent none", "IdentityFile {home}/c", "IdentityFile {home}/b"],
    "the agent of a variable": ["IdentityAgent $AGENT", "IdentityFile {home}/c"],
    "the agent of the environment": ["IdentityAgent SSH_AUTH_SOCK", "IdentityFile {home}/c"],
    "the agent by a token": ["IdentityAgent {home}/agen${{LAST}}", "IdentityFile {home}/c"],
    "no keys at all": ["PubkeyAuthentication no"],
}


@pytest.mark.needs("ssh-agent")
@pytest.mark.parametrize("case", SHOWN)
@pytest.mark.asyncio
async def test_keys_are_offered_in_the_order_of_ssh(
    sshd: Sshd, config: WriteConfig, home: Path, agent: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys of the agent and from files are offered in the order of ``ssh``."""
    monkeypatch.setenv("AGENT", str(agent))
    monkeypatch.setenv("LAST", "t")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    sshd.user_key = make_key()
    (home / ".ssh" / "known_hosts").write_text(sshd.write_known_hosts_line())
    written = config(*(line.format(home=home, agent=agent) for line in SHOWN[case]))
    with pytest.raises(AuthenticationError):
        await get_server_name(SshTransport("127.0.0.1", port=sshd.port, username="me", ssh_config=written))
    ours = list(dict.fromkeys(sshd.offered))
    sshd.offered.clear()
    assert not await find_ssh_destination(written, "me@127.0.0.1", "-p", str(sshd.port))
    assert ours == list(dict.fromkeys(sshd.offered))
    assert bool(ours) == (case != "no keys at all")


@given(st.text("ab%{}$hn", max_size=12))
def test_tokens_and_variables(text: str) -> None:
    """A known token or variable is expanded, an unknown one is refused, and other text is unchanged."""
    tokens, variables = {"%": "%", "h": "H", "n": "${a}"}, {"a": "%h", "b": ""}
    try:
        result = expand_tokens(text, tokens, variables)
    except ValueError:
        assert re.search(r"%(?![%hn])|\$\{(?!a\}|b\})[^}]*\}", text)
    else:
        values = {"%%": "%", "%h": "H", "%n": "${a}", "${a}": "%h", "${b}": ""}
        parts = [match[0] for match in re.finditer(r"%.|\$\{[^}]*\}|.", text)]
        assert result == "".join(values.get(part, part) for part in parts)


@pytest.mark.parametrize(
    ("hops", "token"), [("u@[::1]:22", "::1"), ("a,b:33", "b"), ("[::1]", "::1"), ("u@h", "h"), ("none", "")]
)
def test_the_token_of_the_jump_host(hops: str, token: str) -> None:
    """The token %j is the host of the last hop (TOKENS of ssh_config(5))."""
    answer = f"user me\nhostname pool\nport 22\nproxyjump {hops}\nidentityfile /keys/%j\n"
    login = parse_answer(answer.encode(), "file", "pool")
    assert login is not None
    assert login.identities == [f"/keys/{token}"]


@pytest.mark.asyncio
async def test_a_password_in_a_command_is_not_repeated(config: WriteConfig) -> None:
    """The error for an unknown token in a ProxyCommand names only the token."""
    written = config("ProxyCommand sshpass -p Tr0ub4dor ssh -W %h:%p %i gateway")
    with pytest.raises(ConfigError, match="%i") as caught:
        await Login.resolve(written, "pool", None, None)
    assert "Tr0ub4dor" not in f"{caught.value!r} {vars(caught.value)} {caught.value.__cause__!r}"
