"""FileCredentials: a provider that reads credentials from files.

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
_MAX_SIZE = 2**20
"""The maximum size in bytes of a credential file; a larger file is probably the wrong one."""


class FileCredentials:
    """Provides credentials from files. It reads them on every request, so they may be replaced at any time.

    A file that holds a secret must be a regular file that only its owner may read or write, as ``ssh`` requires. A
    newline at the end of a password, a passphrase or a token does not belong to it.

    Args:
        username: The user of the key or the password. None means the user in the resource's configuration.
        resources: The hosts or endpoints that may receive a password or a token; required with either, since every
            host that receives it knows it from then on. A jump host counts as a host of its own.
        private_key: A file with a key for ssh, in OpenSSH's format or as PEM.
        passphrase: A file with the passphrase of that key.
        ssh_certificate: A file with the OpenSSH certificate for that key; it is not secret.
        password: A file with a password.
        token: A file with a bearer token.
        certificate: A file with an X.509 chain or a proxy, as PEM.
        certificate_key: A file with the key of the chain. None means that the key is in the same file, as in a proxy.

    Raises:
        ConfigError: No file is named, or a file is useless without another one.
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
        _require_companion("passphrase", passphrase, "private_key", private_key)
        _require_companion("ssh_certificate", ssh_certificate, "private_key", private_key)
        _require_companion("certificate_key", certificate_key, "certificate", certificate)
        for field, given in (("password", password), ("token", token)):
            _require_companion(field, given, "resources", resources or None)
        self._open = False
        self._resources = frozenset(resources)
        self._readers: dict[CredentialKind, Callable[[], Credential]] = {}
        if private_key is not None:
            self._readers["private_key"] = partial(
                _read_private_key, username, Path(private_key), _make_path(passphrase), _make_path(ssh_certificate)
            )
        if password is not None:
            self._readers["password"] = partial(_read_password, username, Path(password))
        if token is not None:
            self._readers["token"] = partial(_read_token, Path(token))
        if certificate is not None:
            self._readers["certificate"] = partial(_read_x509, Path(certificate), Path(certificate_key or certificate))
        if not self._readers:
            expected = "private_key, password, token or certificate"
            raise ConfigError(f"no credential file is named; expected {expected}", expected=expected)

    async def __aenter__(self) -> Self:
        """Make ``get`` available."""
        self._open = True
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Make ``get`` unavailable. There is no secret to delete, because ``get`` keeps none."""
        self._open = False

    async def get(self, need: CredentialNeed) -> CredentialSet:
        """Read the acceptable credentials, in the order of the request.

        Raises:
            AuthenticationError: There is no file of these kinds, a file cannot be read, or other users may read it.
            NotOpenError: Before entering or after leaving.
        """
        if not self._open:
            raise NotOpenError("get was called on credentials that are not open: use them inside 'async with'")
        readers = [
            self._readers[kind]
            for kind in need.kinds
            if kind in self._readers and self._is_allowed(kind, need.resource)
        ]
        if not readers:
            available = " and ".join(self._readers)
            raise AuthenticationError(
                f"{need.resource} needs {' or '.join(need.kinds)}; none of these credentials is for it: {available}"
            )
        return await asyncio.to_thread(lambda: CredentialSet(credentials=tuple(read() for read in readers)))

    def _is_allowed(self, kind: CredentialKind, resource: str) -> bool:
        """Return whether a resource may receive a credential of a kind.

        A resource that receives a password or a token knows the secret, so the user must name the resource in
        ``resources``.
        """
        return kind not in _BEARER or resource in self._resources


def _read_private_key(username: str | None, key: Path, passphrase: Path | None, certificate: Path | None) -> PrivateKey:
    return PrivateKey(
        username=username,
        key=SecretBytes(_read_secret(key)),
        passphrase=None if passphrase is None else SecretBytes(_read_line(passphrase).encode()),
        certificate=None if certificate is None else _read_file(certificate),
    )


def _read_password(username: str | None, path: Path) -> Password:
    return Password(username=username, password=SecretStr(_read_line(path)))


def _read_token(path: Path) -> Token:
    return Token(token=SecretStr(_read_line(path)))


def _read_x509(chain: Path, key: Path) -> Certificate:
    """Return a certificate chain and its private key in separate fields, because only the chain is ever sent."""
    chain_pem = _read_secret(chain) if chain == key else _read_file(chain)
    certificates, keys = (
        _find_pem_blocks(chain_pem, b"CERTIFICATE"),
        _find_pem_blocks(_read_secret(key), b"PRIVATE KEY"),
    )
    if not certificates or not keys:
        raise AuthenticationError(f"{chain} and {key} must hold a certificate and a private key, as PEM")
    return Certificate(chain=certificates, key=SecretBytes(keys))


def _find_pem_blocks(pem: bytes, kind: bytes) -> bytes:
    found = re.finditer(rb"-----BEGIN ([A-Z0-9 ]*)-----\r?\n.*?-----END \1-----\r?\n?", pem, re.DOTALL)
    return b"".join(block[0] for block in found if block[1].endswith(kind))


def _read_line(path: Path) -> str:
    try:
        return _read_secret(path).decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise AuthenticationError(f"{path} must hold UTF-8 text") from None


def _read_secret(path: Path) -> bytes:
    """Read a file that only its owner may read.

    Raises:
        AuthenticationError: Other users may read it, it is not a regular file, or it cannot be read.
    """
    return _read_file(path, is_secret=True)


def _read_file(path: Path, *, is_secret: bool = False) -> bytes:
    try:
        path = path.expanduser()
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # opening a fifo must not block
        with os.fdopen(descriptor, "rb") as file:
            _check_file(path, os.fstat(descriptor), is_secret=is_secret)
            return file.read()
    except PermissionError as error:
        raise AuthenticationError(f"cannot read {path}: {error}") from error
    except (OSError, RuntimeError, ValueError) as error:
        # RuntimeError means that the user in ``~user`` does not exist. ValueError means that the path contains a NUL.
        if path.parent != Path() and _is_directory(path.parent):
            raise AuthenticationError(f"cannot read {path}: {error}") from error
        why = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise AuthenticationError(
            f"cannot read a credential file: {why}. Its name is not repeated, because it may be the secret itself: "
            "pass the path of a file that holds the secret, with a directory"
        ) from None


def _is_directory(path: Path) -> bool:
    """Return whether a path is a directory. Unlike ``Path.is_dir`` before Python 3.14, this never raises."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _check_file(path: Path, status: os.stat_result, *, is_secret: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise AuthenticationError(f"{path} is not a regular file")
    if status.st_size > _MAX_SIZE:
        raise AuthenticationError(f"{path} has {status.st_size} bytes: no credential is that large")
    if is_secret and (status.st_mode & _OTHERS or status.st_uid not in {os.geteuid(), 0}):
        raise AuthenticationError(
            f"{path} holds a secret, and other users may use it: own it, and chmod 600 {shlex.quote(str(path))}"
        )


def _make_path(given: str | os.PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given)


def _require_companion(field: str, value: object, other: str, its: object) -> None:
    if value is not None and its is None:
        # The error does not show the value, because the value may be the secret itself.
        raise ConfigError(f"{field} is useless without {other}", field=field, expected=f"{other} as well")
