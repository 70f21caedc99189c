"""What files of known hosts say to the transport ``ssh``: what they say to ``ssh``, in whatever form they say it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fnmatch
import hashlib
import hmac
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transports.conftest import new_key, refused, where, where_ssh_goes, where_we_go

from intercede.contract.errors import ConfigError, TransportError
from intercede.transports._ssh_host_keys import HostKeyRules, HostKeyVerifier, parse_known_hosts, parse_revoked_keys
from intercede.transports.ssh import SshTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.transports.conftest import Maker, Sshd

KEYS = [new_key() for _ in range(3)]
HOUR = 3600


def written(key: asyncssh.SSHKey) -> str:
    """Write the public half as a line of a file does, without a name."""
    return key.export_public_key().decode().strip()


def hashed(name: str) -> str:
    """Hide a name as HashKnownHosts does."""
    salt = b"s" * 20
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


# ---- which lines speak of a host

NAMES = ["pool", "pool.example.org", "[pool]:2222", "127.0.0.1", "[127.0.0.1]:2222", "::1", "a"]
PATTERNS = st.lists(
    st.one_of(
        st.sampled_from(
            [*NAMES, "*", "!pool", "!*.org", "p?ol", "*.example.org", "[*]:2222", "[p", "POOL", "!", "", "**"]
        ),
        st.text("pola.*?![]:21", max_size=8),
    ),
    min_size=1,
    max_size=3,
).map(",".join)


@given(st.binary(max_size=200))
def test_no_file_is_a_crash(text: bytes) -> None:
    """Whatever it holds; what is no line says nothing."""
    for line in parse_known_hosts(b"pool " + text, "file"):
        assert not line.matches("pool")


@given(
    st.sampled_from(NAMES),
    st.sampled_from(["", "@revoked ", "@cert-authority "]),
    st.binary(max_size=40),
    st.booleans(),
)
def test_a_line_among_others_is_found(name: str, marker: str, other: bytes, is_hashed: bool) -> None:
    """With its marker, key and place, whatever stands around it."""
    line = f"{marker}{hashed(name) if is_hashed else name} {written(KEYS[0])} a comment".encode()
    before = other.replace(b"\n", b" ")
    found = [
        each for each in parse_known_hosts(before + b"\n" + line + b"\r\n" + other, "file") if each.origin == "file:2"
    ]
    assert [(each.marker, each.key) for each in found] == [(marker.strip(), KEYS[0].public_data)]
    assert found[0].matches(name if is_hashed else name.upper())
    assert not found[0].matches(f"{name}x")


@pytest.mark.needs("ssh-keygen")
@settings(max_examples=4)
@given(st.lists(PATTERNS, min_size=20, max_size=40))
def test_patterns_are_those_of_ssh(patterns: list[str]) -> None:
    """Which lines match which names: the same as ``ssh-keygen -F`` finds."""
    lines = [*patterns, *map(hashed, NAMES), "|1|broken|hash", "|2|a|b"]
    text = "".join(f"{names} {written(KEYS[0])}\n" for names in lines)
    known = list(parse_known_hosts(text.encode(), "file"))
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        for name in NAMES:
            command = ["ssh-keygen", "-F", name, "-f", file.name]
            found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            numbers = re.findall(r"^# Host .* found: line ([0-9]+)", found, re.MULTILINE)
            ours = [line.origin.partition(":")[2] for line in known if line.matches(name)]
            assert ours == numbers, (name, [lines[int(number) - 1] for number in {*numbers} ^ {*ours}])


# ---- what they make of a host that is reached on a port of its own

CASES = {
    "port": (["[127.0.0.1]:{port} {key}"], True),
    "no port": (["127.0.0.1 {key}"], True),
    "hashed port": (["{hashed_port} {key}"], True),
    "hashed, no port": (["{hashed_plain} {key}"], True),
    "another port": (["[127.0.0.1]:1 {key}"], False),
    "the port hides what stands without": (["127.0.0.1 {key}", "[127.0.0.1]:{port} {other}"], False),
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


def fill(lines: list[str], sshd: Sshd) -> str:
    """Write the lines of a case for a server."""
    plain, port = "127.0.0.1", f"[127.0.0.1]:{sshd.port}"
    words = {
        "key": written(sshd.host_key),
        "other": written(KEYS[1]),
        "hashed_plain": hashed(plain),
        "hashed_port": hashed(port),
    }
    return "\n".join(line.format(port=sshd.port, **words) for line in lines) + "\n"


async def are_let_in(sshd: Sshd, home: Path, case: str, lines: list[str]) -> tuple[bool, bool]:
    """Whether ``ssh`` and we log in by such a file."""
    known, config = home / f"known {case}", home / f"config {case}"
    known.write_text(fill(lines, sshd))
    config.write_text(
        f'UserKnownHostsFile "{known}"\nGlobalKnownHostsFile /dev/null\nIdentityFile {home}/.ssh/id_ed25519\n'
    )
    by_ssh = await where_ssh_goes(str(config), "127.0.0.1", "-p", str(sshd.port))
    ours = await where_we_go(sshd.transport(known_hosts=str(known)))
    return by_ssh == "only", ours == "only"


@pytest.mark.needs("ssh")
@pytest.mark.asyncio
async def test_who_is_let_in_is_whom_ssh_lets_in(sshd: Sshd, home: Path) -> None:
    """By names, ports, patterns, hashes and markers."""
    found = await asyncio.gather(*(are_let_in(sshd, home, case, lines) for case, (lines, _) in CASES.items()))
    assert dict(zip(CASES, found, strict=True)) == {case: (right, right) for case, (_, right) in CASES.items()}


@pytest.mark.asyncio
async def test_what_is_revoked_in_any_form_is_refused(sshd: Sshd, home: Path) -> None:
    """In this we are stricter than ``ssh``, which looks for it only in the form by which the host is known."""
    for case, lines in STRICTER.items():
        (home / case).write_text(fill(lines, sshd))
        error = await refused(sshd.transport(known_hosts=str(home / case)))
        assert f"is revoked in {home / case}:" in str(error)
        assert "in place of this host" not in str(error)
    assert not sshd.shown


@pytest.mark.parametrize("form", ["127.0.0.1", "[127.0.0.1]:{port}"])
@pytest.mark.asyncio
async def test_what_is_revoked_for_an_address(sshd: Sshd, home: Path, form: str) -> None:
    """Is refused under the name, too."""
    (home / "known").write_text(
        f"localhost {written(sshd.host_key)}\n@revoked {form.format(port=sshd.port)} {written(sshd.host_key)}\n"
    )
    assert "is revoked" in str(await refused(sshd.transport(host="localhost", known_hosts=str(home / "known"))))


# ---- certificates


def certify(sshd: Sshd, case: str, authority: asyncssh.SSHKey) -> None:
    """Give the server a certificate, of which the case says what is odd."""
    now = int(time.time())
    principals = {"other name": ["elsewhere"], "pattern": ["127.0.*"], "no name": []}.get(case, ["127.0.0.1"])
    valid = {"expired": (0, now - HOUR), "not yet": (now + HOUR, now + 2 * HOUR)}.get(case, (0, now + HOUR))
    sshd.certificate = authority.generate_host_certificate(
        sshd.host_key, "id", principals=principals, valid_after=valid[0], valid_before=valid[1],
        sig_alg="ssh-rsa" if case == "sha1" else (),
    )  # fmt: skip


def certified(sshd: Sshd) -> str:
    """Write the server's certificate as a public key is written."""
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
    """Who is let in is whom ``ssh`` lets in; what is wrong with a certificate is told as that.

    A pattern in a certificate counts from OpenSSH 10.3 on; 9.2 and we take it for a name.
    """
    lines, expected = CERTIFICATES[case]
    algorithm = "ssh-rsa" if case == "sha1" else "ssh-ed25519"
    authority = asyncssh.generate_private_key(algorithm)  # pyright: ignore[reportUnknownMemberType]  # its keywords
    sshd = make_sshd("only", before=lambda sshd: certify(sshd, "expired" if "bad one" in case else case, authority))
    words = {"ca": written(authority), "key": written(sshd.host_key), "other": written(KEYS[1])}
    words["certificate"] = certified(sshd)
    known, config = home / "known", home / "config"
    known.write_text("\n".join(line.format(port=sshd.port, **words) for line in lines) + "\n")
    config.write_text(
        f"UserKnownHostsFile {known}\nGlobalKnownHostsFile /dev/null\nIdentityFile {home}/.ssh/id_ed25519\n"
    )

    assert await where_ssh_goes(str(config), "127.0.0.1", "-p", str(sshd.port)) == (
        "only" if expected == "only" else ""
    )
    if expected == "only":
        assert await where(sshd.transport(known_hosts=str(known))) == "only"
    else:
        with pytest.raises(TransportError, match=expected):
            await where(sshd.transport(known_hosts=str(known)))


@pytest.mark.asyncio
async def test_a_certificate_for_nobody(make_sshd: Maker, home: Path) -> None:
    """Is refused, as OpenSSH 10 does; 9.2 takes it for everybody."""
    sshd = make_sshd("only", before=lambda sshd: certify(sshd, "no name", KEYS[0]))
    (home / "known").write_text(f"@cert-authority * {written(KEYS[0])}\n")
    assert "no host name" in str(await refused(sshd.transport(known_hosts=str(home / "known"))))


# ---- signatures


def test_a_key_of_rsa_signs_with_sha2(home: Path) -> None:
    """What it signs with SHA-1 does not hold, unless the configuration allows that."""
    key = asyncssh.generate_private_key("ssh-rsa")  # pyright: ignore[reportUnknownMemberType]  # its keywords
    lines = list(parse_known_hosts(f"pool {written(key)}".encode(), "file"))

    def holds(rules: HostKeyRules, algorithm: str) -> bool:
        trusted = HostKeyVerifier("pool", 22, lines, source="file", rules=rules).verify(key.public_data)
        return trusted.verify(b"data", key.sign(b"data", algorithm.encode()))

    old = HostKeyRules(algorithms=["ssh-rsa"])
    assert [holds(HostKeyRules(), name) for name in ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")] == [True, True, False]
    assert [holds(old, name) for name in ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")] == [False, False, True]


@pytest_asyncio.fixture
async def old_sshd(home: Path) -> AsyncIterator[int]:
    """Yield the port of an OpenSSH server that signs with SHA-1 only, and runs once for each connection."""
    key = asyncssh.generate_private_key("ssh-rsa")  # pyright: ignore[reportUnknownMemberType]  # its keywords
    user = asyncssh.read_private_key(home / ".ssh" / "id_ed25519")
    (home / "host_key").touch(mode=0o600)
    (home / "host_key").write_bytes(key.export_private_key())  # pyright: ignore[reportUnknownMemberType]  # its keywords
    (home / "authorized").write_text(written(user))
    (home / "known").write_text(f"* {written(key)}\n")
    (home / "sshd_config").write_text(
        f"HostKey {home}/host_key\nHostKeyAlgorithms ssh-rsa\nAuthorizedKeysFile {home}/authorized\n"
        "StrictModes no\nUsePAM no\nPidFile none\nSetEnv SSHD=only\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it locks itself up; a service manager makes it
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
    """Is refused as by ``ssh``, unless the configuration says otherwise."""
    (home / "config").write_text(
        f"{line}\nPort {old_sshd}\nUserKnownHostsFile {home}/known\nIdentityFile {home}/.ssh/id_ed25519\n"
    )
    assert await where_ssh_goes(str(home / "config"), "127.0.0.1") == expected
    assert await where_we_go(SshTransport("127.0.0.1", ssh_config=str(home / "config"))) == expected
    plain = SshTransport("127.0.0.1", port=old_sshd, known_hosts=str(home / "known"))
    with pytest.raises(
        TransportError, match="did not sign with rsa-sha2-256, rsa-sha2-512; SHA-1 is refused"
    ) as raised:
        await where(plain)
    assert not raised.value.retryable


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (HostKeyRules(min_rsa_bits=3000), "fewer than 3000 bits"),
        (HostKeyRules(algorithms=["ssh-ed25519"]), "has the type ssh-rsa"),
    ],
)
def test_a_key_that_the_rules_leave_out(rules: HostKeyRules, words: str) -> None:
    """Is refused although it is known: RequiredRSASize, HostKeyAlgorithms."""
    key = asyncssh.generate_private_key("ssh-rsa")  # pyright: ignore[reportUnknownMemberType]  # its keywords
    verifier = HostKeyVerifier(
        "pool", 22, parse_known_hosts(f"pool {written(key)}".encode(), "file"), source="file", rules=rules
    )
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        verifier.verify(key.public_data)
    assert words in str(verifier.problem)


def test_known_kinds_of_keys_are_asked_for_first() -> None:
    """A host may have several, of which the file knows one; with an authority certificates come first."""
    key = written(KEYS[0])
    plain = HostKeyVerifier("pool", 22, parse_known_hosts(f"pool {key}".encode(), "file"), source="file")
    assert plain.list_algorithms()[0] == "ssh-ed25519"
    assert plain.list_algorithms()[-1] == "ssh-rsa"
    assert set(plain.list_algorithms()) == {*HostKeyRules().algorithms, "ssh-rsa"}
    by_authority = HostKeyVerifier(
        "pool", 22, parse_known_hosts(f"@cert-authority pool {key}".encode(), "file"), source="file"
    )
    assert by_authority.list_algorithms()[0].endswith("-cert-v01@openssh.com")


# ---- what a configuration adds


@pytest.mark.needs("ssh")
@pytest.mark.asyncio
async def test_the_files_are_those_of_ssh(sshd: Sshd, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind ``Match final``, with tokens and variables, and those of the system; none of them else."""
    monkeypatch.setenv("FILES", str(home))
    good, bad = sshd.known_as(), f"[127.0.0.1]:{sshd.port} {written(KEYS[1])}\n"
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
    (home / "revoked").write_text(f"# stolen\n{written(sshd.host_key)}\n")
    certify(sshd, "expired", KEYS[2])
    (home / "revoked-certificate").write_text(f"{certified(sshd)}\n")
    for number, case in enumerate(cases):
        config = home / f"config-{number}"
        lines = case.format(home=home, key=written(sshd.host_key))
        config.write_text(
            f"{lines}\nMatch all\nGlobalKnownHostsFile /dev/null\nIdentityFile {home}/.ssh/id_ed25519\n"
            f"HostName 127.0.0.1\nPort {sshd.port}\n"
        )
    configs = [str(home / f"config-{number}") for number in range(len(cases))]
    by_ssh = await asyncio.gather(*(where_ssh_goes(config, "pool") for config in configs))
    ours = await asyncio.gather(
        *(where_we_go(SshTransport("pool", ssh_config=config, connect_s=30)) for config in configs)
    )
    assert dict(zip(cases, by_ssh, strict=True)) == cases
    assert dict(zip(cases, ours, strict=True)) == cases


def test_an_address_that_has_another_key() -> None:
    """Is refused with CheckHostIP, and otherwise not; this machine's own addresses are not looked up."""
    key, other = (written(each) for each in KEYS[:2])
    lines = list(parse_known_hosts(f"pool {key}\n192.0.2.1 {other}\n127.0.0.1 {other}".encode(), "file"))
    for address, is_checked, is_good in (
        ("192.0.2.1", True, False),
        ("192.0.2.1", False, True),
        ("127.0.0.1", True, True),
    ):
        verifier = HostKeyVerifier("pool", 22, lines, source="file")
        verifier.add_address(address, is_checked=is_checked)
        if is_good:
            assert verifier.verify(KEYS[0].public_data) == KEYS[0].convert_to_public()
            continue
        with pytest.raises(asyncssh.HostKeyNotVerifiable):
            verifier.verify(KEYS[0].public_data)
        assert "CheckHostIP" in str(verifier.problem)


@given(st.binary(max_size=60))
def test_revoked_keys_that_cannot_be_read(text: bytes) -> None:
    """ConfigError: a list of which a part is not read would let in what it revokes."""
    good = f"{written(KEYS[0])}\n".encode()
    assert parse_revoked_keys(b"# stolen\n\n" + good, "file") == [KEYS[0].public_data]
    with contextlib.suppress(ConfigError):
        keys = parse_revoked_keys(good + text, "file")
        assert len(keys) == sum(
            bool(line.split()) and not line.lstrip().startswith(b"#") for line in (good + text).split(b"\n")
        )


def verdict(text: str, shown: bytes, *, alias: str | None = None, rules: HostKeyRules | None = None) -> str | None:
    """Return why a key is refused by such a file; None: it is not."""
    verifier = HostKeyVerifier(
        "pool", 22, parse_known_hosts(text.encode(), "file"), source="file", alias=alias, rules=rules
    )
    try:
        verifier.verify(shown)
    except asyncssh.HostKeyNotVerifiable:
        return verifier.problem
    return None


def test_certificates_and_plain_keys_are_algorithms_of_their_own() -> None:
    """HostKeyAlgorithms that has one of them leaves the other out (hostkey_accepted_by_hostkeyalgs of sshconnect.c)."""
    certificate = KEYS[1].generate_host_certificate(KEYS[0], "id", principals=["pool"])
    known = f"pool {written(KEYS[0])}\n"
    by_authority = f"@cert-authority pool {written(KEYS[1])}\n"
    plain, certified_only = (
        HostKeyRules(algorithms=["ssh-ed25519"]),
        HostKeyRules(algorithms=["ssh-ed25519-cert-v01@openssh.com"]),
    )
    assert verdict(known, KEYS[0].public_data, rules=plain) is None
    assert "without a certificate" in str(verdict(known, KEYS[0].public_data, rules=certified_only))
    assert verdict(by_authority, certificate.public_data, rules=certified_only) is None
    assert "with a certificate" in str(verdict(by_authority, certificate.public_data, rules=plain))


def test_an_alias_is_looked_up_as_it_is_written() -> None:
    """In hashes and certificates its capitals count (host_hash of hostfile.c, sshkey_cert_check_host); in patterns none do."""
    key, certificate = written(KEYS[0]), KEYS[1].generate_host_certificate(KEYS[0], "id", principals=["pool"])
    assert verdict(f"pool {key}", KEYS[0].public_data, alias="POOL") is None
    assert verdict(f"{hashed('POOL')} {key}", KEYS[0].public_data, alias="POOL") is None
    assert "is unknown" in str(verdict(f"{hashed('pool')} {key}", KEYS[0].public_data, alias="POOL"))
    revoked = f"POOL {key}\n@revoked {hashed('POOL')} {key}"
    assert "is revoked" in str(verdict(revoked, KEYS[0].public_data, alias="POOL"))
    by_authority = f"@cert-authority pool {written(KEYS[1])}"
    assert "it is for pool" in str(verdict(by_authority, certificate.public_data, alias="POOL"))


def test_what_is_revoked_is_the_key_whatever_the_line_calls_it() -> None:
    """A revoked line that names another kind counts all the same: it may say so only about what it forbids."""
    kind, blob = written(KEYS[0]).split()[:2]
    assert "is revoked" in str(verdict(f"pool {kind} {blob}\n@revoked * another {blob}", KEYS[0].public_data))
    assert verdict(f"pool {kind} {blob}\n@revoked * another {blob[:-4]}", KEYS[0].public_data) is None


@given(st.binary(max_size=100), st.sampled_from(["", " ", "\n"]))
def test_what_a_host_shows_is_a_key_or_refused(rest: bytes, end: str) -> None:
    """It is read as bytes, never as the text of a file of keys."""
    kind = f"{written(KEYS[0])}{end}".encode()
    shown = len(kind).to_bytes(4, "big") + kind + rest
    assert "cannot be read" in str(verdict(f"* {written(KEYS[0])}", shown))


def test_a_key_of_negative_numbers_is_refused() -> None:
    """Whether a host shows it or a line revokes it: it can be read as no key."""
    shown = b"".join(len(each).to_bytes(4, "big") + each for each in (b"ssh-rsa", b"\x03", b"\xff" * 256))
    line = f"* ssh-rsa {base64.b64encode(shown).decode()}\n"
    assert "cannot be read" in str(verdict(line, shown))
    assert verdict(f"@revoked {line}pool {written(KEYS[0])}", KEYS[0].public_data) is None


@given(st.text("ab.", max_size=7), st.text("ab.*?", min_size=1, max_size=7))
def test_stars_stand_for_anything(name: str, pattern: str) -> None:
    """Wherever they are, as in patterns of files."""
    (line,) = parse_known_hosts(f"{pattern} {written(KEYS[0])}".encode(), "file")
    assert line.matches(name) == fnmatch.fnmatchcase(name, pattern)
