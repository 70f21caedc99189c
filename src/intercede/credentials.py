"""Credentials that lie in files: the provider that ships with intercede.

::

    async with FileCredentials(private_key="~/.ssh/id_ed25519", passphrase="~/.secrets/phrase") as credentials:
        async with registry.backend(config, credentials=credentials) as backend: ...
"""

import asyncio
import os
import re
import shlex
import stat
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import SecretBytes, SecretStr

from intercede.contract.credentials import (
    Certificate,
    Credential,
    CredentialKind,
    CredentialNeed,
    CredentialSet,
    Password,
    PrivateKey,
    Token,
)
from intercede.contract.errors import AuthenticationError, ConfigError, NotOpenError

__all__ = ["FileCredentials"]

_BEARER: frozenset[CredentialKind] = frozenset({"password", "token"})
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MOST = 2**20
"""No credential is longer; a wrong path may be."""


class FileCredentials:
    """Answers with what lies in files, to whatever resource asks. They are read each time, so they may be replaced.

    A file that holds a secret must be a regular one that nobody but its owner may read or write, as ``ssh`` demands.
    Passwords, passphrases and tokens end before the line's end, if there is one.

    Args:
        username: Whose key or password it is. None: the resource's configuration says.
        resources: Which hosts or endpoints may be shown a password or a token; needed where there is one, since whoever is
            shown it has it. Jump hosts are asked for on their own.
        private_key: For ssh, as OpenSSH or PEM text.
        passphrase: What that key is encrypted with.
        ssh_certificate: The OpenSSH certificate that goes with that key; no secret.
        password: A password.
        token: A bearer token.
        certificate: An X.509 chain, or a proxy, as PEM.
        certificate_key: Its key. None: it lies in the same file, as in a proxy.

    Raises:
        ConfigError: No file is named, or one that is of no use without another.
    """

    def __init__(
        self,
        *,
        username: str | None = None,
        resources: Collection[str] = (),
        private_key: str | os.PathLike[str] | None = None,
        passphrase: str | os.PathLike[str] | None = None,
        ssh_certificate: str | os.PathLike[str] | None = None,
        password: str | os.PathLike[str] | None = None,
        token: str | os.PathLike[str] | None = None,
        certificate: str | os.PathLike[str] | None = None,
        certificate_key: str | os.PathLike[str] | None = None,
    ) -> None:
        _needs("passphrase", passphrase, "private_key", private_key)
        _needs("ssh_certificate", ssh_certificate, "private_key", private_key)
        _needs("certificate_key", certificate_key, "certificate", certificate)
        for field, given in (("password", password), ("token", token)):
            _needs(field, given, "resources", resources or None)
        self._open = False
        self._resources = frozenset(resources)
        self._readers: dict[CredentialKind, Callable[[], Credential]] = {}
        if private_key is not None:
            self._readers["private_key"] = partial(
                _private_key, username, Path(private_key), _path(passphrase), _path(ssh_certificate)
            )
        if password is not None:
            self._readers["password"] = partial(_password, username, Path(password))
        if token is not None:
            self._readers["token"] = partial(_token, Path(token))
        if certificate is not None:
            self._readers["certificate"] = partial(_x509, Path(certificate), Path(certificate_key or certificate))
        if not self._readers:
            expected = "private_key, password, token or certificate"
            raise ConfigError(f"no file of credentials is named; what would do: {expected}", expected=expected)

    async def __aenter__(self) -> Self:
        """Make ``get`` available."""
        self._open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Answer no more. Nothing was kept."""
        self._open = False

    async def get(self, need: CredentialNeed) -> CredentialSet:
        """Read what would do, in the order in which it is asked for.

        Raises:
            AuthenticationError: There is no file of these kinds, it cannot be read, or others may read it.
            NotOpenError: Before entering or after leaving.
        """
        if not self._open:
            raise NotOpenError("get was called on credentials that are not open: use them inside 'async with'")
        readers = [
            self._readers[kind] for kind in need.kinds if kind in self._readers and self._may(kind, need.resource)
        ]
        if not readers:
            there = " and ".join(self._readers)
            raise AuthenticationError(
                f"{need.resource} asks for {' or '.join(need.kinds)}, and for it there is none: {there}"
            )
        return await asyncio.to_thread(lambda: CredentialSet(credentials=tuple(read() for read in readers)))

    def _may(self, kind: CredentialKind, resource: str) -> bool:
        """Whether it may be shown: a key signs, and a certificate is public, but who sees a password or a token has it."""
        return kind not in _BEARER or resource in self._resources


def _private_key(username: str | None, key: Path, passphrase: Path | None, certificate: Path | None) -> PrivateKey:
    return PrivateKey(
        username=username,
        key=SecretBytes(_secret(key)),
        passphrase=None if passphrase is None else SecretBytes(_line(passphrase).encode()),
        certificate=None if certificate is None else _read(certificate),
    )


def _password(username: str | None, path: Path) -> Password:
    return Password(username=username, password=SecretStr(_line(path)))


def _token(path: Path) -> Token:
    return Token(token=SecretStr(_line(path)))


def _x509(chain: Path, key: Path) -> Certificate:
    """Read a chain and its key, apart even where one file holds both: the chain is shown, the key never."""
    chain_pem = _secret(chain) if chain == key else _read(chain)
    certificates, keys = _blocks(chain_pem, b"CERTIFICATE"), _blocks(_secret(key), b"PRIVATE KEY")
    if not certificates or not keys:
        raise AuthenticationError(f"{chain} and {key} must hold a certificate and a private key, as PEM")
    return Certificate(chain=certificates, key=SecretBytes(keys))


def _blocks(pem: bytes, kind: bytes) -> bytes:
    found = re.finditer(rb"-----BEGIN ([A-Z0-9 ]*)-----\r?\n.*?-----END \1-----\r?\n?", pem, re.DOTALL)
    return b"".join(block[0] for block in found if block[1].endswith(kind))


def _line(path: Path) -> str:
    try:
        return _secret(path).decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise AuthenticationError(f"{path} must hold text, in UTF-8") from None


def _secret(path: Path) -> bytes:
    """Read a file that nobody else may read.

    Raises:
        AuthenticationError: Others may, it is no regular file, or it cannot be read.
    """
    return _read(path, is_secret=True)


def _read(path: Path, *, is_secret: bool = False) -> bytes:
    try:
        path = path.expanduser()
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a fifo would block
        with os.fdopen(descriptor, "rb") as file:
            _check(path, os.fstat(descriptor), is_secret=is_secret)
            return file.read()
    except PermissionError as error:
        raise AuthenticationError(f"{path} cannot be read: {error}") from error
    except (OSError, RuntimeError, ValueError) as error:  # the latter two: no such user's home, a NUL
        if path.parent != Path() and _is_directory(path.parent):
            raise AuthenticationError(f"{path} cannot be read: {error}") from error
        why = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise AuthenticationError(
            f"a file of credentials cannot be read: {why}. Its name is not repeated, for it may be the secret itself: give "
            "the path of a file that holds it, with a directory"
        ) from None


def _is_directory(path: Path) -> bool:
    """Unlike ``Path.is_dir`` before Python 3.14, raise nothing: the error would repeat the path."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _check(path: Path, status: os.stat_result, *, is_secret: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise AuthenticationError(f"{path} is no regular file")
    if status.st_size > _MOST:
        raise AuthenticationError(f"{path} has {status.st_size} bytes, which no credential has")
    if is_secret and (status.st_mode & _OTHERS or status.st_uid not in {os.geteuid(), 0}):
        raise AuthenticationError(
            f"{path} holds a secret, and others may use it: it must be ours, and chmod 600 {shlex.quote(str(path))}"
        )


def _path(given: str | os.PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given)


def _needs(field: str, value: object, other: str, its: object) -> None:
    if value is not None and its is None:  # it is not repeated: it may be the secret itself, in the place of its file
        raise ConfigError(f"{field} is of no use without {other}", field=field, expected=f"{other} as well")
