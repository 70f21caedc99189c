"""Tests of the provider that reads credentials from files."""

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


def write_file(path: Path, data: bytes, mode: int = 0o600) -> Path:
    """Write a file with this content and mode, and return its path."""
    path.write_bytes(data)
    path.chmod(mode)
    return path


async def get_credentials(provider: FileCredentials, *kinds: CredentialKind) -> tuple[Credential, ...]:
    """Return the credentials that the provider returns for these kinds."""
    async with provider as opened:
        return (await opened.get(CredentialNeed(resource="host", kinds=kinds))).credentials


def test_the_class_is_a_provider(tmp_path: Path) -> None:
    """The registry accepts the class as a credentials provider."""
    assert isinstance(FileCredentials(resources=["host"], token=tmp_path / "token"), CredentialProvider)


@pytest.mark.asyncio
async def test_each_kind_is_read(tmp_path: Path) -> None:
    """A key with passphrase and certificate, a password, a token and a proxy are read into the contract's types."""
    provider = FileCredentials(
        username="me",
        resources=["host"],
        private_key=write_file(tmp_path / "key", b"the key\n"),
        passphrase=write_file(tmp_path / "phrase", b" a phrase \n"),
        ssh_certificate=write_file(tmp_path / "cert", b"the certificate", 0o644),
        password=write_file(tmp_path / "password", b"word\r\n"),
        token=write_file(tmp_path / "token", b"tok"),
        certificate=write_file(tmp_path / "proxy", CERTIFICATE + KEY + CERTIFICATE),
    )

    key, password, token, certificate = await get_credentials(
        provider, "private_key", "password", "token", "certificate"
    )

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
async def test_credentials_come_in_the_order_of_the_request(tmp_path: Path) -> None:
    """Credentials are returned in the order of the request; kinds without a file are left out."""
    provider = FileCredentials(
        resources=["host"], token=write_file(tmp_path / "t", b"t"), password=write_file(tmp_path / "p", b"p")
    )

    assert [each.kind for each in (await get_credentials(provider, "certificate", "password", "token"))] == [
        "password",
        "token",
    ]


@pytest.mark.asyncio
async def test_none_of_the_kinds_is_an_error(tmp_path: Path) -> None:
    """A request for kinds without a file raises an error that names the available kinds."""
    provider = FileCredentials(resources=["host"], token=tmp_path / "token")

    with pytest.raises(
        AuthenticationError,
        match="host needs private_key or password; none of these credentials is for it: token",
    ):
        await get_credentials(provider, "private_key", "password")


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
async def test_a_secret_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    """A secret file that other users may read is refused; the error names the fix and shows no secret."""
    provider = FileCredentials(resources=["host"], token=write_file(tmp_path / "token", b"hush", mode))

    with pytest.raises(AuthenticationError, match="chmod 600") as raised:
        await get_credentials(provider, "token")

    assert "hush" not in str(raised.value)


@pytest.mark.asyncio
async def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    """The error for a missing file, a directory, a fifo, invalid text or a proxy without key names the file."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    write_file(tmp_path / "bytes", b"\xff")

    for name in (".", "fifo", "bytes", "nothing"):
        with pytest.raises(AuthenticationError, match=str(tmp_path / name)):
            await get_credentials(FileCredentials(resources=["host"], token=tmp_path / name), "token")
    with pytest.raises(AuthenticationError, match="a certificate and a private key"):
        await get_credentials(FileCredentials(certificate=write_file(tmp_path / "proxy", CERTIFICATE)), "certificate")


@pytest.mark.asyncio
async def test_a_password_is_only_for_the_named_resources(tmp_path: Path) -> None:
    """A jump host or any other host may get a key's signature, but never the password of another host."""
    key, word = write_file(tmp_path / "key", b"k"), write_file(tmp_path / "word", b"w")

    (shown,) = await get_credentials(
        FileCredentials(resources=["another"], private_key=key, password=word), "private_key", "password"
    )

    assert shown.kind == "private_key"
    with pytest.raises(ConfigError, match="password is useless without resources"):
        FileCredentials(private_key=key, password=word)


@pytest.mark.asyncio
async def test_a_file_may_be_replaced(tmp_path: Path) -> None:
    """A replaced token file is read on the next request."""
    provider = FileCredentials(resources=["host"], token=write_file(tmp_path / "token", b"old"))
    old = await get_credentials(provider, "token")
    write_file(tmp_path / "token", b"new")

    assert old != (await get_credentials(provider, "token"))


@pytest.mark.asyncio
async def test_the_provider_works_only_while_it_is_open(tmp_path: Path) -> None:
    """The provider raises NotOpenError before it is entered and after it was left."""
    provider = FileCredentials(resources=["host"], token=write_file(tmp_path / "token", b"t"))
    need = CredentialNeed(resource="host", kinds=("token",))
    with pytest.raises(NotOpenError):
        await provider.get(need)
    async with provider:
        pass
    with pytest.raises(NotOpenError):
        await provider.get(need)


def test_useless_files_are_refused() -> None:
    """No file, or a file that needs another one, is a ConfigError before anything is read."""
    with pytest.raises(ConfigError, match="no credential file"):
        FileCredentials(username="me")
    with pytest.raises(ConfigError, match="passphrase is useless without private_key"):
        FileCredentials(passphrase="p", certificate="c")  # noqa: S106 -- the name of a file
    with pytest.raises(ConfigError, match="certificate_key is useless without certificate"):
        FileCredentials(certificate_key="k", private_key="p")


@pytest.mark.asyncio
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=40))
async def test_a_password_is_read_unchanged(tmp_path_factory: pytest.TempPathFactory, word: str) -> None:
    """Any password is read unchanged; only a newline at the end does not belong to it."""
    path = write_file(tmp_path_factory.mktemp("word") / "password", word.encode() + b"\n")

    (password,) = await get_credentials(FileCredentials(resources=["host"], password=path), "password")

    assert isinstance(password, Password)
    assert password.password.get_secret_value() == word


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "secret",
    ["Tr0ub4dor&3", "aGVsbG8/d29ybGQ=", "-----BEGIN KEY-----\nMIIE\n", "x" * 5000, "x" * 300 + "/x", "nul\0/x"],
)
async def test_a_secret_passed_instead_of_a_file_is_not_repeated(secret: str) -> None:
    """A password that is passed as a path is refused; neither the error nor its cause repeats it."""
    async with FileCredentials(password=secret, resources=["r"]) as provider:
        with pytest.raises(AuthenticationError, match="pass the path of a file that holds the secret") as caught:
            await provider.get(CredentialNeed(resource="r", kinds=("password",)))
    assert secret not in f"{caught.value!r} {vars(caught.value)} {caught.value.__cause__!r}"

    with pytest.raises(ConfigError) as refused:
        FileCredentials(password=secret)
    assert secret not in f"{refused.value!r} {vars(refused.value)}"
