"""An ssh server in this process: real sessions with real login shells, which a test can inspect and make misbehave.

It runs in a thread with an event loop of its own, so a test observes only the client on its own loop.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import TypeVar

import asyncssh
import pytest

from intercede.contract.errors import ConfigError, TransportError
from intercede.transports.ssh import SshTransport

T = TypeVar("T")


_FAST = {"kex_algs": ["curve25519-sha256"], "encryption_algs": ["aes128-gcm@openssh.com"]}


_UNLIMITED = 10**6


_STDERR = 1


_WINDOW = 2**19


def make_key() -> asyncssh.SSHKey:
    """Generate a private key."""
    return asyncssh.generate_private_key("ssh-ed25519")  # pyright: ignore[reportUnknownMemberType]  # its keywords


USER_KEY = make_key()


class Sshd:
    """Accepts logins with one key, and runs each command as sshd does. A test may change its limits at any time."""

    def __init__(self, home: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.home = home
        self.host_key, self.user_key = make_key(), USER_KEY
        self.shell: tuple[str, ...] = ("sh",)
        self.variables: dict[str, str] = {}
        self.sessions_allowed, self.sessions_a_connection, self.refused = _UNLIMITED, _UNLIMITED, 0
        self.shells, self.most_shells = 0, 0
        self.to_drop, self.connections, self.logins = 0, 0, 0
        self.authorities: list[asyncssh.SSHKey] = []
        self.certificate: asyncssh.SSHCertificate | None = None
        self.passwords: dict[str, str] = {}
        self.offered: list[str] = []
        self.commands: list[str] = []
        self.before_a_session: Callable[[], Coroutine[None, None, None]] | None = None
        self.before_a_command: Callable[[], Coroutine[None, None, None]] | None = None
        self.port = 0
        self._loop = loop
        self._open: set[asyncssh.SSHServerConnection] = set()
        self._logins: list[_Login] = []
        self._leaders: set[int] = set()
        self.serving: set[asyncio.Task[None]] = set()

    @staticmethod
    def new_key() -> asyncssh.SSHKey:
        """Make a private key."""
        return make_key()

    def start(self) -> None:
        """Start to listen."""
        self._listener = self._run_on_loop(self._listen())
        self.port = self._listener.get_port()

    async def _listen(self) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_factory=self._login,
            server_host_keys=[self.host_key if self.certificate is None else (self.host_key, self.certificate)],
            config=None,
            encoding=None,
            window=_WINDOW,
            gss_host=None,
            **_FAST,
        )

    def _login(self) -> "_Login":
        self._logins.append(_Login(self))
        return self._logins[-1]

    def stop(self) -> None:
        """Stop listening, close all connections, and end the commands."""
        self._run_on_loop(self._stop())

    async def _stop(self) -> None:
        self._listener.close()
        await self._hang_up()
        while self.serving:
            for pid in self.list_processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.wait(self.serving, timeout=0.1)

    def list_processes(self) -> set[int]:
        """Return the living processes that commands have started on this server."""
        return {pid for pid, state, session in _list_processes() if session in self._leaders and state != "Z"}

    async def wait_until_idle(self) -> None:
        """Wait until no process of a command is left, and fail if that takes too long."""
        await self.wait_until(lambda: not self.list_processes())

    async def wait_until(self, condition: Callable[[], bool], within: float = 20) -> None:
        """Wait for the condition, and fail if it does not become true in time."""
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    def hang_up(self) -> None:
        """Close every open connection."""
        self._run_on_loop(self._hang_up())

    async def _hang_up(self) -> None:
        self.drop()

    def drop(self) -> None:
        """Close every open connection, from the server's own event loop."""
        for connection in list(self._open):
            connection.abort()

    def _run_on_loop(self, work: Coroutine[None, None, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def write_known_hosts(self) -> str:
        """Write a file that lists this key for every host; return its path."""
        path = self.home / f"known_hosts-{self.port}"
        path.write_text(self.write_known_hosts_line("*"))
        return str(path)

    def write_known_hosts_line(self, name: str | None = None) -> str:
        """Return the known_hosts line that lists this key for a host of this name."""
        return f"{name or f'[127.0.0.1]:{self.port}'} {self.host_key.export_public_key().decode()}"

    def transport(
        self, *, host: str = "127.0.0.1", port: int | None = None, known_hosts: str | None = None, **options: object
    ) -> SshTransport:
        """Make a transport to this server."""
        known = known_hosts or self.write_known_hosts()
        given: dict[str, object] = {"connect_s": 10.0, **options}
        return SshTransport(host, port=port or self.port, known_hosts=known, **given)  # type: ignore[arg-type]

    @contextlib.asynccontextmanager
    async def open_transport(self, **options: object) -> AsyncGenerator[SshTransport]:
        """Enter a transport to this server; an error that the event loop reports fails the test."""
        complaints: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context)))
        async with self.transport(**options) as transport:  # type: ignore[arg-type]  # as above
            yield transport
        assert not complaints

    async def run(self, chan: asyncssh.SSHServerChannel[bytes], session: "_Session", command: str) -> None:
        """Run a command in the login shell, as the leader of a session."""
        self.commands.append(command)
        if self.before_a_command is not None:
            await self.before_a_command()
        variables = {"HOME": str(self.home), "PATH": os.environ["PATH"], "USER": "user", **self.variables}
        pipe = asyncio.subprocess.PIPE
        shell = await asyncio.create_subprocess_exec(
            *self.shell,
            "-c",
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
            env=variables,
            cwd=self.home,
        )
        self._leaders.add(shell.pid)
        self.shells += 1
        self.most_shells = max(self.most_shells, self.shells)
        await session.copy_streams(shell)
        code = await shell.wait()
        self.shells -= 1
        with contextlib.suppress(OSError):
            if code < 0:
                chan.exit_with_signal(signal.Signals(-code).name.removeprefix("SIG"))
            else:
                chan.exit(code)

    def open_session(self, login: "_Login") -> "_Session | bool":
        """Allow or refuse a session, like MaxSessions, or like tinysshd with one session per connection."""
        if login.sessions >= self.sessions_allowed or login.sessions_given >= self.sessions_a_connection:
            self.refused += 1
            return False
        login.sessions_given += 1
        return _Session(self, login)

    def delay_session(self, login: "_Login") -> "Coroutine[None, None, _Session] | None":
        """Open a session later, if the test says so."""
        before = self.before_a_session
        if before is None:
            return None

        async def open_later() -> _Session:
            await before()
            return _Session(self, login)

        return open_later()

    @property
    def sessions(self) -> int:
        """The number of open sessions on all connections."""
        return sum(login.sessions for login in self._logins)

    @property
    def open_connections(self) -> int:
        """The number of open connections."""
        return len(self._open)

    def add_connection(self, connection: asyncssh.SSHServerConnection) -> None:
        """Count a connection, or drop it as MaxStartups does."""
        self.connections += 1
        self._open.add(connection)
        if self.to_drop:
            self.to_drop -= 1
            self._loop.call_soon(connection.abort)

    def remove_connection(self, connection: asyncssh.SSHServerConnection) -> None:
        """Forget a closed connection."""
        self._open.discard(connection)


def _list_processes() -> Iterator[tuple[int, str, int]]:
    """Yield pid, state and session of every process."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session, *_ = stat.read_text(errors="replace").rpartition(")")[2].split()
            yield int(stat.parent.name), state, int(session)


class _Login(asyncssh.SSHServer):
    """One connection, with its authentication and its sessions."""

    def __init__(self, sshd: Sshd) -> None:
        self._sshd = sshd
        self.sessions, self.sessions_given = 0, 0

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._sshd.add_connection(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self._sshd.remove_connection(self._connection)

    def auth_completed(self) -> None:
        self._sshd.logins += 1

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self._sshd.offered.append(f"{username} {key.get_fingerprint()}")
        return key == self._sshd.user_key.convert_to_public()

    def validate_ca_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return key in self._sshd.authorities

    def password_auth_supported(self) -> bool:
        return bool(self._sshd.passwords)

    def validate_password(self, username: str, password: str) -> bool:
        self._sshd.offered.append(f"{username} password")
        return self._sshd.passwords.get(username) == password

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True

    def session_requested(self) -> "_Session | bool":
        late = self._sshd.delay_session(self)
        return late or self._sshd.open_session(self)  # type: ignore[return-value]  # asyncssh awaits it


class _Session(asyncssh.SSHServerSession[bytes]):
    """One session: pipes between a channel and a login shell, with small buffers."""

    def __init__(self, sshd: Sshd, login: _Login) -> None:
        self._sshd, self._login = sshd, login
        self._login.sessions += 1
        self._typed: asyncio.Queue[bytes] = asyncio.Queue()
        self._owed, self._is_fed = 0, True
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._shell: asyncio.subprocess.Process | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._chan = chan

    def connection_lost(self, exc: Exception | None) -> None:
        self._login.sessions -= 1
        self._may_write.set()
        self._typed.put_nowait(b"")

    def exec_requested(self, command: str) -> bool:
        serving = asyncio.ensure_future(self._sshd.run(self._chan, self, command))
        self._sshd.serving.add(serving)
        serving.add_done_callback(self._sshd.serving.discard)
        return True

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._owed += len(data)
        if self._owed >= _WINDOW and self._is_fed:
            self._chan.pause_reading()
        self._typed.put_nowait(data)

    def eof_received(self) -> bool:
        self._typed.put_nowait(b"")
        return True

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    def signal_received(self, signal: str) -> None:
        if self._shell is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._shell.pid, _parse_signal(signal))

    async def copy_streams(self, shell: asyncio.subprocess.Process) -> None:
        """Copy both ways until the shell and its children have closed their ends."""
        self._shell = shell
        assert shell.stdin is not None
        assert shell.stdout is not None
        assert shell.stderr is not None
        feeding = asyncio.ensure_future(self._feed(shell.stdin))
        await asyncio.gather(self._copy(shell.stdout, None), self._copy(shell.stderr, _STDERR))
        feeding.cancel()

    async def _feed(self, stdin: asyncio.StreamWriter) -> None:
        try:
            while data := await self._typed.get():
                stdin.write(data)
                await stdin.drain()
                self._owed -= len(data)
                if not self._owed:  # not earlier: asyncssh opens the whole window each time
                    self._chan.resume_reading()
        except OSError:
            pass  # the command does not read any more
        finally:
            stdin.close()
            self._is_fed = False
            self._chan.resume_reading()  # only the end of stdin follows

    async def _copy(self, pipe: asyncio.StreamReader, datatype: int | None) -> None:
        while data := await pipe.read(65536):
            await self._may_write.wait()
            with contextlib.suppress(OSError):
                self._chan.write(data, datatype)  # pyright: ignore[reportUnknownMemberType]  # says too little


def _parse_signal(name: str) -> int:
    return signal.Signals[f"SIG{name}"]


class Wire:
    """A TCP proxy to a server, which a test can cut or silence."""

    def __init__(self, sshd: Sshd, loop: asyncio.AbstractEventLoop) -> None:
        self.cut_after: int | None = None
        self.is_silent = False
        self.port = 0
        self._sshd, self._loop = sshd, loop
        self._carried = 0
        self._ends: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Start to listen."""
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, and cut every connection."""
        self._server.close()
        self._cut()

    def cut_in(self, count: int) -> None:
        """Cut the connection after this many more bytes in either direction."""
        self._carried, self.cut_after = 0, count

    def _cut(self) -> None:
        for end in self._ends:
            end.close()
        self._ends.clear()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        remote, to_remote = await asyncio.open_connection("127.0.0.1", self._sshd.port)
        self._ends |= {writer, to_remote}
        await asyncio.gather(self._carry(reader, to_remote), self._carry(remote, writer))

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                self._carried += len(data)
                if self.cut_after is not None and self._carried >= self.cut_after:
                    sink.write(data[: self.cut_after - self._carried])
                    self.cut_after = None
                    self._cut()
                elif not self.is_silent:
                    sink.write(data)
                    await sink.drain()
        sink.close()


def format_endpoint(sshd: Sshd) -> str:
    """Return the address of a server."""
    return f"127.0.0.1:{sshd.port}"


async def get_server_name(transport: SshTransport) -> str:
    """Return the name of the server on which the transport runs its commands."""
    async with transport:
        return (await transport.run(["sh", "-c", "echo $SSHD"])).stdout.decode().strip()


async def get_refusal(transport: SshTransport) -> TransportError:
    """Return the error that refuses the host key."""
    with pytest.raises(TransportError, match=r"host (key|certificate)") as raised:
        await get_server_name(transport)
    assert not raised.value.retryable
    return raised.value


async def run_command(*words: str) -> tuple[int, str, str]:
    """Run a command; return its code, stdout and stderr."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *words, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(), 20)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return await process.wait(), stdout.decode().strip(), stderr.decode()


async def find_ssh_destination(written: str, host: str, *words: str) -> str:
    """Return the name of the server that ``ssh`` reaches; "" if it fails."""
    _, name, _ = await run_command("ssh", "-F", written, "-o", "BatchMode=yes", *words, host, "echo $SSHD")
    return name


async def find_our_destination(transport: SshTransport) -> str:
    """Return the name of the server that the transport reaches; "" if it fails."""
    try:
        return await get_server_name(transport)
    except (ConfigError, TransportError):
        return ""
