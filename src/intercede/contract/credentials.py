"""What a transport or a backend shows to be let in. Asked for when needed, typed, expiring, never an option.

Secrets are pydantic's secret types: no repr, log or error shows them.
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
    """When it stops working; None: not known to."""


class Password(_Credential):
    """A user's password."""

    kind: Literal["password"] = "password"
    username: Name | None = None
    password: SecretStr


class PrivateKey(_Credential):
    """A private key, as OpenSSH's or PEM text."""

    kind: Literal["private_key"] = "private_key"
    username: Name | None = None
    key: SecretBytes
    passphrase: SecretBytes | None = None
    certificate: bytes | None = None
    """The OpenSSH certificate that goes with it."""


class Certificate(_Credential):
    """An X.509 certificate chain with its key, a proxy for instance, as PEM."""

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
    """What is asked of a provider."""

    resource: Name
    """Which resource: a host name, an endpoint."""
    kinds: tuple[CredentialKind, ...] = Field(min_length=1)
    """What would do, the preferred first."""
    scopes: tuple[Name, ...] = ()
    """For tokens: what it must allow."""


class CredentialSet(_Data):
    """What a provider answers: one or more credentials, the preferred first."""

    credentials: tuple[Credential, ...] = Field(min_length=1)

    def first(self, kind: type[_C]) -> _C | None:
        """Return the first credential of that type, or None."""
        return next((each for each in self.credentials if isinstance(each, kind)), None)

    @property
    def expires(self) -> AwareDatetime | None:
        """When the first of them stops working; None: none is known to."""
        return min((each.expires for each in self.credentials if each.expires is not None), default=None)


@runtime_checkable
class CredentialProvider(Protocol):
    """Answers for credentials; an async context manager that its caller owns, so plugins never enter or leave it."""

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Open whatever it asks: an agent, a token service."""
        ...

    @abstractmethod
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close it and forget what was handed out."""
        ...

    @abstractmethod
    async def get(self, need: CredentialNeed) -> CredentialSet:
        """Answer with what would do, valid now. Asked again when one is near its expiry.

        Raises:
            AuthenticationError: There is none.
            NotOpenError: Before entering or after leaving.
        """
        ...


class FreshCredentials:
    """What a provider answers to one need, kept until it is near its expiry.

    For plugins: however many verbs ask at once, the provider is asked once.

    Args:
        provider: Whom to ask.
        need: What for.
        margin_s: Seconds before its expiry from which on an answer is not handed out any more.
    """

    def __init__(self, provider: CredentialProvider, need: CredentialNeed, margin_s: float = 60.0) -> None:
        self._provider = provider
        self._need = need
        self._margin = timedelta(seconds=margin_s)
        self._kept: CredentialSet | None = None
        self._asking: asyncio.Task[CredentialSet] | None = None

    async def get(self) -> CredentialSet:
        """Return credentials that work for some time yet.

        Raises:
            AuthenticationError: There are none.
            NotOpenError: The provider is not open.
        """
        if self._kept is not None and not self._is_stale(self._kept):
            return self._kept
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._asked)
        return await asyncio.shield(self._asking)

    async def _ask(self) -> CredentialSet:
        self._kept = await self._provider.get(self._need)
        return self._kept

    def _asked(self, task: "asyncio.Task[CredentialSet]") -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody may

    @property
    def is_kept(self) -> bool:
        """Whether there is an answer from before: its provider may have a newer one by now."""
        return self._kept is not None

    def forget(self) -> None:
        """Ask again next time: what was answered did not let us in."""
        self._kept = None

    def _is_stale(self, kept: CredentialSet) -> bool:
        return kept.expires is not None and kept.expires - datetime.now(UTC) < self._margin
