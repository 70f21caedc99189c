"""Fixtures for the tests of the transport ``ssh``: servers in this process, and the files of their user."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio
from tests.transports.sshd import USER_KEY, Sshd, Wire

from intercede.transports.ssh import SshTransport


class Maker(Protocol):
    """Starts another server, whose commands find its name in ``$SSHD``."""

    def __call__(self, name: str, before: Callable[[Sshd], None] | None = None) -> Sshd:
        """Start the server after ``before`` has configured it."""
        ...


@pytest.fixture
def server_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Yield an event loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    asyncio.run_coroutine_threadsafe(_cancel_tasks(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _cancel_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.01)  # closed transports still call the loop


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the home directory of a user with a key and no agent."""
    directory = tmp_path / "home"
    (directory / ".ssh").mkdir(parents=True)
    key = directory / ".ssh" / "id_ed25519"
    key.touch(mode=0o600)  # ssh requires this mode
    key.write_bytes(USER_KEY.export_private_key())  # pyright: ignore[reportUnknownMemberType]  # its keywords
    monkeypatch.setenv("HOME", str(directory))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return directory


@pytest.fixture
def make_sshd(home: Path, server_loop: asyncio.AbstractEventLoop) -> Iterator[Maker]:
    """Yield a function that starts servers."""
    made: list[Sshd] = []

    def make(name: str, before: Callable[[Sshd], None] | None = None) -> Sshd:
        made.append(Sshd(home, server_loop))
        made[-1].variables["SSHD"] = name
        if before is not None:
            before(made[-1])
        made[-1].start()
        return made[-1]

    yield make
    for sshd in made:
        sshd.stop()


@pytest.fixture
def sshd(make_sshd: Maker) -> Sshd:
    """Return a running server."""
    return make_sshd("only")


@pytest_asyncio.fixture
async def transport(sshd: Sshd) -> AsyncIterator[SshTransport]:
    """Yield an entered transport to that server."""
    async with sshd.open_transport() as entered:
        yield entered


@pytest.fixture
def wire(sshd: Sshd, server_loop: asyncio.AbstractEventLoop) -> Iterator[Wire]:
    """Yield a TCP proxy to that server."""
    made = Wire(sshd, server_loop)
    asyncio.run_coroutine_threadsafe(made.start(), server_loop).result(20)
    yield made
    asyncio.run_coroutine_threadsafe(made.stop(), server_loop).result(20)


WriteConfig = Callable[..., str]


@pytest.fixture
def config(home: Path) -> WriteConfig:
    """Return a function that writes an ``ssh_config`` and returns its path.

    The test's lines are followed by those of its home, which OpenSSH does not take from HOME.
    """

    def write(*lines: str) -> str:
        ours = (f"UserKnownHostsFile {home}/.ssh/known_hosts", f"IdentityFile {home}/.ssh/id_ed25519")
        written = [*lines, "Match all", *ours, "GlobalKnownHostsFile /dev/null"]
        (home / "config").write_text("\n".join(written) + "\n")
        return str(home / "config")

    return write


@pytest.fixture
def hosts(make_sshd: Maker, home: Path) -> dict[str, Sshd]:
    """Return three servers that know their names and whose keys are known by default."""
    made = {name: make_sshd(name) for name in ("first", "second", "last")}
    (home / ".ssh" / "known_hosts").write_text("".join(sshd.write_known_hosts_line() for sshd in made.values()))
    return made
