"""Parses known_hosts files, and verifies the key of a host against them as OpenSSH's client does."""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import asyncssh
from asyncssh.public_key import (
    CERT_TYPE_HOST,
    SSHOpenSSHCertificate,
    decode_ssh_certificate,
    decode_ssh_public_key,
)

from intercede.contract.errors import ConfigError

__all__ = ["HostKeyRules", "HostKeyVerifier", "KnownHostsLine", "parse_known_hosts", "parse_revoked_keys"]

_CERTIFICATE = "-cert-v01@openssh.com"
_AUTHORITY, _REVOKED = "@cert-authority", "@revoked"
_STRONG_RSA, _WEAK_RSA = ("rsa-sha2-512", "rsa-sha2-256"), "ssh-rsa"
_DEFAULT_PORT = 22
_LENGTH = 4
_KRL = b"SSHKRL"
_UNREADABLE = (ValueError, OverflowError)
"""The errors that asyncssh raises for an unreadable key: ValueError (KeyImportError is one) and OverflowError.

Negative numbers raise OverflowError.
"""
_SIGNATURES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    *_STRONG_RSA,
)
"""The signature algorithms of OpenSSH's client, in its order; none of them uses SHA-1."""


@dataclass(frozen=True)
class HostKeyRules:
    """The requirements for every host key. The defaults are those of OpenSSH's client.

    Args:
        algorithms: The allowed algorithms for a host key and its signature, in order of preference.
        authority_algorithms: The allowed algorithms for the signature on a host certificate.
        min_rsa_bits: The minimum size of an RSA key, in bits.
    """

    algorithms: Sequence[str] = tuple(name.partition("@")[0] + _CERTIFICATE for name in _SIGNATURES) + _SIGNATURES
    authority_algorithms: Sequence[str] = _SIGNATURES
    min_rsa_bits: int = 1024


@dataclass(frozen=True)
class KnownHostsLine:
    """One line of a known_hosts file: a marker or "", name patterns, a public key, and the origin of the line."""

    marker: str
    names: str
    key_type: bytes
    encoded_key: bytes
    origin: str
    is_printed: bool = False
    """True if a command (KnownHostsCommand) printed the line."""

    @cached_property
    def key(self) -> bytes:
        """The public key, or empty bytes if the line has no valid key.

        The key is decoded only when it is needed, because files may have many lines.

        A @revoked line revokes the plain key, even if the line holds a certificate for it or names another key type.
        """
        key = _decode_base64(self.encoded_key)
        if self.marker == _REVOKED:
            return _extract_plain_key(key)
        return key if _read_type(key).encode() == self.key_type else b""

    def matches(self, name: str) -> bool:
        """Return whether the line has a key for this host. If the port is not 22, the name is ``[name]:port``."""
        if self.names.startswith("|"):
            return _is_hash_of(name, self.names) and bool(self.key)
        name = name.lower()
        patterns = self.names.lower().split(",")
        if any(pattern.startswith("!") and _matches_pattern(name, pattern[1:]) for pattern in patterns):
            return False
        return any(_matches_pattern(name, pattern) for pattern in patterns) and bool(self.key)


def parse_known_hosts(text: bytes, origin: str, *, is_printed: bool = False) -> Iterator[KnownHostsLine]:
    """Yield the lines of a known_hosts file or of a command's output. An unreadable line matches no name, as in ssh."""
    for number, line in enumerate(text.split(b"\n"), 1):
        words = line.split(maxsplit=4)
        marker = words.pop(0).decode("latin-1") if words and words[0].startswith(b"@") else ""
        if len(words) < len(("names", "type", "key")) or marker not in {"", _AUTHORITY, _REVOKED}:
            continue
        names, key_type, encoded_key = words[:3]
        if not names.startswith(b"#"):
            decoded = names.decode("utf-8", "surrogateescape")
            yield KnownHostsLine(marker, decoded, key_type, encoded_key, f"{origin}:{number}", is_printed)


def parse_revoked_keys(text: bytes, origin: str) -> list[bytes]:
    """Return the keys of a RevokedHostKeys file, which holds one public key per line.

    Raises:
        ConfigError: The file holds anything else, such as a list that ``ssh-keygen -k`` has made.
    """
    lines = [line.split() for line in text.split(b"\n") if line.strip() and not line.lstrip().startswith(b"#")]
    keys = [_extract_plain_key(_decode_base64(words[1])) if len(words) > 1 else b"" for words in lines]
    if text.startswith(_KRL) or not all(keys):
        raise ConfigError(
            f"RevokedHostKeys {origin} holds more than public keys, which is not supported",
            field="ssh_config",
            value=origin,
            expected="one public key per line",
        )
    return keys


def _decode_base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _extract_plain_key(blob: bytes) -> bytes:
    """Return the public key that a key or a certificate holds, or empty bytes if the data is neither."""
    try:
        key = decode_ssh_certificate(blob).key if _is_certificate(blob) else decode_ssh_public_key(blob)
    except _UNREADABLE:
        return b""
    return key.public_data


def _is_certificate(blob: bytes) -> bool:
    return _read_type(blob).endswith(_CERTIFICATE)


def _is_hash_of(name: str, hashed: str) -> bool:
    """Return whether a hashed name, ``|1|SALT|HMAC-SHA1``, is the hash of this name."""
    try:
        _, magic, salt, digest = hashed.split("|")
        expected = binascii.a2b_base64(digest)
        made = hmac.new(binascii.a2b_base64(salt), name.encode("utf-8", "surrogateescape"), hashlib.sha1).digest()
    except ValueError:
        return False
    return magic == "1" and made == expected


def _matches_pattern(name: str, pattern: str) -> bool:
    """Match a name against ``*`` and ``?``; brackets have no special meaning.

    The text between two stars is matched at the first place where it fits, without backtracking, so every pattern is
    fast.
    """
    if "*" not in pattern and "?" not in pattern:
        return name == pattern
    first, *between = (re.escape(part).replace(r"\?", ".") for part in pattern.split("*"))
    last = f".*{between.pop()}" if between else ""
    regex = "".join((first, *(f"(?>.*?{part})" for part in between), last))
    return re.fullmatch(regex, name, re.DOTALL) is not None


def _split_strings(blob: bytes) -> Iterator[bytes]:
    """Yield the strings of an encoded key. In the encoding, each string follows its length."""
    while len(blob) >= _LENGTH:
        end = _LENGTH + int.from_bytes(blob[:_LENGTH], "big")
        yield blob[_LENGTH:end]
        blob = blob[end:]


def _read_type(key: bytes) -> str:
    return next(_split_strings(key), b"").decode("ascii", "replace")


def _strip_certificate(algorithm: str) -> str:
    """Return the signature algorithm without its certificate suffix."""
    plain = algorithm.removesuffix(_CERTIFICATE)
    return f"{plain}@openssh.com" if plain.startswith("sk-") and "@" not in plain else plain


def _find_key_type(algorithm: str) -> str:
    """Return the type of key that signs with this algorithm."""
    plain = _strip_certificate(algorithm)
    return _WEAK_RSA if plain in _STRONG_RSA else plain


class HostKeyVerifier:
    """Verifies the key of one host against all known_hosts lines.

    A key is trusted if a line for ``[host]:port`` holds it or the authority that signed it. If the port is not 22 and
    no key is listed for it, lines for ``host`` apply. A key that any line revokes for any of the host's names and
    addresses is refused.

    Args:
        host: The name by which the connection reaches the host.
        port: The host's port.
        lines: The lines of all relevant files.
        source: The name of those files, for error messages.
        alias: The name to look up instead of the host and the port (HostKeyAlias).
        revoked: Keys that are refused for every host (RevokedHostKeys).
        rules: The requirements for every key.
    """

    def __init__(
        self,
        host: str,
        port: int,
        lines: Iterable[KnownHostsLine],
        *,
        source: str,
        alias: str | None = None,
        revoked: Iterable[bytes] = (),
        rules: HostKeyRules | None = None,
    ) -> None:
        self._rules = rules or HostKeyRules()
        self._name = alias or host.lower()
        self._source, self._lines = source, list(lines)
        looked_up = alias or _add_port(self._name, port)
        found = [[line for line in self._lines if line.matches(looked_up)]]
        if looked_up != self._name:  # KnownHostsCommand was asked only for [name]:port, not for the bare name
            found.append([line for line in self._lines if line.matches(self._name) and not line.is_printed])
        plain = ([line for line in lines if not line.marker] for lines in found)
        self._keys = next(filter(None, plain), list[KnownHostsLine]())
        self._authorities = {one.key for lines in found for one in lines if one.marker == _AUTHORITY}
        self._revoked = dict.fromkeys(revoked, "RevokedHostKeys")
        self._address, self._keys_of_address = "", set[bytes]()
        self._ask = f"ssh-keyscan {'' if port == _DEFAULT_PORT else f'-p {port} '}{host}"
        self._port = port
        self._collect_revoked(host.lower())
        self._collect_revoked(self._name)
        self.problem: str | None = None
        """The reason why the host key or its signature is refused, and what to do about it."""

    def add_address(self, address: str, *, is_checked: bool) -> None:
        """Add the host's address. Keys that are revoked for the address are refused.

        If ``is_checked`` is True (CheckHostIP) and keys are listed for the address, the host's key must be one of them.
        """
        self._collect_revoked(address)
        if is_checked and address != self._name and not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            form = _add_port(address, self._port)
            self._address = address
            self._keys_of_address = {line.key for line in self._lines if not line.marker and line.matches(form)}

    def _collect_revoked(self, name: str) -> None:
        forms = (name, _add_port(name, self._port))
        revoked = (line for line in self._lines if line.marker == _REVOKED)
        self._revoked |= {line.key: line.origin for line in revoked if any(map(line.matches, forms))}

    def list_algorithms(self) -> list[str]:
        """Return the algorithms to request. A host may have several keys, so the algorithms of known keys come first.

        The last algorithm is SHA-1 (ssh-rsa): a server that supports nothing else would hang up without an explanation.
        Its signature is refused later.
        """
        known = {_read_type(line.key) for line in self._keys}

        def is_known(algorithm: str) -> bool:
            if algorithm.endswith(_CERTIFICATE):
                return bool(self._authorities)
            return _find_key_type(algorithm) in known

        return list(dict.fromkeys((*sorted(self._rules.algorithms, key=is_known, reverse=True), _WEAK_RSA)))

    def verify(self, key_data: bytes) -> asyncssh.SSHKey:
        """Check that the host's key is trusted, and return the key.

        Raises:
            asyncssh.HostKeyNotVerifiable: The key is not trusted. ``problem`` holds the reason, which the host does not
                learn.
        """
        try:
            return self._check_host_key(key_data)
        except (_RefusedError, *_UNREADABLE) as error:
            self.problem = str(error) if isinstance(error, _RefusedError) else f"its host key cannot be read: {error}"
            raise asyncssh.HostKeyNotVerifiable("Host key not verified") from None

    def _check_host_key(self, encoded: bytes) -> asyncssh.SSHKey:
        if not _is_certificate(encoded):
            return self._check_known(decode_ssh_public_key(encoded))
        certificate = decode_ssh_certificate(encoded)
        if not isinstance(certificate, SSHOpenSSHCertificate):
            raise _RefusedError("its host certificate is not in OpenSSH's format")
        self._refuse_revoked(certificate.signing_key, "the authority that signed its host certificate")
        flaw = self._find_certificate_flaw(certificate, encoded)
        if flaw is None:
            self._refuse_revoked(certificate.key, "its host key")
            return self._restrict_signatures(certificate.key, is_certified=True)
        return self._check_known(certificate.key, flaw)  # like ssh: the key may be known without its certificate

    def _find_certificate_flaw(self, certificate: SSHOpenSSHCertificate, encoded: bytes) -> str | None:
        authority = certificate.signing_key.public_data
        if authority not in self._authorities:
            return ""
        _, _, signature = encoded.rpartition(len(authority).to_bytes(_LENGTH, "big") + authority)
        algorithm = _read_type(signature[_LENGTH:])
        if algorithm not in self._rules.authority_algorithms:
            return f"it was signed with {algorithm}, which is refused"
        if self._name not in certificate.principals:
            return f"it is for {', '.join(certificate.principals) or 'no host name'}"
        try:
            certificate.validate(CERT_TYPE_HOST, None)
        except ValueError as error:
            return f"{error}"
        return None

    def _check_known(self, key: asyncssh.SSHKey, flaw: str = "") -> asyncssh.SSHKey:
        self._refuse_revoked(key, "its host key")
        if self._keys_of_address and key.public_data not in self._keys_of_address:
            raise _RefusedError(
                f"its host key ({key.get_fingerprint()}) differs from the one listed for its address {self._address} "
                f"in {self._source}, and CheckHostIP is set"
            )
        if any(line.key == key.public_data for line in self._keys):
            return self._restrict_signatures(key, is_certified=False)
        if flaw:
            raise _RefusedError(
                f"its host certificate is not valid for {self._name}: {flaw}; ask its operators for a new one"
            )
        if self._keys or self._authorities:
            raise _RefusedError(
                f"its host key ({key.get_fingerprint()}) differs from the one listed for {self._name} in "
                f"{self._source}: either the operators have changed the key, which they can confirm, or another "
                "machine answers in place of this host"
            )
        raise _RefusedError(
            f"its host key ({key.get_fingerprint()}) is unknown: {self._source} has no line for {self._name}; "
            f"`{self._ask}` prints the key: compare it with the one that the operators publish, then add it"
        )

    def _refuse_revoked(self, key: asyncssh.SSHKey, what: str) -> None:
        origin = self._revoked.get(key.public_data)
        if origin is not None:
            raise _RefusedError(
                f"{what} ({key.get_fingerprint()}) is revoked in {origin}: the key may have been stolen, so another "
                "machine could pose as this host; its operators have to give it a new key"
            )

    def _restrict_signatures(self, key: asyncssh.SSHKey, *, is_certified: bool) -> asyncssh.SSHKey:
        """Return the key, restricted to the allowed signature algorithms; this excludes SHA-1 by default."""
        key_type, *numbers = _split_strings(key.public_data)
        if key_type == b"ssh-rsa" and int.from_bytes(numbers[1], "big").bit_length() < self._rules.min_rsa_bits:
            raise _RefusedError(f"its RSA host key has fewer than {self._rules.min_rsa_bits} bits")
        allowed = (each for each in self._rules.algorithms if each.endswith(_CERTIFICATE) == is_certified)
        key.all_sig_algorithms = key.all_sig_algorithms & {_strip_certificate(each).encode() for each in allowed}
        if not key.all_sig_algorithms:
            how = "with" if is_certified else "without"
            raise _RefusedError(
                f"its host key has the type {key_type.decode()}, which HostKeyAlgorithms does not allow {how} a "
                "certificate"
            )
        names = ", ".join(sorted(name.decode() for name in key.all_sig_algorithms))
        self.problem = f"its host key did not sign with {names}; SHA-1 is refused unless HostKeyAlgorithms has ssh-rsa"
        return key


class _RefusedError(Exception):
    """The host key is refused; the message says why."""


def _add_port(name: str, port: int) -> str:
    return name if port == _DEFAULT_PORT else f"[{name}]:{port}"
