"""What a configuration of OpenSSH's client does to the transport ``ssh``: what it does to ``ssh``, or an error."""

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
    new_key,
    run_command,
)

from intercede.contract.errors import AuthenticationError, ConfigError, TransportError
from intercede.transports._ssh_config import Login, expand_tokens, parse_answer
from intercede.transports._ssh_proxy import ProxyCommand
from intercede.transports.ssh import SshTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.transports.conftest import Configured
    from tests.transports.sshd import Sshd

pytestmark = pytest.mark.needs("ssh")
NOWHERE = "/no/such"


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
@pytest.mark.asyncio
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
            known.write(sshd.write_known_hosts_line(f"[localhost]:{sshd.port}"))
        known.write(hosts["last"].write_known_hosts_line("alias"))
    if "ProxyCommand" in case and expected == "first":  # it leads elsewhere than its name says
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
async def test_a_way_without_an_end(config: Configured, monkeypatch: pytest.MonkeyPatch) -> None:
    """A way is given up as a ConfigError after so many hops; here a short one counts as too long, since ssh may not end on a circle."""
    monkeypatch.setattr("intercede.transports._ssh_connection._MAX_HOPS", 0)
    written = config("Host pool", "ProxyJump hop", "Host hop", "ProxyJump other")
    with pytest.raises(ConfigError, match=r"circle"):
        await get_server_name(SshTransport("pool", ssh_config=written))


@pytest.mark.asyncio
async def test_what_a_proxy_command_said_is_told(config: Configured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is no way to the host; its words are no part of the connection."""
    monkeypatch.setattr("intercede.transports._ssh_connection._ATTEMPTS", 1)
    written = config("ProxyCommand echo no such host as %h >&2")
    with pytest.raises(TransportError, match="no such host as pool"):
        await get_server_name(SshTransport("pool", ssh_config=written))


@pytest.mark.asyncio
async def test_a_proxy_command_ends_with_its_connection(hosts: dict[str, Sshd], config: Configured, home: Path) -> None:
    """And whatever it started."""
    (home / "proxy").write_text('#!/bin/bash\necho $$ >"$3"; exec 3<>"/dev/tcp/$1/$2"; cat <&3 & cat >&3; sleep 100\n')
    (home / "proxy").chmod(0o700)
    written = config(f"Port {hosts['last'].port}", f"ProxyCommand {home}/proxy %h %p {home}/pid")
    assert await get_server_name(SshTransport("127.0.0.1", ssh_config=written)) == "last"
    await hosts["last"].wait_until(lambda: not is_group_alive((home / "pid").read_text().strip()))


@pytest.mark.asyncio
async def test_a_proxy_command_that_has_ended_is_signalled_no_more(tmp_path: Path) -> None:
    """Its number may be another's by then, here a process's that it left; that holds nothing of ours open.

    A master of ``ssh`` that ControlPersist leaves behind holds stderr open for hours.
    """
    open_before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 -- names, no paths
    proxy = await ProxyCommand.start(f"sh -c 'sleep 60 >/dev/null & echo $! >{tmp_path}/pid'")
    async with asyncio.timeout(10):
        await proxy.has_ended.wait()
    left = int((tmp_path / "pid").read_text())
    try:
        await proxy.end()
        assert is_group_alive(str(os.getpgid(left)))
        async with asyncio.timeout(5):
            while len(os.listdir("/proc/self/fd")) > open_before:  # noqa: PTH208, ASYNC110 -- as above; no event tells
                await asyncio.sleep(0.01)
    finally:
        os.kill(left, signal.SIGKILL)


def is_group_alive(group: str) -> bool:
    """Whether a process of it runs."""
    stats: list[list[str]] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            stats.append(stat.read_text(errors="replace").rpartition(")")[2].split())
    return any(stat[2] == group and stat[0] != "Z" for stat in stats)


@pytest.mark.asyncio
async def test_the_configuration_file(hosts: dict[str, Sshd], config: Configured, home: Path) -> None:
    """An alias is found there, with its port, user, key, and known hosts; what is not there is ignored."""
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
async def test_options_win_over_the_configuration(hosts: dict[str, Sshd], config: Configured) -> None:
    """As they do for ssh."""
    written = config("Host *", "  HostName 127.0.0.1", "  Port 1", "  User somebody")
    assert (
        await get_server_name(SshTransport("pool", port=hosts["last"].port, username="me", ssh_config=written))
        == "last"
    )
    assert {shown.split()[0] for shown in hosts["last"].offered} == {"me"}


@pytest.mark.asyncio
async def test_without_the_option_no_configuration_is_read(hosts: dict[str, Sshd], home: Path) -> None:
    """Not even the user's own."""
    (home / ".ssh" / "config").write_text("Host *\n  Port 1\n")
    assert await get_server_name(SshTransport(format_endpoint(hosts["last"]))) == "last"


@pytest.mark.parametrize("jump", [[], ["second"]], ids=["of the configuration", "of the option"])
@pytest.mark.asyncio
async def test_a_jump_option_wins(hosts: dict[str, Sshd], config: Configured, jump: list[str]) -> None:
    """Over the ProxyJump of the configuration."""
    written = config(f"Match originalhost pool\n  ProxyJump {format_endpoint(hosts['first'])}", "HostName 127.0.0.1")
    hops = [format_endpoint(hosts[name]) for name in jump]
    assert await get_server_name(SshTransport("pool", port=hosts["last"].port, jump=hops, ssh_config=written)) == "last"
    assert [hosts[name].logins for name in ("first", "second")] == ([0, 1] if jump else [1, 0])


@pytest.mark.parametrize("unknown", ["first", "second", "last"])
@pytest.mark.parametrize("by", ["option", "configuration"])
@pytest.mark.asyncio
async def test_every_host_on_the_way_is_verified(
    hosts: dict[str, Sshd], config: Configured, home: Path, unknown: str, by: str
) -> None:
    """One that is not known ends the way; the error names it, and nothing is shown to it."""
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
    hosts: dict[str, Sshd], config: Configured, lines: str | None
) -> None:
    """ConfigError, at once."""
    written = NOWHERE if lines is None else config(lines)
    with pytest.raises(ConfigError) as raised:
        await get_server_name(SshTransport(format_endpoint(hosts["last"]), ssh_config=written))
    assert raised.value.field == "ssh_config"
    assert not hosts["last"].connections


@pytest.mark.asyncio
async def test_a_configuration_without_a_client(
    hosts: dict[str, Sshd], config: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ConfigError: nobody else reads it as ssh does."""
    monkeypatch.setenv("PATH", NOWHERE)
    with pytest.raises(ConfigError, match="no `ssh` on PATH"):
        await get_server_name(SshTransport(format_endpoint(hosts["last"]), ssh_config=config()))
    assert not hosts["last"].connections


@pytest.mark.asyncio
async def test_a_client_that_is_not_openssh(
    hosts: dict[str, Sshd], config: Configured, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ConfigError with its words: dropbear's, which some systems call ``ssh``, ignores ``-G`` and ends well."""
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
async def test_what_we_cannot_do_is_refused(
    hosts: dict[str, Sshd], config: Configured, home: Path, line: str, words: str
) -> None:
    """ConfigError, before anything connects: ``ssh`` would do it."""
    (home / "krl").write_bytes(b"SSHKRL\n\0" + bytes(40))
    with pytest.raises(ConfigError, match=words):
        await get_server_name(
            SshTransport(format_endpoint(hosts["last"]), ssh_config=config(line.replace("{home}", str(home))))
        )
    assert not hosts["last"].connections


@pytest.mark.asyncio
async def test_a_hanging_match_exec(config: Configured) -> None:
    """Is given up in time, and ends."""
    written = config('Match exec "sleep 123.25"', "Port 1")
    with pytest.raises(TransportError, match="no answer within"):
        await get_server_name(SshTransport("127.0.0.1", ssh_config=written, connect_s=0.2))
    _, listing, _ = await run_command("ps", "-eo", "args")
    assert "sleep 123.25" not in listing


@pytest.mark.asyncio
async def test_what_match_exec_leaves_running_delays_nothing(config: Configured) -> None:
    """It holds stderr open; ``ssh`` does not wait for that either."""
    written = config('Match exec "sleep 5 & true"', "Port 123")
    async with asyncio.timeout(3):
        assert (await Login.resolve(written, "pool", None, None)).port == 123


# ---- what is shown


@pytest.mark.asyncio
async def test_a_library_for_smart_cards_is_not_loaded(config: Configured) -> None:
    """Its keys come from the agent: with credentials nothing else is shown."""
    login = await Login.resolve(config("PKCS11Provider /no/such.so"), "pool", None, None)
    assert "pkcs11_provider" not in login.options


@pytest.mark.parametrize(
    "lines", [[], ["IdentityFile none"], ["CertificateFile {home}/%r-cert.pub"]], ids=["few", "none", "certificate"]
)
@pytest.mark.asyncio
async def test_files_of_keys_are_those_of_ssh(
    sshd: Sshd, config: Configured, home: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every token, variables and tildes expanded: as ``ssh -v`` names them."""
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
    """Yield the socket of an agent that holds two keys, ``a`` and ``b``, whose public halves lie in the home."""
    for name in "abc":
        key = new_key()
        (home / name).touch(mode=0o600)
        (home / name).write_bytes(key.export_private_key())  # pyright: ignore[reportUnknownMemberType]  # its keywords
        (home / f"{name}.pub").write_bytes(key.export_public_key())
    path = home / "agent"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("ssh-agent", "-D", "-a", str(path), stdout=pipe)
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20)  # it listens
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
async def test_keys_are_shown_as_ssh_shows_them(
    sshd: Sshd, config: Configured, home: Path, agent: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same ones in the same order, from the agent and from files, to a server that takes none of them."""
    monkeypatch.setenv("AGENT", str(agent))
    monkeypatch.setenv("LAST", "t")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    sshd.user_key = new_key()
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
    """Every one is known, or the text is refused; what is no token stands as it is."""
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
    """It is the last hop's host alone (TOKENS of ssh_config(5): ``%j``)."""
    answer = f"user me\nhostname pool\nport 22\nproxyjump {hops}\nidentityfile /keys/%j\n"
    login = parse_answer(answer.encode(), "file", "pool")
    assert login is not None
    assert login.identities == [f"/keys/{token}"]


@pytest.mark.asyncio
async def test_a_password_in_a_command_is_not_repeated(config: Configured) -> None:
    """Of a ProxyCommand with a token that nothing stands for the error names the token alone."""
    written = config("ProxyCommand sshpass -p Tr0ub4dor ssh -W %h:%p %i gateway")
    with pytest.raises(ConfigError, match="%i") as caught:
        await Login.resolve(written, "pool", None, None)
    assert "Tr0ub4dor" not in f"{caught.value!r} {vars(caught.value)} {caught.value.__cause__!r}"
