"""Tests of the verification of host keys, without a server: which lines match, and which keys are refused."""

from __future__ import annotations

import base64
import contextlib
import fnmatch
import re
import subprocess
import tempfile
from pathlib import Path

import asyncssh
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transports.host_keys import KEYS, format_key, hash_name

from intercede.contract.errors import ConfigError
from intercede.transports._ssh_host_keys import HostKeyRules, HostKeyVerifier, parse_known_hosts, parse_revoked_keys

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
def test_any_file_can_be_parsed(text: bytes) -> None:
    """A file of any bytes can be parsed, and an invalid line matches no name."""
    for line in parse_known_hosts(b"pool " + text, "file"):
        assert not line.matches("pool")


@given(
    st.sampled_from(NAMES),
    st.sampled_from(["", "@revoked ", "@cert-authority "]),
    st.binary(max_size=40),
    st.booleans(),
)
def test_a_line_among_others_is_found(name: str, marker: str, other: bytes, is_hashed: bool) -> None:
    """A line is parsed with its marker, key and origin, whatever the lines around it hold."""
    line = f"{marker}{hash_name(name) if is_hashed else name} {format_key(KEYS[0])} a comment".encode()
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
def test_patterns_match_as_in_ssh(patterns: list[str]) -> None:
    """A line matches the same names as in ``ssh-keygen -F``."""
    lines = [*patterns, *map(hash_name, NAMES), "|1|broken|hash", "|2|a|b"]
    text = "".join(f"{names} {format_key(KEYS[0])}\n" for names in lines)
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


def test_an_rsa_key_must_sign_with_sha2(home: Path) -> None:
    """A signature of an RSA key with SHA-1 is refused, unless the configuration allows it."""
    key = asyncssh.generate_private_key("ssh-rsa")  # pyright: ignore[reportUnknownMemberType]  # its keywords
    lines = list(parse_known_hosts(f"pool {format_key(key)}".encode(), "file"))

    def holds(rules: HostKeyRules, algorithm: str) -> bool:
        trusted = HostKeyVerifier("pool", 22, lines, source="file", rules=rules).verify(key.public_data)
        return trusted.verify(b"data", key.sign(b"data", algorithm.encode()))

    old = HostKeyRules(algorithms=["ssh-rsa"])
    assert [holds(HostKeyRules(), name) for name in ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")] == [True, True, False]
    assert [holds(old, name) for name in ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")] == [False, False, True]


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (HostKeyRules(min_rsa_bits=3000), "fewer than 3000 bits"),
        (HostKeyRules(algorithms=["ssh-ed25519"]), "has the type ssh-rsa"),
    ],
)
def test_a_key_that_the_rules_exclude(rules: HostKeyRules, words: str) -> None:
    """A known key that RequiredRSASize or HostKeyAlgorithms excludes is refused."""
    key = asyncssh.generate_private_key("ssh-rsa")  # pyright: ignore[reportUnknownMemberType]  # its keywords
    verifier = HostKeyVerifier(
        "pool", 22, parse_known_hosts(f"pool {format_key(key)}".encode(), "file"), source="file", rules=rules
    )
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        verifier.verify(key.public_data)
    assert words in str(verifier.problem)


def test_known_types_of_keys_are_requested_first() -> None:
    """Algorithms of known keys are requested first, or those of certificates if an authority is known."""
    key = format_key(KEYS[0])
    plain = HostKeyVerifier("pool", 22, parse_known_hosts(f"pool {key}".encode(), "file"), source="file")
    assert plain.list_algorithms()[0] == "ssh-ed25519"
    assert plain.list_algorithms()[-1] == "ssh-rsa"
    assert set(plain.list_algorithms()) == {*HostKeyRules().algorithms, "ssh-rsa"}
    by_authority = HostKeyVerifier(
        "pool", 22, parse_known_hosts(f"@cert-authority pool {key}".encode(), "file"), source="file"
    )
    assert by_authority.list_algorithms()[0].endswith("-cert-v01@openssh.com")


def test_an_address_with_another_key() -> None:
    """A different key for the address is refused with CheckHostIP. Loopback addresses are not checked."""
    key, other = (format_key(each) for each in KEYS[:2])
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
def test_unreadable_revoked_keys_are_an_error(text: bytes) -> None:
    """An unreadable list of revoked keys is a ConfigError: reading a part would trust a revoked key."""
    good = f"{format_key(KEYS[0])}\n".encode()
    assert parse_revoked_keys(b"# stolen\n\n" + good, "file") == [KEYS[0].public_data]
    with contextlib.suppress(ConfigError):
        keys = parse_revoked_keys(good + text, "file")
        assert len(keys) == sum(
            bool(line.split()) and not line.lstrip().startswith(b"#") for line in (good + text).split(b"\n")
        )


def find_problem(text: str, shown: bytes, *, alias: str | None = None, rules: HostKeyRules | None = None) -> str | None:
    """Return the reason why such a file refuses a key; None if it is trusted."""
    verifier = HostKeyVerifier(
        "pool", 22, parse_known_hosts(text.encode(), "file"), source="file", alias=alias, rules=rules
    )
    try:
        verifier.verify(shown)
    except asyncssh.HostKeyNotVerifiable:
        return verifier.problem
    return None


def test_certificates_and_plain_keys_are_separate_algorithms() -> None:
    """HostKeyAlgorithms allows each on its own (hostkey_accepted_by_hostkeyalgs of sshconnect.c)."""
    certificate = KEYS[1].generate_host_certificate(KEYS[0], "id", principals=["pool"])
    known = f"pool {format_key(KEYS[0])}\n"
    by_authority = f"@cert-authority pool {format_key(KEYS[1])}\n"
    plain, certified_only = (
        HostKeyRules(algorithms=["ssh-ed25519"]),
        HostKeyRules(algorithms=["ssh-ed25519-cert-v01@openssh.com"]),
    )
    assert find_problem(known, KEYS[0].public_data, rules=plain) is None
    assert "without a certificate" in str(find_problem(known, KEYS[0].public_data, rules=certified_only))
    assert find_problem(by_authority, certificate.public_data, rules=certified_only) is None
    assert "with a certificate" in str(find_problem(by_authority, certificate.public_data, rules=plain))


def test_an_alias_is_case_sensitive() -> None:
    """Case counts in hashes and certificates, not in patterns (host_hash, sshkey_cert_check_host of OpenSSH)."""
    key, certificate = format_key(KEYS[0]), KEYS[1].generate_host_certificate(KEYS[0], "id", principals=["pool"])
    assert find_problem(f"pool {key}", KEYS[0].public_data, alias="POOL") is None
    assert find_problem(f"{hash_name('POOL')} {key}", KEYS[0].public_data, alias="POOL") is None
    assert "is unknown" in str(find_problem(f"{hash_name('pool')} {key}", KEYS[0].public_data, alias="POOL"))
    revoked = f"POOL {key}\n@revoked {hash_name('POOL')} {key}"
    assert "is revoked" in str(find_problem(revoked, KEYS[0].public_data, alias="POOL"))
    by_authority = f"@cert-authority pool {format_key(KEYS[1])}"
    assert "it is for pool" in str(find_problem(by_authority, certificate.public_data, alias="POOL"))


def test_a_revoked_line_may_name_another_type() -> None:
    """A @revoked line that names another key type revokes the key as well."""
    kind, blob = format_key(KEYS[0]).split()[:2]
    assert "is revoked" in str(find_problem(f"pool {kind} {blob}\n@revoked * another {blob}", KEYS[0].public_data))
    assert find_problem(f"pool {kind} {blob}\n@revoked * another {blob[:-4]}", KEYS[0].public_data) is None


@given(st.binary(max_size=100), st.sampled_from(["", " ", "\n"]))
def test_an_invalid_host_key_is_refused(rest: bytes, end: str) -> None:
    """The host's key is parsed as bytes, never as the text of a key file, and refused if it is invalid."""
    kind = f"{format_key(KEYS[0])}{end}".encode()
    shown = len(kind).to_bytes(4, "big") + kind + rest
    assert "cannot be read" in str(find_problem(f"* {format_key(KEYS[0])}", shown))


def test_a_key_with_negative_numbers_is_invalid() -> None:
    """A key with negative numbers is invalid, from a host or in a @revoked line."""
    shown = b"".join(len(each).to_bytes(4, "big") + each for each in (b"ssh-rsa", b"\x03", b"\xff" * 256))
    line = f"* ssh-rsa {base64.b64encode(shown).decode()}\n"
    assert "cannot be read" in str(find_problem(line, shown))
    assert find_problem(f"@revoked {line}pool {format_key(KEYS[0])}", KEYS[0].public_data) is None


@given(st.text("ab.", max_size=7), st.text("ab.*?", min_size=1, max_size=7))
def test_stars_match_any_text(name: str, pattern: str) -> None:
    """Stars match any text, anywhere, as in patterns of files."""
    (line,) = parse_known_hosts(f"{pattern} {format_key(KEYS[0])}".encode(), "file")
    assert line.matches(name) == fnmatch.fnmatchcase(name, pattern)
