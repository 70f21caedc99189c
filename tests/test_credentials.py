"""Credentials that lie in files."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.contract import (
    AuthenticationError,
    Certificate,
    ConfigError,
    Credential,
    CredentialKind,
    CredentialNeed,
    CredentialProvider,
    NotOpenError,
    Password,
    PrivateKey,
    Token,
)
from intercede.credentials import FileCredentials

CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
KEY = b"-----BEGIN RSA PRIVATE KEY-----\nhush\n-----END RSA PRIVATE KEY-----\n"


def written(path: Path, data: bytes, mode: int = 0o600) -> Path:
    """Return a file of that content and mode."""
    path.write_bytes(data)
    path.chmod(mode)
    return path


async def got(provider: FileCredentials, *kinds: CredentialKind) -> tuple[Credential, ...]:
    """Return what it answers."""
    async with provider as opened:
        return (await opened.get(CredentialNeed(resource="host", kinds=kinds))).credentials


def test_it_is_a_provider(tmp_path: Path) -> None:
    """The registry takes it for what the contract describes."""
    assert isinstance(FileCredentials(resources=["host"], token=tmp_path / "token"), CredentialProvider)


@pytest.mark.asyncio
async def test_each_kind_is_read(tmp_path: Path) -> None:
    """A key with its passphrase and certificate, a password, a token and a proxy come as the contract's types."""
    provider = FileCredentials(
        username="me",
        resources=["host"],
        private_key=written(tmp_path / "key", b"the key\n"),
        passphrase=written(tmp_path / "phrase", b" a phrase \n"),
        ssh_certificate=written(tmp_path / "cert", b"the certificate", 0o644),
        password=written(tmp_path / "password", b"word\r\n"),
        token=written(tmp_path / "token", b"tok"),
        certificate=written(tmp_path / "proxy", CERTIFICATE + KEY + CERTIFICATE),
    )

    key, password, token, certificate = await got(provider, "private_key", "password", "token", "certificate")

    assert isinstance(key, PrivateKey)
    assert isinstance(password, Password)
    assert isinstance(token, Token)
    assert isinstance(certificate, Certificate)
    assert key.passphrase is not None
    assert (key.username, key.key.get_secret_value(), key.certificate) == ("me", b"the key\n", b"the certificate")
    assert key.passphrase.get_secret_value() == b" a phrase "
    assert (password.username, password.password.get_secret_value()) == ("me", "word")
    assert token.token.get_secret_value() == "tok"
    assert (certificate.chain, certificate.key.get_secret_value()) == (2 * CERTIFICATE, KEY)


@pytest.mark.asyncio
async def test_what_is_asked_for_comes_first(tmp_path: Path) -> None:
    """The order is that of the need, and what there is no file for is left out."""
    provider = FileCredentials(
        resources=["host"], token=written(tmp_path / "t", b"t"), password=written(tmp_path / "p", b"p")
    )

    assert [each.kind for each in (await got(provider, "certificate", "password", "token"))] == ["password", "token"]


@pytest.mark.asyncio
async def test_none_of_the_kinds_is_an_error(tmp_path: Path) -> None:
    """Who asks for what is not there is told what is."""
    provider = FileCredentials(resources=["host"], token=tmp_path / "token")

    with pytest.raises(
        AuthenticationError, match="host asks for private_key or password, and for it there is none: token"
    ):
        await got(provider, "private_key", "password")


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
async def test_a_secret_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    """A file of secrets is its owner's alone; the error says how to make it so, and shows nothing of it."""
    provider = FileCredentials(resources=["host"], token=written(tmp_path / "token", b"hush", mode))

    with pytest.raises(AuthenticationError, match="chmod 600") as raised:
        await got(provider, "token")

    assert "hush" not in str(raised.value)


@pytest.mark.asyncio
async def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """No file, a directory, a fifo, bytes that are no text, a proxy without a key: an error that names the file."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    written(tmp_path / "bytes", b"\xff")

    for name in (".", "fifo", "bytes", "nothing"):
        with pytest.raises(AuthenticationError, match=str(tmp_path / name)):
            await got(FileCredentials(resources=["host"], token=tmp_path / name), "token")
    with pytest.raises(AuthenticationError, match="a certificate and a private key"):
        await got(FileCredentials(certificate=written(tmp_path / "proxy", CERTIFICATE)), "certificate")


@pytest.mark.asyncio
async def test_who_is_shown_a_password_is_named(tmp_path: Path) -> None:
    """A jump host, or whoever else asks, gets a key's signature, and never the password of another host."""
    key, word = written(tmp_path / "key", b"k"), written(tmp_path / "word", b"w")

    (shown,) = await got(
        FileCredentials(resources=["another"], private_key=key, password=word), "private_key", "password"
    )

    assert shown.kind == "private_key"
    with pytest.raises(ConfigError, match="password is of no use without resources"):
        FileCredentials(private_key=key, password=word)


@pytest.mark.asyncio
async def test_a_file_may_be_replaced(tmp_path: Path) -> None:
    """A renewed token is seen the next time."""
    provider = FileCredentials(resources=["host"], token=written(tmp_path / "token", b"old"))
    old = await got(provider, "token")
    written(tmp_path / "token", b"new")

    assert old != (await got(provider, "token"))


@pytest.mark.asyncio
async def test_only_while_open(tmp_path: Path) -> None:
    """Before entering and after leaving nothing is answered."""
    provider = FileCredentials(resources=["host"], token=written(tmp_path / "token", b"t"))
    need = CredentialNeed(resource="host", kinds=("token",))
    with pytest.raises(NotOpenError):
        await provider.get(need)
    async with provider:
        pass
    with pytest.raises(NotOpenError):
        await provider.get(need)


def test_files_that_are_of_no_use_are_refused() -> None:
    """Nothing at all, or what belongs to a file that is not named, is a ConfigError before anything is read."""
    with pytest.raises(ConfigError, match="no file"):
        FileCredentials(username="me")
    with pytest.raises(ConfigError, match="passphrase is of no use without private_key"):
        FileCredentials(passphrase="p", certificate="c")  # noqa: S106 -- the name of a file
    with pytest.raises(ConfigError, match="certificate_key is of no use without certificate"):
        FileCredentials(certificate_key="k", private_key="p")


@pytest.mark.asyncio
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=40))
async def test_a_word_arrives_as_it_is(tmp_path_factory: pytest.TempPathFactory, word: str) -> None:
    """Whatever a password is made of: only the line's end, if there is one, is no part of it."""
    path = written(tmp_path_factory.mktemp("word") / "password", word.encode() + b"\n")

    (password,) = await got(FileCredentials(resources=["host"], password=path), "password")

    assert isinstance(password, Password)
    assert password.password.get_secret_value() == word


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "secret",
    ["Tr0ub4dor&3", "aGVsbG8/d29ybGQ=", "-----BEGIN KEY-----\nMIIE\n", "x" * 5000, "x" * 300 + "/x", "nul\0/x"],
)
async def test_a_secret_in_the_place_of_its_file_is_not_repeated(secret: str) -> None:
    """Who gives the password itself learns that a file is wanted; neither the error nor its cause shows it."""
    async with FileCredentials(password=secret, resources=["r"]) as provider:
        with pytest.raises(AuthenticationError, match="give the path of a file that holds it") as caught:
            await provider.get(CredentialNeed(resource="r", kinds=("password",)))
    assert secret not in f"{caught.value!r} {vars(caught.value)} {caught.value.__cause__!r}"

    with pytest.raises(ConfigError) as refused:
        FileCredentials(password=secret)
    assert secret not in f"{refused.value!r} {vars(refused.value)}"
