"""What a provider answers: typed, expiring, secret."""

from datetime import UTC, datetime

import pytest
from pydantic import SecretBytes, SecretStr, ValidationError

from intercede.contract import Certificate, CredentialNeed, CredentialSet, Password, PrivateKey, Token

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
