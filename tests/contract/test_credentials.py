"""What a provider answers: typed, expiring, secret."""

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


def test_a_set_is_asked_by_type() -> None:
    """First finds the first credential of a type, or tells that there is none."""
    password = SET.first(Password)

    assert password is not None
    assert password.password.get_secret_value() == "hush-word"
    assert CredentialSet(credentials=(password,)).first(Token) is None


def test_a_set_expires_with_its_first() -> None:
    """The set is good until the first of its credentials stops working."""
    assert SET.expires == SOON
    assert CredentialSet(credentials=(Token(token=SecretStr("x")),)).expires is None


def test_no_secret_is_shown() -> None:
    """Neither repr, str nor JSON shows what is secret."""
    assert "hush" not in repr(SET) + str(SET) + SET.model_dump_json()


def test_data_chooses_the_type_by_kind() -> None:
    """A set can be read from data, where kind tells the types apart."""
    data = {"credentials": [{"kind": "token", "token": "t", "expires": "2030-01-01T00:00:00Z"}]}

    assert CredentialSet.model_validate(data).first(Token) == Token(token=SecretStr("t"), expires=SOON)


def test_wrong_needs_and_answers_are_refused() -> None:
    """No kinds, no credentials, and an expiry without a time zone are refused."""
    with pytest.raises(ValidationError, match="kinds"):
        CredentialNeed(resource="host", kinds=())
    with pytest.raises(ValidationError, match="credentials"):
        CredentialSet(credentials=())
    with pytest.raises(ValidationError, match="timezone"):
        Token(token=SecretStr("t"), expires=datetime(2030, 1, 1))  # noqa: DTZ001 -- the refusal is the test


NEED = CredentialNeed(resource="host", kinds=("token",))


class Provider:
    """Numbers its answers, each of which is good for so many seconds; the first one fails where it is told to."""

    def __init__(self, seconds: float | None = None, error: Exception | None = None) -> None:
        self.needs: list[CredentialNeed] = []
        self._seconds, self._error = seconds, error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def get(self, need: CredentialNeed) -> CredentialSet:
        """Take some turns of the loop."""
        self.needs.append(need)
        number = len(self.needs)
        await asyncio.sleep(0.01)
        if number == 1 and self._error is not None:
            raise self._error
        expires = None if self._seconds is None else datetime.now(UTC) + timedelta(seconds=self._seconds)
        return CredentialSet(credentials=(Token(token=SecretStr(str(number)), expires=expires),))


async def word(fresh: FreshCredentials) -> str:
    """Return the number of the answer."""
    token = (await fresh.get()).first(Token)
    assert token is not None
    return token.token.get_secret_value()


@pytest.mark.asyncio
@pytest.mark.parametrize("seconds", [None, 61.0], ids=["for ever", "for a while"])
async def test_a_good_answer_is_kept(seconds: float | None) -> None:
    """The provider is asked once, with the need, however many ask at once and later."""
    provider = Provider(seconds)
    fresh = FreshCredentials(provider, NEED)
    assert await asyncio.gather(*(word(fresh) for _ in range(20))) == ["1"] * 20
    assert await word(fresh) == "1"
    assert isinstance(provider, CredentialProvider)
    assert provider.needs == [NEED]


@pytest.mark.asyncio
@pytest.mark.parametrize(("seconds", "margin"), [(59.0, 60.0), (-1.0, 0.0), (9.0, 10.0)])
async def test_an_answer_near_its_expiry_is_not(seconds: float, margin: float) -> None:
    """It is handed out to whoever asked for it, and the next one asks anew."""
    fresh = FreshCredentials(Provider(seconds), NEED, margin_s=margin)
    assert [await word(fresh), await word(fresh)] == ["1", "2"]


@pytest.mark.asyncio
async def test_what_did_not_let_us_in_is_forgotten() -> None:
    """The provider is asked again, once."""
    fresh = FreshCredentials(Provider(), NEED)
    assert await word(fresh) == "1"
    fresh.forget()
    assert [await word(fresh), await word(fresh)] == ["2", "2"]


@pytest.mark.asyncio
async def test_an_error_is_not_kept() -> None:
    """It passes to whoever asked; the next one asks anew."""
    error = AuthenticationError("none")
    fresh = FreshCredentials(Provider(error=error), NEED)
    with pytest.raises(AuthenticationError) as raised:
        await word(fresh)
    assert raised.value is error
    assert await word(fresh) == "2"


@pytest.mark.asyncio
async def test_whoever_gives_up_spoils_nothing_for_the_others() -> None:
    """One of those who wait is cancelled; the rest have their answer."""
    fresh = FreshCredentials(Provider(), NEED)
    asking = [asyncio.create_task(word(fresh)) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    assert len(set(await asyncio.gather(*asking[1:]))) == 1
