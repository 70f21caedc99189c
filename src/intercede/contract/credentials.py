"""Credentials for transports and backends. A plugin requests them from a provider when it needs them.

Secrets have pydantic's secret types: no repr, log or error shows them.
"""

import asyncio
from abc import abstractmethod
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Annotated, Literal, Protocol, Self, TypeVar, runtime_checkable

from pydantic import AwareDatetime, Field, SecretBytes, SecretStr

from intercede.contract.job import Name, _Data

__all__ = [
    "Certificate",
    "Credential",
    "CredentialKind",
    "CredentialNeed",
    "CredentialProvider",
    "CredentialSet",
    "FreshCredentials",
    "Password",
    "PrivateKey",
    "Token",
]

CredentialKind = Literal["password", "private_key", "certificate", "token"]


class _Credential(_Data):
    expires: AwareDatetime | None = None
    """The time at which the credential becomes invalid, or None if this time is not known."""


class Password(_Credential):
    """A user's password."""

    kind: Literal["password"] = "password"
    username: Name | None = None
    password: SecretStr


class PrivateKey(_Credential):
    """A private key in OpenSSH's format or as PEM."""

    kind: Literal["private_key"] = "private_key"
    username: Name | None = None
    key: SecretBytes
    passphrase: SecretBytes | None = None
    certificate: bytes | None = None
    """The OpenSSH certificate for this key."""


class Certificate(_Credential):
    """An X.509 certificate chain and its key as PEM, for example a proxy certificate."""

    kind: Literal["certificate"] = "certificate"
    chain: bytes
    key: SecretBytes


class Token(_Credential):
    """A bearer token."""

    kind: Literal["token"] = "token"
    token: SecretStr


Credential = Annotated[Password | PrivateKey | Certificate | Token, Field(discriminator="kind")]
_C = TypeVar("_C", Password, PrivateKey, Certificate, Token)


class CredentialNeed(_Data):
    """A request for credentials."""

    resource: Name
    """The resource that needs the credential: a host name or an endpoint."""
    kinds: tuple[CredentialKind, ...] = Field(min_length=1)
    """The acceptable kinds, in order of preference."""
    scopes: tuple[Name, ...] = ()
    """The permissions that a token must grant."""


class CredentialSet(_Data):
    """The credentials that a provider returns: one or more, in order of preference."""

    credentials: tuple[Credential, ...] = Field(min_length=1)

    def first(self, kind: type[_C]) -> _C | None:
        """Return the first credential of a type, or None if the set has no credential of this type."""
        return next((each for each in self.credentials if isinstance(each, kind)), None)

    @property
    def expires(self) -> AwareDatetime | None:
        """The earliest time at which one of the credentials becomes invalid, or None if no time is known."""
        return min((each.expires for each in self.credentials if each.expires is not None), default=None)


@runtime_checkable
class CredentialProvider(Protocol):
    """Provides credentials to plugins.

    A provider is an async context manager. The caller owns the provider, and enters and leaves it; plugins only call
    ``get``.
    """

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Open the provider's sources, such as an agent or a token service, and return the provider itself."""
        ...

    @abstractmethod
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close the provider's sources, and forget the credentials that the provider has returned."""
        ...

    @abstractmethod
    async def get(self, need: CredentialNeed) -> CredentialSet:
        """Return acceptable credentials that are valid now. The caller calls ``get`` again before a credential expires.

        Raises:
            AuthenticationError: The provider has no acceptable credential.
            NotOpenError: The call is outside the provider's ``async with`` block.
        """
        ...


class FreshCredentials:
    """Caches the credentials that a provider returns for one need, until they are about to expire.

    If several methods of a plugin request the credentials at once, the provider is asked only once.

    Args:
        provider: The provider of the credentials.
        need: The credentials that the plugin needs.
        margin_s: The number of seconds before the expiry at which the cached credentials are replaced by new ones.
    """

    def __init__(self, provider: CredentialProvider, need: CredentialNeed, margin_s: float = 60.0) -> None:
        self._provider = provider
        self._need = need
        self._margin = timedelta(seconds=margin_s)
        self._kept: CredentialSet | None = None
        self._asking: asyncio.Task[CredentialSet] | None = None

    async def get(self) -> CredentialSet:
        """Return credentials that stay valid for at least ``margin_s`` seconds.

        Raises:
            AuthenticationError: The provider has no acceptable credential.
            NotOpenError: The provider is not open.
        """
        if self._kept is not None and not self._is_stale(self._kept):
            return self._kept
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._finish_asking)
        return await asyncio.shield(self._asking)

    async def _ask(self) -> CredentialSet:
        self._kept = await self._provider.get(self._need)
        return self._kept

    def _finish_asking(self, task: "asyncio.Task[CredentialSet]") -> None:
        self._asking = None
        if not task.cancelled():
            # A waiting caller gets the exception. If no caller waits, reading the exception here keeps asyncio from
            # warning that the exception was never retrieved.
            task.exception()

    @property
    def is_kept(self) -> bool:
        """True if credentials are cached. The provider may have newer credentials."""
        return self._kept is not None

    def forget(self) -> None:
        """Drop the cached credentials, because a login with them failed. The next ``get`` asks the provider again."""
        self._kept = None

    def _is_stale(self, kept: CredentialSet) -> bool:
        return kept.expires is not None and kept.expires - datetime.now(UTC) < self._margin
