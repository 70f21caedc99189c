"""Prepares keys and passwords for a login: those of a credential provider, or the keys that ``ssh`` would offer."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

import asyncssh

from intercede.contract.credentials import CredentialSet, Password, PrivateKey
from intercede.transports._ssh_config import Login

__all__ = ["build_auth_options", "offer_own_keys"]

_AGENT_SECONDS = 5.0
_Key = asyncssh.SSHKey | asyncssh.SSHKeyPair
_ClientKey = _Key | tuple[_Key, asyncssh.SSHCertificate]
_UNREADABLE = (OSError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError)


def build_auth_options(credentials: CredentialSet) -> dict[str, object]:
    """Return the options for asyncssh. Call it in a thread: decrypting a key is slow by design.

    Raises:
        asyncssh.KeyImportError, asyncssh.KeyEncryptionError: The key cannot be read.
    """
    key, password = credentials.first(PrivateKey), credentials.first(Password)
    username = next((each.username for each in (key, password) if each is not None and each.username), None)
    return {
        "client_keys": None if key is None else [_import_key_pair(key)],
        "password": None
        if password is None
        else password.password.get_secret_value,  # a function is passed: no stack frame then holds the password
        "gss_auth": False,
        **({} if username is None else {"username": username}),
    }


def _import_key_pair(credential: PrivateKey) -> object:
    passphrase = None if credential.passphrase is None else credential.passphrase.get_secret_value()
    key = asyncssh.import_private_key(credential.key.get_secret_value(), passphrase)
    return key if credential.certificate is None else (key, asyncssh.import_certificate(credential.certificate))


@contextlib.asynccontextmanager
async def offer_own_keys(login: Login) -> AsyncGenerator[dict[str, object]]:
    """Yield asyncssh's options for the user's own keys, in the order of ``ssh``; the agent stays connected meanwhile.

    The agent's keys that are configured come first, then its other keys, then those from files. A key is skipped if
    its file does not exist or needs a passphrase.
    """
    identities = await asyncio.to_thread(_read_identities, login)
    async with _open_agent_keys(login.agent) as agent:
        held = {pair.public_data: pair for pair in agent}
        known = {identity.public: identity for identity in identities if identity.public}
        keys: list[_ClientKey] = [known[public].attach_certificate(held[public]) for public in known if public in held]
        if not login.identities_only:
            keys += [pair for public, pair in held.items() if public not in known]
        keys += [
            each.attach_certificate(each.key) for each in identities if each.key is not None and each.public not in held
        ]
        yield {"client_keys": keys or None}


@contextlib.asynccontextmanager
async def _open_agent_keys(path: str) -> AsyncGenerator[Sequence[asyncssh.SSHKeyPair]]:
    async with contextlib.AsyncExitStack() as stack:
        keys: Sequence[asyncssh.SSHKeyPair] = ()
        if path:
            with contextlib.suppress(OSError, ValueError, TimeoutError):
                async with asyncio.timeout(_AGENT_SECONDS):
                    agent = await stack.enter_async_context(await asyncssh.connect_agent(path))
                    keys = await agent.get_keys()
        yield keys


@dataclass(frozen=True)
class _Identity:
    """The content of a configured identity file: a key or only its public half, and the certificate for it."""

    key: asyncssh.SSHKey | None
    public: bytes
    certificate: asyncssh.SSHCertificate | None

    def attach_certificate(self, key: _Key) -> _ClientKey:
        """Return the key together with the identity's certificate, if there is one."""
        return key if self.certificate is None else (key, self.certificate)


def _read_identities(login: Login) -> list[_Identity]:
    given = {each.key.public_data: each for each in map(_read_certificate, login.certificates) if each is not None}
    files = [
        file for file in map(os.path.expanduser, login.identities) if file[:1] != "~"
    ]  # skip the home of an unknown user
    return [_read_identity(file, given if login.certificates else None) for file in files]


def _read_identity(file: str, given: Mapping[bytes, asyncssh.SSHCertificate] | None) -> _Identity:
    key: asyncssh.SSHKey | None = None
    with contextlib.suppress(*_UNREADABLE):
        key = asyncssh.read_private_key(file)
    public = b"" if key is None else key.public_data
    for name in (f"{file}.pub", file):
        with contextlib.suppress(*_UNREADABLE):
            public = public or asyncssh.read_public_key(name).public_data
    certificate = _read_certificate(f"{file}-cert.pub") if given is None else given.get(public)
    fits = certificate is not None and certificate.key.public_data == public
    return _Identity(key, public, certificate if fits else None)


def _read_certificate(file: str) -> asyncssh.SSHCertificate | None:
    with contextlib.suppress(*_UNREADABLE):
        return asyncssh.read_certificate(file)
    return None
