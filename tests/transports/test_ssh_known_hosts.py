"""Tests of known_hosts files with real servers: the transport ``ssh`` trusts the same hosts as OpenSSH's ``ssh``."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
import pytest
import pytest_asyncio
from tests.transports.host_keys import HOUR, KEYS, format_key, hash_name
from tests.transports.sshd import find_our_destination, find_ssh_destination, get_refusal, get_server_name

from intercede.contract.errors import TransportError
from intercede.transports.ssh import SshTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.transports.conftest import Maker
    from tests.transports.sshd import Sshd


# ---- hosts with a port of their own

CASES = {
    "port": (["[127.0.0.1]:{port} {key}"], True),
    "no port": (["127.0.0.1 {key}"], True),
    "hashed port": (["{hashed_port} {key}"], True),
    "hashed, no port": (["{hashed_plain} {key}"], True),
    "another port": (["[127.0.0.1]:1 {key}"], False),
    "a line with port hides those without": (["127.0.0.1 {key}", "[127.0.0.1]:{port} {other}"], False),
    "two keys": (["[127.0.0.1]:{port} {other}", "[127.0.0.1]:{port} {key}"], True),
    "a bad line before": (["nonsense", "@what 127.0.0.1 {key}", "127.0.0.1 ssh-ed25519 AAAA", "127.0.0.1 {key}"], True),
    "a negated name": (["!127.0.0.1,!*]:{port},* {key}"], False),
    "another form negated": (["!127.0.0.1,* {key}"], True),
    "revoked, same form": (["127.0.0.1 {key}", "@revoked 127.0.0.1 {key}"], False),
    "revoked, before": (["@revoked * {key}", "[127.0.0.1]:{port} {key}"], False),
    "another one revoked": (["@revoked * {other}", "[127.0.0.1]:{port} {key}"], True),
    "an authority is no host": (["@cert-authority * {key}"], False),
}
STRICTER = {
    "revoked without port, known with": ["[127.0.0.1]:{port} {key}", "@revoked 127.0.0.1 {key}"],
    "revoked without port, hashed": ["[127.0.0.1]:{port} {key}", "@revoked {hashed_plain} {key}"],
    "revoked with port, known without": ["127.0.0.1 {key}", "@revoked [127.0.0.1]:{port} {key}"],
    "revoked with port, hashed": ["{hashed_plain} {key}", "@revoked {hashed_port} {key}"],
}


def fill_lines(lines: list[str], sshd: Sshd) -> str:
    """Return the lines of a case for this server."""
    plain, port = "127.0.0.1", f"[127.0.0.1]:{sshd.port}"
    words = {
        "key": format_key(sshd.host_key),
        "other": format_key(KEYS[1]),
        "hashed_plain": hash_name(plain),
        "hashed_port": hash_name(port),
    }
    return "\n".join(line.format(port=sshd.port, **words) for line in lines) + "\n"


async def try_logins(sshd: Sshd, home: Path, case: str, lines: list[str]) -> tuple[bool, bool]:
    """Return whether ``ssh`` and our transport log in with such a file."""
    known, config = home / f"known {case}", home / f"config {case}"
    known.write_text(fill_lines(lines, sshd))
    config.write_text(
        f'UserKnownHostsFile "{known}"\nGlobalKnownHostsFile /dev/null\nIdentityFile {home}/.ssh/id_ed25519\n'
    )
    by_ssh = await find_ssh_destination(str(config), "127.0.0.1", "-p", str(sshd.port))
    ours = await find_our_destination(sshd.transport(known_hosts=str(known)))
    return by_ssh == "only", ours == "only"


@pytest.mark.needs("ssh")
@pytest.mark.asyncio
async def test_the_same_servers_are_trusted_as_by_ssh(sshd: Sshd, home: Path) -> None:
    """The transport trusts the same servers as ``ssh``, with names, ports, patterns, hashes and markers."""
    found = await asyncio.gather(*(try_logins(sshd, home, case, lines) for case, (lines, _) in CASES.items()))
    assert dict(zip(CASES, found, strict=True)) == {case: (right, right) for case, (_, right) in CASES.items()}


@pytest.mark.asyncio
async def test_a_key_revoked_in_any_form_is_refused(sshd: Sshd, home: Path) -> None:
    """The transport is stricter than ``ssh``, which looks for @revoked only in the form of the known name."""
    for case, lines in STRICTER.items():
        (home / case).write_text(fill_lines(lines, sshd))
        error = await get_refusal(sshd.transport(known_hosts=str(home / case)))
        assert f"is revoked in {home / case}:" in str(error)
        assert "in place of this host" not in str(error)
    assert not sshd.offered


@pytest.mark.parametrize("form", ["127.0.0.1", "[127.0.0.1]:{port}"])
@pytest.mark.asyncio
async def test_a_key_revoked_for_an_address(sshd: Sshd, home: Path, form: str) -> None:
    """A key that is revoked for the address of a host is refused under its name as well."""
    (home / "known").write_text(
        f"localhost {format_key(sshd.host_key)}\n@revoked {form.format(port=sshd.port)} {format_key(sshd.host_key)}\n"
    )
    assert "is revoked" in str(await get_refusal(sshd.transport(host="localhost", known_hosts=str(home / "known"))))


# ---- certificates


def certify(sshd: Sshd, case: str, authority: asyncssh.SSHKey) -> None:
    """Give the server a certificate with the flaw of this case."""
    now = int(time.time())
    principals = {"other name": ["elsewhere"], "pattern": ["127.0.*"], "no name": []}.get(case, ["127.0.0.1"])
    valid = {"expired": (0, now - HOUR), "not yet": (now + HOUR, now + 2 * HOUR)}.get(case, (0, now + HOUR))
    sshd.certificate = authority.generate_host_certificate(
        sshd.host_key, "id", principals=principals, valid_after=valid[0], valid_before=valid[1],
        sig_alg="ssh-rsa" if case == "sha1" else (),
    )  # fmt: skip


def format_certificate(sshd: Sshd) -> str:
    """Return the server's certificate in the format of a public key."""
    assert sshd.certificate is not None
    return sshd.certificate.export_certificate().decode().strip()


CERTIFICATES = {
    "good": (["@cert-authority 127.0.0.1 {ca}"], "only"),
    "with port": (["@cert-authority [127.0.0.1]:{port} {ca}"], "only"),
    "pattern of hosts": (["@cert-authority * {ca}"], "only"),
    "pattern": (["@cert-authority * {ca}"], r"it is for 127\.0\.\*"),
    "expired": (["@cert-authority * {ca}"], "Certificate expired"),
    "not yet": (["@cert-authority * {ca}"], "Certificate not yet valid"),
    "other name": (["@cert-authority * {ca}"], "it is for elsewhere"),
    "sha1": (["@cert-authority * {ca}"], "signed with ssh-rsa"),
    "another authority": (["@cert-authority * {other}"], "in place of this host"),
    "authority elsewhere": (["@cert-authority elsewhere {ca}"], "ssh-keyscan"),
    "a key is no authority": (["127.0.0.1 {ca}"], "in place of this host"),
    "key known without": (["@cert-authority * {other}", "127.0.0.1 {key}"], "only"),
    "key known beside a bad one": (["@cert-authority * {ca}", "127.0.0.1 {key}"], "only"),
    "authority revoked": (
        ["@cert-authority * {ca}", "@revoked * {ca}", "127.0.0.1 {key}"],
        "the authority .* is revoked",
    ),
    "key revoked": (["@cert-authority * {ca}", "@revoked * {key}"], "its host key .* is revoked"),
    "revoked as a certificate": (["127.0.0.1 {key}", "@revoked * {certificate}"], "its host key .* is revoked"),
}


@pytest.mark.needs("ssh")
@pytest.mark.parametrize("case", CERTIFICATES)
@pytest.mark.asyncio
async def test_certificates(make_sshd: Maker, home: Path, case: str) -> None:
    """The transport accepts the same certificates as ``ssh``, and names the flaw of the others.

    Since OpenSSH 10.3, a certificate may hold a pattern; 9.2 and this transport take it for a literal name.
    """
    lines, expected = CERTIFICATES[case]
    algorithm = "ssh-rsa" if case == "sha1" else "ssh-ed25519"
    authority = asyncssh.generate_private_key(algorithm)  # pyright: ignore[reportUnknownMemberType]  # its keywords
    sshd = make_sshd("only", before=lambda sshd: certify(sshd, "expired" if "bad one" in case else case, authority))
    words = {"ca": format_key(authority), "key": format_key(sshd.host_key), "other": format_key(KEYS[1])}
    words["certificate"] = format_certificate(sshd)
    known, config = home / "known", home / "config"
    known.write_text("\n".join(line.format(port=sshd.port, **words) for line in lines) + "\n")
    config.write_text(
        f"UserKnownHostsFile {known}\nGlobalKnownHostsFile /dev/null\nIdentityFile {home}/.ssh/id_ed25519\n"
    )

    assert await find_ssh_destination(str(config), "127.0.0.1", "-p", str(sshd.port)) == (
        "only" if expected == "only" else ""
    )
    if expected == "only":
        assert await get_server_name(sshd.transport(known_hosts=str(known))) == "only"
    else:
        with pytest.raises(TransportError, match=expected):
            await get_server_name(sshd.transport(known_hosts=str(known)))


@pytest.mark.asyncio
async def test_a_certificate_without_a_host(make_sshd: Maker, home: Path) -> None:
    """A certificate without a host name is refused, as by OpenSSH 10; 9.2 accepts it for every host."""
    sshd = make_sshd("only", before=lambda sshd: certify(sshd, "no name", KEYS[0]))
    (home / "known").write_text(f"@cert-authority * {format_key(KEYS[0])}\n")
    assert "no host name" in str(await get_refusal(sshd.transport(known_hosts=str(home / "known"))))


# ---- signatures


@pytest_asyncio.fixture
async def old_sshd(home: Path) -> AsyncIterator[int]:
    """Yield the port of an OpenSSH server that signs with SHA-1 only, started for each connection."""
    key = asyncssh.generate_private_key("ssh-rsa")  # pyright: ignore[reportUnknownMemberType]  # its keywords
    user = asyncssh.read_private_key(home / ".ssh" / "id_ed25519")
    (home / "host_key").touch(mode=0o600)
    private = key.export_private_key()  # pyright: ignore[reportUnknownMemberType]  # its keywords
    (home / "host_key").write_bytes(private)
    (home / "authorized").write_text(format_key(user))
    (home / "known").write_text(f"* {format_key(key)}\n")
    (home / "sshd_config").write_text(
        f"HostKey {home}/host_key\nHostKeyAlgorithms ssh-rsa\nAuthorizedKeysFile {home}/authorized\n"
        "StrictModes no\nUsePAM no\nPidFile none\nSetEnv SSHD=only\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # a service manager normally creates it
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])
    assert sshd is not None
    loop = asyncio.get_running_loop()
    processes: list[asyncio.subprocess.Process] = []

    async def serve(listener: socket.socket) -> None:
        while True:
            connection, _ = await loop.sock_accept(listener)
            with connection:
                end = connection.fileno()
                command = (sshd, "-i", "-f", str(home / "sshd_config"))
                processes.append(await asyncio.create_subprocess_exec(*command, stdin=end, stdout=end))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)  # noqa: FBT003 -- its only parameter
        serving = asyncio.create_task(serve(listener))
        yield listener.getsockname()[1]
        serving.cancel()
        await asyncio.wait({serving})
        await asyncio.wait_for(asyncio.gather(*(process.wait() for process in processes)), 20)


@pytest.mark.needs("ssh", "sshd")
@pytest.mark.parametrize(("line", "expected"), [("", ""), ("HostKeyAlgorithms +ssh-rsa", "only")], ids=["", "allowed"])
@pytest.mark.asyncio
async def test_a_server_that_signs_with_sha1(old_sshd: int, home: Path, line: str, expected: str) -> None:
    """A server that signs with SHA-1 is refused, as by ``ssh``, unless the configuration allows it."""
    (home / "config").write_text(
        f"{line}\nPort {old_sshd}\nUserKnownHostsFile {home}/known\nIdentityFile {home}/.ssh/id_ed25519\n"
    )
    assert await find_ssh_destination(str(home / "config"), "127.0.0.1") == expected
    assert await find_our_destination(SshTransport("127.0.0.1", ssh_config=str(home / "config"))) == expected
    plain = SshTransport("127.0.0.1", port=old_sshd, known_hosts=str(home / "known"))
    with pytest.raises(
        TransportError, match="did not sign with rsa-sha2-256, rsa-sha2-512; SHA-1 is refused"
    ) as raised:
        await get_server_name(plain)
    assert not raised.value.retryable


# ---- files of a configuration


@pytest.mark.needs("ssh")
@pytest.mark.asyncio
async def test_the_same_files_are_read_as_by_ssh(sshd: Sshd, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transport reads the same files as ``ssh``, with ``Match final``, tokens, variables and system files."""
    monkeypatch.setenv("FILES", str(home))
    good, bad = sshd.write_known_hosts_line(), f"[127.0.0.1]:{sshd.port} {format_key(KEYS[1])}\n"
    (home / "good-pool").write_text(good)
    (home / "bad").write_text(bad)
    cases = {
        "Match final\nUserKnownHostsFile {home}/bad {home}/none": "",
        "Match final\nUserKnownHostsFile {home}/good-%n {home}/bad": "only",
        "UserKnownHostsFile ${{FILES}}/good-%n": "only",
        "UserKnownHostsFile none\nGlobalKnownHostsFile {home}/good-pool": "only",
        "UserKnownHostsFile {home}/none-such\nGlobalKnownHostsFile {home}/bad {home}/good-pool": "only",
        "UserKnownHostsFile none": "",
        "UserKnownHostsFile /dev/null\nStrictHostKeyChecking yes": "",
        "KnownHostsCommand /bin/echo %H {key}\nUserKnownHostsFile none": "only",
        "KnownHostsCommand /bin/echo elsewhere {key}\nUserKnownHostsFile none": "",
        "KnownHostsCommand /bin/echo 127.0.0.1 {key}\nUserKnownHostsFile none": "",
        "RevokedHostKeys {home}/revoked-certificate\nUserKnownHostsFile {home}/good-pool": "",
        "KnownHostsCommand /bin/false\nUserKnownHostsFile {home}/good-pool": "",
        "RevokedHostKeys {home}/revoked\nUserKnownHostsFile {home}/good-pool": "",
        "UserKnownHostsFile {home}/good-%n\nCheckHostIP yes": "only",
        "UserKnownHostsFile {home}/good-pool\nHostKeyAlgorithms ssh-rsa,rsa-sha2-512": "",
    }
    (home / "revoked").write_text(f"# stolen\n{format_key(sshd.host_key)}\n")
    certify(sshd, "expired", KEYS[2])
    (home / "revoked-certificate").write_text(f"{format_certificate(sshd)}\n")
    for number, case in enumerate(cases):
        config = home / f"config-{number}"
        lines = case.format(home=home, key=format_key(sshd.host_key))
        config.write_text(
            f"{lines}\nMatch all\nGlobalKnownHostsFile /dev/null\nIdentityFile {home}/.ssh/id_ed25519\n"
            f"HostName 127.0.0.1\nPort {sshd.port}\n"
        )
    configs = [str(home / f"config-{number}") for number in range(len(cases))]
    by_ssh = await asyncio.gather(*(find_ssh_destination(config, "pool") for config in configs))
    ours = await asyncio.gather(
        *(find_our_destination(SshTransport("pool", ssh_config=config, connect_s=30)) for config in configs)
    )
    assert dict(zip(cases, by_ssh, strict=True)) == cases
    assert dict(zip(cases, ours, strict=True)) == cases
