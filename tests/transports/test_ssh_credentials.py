"""What the transport ``ssh`` shows to be let in: what the provider answers and nothing else, and to nobody a secret."""

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
    """Answers in turn, the last answer again and again; whoever opens or closes it is not its owner."""

    def __init__(self, *answers: Credential | Exception) -> None:
        self.asked: list[CredentialNeed] = []
        self._answers = list(answers)

    async def __aenter__(self) -> Self:
        raise AssertionError

    async def __aexit__(self, *_: object) -> None:
        raise AssertionError

    async def get(self, need: CredentialNeed) -> CredentialSet:
        """Take its time, and answer."""
        self.asked.append(need)
        await asyncio.sleep(0.01)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return CredentialSet(credentials=(answer,))


def exported(key: asyncssh.SSHKey, phrase: str | None = None, rounds: int = QUICK) -> bytes:
    """Write a key as OpenSSH does."""
    options: dict[str, object] = {} if phrase is None else {"passphrase": phrase, "rounds": rounds}
    return key.export_private_key(**options, ignore_few_rounds=True)  # type: ignore[arg-type]  # pyright: ignore[reportUnknownMemberType]  # its types


def plain(sshd: Sshd) -> Credential:
    """Return a key."""
    sshd.user_key = sshd.new_key()
    return PrivateKey(username="me", key=SecretBytes(exported(sshd.user_key)))


def encrypted(sshd: Sshd, phrase: str = PHRASE, rounds: int = QUICK) -> Credential:
    """Return a key with that passphrase; the true one is ``PHRASE``."""
    pytest.importorskip("bcrypt")
    sshd.user_key = sshd.new_key()
    key = SecretBytes(exported(sshd.user_key, PHRASE, rounds))
    return PrivateKey(username="me", key=key, passphrase=SecretBytes(phrase.encode()))


def certified(sshd: Sshd) -> Credential:
    """Return a key that only its certificate makes good."""
    authority, key = sshd.new_key(), sshd.new_key()
    sshd.authorities = [authority.convert_to_public()]
    certificate = authority.generate_user_certificate(key, "id", principals=["me"])
    return PrivateKey(username="me", key=SecretBytes(exported(key)), certificate=certificate.export_certificate())


def password(sshd: Sshd) -> Credential:
    """Return a password."""
    sshd.passwords = {"me": WORD}
    return Password(username="me", password=SecretStr(WORD))


def wrong_password(sshd: Sshd) -> Credential:
    """Return one that is wrong."""
    sshd.passwords = {"me": "another"}
    return Password(username="me", password=SecretStr(WORD))


def wrong_key(sshd: Sshd) -> Credential:
    """Return a key that the server does not know."""
    return PrivateKey(username="me", key=SecretBytes(exported(sshd.new_key())))


def wrong_phrase(sshd: Sshd) -> Credential:
    """Return a key with another passphrase."""
    return encrypted(sshd, "hush-typo")


def no_phrase(sshd: Sshd) -> Credential:
    """Return a key whose passphrase is lacking."""
    credential = encrypted(sshd)
    assert isinstance(credential, PrivateKey)
    return credential.model_copy(update={"passphrase": None})


def no_key(_: Sshd) -> Credential:
    """Return what is no key at all."""
    return PrivateKey(key=SecretBytes(b"hush-nonsense"))


def token(_: Sshd) -> Credential:
    """Return what no ssh server takes."""
    return Token(token=SecretStr("hush-token"))


Made = Callable[["Sshd"], Credential]
good = pytest.mark.parametrize("make", [plain, encrypted, certified, password])
bad = pytest.mark.parametrize("make", [wrong_password, wrong_key, wrong_phrase, no_phrase, no_key, token])


async def fine(transport: SshTransport) -> None:
    """See that commands run."""
    assert (await transport.run(["echo", "fine"])).stdout == b"fine\n"


async def entered(transport: SshTransport) -> None:
    """Enter and leave."""
    async with transport:
        pass


@pytest.mark.asyncio
@good
async def test_every_kind_lets_us_in(sshd: Sshd, make: Made) -> None:
    """Under the name that comes with it; the provider is asked for this host, and for what ssh can use."""
    provider = Provider(make(sshd))
    async with sshd.open_transport(credentials=provider) as transport:
        await fine(transport)
    assert isinstance(provider, CredentialProvider)
    assert provider.asked == [CredentialNeed(resource="127.0.0.1", kinds=("private_key", "password"))]
    assert all(shown.startswith("me ") for shown in sshd.offered)


@pytest.mark.asyncio
async def test_the_username_of_the_option_wins(sshd: Sshd) -> None:
    """Over the one that comes with the credential."""
    async with sshd.open_transport(credentials=Provider(plain(sshd)), username="other") as transport:
        await fine(transport)
    assert {shown.split()[0] for shown in sshd.offered} == {"other"}


@pytest.mark.asyncio
@bad
async def test_a_refusal_is_told_and_the_next_try_asks_again(sshd: Sshd, make: Made) -> None:
    """AuthenticationError, at once and not to be tried again with the same; and the provider may know better by then."""
    provider = Provider(make(sshd), plain(sshd))
    transport = sshd.transport(credentials=provider)
    with pytest.raises(AuthenticationError, match=r"127\.0\.0\.1") as raised:
        await entered(transport)
    assert not raised.value.retryable
    assert len(provider.asked) == 1
    assert sshd.connections <= 1
    await entered(transport)
    assert len(provider.asked) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [AuthenticationError("mine"), NotOpenError("mine")])
async def test_what_the_provider_raises_passes(sshd: Sshd, error: Exception) -> None:
    """The very object."""
    with pytest.raises(type(error)) as raised:
        await entered(sshd.transport(credentials=Provider(error)))
    assert raised.value is error
    assert not sshd.offered


@pytest.mark.asyncio
async def test_it_is_asked_once_for_fifty(sshd: Sshd) -> None:
    """Nor again for a new connection, while what it answered is good."""
    provider = Provider(plain(sshd))
    async with sshd.open_transport(credentials=provider) as transport:
        for _ in range(2):
            await asyncio.gather(*(transport.run(["true"]) for _ in range(25)))
            sshd.hang_up()
        await fine(transport)
    assert len(provider.asked) == 1
    assert sshd.connections == 3


@pytest.mark.asyncio
async def test_what_was_replaced_meanwhile_is_asked_for_in_the_same_try(sshd: Sshd) -> None:
    """An answer from before that is not good any more costs no caller an error."""
    provider = Provider(plain(sshd), plain(sshd))  # the second key is the one that the server knows from now on
    first = provider._answers[0]
    assert isinstance(first, PrivateKey)
    known = sshd.user_key
    sshd.user_key = asyncssh.import_private_key(first.key.get_secret_value())
    async with sshd.open_transport(credentials=provider) as transport:
        await fine(transport)
        sshd.user_key = known
        sshd.hang_up()
        await fine(transport)
        assert len(provider.asked) == 2


@pytest.mark.asyncio
async def test_it_is_asked_again_near_the_expiry(sshd: Sshd) -> None:
    """At the next connection; one that is open needs nothing."""
    soon = datetime.now(UTC) + timedelta(seconds=30)
    provider = Provider(plain(sshd).model_copy(update={"expires": soon}))
    async with sshd.open_transport(credentials=provider) as transport:
        await fine(transport)
        assert len(provider.asked) == 1
        sshd.hang_up()
        await fine(transport)
        assert len(provider.asked) == 2


@pytest.mark.asyncio
async def test_each_host_on_the_way_is_asked_for(make_sshd: Maker, home: Path) -> None:
    """By its own name."""
    first, last = make_sshd("first"), make_sshd("last")
    provider = Provider(plain(first))
    last.user_key = first.user_key
    (home / "known").write_text(
        first.write_known_hosts_line(f"[localhost]:{first.port}") + last.write_known_hosts_line()
    )
    jump = [f"localhost:{first.port}"]
    async with last.open_transport(jump=jump, known_hosts=str(home / "known"), credentials=provider) as transport:
        await fine(transport)
    assert [need.resource for need in provider.asked] == ["localhost", "127.0.0.1"]


@pytest.fixture
def agent(
    home: Path, elsewhere: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[asyncio.StreamWriter]]:
    """Return who has asked the user's agent, which knows nothing."""
    asked: list[asyncio.StreamWriter] = []

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(writer)
        while await reader.read(1000):
            writer.write(b"\0\0\0\5\x0c\0\0\0\0")  # the answer to a request for identities: none
        writer.close()

    path = str(home / "agent")
    server = asyncio.run_coroutine_threadsafe(asyncio.start_unix_server(joined, path), elsewhere).result(20)
    monkeypatch.setenv("SSH_AUTH_SOCK", path)
    yield asked
    elsewhere.call_soon_threadsafe(server.close)


@pytest.mark.asyncio
@pytest.mark.needs("ssh")
@pytest.mark.parametrize("make", [plain, password, wrong_key, wrong_password])
async def test_nothing_else_is_shown(sshd: Sshd, make: Made, agent: list[object], home: Path) -> None:
    """Neither the agent nor the user's own keys, whatever the configuration says of them."""
    own = asyncssh.read_private_key(home / ".ssh" / "id_ed25519").get_fingerprint()
    (home / "config").write_text(f"IdentityFile {home}/.ssh/id_ed25519\nIdentityAgent {home}/agent\n")
    transport = sshd.transport(credentials=Provider(make(sshd)), ssh_config=str(home / "config"))
    sshd.user_key = sshd.user_key if make is plain else asyncssh.read_private_key(home / ".ssh" / "id_ed25519")
    try:
        await entered(transport)
    except AuthenticationError:
        assert make in (wrong_key, wrong_password)
    assert sshd.offered
    assert not any(own in shown for shown in sshd.offered)
    assert not agent


@pytest.mark.asyncio
async def test_without_a_provider_it_is_as_for_ssh(sshd: Sshd, agent: list[object], transport: SshTransport) -> None:
    """The agent is asked, and the user's own keys are shown."""
    await fine(transport)
    assert agent
    assert sshd.offered


@pytest.mark.asyncio
async def test_without_any_key(sshd: Sshd, home: Path) -> None:
    """AuthenticationError."""
    (home / ".ssh" / "id_ed25519").unlink()
    with pytest.raises(AuthenticationError):
        await entered(sshd.transport())


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "make", [plain, encrypted, certified, password, wrong_password, wrong_key, wrong_phrase, no_phrase, no_key]
)
async def test_no_secret_is_told(sshd: Sshd, make: Made, caplog: pytest.LogCaptureFixture) -> None:
    """Not by an error, nor by what caused it, nor by a log record of whoever, nor by the transport itself."""
    caplog.set_level(logging.DEBUG)
    credential = make(sshd)
    transport = sshd.transport(credentials=Provider(credential))
    told = [repr(transport), str(vars(transport))]
    try:
        await entered(transport)
    except AuthenticationError as error:
        chain: BaseException | None = error
        while chain is not None:
            told += [str(chain), repr(chain), repr(chain.args), repr(vars(chain))]
            chain = chain.__cause__ or chain.__context__
    text = caplog.text + "".join(told)
    assert "asyncssh" in text or make in (wrong_phrase, no_phrase, no_key)
    assert "hush" not in text
    if isinstance(credential, PrivateKey) and make is not no_key:
        assert credential.key.get_secret_value().decode().splitlines()[2][:20] not in text


@pytest.mark.asyncio
async def test_the_loop_goes_on_while_a_key_is_decrypted(sshd: Sshd) -> None:
    """It takes long on purpose."""
    start = time.perf_counter()
    credential = encrypted(sshd, rounds=SLOW)
    seconds = time.perf_counter() - start  # as long as to decrypt it
    gaps: list[float] = []

    async def tick() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - before)

    ticking = asyncio.create_task(tick())
    await entered(sshd.transport(credentials=Provider(credential), connect_s=60.0))  # a loaded machine decrypts slowly
    ticking.cancel()
    assert max(gaps) < 0.7 * seconds


@pytest.mark.asyncio
async def test_a_user_without_a_home_shows_no_keys(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers run as numbers that no user has; a known host is still known, and the error is ours."""

    def nobody(number: int) -> pwd.struct_passwd:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for known_hosts in (sshd.write_known_hosts(), None):
        with pytest.raises(IntercedeError):
            async with SshTransport("127.0.0.1", port=sshd.port, username="me", known_hosts=known_hosts):
                pass
