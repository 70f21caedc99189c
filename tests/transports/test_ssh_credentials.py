"""Tests of logins with credentials: the transport ``ssh`` uses only those of its provider, and shows no secret."""

from __future__ import annotations

import asyncio
import logging
import pwd
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

import asyncssh
import pytest
from pydantic import SecretBytes, SecretStr

from intercede.contract.credentials import (
    Credential,
    CredentialNeed,
    CredentialProvider,
    CredentialSet,
    Password,
    PrivateKey,
    Token,
)
from intercede.contract.errors import AuthenticationError, IntercedeError, NotOpenError
from intercede.transports.ssh import SshTransport

if TYPE_CHECKING:
    from pathlib import Path

    from tests.transports.conftest import Maker
    from tests.transports.sshd import Sshd


PHRASE, WORD = "hush-phrase", "hush-word"
SLOW, QUICK = 64, 1


class Provider:
    """Returns its answers in turn and repeats the last one; entering or leaving it fails."""

    def __init__(self, *answers: Credential | Exception) -> None:
        self.asked: list[CredentialNeed] = []
        self._answers = list(answers)

    async def __aenter__(self) -> Self:
        raise AssertionError

    async def __aexit__(self, *_: object) -> None:
        raise AssertionError

    async def get(self, need: CredentialNeed) -> CredentialSet:
        """Return the next answer after a moment."""
        self.asked.append(need)
        await asyncio.sleep(0.01)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return CredentialSet(credentials=(answer,))


def export_key(key: asyncssh.SSHKey, phrase: str | None = None, rounds: int = QUICK) -> bytes:
    """Export a key in OpenSSH's format."""
    options: dict[str, object] = {} if phrase is None else {"passphrase": phrase, "rounds": rounds}
    export = key.export_private_key  # pyright: ignore[reportUnknownMemberType]  # its keywords
    return export(**options, ignore_few_rounds=True)  # type: ignore[arg-type]  # as above


def make_key(sshd: Sshd) -> Credential:
    """Return a private key credential."""
    sshd.user_key = sshd.new_key()
    return PrivateKey(username="me", key=SecretBytes(export_key(sshd.user_key)))


def encrypt_key(sshd: Sshd, phrase: str = PHRASE, rounds: int = QUICK) -> Credential:
    """Return an encrypted key with this passphrase; the right one is ``PHRASE``."""
    pytest.importorskip("bcrypt")
    sshd.user_key = sshd.new_key()
    key = SecretBytes(export_key(sshd.user_key, PHRASE, rounds))
    return PrivateKey(username="me", key=key, passphrase=SecretBytes(phrase.encode()))


def certify_key(sshd: Sshd) -> Credential:
    """Return a key that is valid only by its certificate."""
    authority, key = sshd.new_key(), sshd.new_key()
    sshd.authorities = [authority.convert_to_public()]
    certificate = authority.generate_user_certificate(key, "id", principals=["me"])
    return PrivateKey(username="me", key=SecretBytes(export_key(key)), certificate=certificate.export_certificate())


def make_password(sshd: Sshd) -> Credential:
    """Return the right password."""
    sshd.passwords = {"me": WORD}
    return Password(username="me", password=SecretStr(WORD))


def make_wrong_password(sshd: Sshd) -> Credential:
    """Return a wrong password."""
    sshd.passwords = {"me": "another"}
    return Password(username="me", password=SecretStr(WORD))


def make_wrong_key(sshd: Sshd) -> Credential:
    """Return a key that the server does not know."""
    return PrivateKey(username="me", key=SecretBytes(export_key(sshd.new_key())))


def make_wrong_phrase(sshd: Sshd) -> Credential:
    """Return a key with a wrong passphrase."""
    return encrypt_key(sshd, "hush-typo")


def omit_phrase(sshd: Sshd) -> Credential:
    """Return an encrypted key without its passphrase."""
    credential = encrypt_key(sshd)
    assert isinstance(credential, PrivateKey)
    return credential.model_copy(update={"passphrase": None})


def make_invalid_key(_: Sshd) -> Credential:
    """Return text that is not a key."""
    return PrivateKey(key=SecretBytes(b"hush-nonsense"))


def make_token(_: Sshd) -> Credential:
    """Return a token, which no ssh server accepts."""
    return Token(token=SecretStr("hush-token"))


Made = Callable[["Sshd"], Credential]
good = pytest.mark.parametrize("make", [make_key, encrypt_key, certify_key, make_password])
bad = pytest.mark.parametrize(
    "make", [make_wrong_password, make_wrong_key, make_wrong_phrase, omit_phrase, make_invalid_key, make_token]
)


async def check_run(transport: SshTransport) -> None:
    """Check that commands run."""
    assert (await transport.run(["echo", "fine"])).stdout == b"fine\n"


async def enter_and_leave(transport: SshTransport) -> None:
    """Enter and leave the transport."""
    async with transport:
        pass


@pytest.mark.asyncio
@good
async def test_every_kind_of_credential_logs_in(sshd: Sshd, make: Made) -> None:
    """Each kind logs in with its own username; the provider is asked for this host and for usable kinds."""
    provider = Provider(make(sshd))
    async with sshd.open_transport(credentials=provider) as transport:
        await check_run(transport)
    assert isinstance(provider, CredentialProvider)
    assert provider.asked == [CredentialNeed(resource="127.0.0.1", kinds=("private_key", "password"))]
    assert all(shown.startswith("me ") for shown in sshd.offered)


@pytest.mark.asyncio
async def test_the_username_of_the_option_wins(sshd: Sshd) -> None:
    """The option ``username`` overrides the username of the credential."""
    async with sshd.open_transport(credentials=Provider(make_key(sshd)), username="other") as transport:
        await check_run(transport)
    assert {shown.split()[0] for shown in sshd.offered} == {"other"}


@pytest.mark.asyncio
@bad
async def test_a_refused_login_is_reported_and_asked_again(sshd: Sshd, make: Made) -> None:
    """A refused login is an AuthenticationError without a retry; the next try asks the provider again."""
    provider = Provider(make(sshd), make_key(sshd))
    transport = sshd.transport(credentials=provider)
    with pytest.raises(AuthenticationError, match=r"127\.0\.0\.1") as raised:
        await enter_and_leave(transport)
    assert not raised.value.retryable
    assert len(provider.asked) == 1
    assert sshd.connections <= 1
    await enter_and_leave(transport)
    assert len(provider.asked) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [AuthenticationError("mine"), NotOpenError("mine")])
async def test_an_exception_of_the_provider_passes(sshd: Sshd, error: Exception) -> None:
    """An exception of the provider is raised as the same object."""
    with pytest.raises(type(error)) as raised:
        await enter_and_leave(sshd.transport(credentials=Provider(error)))
    assert raised.value is error
    assert not sshd.offered


@pytest.mark.asyncio
async def test_the_provider_is_asked_once_for_fifty(sshd: Sshd) -> None:
    """The provider is asked once for fifty commands, and not for a new connection while its answer is valid."""
    provider = Provider(make_key(sshd))
    async with sshd.open_transport(credentials=provider) as transport:
        for _ in range(2):
            await asyncio.gather(*(transport.run(["true"]) for _ in range(25)))
            sshd.hang_up()
        await check_run(transport)
    assert len(provider.asked) == 1
    assert sshd.connections == 3


@pytest.mark.asyncio
async def test_replaced_credentials_are_asked_for_at_once(sshd: Sshd) -> None:
    """If earlier credentials are refused, the provider is asked again without an error for the caller."""
    provider = Provider(make_key(sshd), make_key(sshd))  # from now on the server knows the second key
    first = provider._answers[0]
    assert isinstance(first, PrivateKey)
    known = sshd.user_key
    sshd.user_key = asyncssh.import_private_key(first.key.get_secret_value())
    async with sshd.open_transport(credentials=provider) as transport:
        await check_run(transport)
        sshd.user_key = known
        sshd.hang_up()
        await check_run(transport)
        assert len(provider.asked) == 2


@pytest.mark.asyncio
async def test_the_provider_is_asked_again_near_the_expiry(sshd: Sshd) -> None:
    """Near the expiry, the next connection asks the provider again; an open connection does not."""
    soon = datetime.now(UTC) + timedelta(seconds=30)
    provider = Provider(make_key(sshd).model_copy(update={"expires": soon}))
    async with sshd.open_transport(credentials=provider) as transport:
        await check_run(transport)
        assert len(provider.asked) == 1
        sshd.hang_up()
        await check_run(transport)
        assert len(provider.asked) == 2


@pytest.mark.asyncio
async def test_each_jump_host_is_asked_for(make_sshd: Maker, home: Path) -> None:
    """The provider is asked for each jump host by its own name."""
    first, last = make_sshd("first"), make_sshd("last")
    provider = Provider(make_key(first))
    last.user_key = first.user_key
    (home / "known").write_text(
        first.write_known_hosts_line(f"[localhost]:{first.port}") + last.write_known_hosts_line()
    )
    jump = [f"localhost:{first.port}"]
    async with last.open_transport(jump=jump, known_hosts=str(home / "known"), credentials=provider) as transport:
        await check_run(transport)
    assert [need.resource for need in provider.asked] == ["localhost", "127.0.0.1"]


@pytest.fixture
def agent(
    home: Path, server_loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[asyncio.StreamWriter]]:
    """Return the list of connections to the user's agent, which has no keys."""
    asked: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(writer)
        while await reader.read(1000):
            writer.write(b"\0\0\0\5\x0c\0\0\0\0")  # the answer to a request for identities: none
        writer.close()

    path = str(home / "agent")
    server = asyncio.run_coroutine_threadsafe(asyncio.start_unix_server(accept, path), server_loop).result(20)
    monkeypatch.setenv("SSH_AUTH_SOCK", path)
    yield asked
    server_loop.call_soon_threadsafe(server.close)


@pytest.mark.asyncio
@pytest.mark.needs("ssh")
@pytest.mark.parametrize("make", [make_key, make_password, make_wrong_key, make_wrong_password])
async def test_no_other_key_is_offered(sshd: Sshd, make: Made, agent: list[object], home: Path) -> None:
    """The agent and the user's own keys are not used with a provider, whatever the configuration says."""
    own = asyncssh.read_private_key(home / ".ssh" / "id_ed25519").get_fingerprint()
    (home / "config").write_text(f"IdentityFile {home}/.ssh/id_ed25519\nIdentityAgent {home}/agent\n")
    transport = sshd.transport(credentials=Provider(make(sshd)), ssh_config=str(home / "config"))
    sshd.user_key = sshd.user_key if make is make_key else asyncssh.read_private_key(home / ".ssh" / "id_ed25519")
    try:
        await enter_and_leave(transport)
    except AuthenticationError:
        assert make in (make_wrong_key, make_wrong_password)
    assert sshd.offered
    assert not any(own in shown for shown in sshd.offered)
    assert not agent


@pytest.mark.asyncio
async def test_without_a_provider_own_keys_are_offered(
    sshd: Sshd, agent: list[object], transport: SshTransport
) -> None:
    """Without a provider, the agent is asked and the user's own keys are offered."""
    await check_run(transport)
    assert agent
    assert sshd.offered


@pytest.mark.asyncio
async def test_without_any_key(sshd: Sshd, home: Path) -> None:
    """Without any key, logging in is an AuthenticationError."""
    (home / ".ssh" / "id_ed25519").unlink()
    with pytest.raises(AuthenticationError):
        await enter_and_leave(sshd.transport())


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "make",
    [
        make_key,
        encrypt_key,
        certify_key,
        make_password,
        make_wrong_password,
        make_wrong_key,
        make_wrong_phrase,
        omit_phrase,
        make_invalid_key,
    ],
)
async def test_no_secret_is_shown(sshd: Sshd, make: Made, caplog: pytest.LogCaptureFixture) -> None:
    """No error, cause or log record shows a secret, nor does the transport itself."""
    caplog.set_level(logging.DEBUG)
    credential = make(sshd)
    transport = sshd.transport(credentials=Provider(credential))
    told = [repr(transport), str(vars(transport))]
    try:
        await enter_and_leave(transport)
    except AuthenticationError as error:
        chain: BaseException | None = error
        while chain is not None:
            told += [str(chain), repr(chain), repr(chain.args), repr(vars(chain))]
            chain = chain.__cause__ or chain.__context__
    text = caplog.text + "".join(told)
    assert "asyncssh" in text or make in (make_wrong_phrase, omit_phrase, make_invalid_key)
    assert "hush" not in text
    if isinstance(credential, PrivateKey) and make is not make_invalid_key:
        assert credential.key.get_secret_value().decode().splitlines()[2][:20] not in text


@pytest.mark.asyncio
async def test_the_loop_runs_while_a_key_is_decrypted(sshd: Sshd) -> None:
    """Decrypting a key is slow by design, and does not block the event loop."""
    start = time.perf_counter()
    credential = encrypt_key(sshd, rounds=SLOW)
    seconds = time.perf_counter() - start  # decrypting takes as long
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - before)

    ticking = asyncio.create_task(tick())
    # A loaded machine decrypts slowly.
    await enter_and_leave(sshd.transport(credentials=Provider(credential), connect_s=60.0))
    ticking.cancel()
    assert max(gaps) < 0.7 * seconds


@pytest.mark.asyncio
async def test_a_user_without_a_home_offers_no_keys(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container without a user entry, hosts are still known, and the error is an AuthenticationError."""

    def find_no_user(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", find_no_user)
    for known_hosts in (sshd.write_known_hosts(), None):
        with pytest.raises(IntercedeError):
            async with SshTransport("127.0.0.1", port=sshd.port, username="me", known_hosts=known_hosts):
                pass
