"""Tests of credentials: they have types, they expire, and they hide their secrets."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Self

import pytest
from pydantic import SecretBytes, SecretStr, ValidationError

from intercede.contract import (
    AuthenticationError,
    Certificate,
    CredentialNeed,
    CredentialProvider,
    CredentialSet,
    FreshCredentials,
    Password,
    PrivateKey,
    Token,
)

SOON, LATE = datetime(2030, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
SET = CredentialSet(
    credentials=(
        Token(token=SecretStr("hush-token"), expires=LATE),
        Password(password=SecretStr("hush-word"), expires=SOON),
        PrivateKey(key=SecretBytes(b"hush-key"), passphrase=SecretBytes(b"hush-phrase")),
        Certificate(chain=b"public", key=SecretBytes(b"hush-proxy")),
    )
)


def test_a_set_is_searched_by_type() -> None:
    """The method first returns the first credential of a type, or None."""
    password = SET.first(Password)

    assert password is not None
    assert password.password.get_secret_value() == "hush-word"
    assert CredentialSet(credentials=(password,)).first(Token) is None


def test_a_set_expires_with_its_first() -> None:
    """A set is valid until the earliest expiry of its credentials."""
    assert SET.expires == SOON
    assert CredentialSet(credentials=(Token(token=SecretStr("x")),)).expires is None


def test_secrets_are_hidden() -> None:
    """No repr, str or JSON shows a secret."""
    assert "hush" not in repr(SET) + str(SET) + SET.model_dump_json()


def test_data_chooses_the_type_by_kind() -> None:
    """A set can be read from data, in which kind selects the type."""
    data = {"credentials": [{"kind": "token", "token": "t", "expires": "2030-01-01T00:00:00Z"}]}

    assert CredentialSet.model_validate(data).first(Token) == Token(token=SecretStr("t"), expires=SOON)


def test_wrong_needs_and_answers_are_refused() -> None:
    """An empty list of kinds or credentials is refused, and so is an expiry without a time zone."""
    with pytest.raises(ValidationError, match="kinds"):
        CredentialNeed(resource="host", kinds=())
    with pytest.raises(ValidationError, match="credentials"):
        CredentialSet(credentials=())
    with pytest.raises(ValidationError, match="timezone"):
        Token(token=SecretStr("t"), expires=datetime(2030, 1, 1))  # noqa: DTZ001 -- must be refused


NEED = CredentialNeed(resource="host", kinds=("token",))


class Provider:
    """Numbers its answers, which are valid for this many seconds; the first request may raise an error."""

    def __init__(self, seconds: float | None = None, error: Exception | None = None) -> None:
        self.needs: list[CredentialNeed] = []
        self._seconds, self._error = seconds, error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def get(self, need: CredentialNeed) -> CredentialSet:
        """Answer after some turns of the event loop."""
        self.needs.append(need)
        number = len(self.needs)
        await asyncio.sleep(0.01)
        if number == 1 and self._error is not None:
            raise self._error
        expires = None if self._seconds is None else datetime.now(UTC) + timedelta(seconds=self._seconds)
        return CredentialSet(credentials=(Token(token=SecretStr(str(number)), expires=expires),))


async def read_number(fresh: FreshCredentials) -> str:
    """Return the number of the answer."""
    token = (await fresh.get()).first(Token)
    assert token is not None
    return token.token.get_secret_value()


@pytest.mark.asyncio
@pytest.mark.parametrize("seconds", [None, 61.0], ids=["for ever", "for a while"])
async def test_a_valid_answer_is_kept(seconds: float | None) -> None:
    """The provider is asked once, with the need, for any number of requests."""
    provider = Provider(seconds)
    fresh = FreshCredentials(provider, NEED)
    assert await asyncio.gather(*(read_number(fresh) for _ in range(20))) == ["1"] * 20
    assert await read_number(fresh) == "1"
    assert isinstance(provider, CredentialProvider)
    assert provider.needs == [NEED]


@pytest.mark.asyncio
@pytest.mark.parametrize(("seconds", "margin"), [(59.0, 60.0), (-1.0, 0.0), (9.0, 10.0)])
async def test_an_expiring_answer_is_not_kept(seconds: float, margin: float) -> None:
    """An answer near its expiry goes only to those that have asked; the next request asks again."""
    fresh = FreshCredentials(Provider(seconds), NEED, margin_s=margin)
    assert [await read_number(fresh), await read_number(fresh)] == ["1", "2"]


@pytest.mark.asyncio
async def test_refused_credentials_are_forgotten() -> None:
    """After forget, the provider is asked again, once."""
    fresh = FreshCredentials(Provider(), NEED)
    assert await read_number(fresh) == "1"
    fresh.forget()
    assert [await read_number(fresh), await read_number(fresh)] == ["2", "2"]


@pytest.mark.asyncio
async def test_an_error_is_not_kept() -> None:
    """An error goes only to those that have asked; the next request asks again."""
    error = AuthenticationError("none")
    fresh = FreshCredentials(Provider(error=error), NEED)
    with pytest.raises(AuthenticationError) as raised:
        await read_number(fresh)
    assert raised.value is error
    assert await read_number(fresh) == "2"


@pytest.mark.asyncio
async def test_a_cancelled_request_harms_no_other() -> None:
    """If one waiting request is cancelled, the others get their answer."""
    fresh = FreshCredentials(Provider(), NEED)
    asking = [asyncio.create_task(read_number(fresh)) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    assert len(set(await asyncio.gather(*asking[1:]))) == 1
