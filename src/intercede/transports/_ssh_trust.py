"""Which key a host may show: what files of known hosts say of it, read and weighed as OpenSSH's client does."""

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

__all__ = ["Line", "Rules", "Trust", "read_lines", "read_revoked"]

_CERTIFICATE = "-cert-v01@openssh.com"
_AUTHORITY, _REVOKED = "@cert-authority", "@revoked"
_STRONG_RSA, _WEAK_RSA = ("rsa-sha2-512", "rsa-sha2-256"), "ssh-rsa"
_DEFAULT_PORT = 22
_LENGTH = 4
_KRL = b"SSHKRL"
_UNREADABLE = (ValueError, OverflowError)
"""What asyncssh raises of a key: its KeyImportError is a ValueError; the other one is about negative numbers."""
_SIGNATURES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    *_STRONG_RSA,
)
"""Those of OpenSSH's client, in its order: none signs with SHA-1."""


@dataclass(frozen=True)
class Rules:
    """What a host key must be, whoever vouches for it. The defaults are those of OpenSSH's client.

    Args:
        algorithms: How it may be signed with, the best first.
        authority_algorithms: How an authority may have signed a certificate.
        least_rsa_bits: The size of an RSA key.
    """

    algorithms: Sequence[str] = tuple(name.partition("@")[0] + _CERTIFICATE for name in _SIGNATURES) + _SIGNATURES
    authority_algorithms: Sequence[str] = _SIGNATURES
    least_rsa_bits: int = 1024


@dataclass(frozen=True)
class Line:
    """A line of a file of known hosts: a marker or "", patterns of names, and a public key; and where it stands."""

    marker: str
    names: str
    kind: bytes
    written: bytes
    origin: str
    is_printed: bool = False
    """By a command (KnownHostsCommand), and not in a file."""

    @cached_property
    def key(self) -> bytes:
        """Decode the key: of few lines it is asked for, and some have thousands. Empty if there is none.

        What is revoked is the key, also if the line holds a certificate for it or names its kind otherwise.
        """
        key = _decoded(self.written)
        if self.marker == _REVOKED:
            return _without_certificate(key)
        return key if _kind(key).encode() == self.kind else b""

    def matches(self, name: str) -> bool:
        """Whether it gives a key to a host by that name, which is ``[name]:port`` for a port that is not 22."""
        if self.names.startswith("|"):
            return _is_hash_of(name, self.names) and bool(self.key)
        name = name.lower()
        patterns = self.names.lower().split(",")
        if any(pattern.startswith("!") and _is_like(name, pattern[1:]) for pattern in patterns):
            return False
        return any(_is_like(name, pattern) for pattern in patterns) and bool(self.key)


def read_lines(text: bytes, origin: str, *, is_printed: bool = False) -> Iterator[Line]:
    """Yield the lines of a file of known hosts, or as a command printed them. Those that OpenSSH cannot read match no name."""
    for number, line in enumerate(text.split(b"\n"), 1):
        words = line.split(maxsplit=4)
        marker = words.pop(0).decode("latin-1") if words and words[0].startswith(b"@") else ""
        if len(words) < len(("names", "kind", "key")) or marker not in {"", _AUTHORITY, _REVOKED}:
            continue
        names, kind, written = words[:3]
        if not names.startswith(b"#"):
            decoded = names.decode("utf-8", "surrogateescape")
            yield Line(marker, decoded, kind, written, f"{origin}:{number}", is_printed)


def read_revoked(text: bytes, origin: str) -> list[bytes]:
    """Return the keys of a file of revoked ones, one a line (RevokedHostKeys).

    Raises:
        ConfigError: It holds something else, such as the list that ``ssh-keygen -k`` makes.
    """
    lines = [line.split() for line in text.split(b"\n") if line.strip() and not line.lstrip().startswith(b"#")]
    keys = [_without_certificate(_decoded(words[1])) if len(words) > 1 else b"" for words in lines]
    if text.startswith(_KRL) or not all(keys):
        raise ConfigError(
            f"RevokedHostKeys {origin} holds more than public keys, and we cannot read that",
            field="ssh_config",
            value=origin,
            expected="one public key a line",
        )
    return keys


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _without_certificate(blob: bytes) -> bytes:
    """Return the plain key that a key or a certificate holds; empty if it can be read as neither."""
    try:
        key = decode_ssh_certificate(blob).key if _is_certificate(blob) else decode_ssh_public_key(blob)
    except _UNREADABLE:
        return b""
    return key.public_data


def _is_certificate(blob: bytes) -> bool:
    return _kind(blob).endswith(_CERTIFICATE)


def _is_hash_of(name: str, hashed: str) -> bool:
    """Read ``|1|SALT|HMAC-SHA1``."""
    try:
        _, magic, salt, digest = hashed.split("|")
        expected = binascii.a2b_base64(digest)
        made = hmac.new(binascii.a2b_base64(salt), name.encode("utf-8", "surrogateescape"), hashlib.sha1).digest()
    except ValueError:
        return False
    return magic == "1" and made == expected


def _is_like(name: str, pattern: str) -> bool:
    """Match ``*`` and ``?``, and nothing else: brackets stand for themselves.

    What stands between two stars is taken where it first fits, and not tried elsewhere, so that no pattern takes long.
    """
    if "*" not in pattern and "?" not in pattern:
        return name == pattern
    first, *between = (re.escape(part).replace(r"\?", ".") for part in pattern.split("*"))
    last = f".*{between.pop()}" if between else ""
    written = "".join((first, *(f"(?>.*?{part})" for part in between), last))
    return re.fullmatch(written, name, re.DOTALL) is not None


def _strings(blob: bytes) -> Iterator[bytes]:
    """Yield the strings, each behind its length, that a key consists of."""
    while len(blob) >= _LENGTH:
        end = _LENGTH + int.from_bytes(blob[:_LENGTH], "big")
        yield blob[_LENGTH:end]
        blob = blob[end:]


def _kind(key: bytes) -> str:
    return next(_strings(key), b"").decode("ascii", "replace")


def _plain(algorithm: str) -> str:
    """Return how a key signs that may have a certificate."""
    plain = algorithm.removesuffix(_CERTIFICATE)
    return f"{plain}@openssh.com" if plain.startswith("sk-") and "@" not in plain else plain


def _kind_of(algorithm: str) -> str:
    """Return the kind of plain key that signs like that."""
    plain = _plain(algorithm)
    return _WEAK_RSA if plain in _STRONG_RSA else plain


class Trust:
    """What is known of one host, and the verdict on the key that it shows.

    A key is good if a line names it, or its authority, for ``[host]:port``; where the port is not 22 and no key stands
    there, for ``host``. What any line revokes is not, by whichever of the host's names and addresses.

    Args:
        host: Its name, as it is connected to.
        port: Its port.
        lines: Those of every file that counts.
        where: What those are called in an error.
        alias: The name that is looked up instead, without a port (HostKeyAlias).
        revoked: Keys that no host may show (RevokedHostKeys).
        rules: What a key must be in any case.
    """

    def __init__(
        self,
        host: str,
        port: int,
        lines: Iterable[Line],
        *,
        where: str,
        alias: str | None = None,
        revoked: Iterable[bytes] = (),
        rules: Rules | None = None,
    ) -> None:
        self._rules = rules or Rules()
        self._name = alias or host.lower()
        self._where, self._lines = where, list(lines)
        looked_up = alias or _with_port(self._name, port)
        found = [[line for line in self._lines if line.matches(looked_up)]]
        if looked_up != self._name:  # a command was asked for the form with a port only
            found.append([line for line in self._lines if line.matches(self._name) and not line.is_printed])
        plain = ([line for line in lines if not line.marker] for lines in found)
        self._keys = next(filter(None, plain), list[Line]())
        self._authorities = {one.key for lines in found for one in lines if one.marker == _AUTHORITY}
        self._revoked = dict.fromkeys(revoked, "RevokedHostKeys")
        self._address, self._keys_of_address = "", set[bytes]()
        self._ask = f"ssh-keyscan {'' if port == _DEFAULT_PORT else f'-p {port} '}{host}"
        self._port = port
        self._revoke_by(host.lower())
        self._revoke_by(self._name)
        self.verdict: str | None = None
        """What is wrong where the key that it showed, or then its signature, does not hold, and what to do."""

    def meet(self, address: str, *, is_checked: bool) -> None:
        """Take note of its address: what is revoked for it is refused; is it checked, so is what does not stand for it."""
        self._revoke_by(address)
        if is_checked and address != self._name and not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            form = _with_port(address, self._port)
            self._address = address
            self._keys_of_address = {line.key for line in self._lines if not line.marker and line.matches(form)}

    def _revoke_by(self, name: str) -> None:
        forms = (name, _with_port(name, self._port))
        revoked = (line for line in self._lines if line.marker == _REVOKED)
        self._revoked |= {line.key: line.origin for line in revoked if any(map(line.matches, forms))}

    def algorithms(self) -> list[str]:
        """Return what to ask for, first what known keys sign with: a host may have several.

        A server that signs with SHA-1 only would hang up without a word, so that is the last, and does not hold.
        """
        known = {_kind(line.key) for line in self._keys}

        def is_known(algorithm: str) -> bool:
            if algorithm.endswith(_CERTIFICATE):
                return bool(self._authorities)
            return _kind_of(algorithm) in known

        return list(dict.fromkeys((*sorted(self._rules.algorithms, key=is_known, reverse=True), _WEAK_RSA)))

    def verified(self, key_data: bytes) -> asyncssh.SSHKey:
        """Return the key that the host shows, where it may be that host's.

        Raises:
            asyncssh.HostKeyNotVerifiable: It may not. ``verdict`` says why; the host is told nothing of it.
        """
        try:
            return self._verified(key_data)
        except (_RefusedError, *_UNREADABLE) as error:
            self.verdict = str(error) if isinstance(error, _RefusedError) else f"its host key cannot be read: {error}"
            raise asyncssh.HostKeyNotVerifiable("Host key not verified") from None

    def _verified(self, shown: bytes) -> asyncssh.SSHKey:
        if not _is_certificate(shown):
            return self._known(decode_ssh_public_key(shown))
        certificate = decode_ssh_certificate(shown)
        if not isinstance(certificate, SSHOpenSSHCertificate):
            raise _RefusedError("its host certificate is none of OpenSSH's")
        self._refuse_revoked(certificate.signing_key, "the authority that signed its host certificate")
        flaw = self._flaw(certificate, shown)
        if flaw is None:
            self._refuse_revoked(certificate.key, "its host key")
            return self._signing_as_allowed(certificate.key, is_certified=True)
        return self._known(certificate.key, flaw)  # as ssh does: the key may be known without a certificate

    def _flaw(self, certificate: SSHOpenSSHCertificate, shown: bytes) -> str | None:
        authority = certificate.signing_key.public_data
        if authority not in self._authorities:
            return ""
        _, _, signature = shown.rpartition(len(authority).to_bytes(_LENGTH, "big") + authority)
        algorithm = _kind(signature[_LENGTH:])
        if algorithm not in self._rules.authority_algorithms:
            return f"it was signed with {algorithm}, which is refused"
        if self._name not in certificate.principals:
            return f"it is for {', '.join(certificate.principals) or 'no host by name'}"
        try:
            certificate.validate(CERT_TYPE_HOST, None)
        except ValueError as error:
            return f"{error}"
        return None

    def _known(self, key: asyncssh.SSHKey, flaw: str = "") -> asyncssh.SSHKey:
        self._refuse_revoked(key, "its host key")
        if self._keys_of_address and key.public_data not in self._keys_of_address:
            raise _RefusedError(
                f"its host key ({key.get_fingerprint()}) is not the one that stands for its address {self._address} in "
                f"{self._where}, and CheckHostIP is set"
            )
        if any(line.key == key.public_data for line in self._keys):
            return self._signing_as_allowed(key, is_certified=False)
        if flaw:
            raise _RefusedError(
                f"its host certificate is no good for {self._name}: {flaw}; its operators have to issue a new one"
            )
        if self._keys or self._authorities:
            raise _RefusedError(
                f"its host key ({key.get_fingerprint()}) is not the one that stands for {self._name} in {self._where}: "
                "either its operators gave it a new one, which they will confirm, or somebody else answers in its place"
            )
        raise _RefusedError(
            f"its host key ({key.get_fingerprint()}) is not known, no line for {self._name} stands in {self._where}: "
            f"`{self._ask}` shows it; compare it with what its operators publish, then add it"
        )

    def _refuse_revoked(self, key: asyncssh.SSHKey, what: str) -> None:
        origin = self._revoked.get(key.public_data)
        if origin is not None:
            raise _RefusedError(
                f"{what} ({key.get_fingerprint()}) is revoked in {origin}: it may have been stolen, so nothing tells "
                "this host from a thief; its operators have to give it a new one"
            )

    def _signing_as_allowed(self, key: asyncssh.SSHKey, *, is_certified: bool) -> asyncssh.SSHKey:
        """Return it as one of which other signatures do not hold, such as those with SHA-1."""
        kind, *numbers = _strings(key.public_data)
        if kind == b"ssh-rsa" and int.from_bytes(numbers[1], "big").bit_length() < self._rules.least_rsa_bits:
            raise _RefusedError(f"its RSA host key has fewer than {self._rules.least_rsa_bits} bits")
        allowed = (each for each in self._rules.algorithms if each.endswith(_CERTIFICATE) == is_certified)
        key.all_sig_algorithms = key.all_sig_algorithms & {_plain(each).encode() for each in allowed}
        if not key.all_sig_algorithms:
            how = "with" if is_certified else "without"
            raise _RefusedError(
                f"its host key is of the kind {kind.decode()}, which HostKeyAlgorithms leaves out {how} a certificate"
            )
        names = ", ".join(sorted(name.decode() for name in key.all_sig_algorithms))
        self.verdict = f"its host key did not sign as {names}; SHA-1 is refused, unless HostKeyAlgorithms has ssh-rsa"
        return key


class _RefusedError(Exception):
    """Why a key was refused."""


def _with_port(name: str, port: int) -> str:
    return name if port == _DEFAULT_PORT else f"[{name}]:{port}"
