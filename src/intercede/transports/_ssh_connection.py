"""Keeps the single ssh connection of a transport: opens it when it is first needed, and again after a loss."""

import asyncio
import contextlib
import ipaddress
import os
import random
import re
import socket
import urllib.parse
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import asyncssh

from intercede.contract.credentials import CredentialNeed, CredentialProvider, FreshCredentials
from intercede.contract.errors import AuthenticationError, ConfigError, TransportError
from intercede.plugin_tools.options import option_error
from intercede.transports._ssh_config import Login, run_locally
from intercede.transports._ssh_host_keys import HostKeyVerifier, KnownHostsLine, parse_known_hosts, parse_revoked_keys
from intercede.transports._ssh_keys import build_auth_options, offer_own_keys
from intercede.transports._ssh_proxy import ProxyCommand

__all__ = ["Connection", "Endpoint", "Server"]

_ATTEMPTS = 8
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
_KEEPALIVES = 3
_CLOSE_SECONDS = 5.0
_USER = r"(?!-)[^\s\x00-\x1f\x7f'\"`;&<>|(){}]+(?<!\\)"
"""A user's name, restricted as in ``ssh``: a configured ProxyCommand may pass the name to a shell."""
_HOST = r"\[[0-9A-Fa-f:.%]+\]|(?!-)[^:@\[\]$\\\s\x00-\x1f'\"`;&<>|(){}]+"
_ENDPOINT = re.compile(rf"(?:(?P<user>{_USER})@)?(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?")
_PORTS = range(1, 65536)
_MAX_HOPS = 32
_SCHEME = "ssh://"
_AUTH_FAILURES = (asyncssh.PermissionDenied, asyncssh.KeyImportError, asyncssh.KeyEncryptionError)


@dataclass(frozen=True)
class Endpoint:
    """The destination of one login: ``[user@]host[:port]``."""

    host: str
    port: int | None = None
    username: str | None = None

    @classmethod
    def parse(cls, text: str, field: str) -> "Endpoint":
        """Parse a host as ssh's ``-J`` takes it; ``field`` is the option that holds it, for error messages.

        Raises:
            ConfigError: The text is not a valid host.
        """
        if _is_ipv6(text):
            return cls(text)
        if "@" in text and ":" in text.rpartition("@")[0].removeprefix(_SCHEME):
            raise _build_password_error(field, "[user@]host[:port]")
        match = _ENDPOINT.fullmatch(text.removeprefix(_SCHEME).removesuffix("/") if _SCHEME in text else text)
        if match is None or int(match["port"] or 22) not in _PORTS:
            raise option_error(field, text, "[user@]host[:port]")
        port = None if match["port"] is None else int(match["port"])
        user = urllib.parse.unquote(match["user"]) if match["user"] and _SCHEME in text else match["user"]
        return cls(match["host"].strip("[]"), port).override(None, user)

    def override(self, port: int | None, username: str | None) -> "Endpoint":
        """Return the endpoint with this port and username in place of its own, if they are given.

        Raises:
            ConfigError: The port or the username is invalid.
        """
        if port is not None and port not in _PORTS:
            raise option_error("port", port, "a number from 1 to 65535")
        if username is not None and not re.fullmatch(_USER, username):
            if ":" in username:
                raise _build_password_error("username", "the name of a user on the remote host")
            raise option_error("username", username, "the name of a user on the remote host")
        return Endpoint(self.host, port or self.port, username or self.username)

    def __str__(self) -> str:
        """Return the form that ``parse`` reads."""
        user = "" if self.username is None else f"{self.username}@"
        return user + self.host + ("" if self.port is None else f":{self.port}")


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _build_password_error(field: str, expected: str) -> ConfigError:
    """Return an error that says that the value seems to hold a password, without repeating the value."""
    return ConfigError(
        f"{field} holds a password, and an option must never hold a secret: pass a credential provider instead",
        field=field,
        expected=expected,
    )


@dataclass(frozen=True)
class Server:
    """The server and the configured way to reach it."""

    endpoint: Endpoint
    jump: Sequence[Endpoint] = ()
    known_hosts: str | None = None
    ssh_config: str | None = None
    connect_s: float = 30.0
    keepalive_s: float = 15.0


class Connection:
    """Connects once for all callers, connects again after a loss, and retries with backoff while the server is busy.

    Args:
        server: The server to connect to.
        credentials: The provider of credentials. None means the agent and the user's own keys, as for ``ssh``.
    """

    def __init__(self, server: Server, credentials: CredentialProvider | None) -> None:
        self._server = server
        self._provider = credentials
        self._fresh: dict[Endpoint, FreshCredentials] = {}
        self._chain: list[asyncssh.SSHClientConnection] = []
        self._proxy: ProxyCommand | None = None
        self.has_served = False
        """True once the connection has opened a session."""
        self._connecting: asyncio.Task[asyncssh.SSHClientConnection] | None = None

    async def connect(self) -> asyncssh.SSHClientConnection:
        """Return the open connection, or open one if there is none.

        Raises:
            TransportError: The server cannot be reached, or its host key is not the known one.
            AuthenticationError: The server refuses the login.
            ConfigError: The configuration asks for something that this transport does not support.
        """
        # While a login is under way, no open connection is returned: the last one may lead to a jump host.
        if self._connecting is None:
            if self._chain and not self._chain[-1].is_closed():
                return self._chain[-1]
            self._connecting = asyncio.create_task(self._connect_with_retries())
            self._connecting.add_done_callback(self._forget_connecting)
        return await asyncio.shield(self._connecting)

    def renew(self) -> None:
        """Drop a connection that used to open sessions and no longer does. The next command opens a new connection."""
        if self.has_served and self._connecting is None and self._chain:
            self._chain[-1].abort()

    def _forget_connecting(self, task: asyncio.Task[asyncssh.SSHClientConnection]) -> None:
        self._connecting = None
        if not task.cancelled():
            # Retrieve the exception, so that asyncio logs no warning if no caller waits. A caller that waits gets the
            # exception from the task.
            task.exception()

    @contextlib.asynccontextmanager
    async def open_another(self) -> AsyncGenerator[asyncssh.SSHClientConnection]:
        """Yield a second connection beside the shared one.

        Raises:
            TransportError, AuthenticationError, ConfigError: As for ``connect``.
        """
        connection = Connection(self._server, self._provider)
        try:
            yield await connection.connect()
        finally:
            await connection.close()

    async def close(self) -> None:
        """Close the connection, within a time limit."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        await self._hang_up()

    async def _hang_up(self) -> None:
        """Close the connections to the server and to each jump host, the last one first, and end the proxy."""
        while self._chain:
            connection = self._chain.pop()
            connection.close()
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_CLOSE_SECONDS):
                        await connection.wait_closed()
            finally:
                connection.abort()
        if self._proxy is not None:
            proxy, self._proxy = self._proxy, None
            await proxy.end()

    async def _connect_with_retries(self) -> asyncssh.SSHClientConnection:
        deadline = asyncio.get_running_loop().time() + self._server.connect_s
        wait = _FIRST_WAIT
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._connect_once(deadline)
            except TransportError as error:
                pause = random.uniform(0.5, 1.0) * wait  # noqa: S311 -- spreads clients that were refused together
                late = asyncio.get_running_loop().time() + pause >= deadline
                if not error.retryable or late or attempt == _ATTEMPTS:
                    raise
            await asyncio.sleep(pause)
            wait = min(2 * wait, _LONGEST_WAIT)
        raise AssertionError("the last attempt returns or raises")

    async def _connect_once(self, deadline: float) -> asyncssh.SSHClientConnection:
        await self._hang_up()  # close what is left of an earlier connection
        self.has_served = False
        try:
            await self._log_in_to_every_hop(deadline)
        except BaseException:
            await self._hang_up()
            raise
        return self._chain[-1]

    async def _log_in_to_every_hop(self, deadline: float) -> None:
        async with self._limit_time(self._server.endpoint, deadline):
            route = await _find_route(self._server)
        for endpoint, login in route:
            async with self._limit_time(endpoint, deadline) as seconds:
                self._chain.append(await self._log_in(endpoint, login, seconds))

    @contextlib.asynccontextmanager
    async def _limit_time(self, endpoint: Endpoint, deadline: float) -> AsyncGenerator[float]:
        seconds = max(0.1, deadline - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(seconds):
                yield seconds
        except TimeoutError as error:
            raise TransportError(f"{endpoint}: no answer within {self._server.connect_s:g} s") from error
        # A ValueError or ArithmeticError comes from a number that the server sent.
        except (asyncssh.Error, OSError, ValueError, ArithmeticError) as error:
            _raise_translated(endpoint, error)

    async def _log_in(self, endpoint: Endpoint, login: Login, seconds: float) -> asyncssh.SSHClientConnection:
        fresh = self._fresh.get(endpoint)
        was_kept = fresh is not None and fresh.is_kept
        try:
            return await self._log_in_once(endpoint, login, seconds)
        except _AUTH_FAILURES:
            self._forget_credentials(endpoint)
            if not was_kept:
                raise
        # The second attempt asks the provider again, which may have new credentials in place of the old ones.
        return await self._log_in_once(endpoint, login, seconds)

    async def _log_in_once(self, endpoint: Endpoint, login: Login, seconds: float) -> asyncssh.SSHClientConnection:
        verifier = await _build_verifier(self._server, login)
        await self._start_proxy(login)
        try:
            async with self._prepare_auth(endpoint, login) as auth_options:
                return await self._open_connection(endpoint, login, verifier, seconds, auth_options)
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
            if verifier.problem is None:
                raise
            raise TransportError(f"{endpoint}: {verifier.problem}", retryable=False) from error
        except (asyncssh.ConnectionLost, OSError) as error:
            if self._proxy is None or not (words := await self._proxy.read_stderr()):
                raise
            raise TransportError(f"{endpoint}: cannot be reached: {error}; ProxyCommand printed: {words}") from error

    async def _start_proxy(self, login: Login) -> None:
        if login.proxy_command is not None:
            await self._hang_up()  # end the proxy of a login that was refused
            self._proxy = await ProxyCommand.start(login.proxy_command)

    async def _open_connection(
        self, endpoint: Endpoint, login: Login, verifier: HostKeyVerifier, seconds: float, auth: dict[str, object]
    ) -> asyncssh.SSHClientConnection:
        tunnel = self._chain[-1] if self._chain else None
        sock = None if self._proxy is None or tunnel else self._proxy.socket
        is_direct = tunnel is None and sock is None
        username = endpoint.username or auth.pop("username", None) or login.username
        return await asyncssh.connect(
            login.host,
            login.port,
            config=None,
            tunnel=tunnel,
            sock=sock,
            client_factory=lambda: _Client(verifier, is_direct=is_direct, check_host_ip=login.check_host_ip),
            known_hosts=([], [], []),  # asyncssh itself trusts no key: _Client verifies keys
            server_host_key_algs=verifier.list_algorithms(),
            connect_timeout=seconds,
            login_timeout=seconds,
            keepalive_interval=self._server.keepalive_s,
            keepalive_count_max=_KEEPALIVES,
            agent_forwarding=False,
            agent_path=None,
            client_certs=[],
            gss_kex=False,
            **{**login.options, **auth, **({} if username is None else {"username": username})},
        )

    def _forget_credentials(self, endpoint: Endpoint) -> None:
        if endpoint in self._fresh:
            self._fresh[endpoint].forget()

    @contextlib.asynccontextmanager
    async def _prepare_auth(self, endpoint: Endpoint, login: Login) -> AsyncGenerator[dict[str, object]]:
        if self._provider is None:
            async with offer_own_keys(login) as own:
                yield own
            return
        if endpoint not in self._fresh:
            need = CredentialNeed(resource=endpoint.host, kinds=("private_key", "password"))
            self._fresh[endpoint] = FreshCredentials(self._provider, need)
        yield await asyncio.to_thread(build_auth_options, await self._fresh[endpoint].get())


class _Client(asyncssh.SSHClient):
    """Lets ``HostKeyVerifier`` verify host keys, because asyncssh supports less of known_hosts files than ``ssh``."""

    def __init__(self, verifier: HostKeyVerifier, *, is_direct: bool, check_host_ip: bool) -> None:
        self._verifier, self._is_direct, self._check_host_ip = verifier, is_direct, check_host_ip

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Install the verifier before the server presents a key. Without it, asyncssh would trust no key."""
        if self._is_direct:
            self._verifier.add_address(conn.get_extra_info("peername")[0], is_checked=self._check_host_ip)
        conn.validate_server_host_key = self._verifier.verify  # type: ignore[method-assign]  # asyncssh has no hook


async def _find_route(server: Server) -> list[tuple[Endpoint, Login]]:
    """Return every login on the route that ``ssh`` would take; the last one is the server's.

    Raises:
        ConfigError: The route leads in a circle, or one of its logins is not supported.
    """
    return await _find_route_to(server, server.endpoint, server.jump, ())


async def _find_route_to(
    server: Server, endpoint: Endpoint, jump: Sequence[Endpoint], before: Sequence[Endpoint]
) -> list[tuple[Endpoint, Login]]:
    """Return the route to one endpoint.

    The configuration of the first jump host decides how that host is reached. Each further host is reached through the
    host before it.
    """
    if endpoint in before or len(before) > _MAX_HOPS:
        raise ConfigError(
            f"{server.ssh_config} leads in a circle: {' via '.join(map(str, (*before, endpoint)))}",
            field="ssh_config",
            value=server.ssh_config,
            expected="jump hosts that do not lead back",
        )
    login = await _resolve(server, endpoint)
    hops = jump or [Endpoint.parse(hop, "ProxyJump") for hop in login.jump]
    if not hops:
        return [(endpoint, login)]
    route = await _find_route_to(server, hops[0], (), (*before, endpoint))
    route += [(hop, replace(await _resolve(server, hop), proxy_command=None)) for hop in hops[1:]]
    return [*route, (endpoint, replace(login, proxy_command=None))]


async def _resolve(server: Server, endpoint: Endpoint) -> Login:
    if server.ssh_config is None:
        return Login(endpoint.host, endpoint.port or 22, endpoint.username)
    return await Login.resolve(server.ssh_config, endpoint.host, endpoint.port, endpoint.username)


async def _build_verifier(server: Server, login: Login) -> HostKeyVerifier:
    """Return a verifier for the server's host key. Each login makes a new verifier from the files of host keys.

    The files are read again because users edit them while this process runs.

    Raises:
        ConfigError: A file of host keys cannot be read.
        TransportError: The command that prints host keys fails.
    """
    if server.known_hosts is not None:
        lines = await asyncio.to_thread(_read_known_hosts, [server.known_hosts])
        source = server.known_hosts
    else:
        files = await asyncio.to_thread(_select_existing, login.known_hosts)
        lines = [
            *await asyncio.to_thread(_read_known_hosts, files),
            *await _run_known_hosts_command(login.known_hosts_command),
        ]
        source = " or ".join([*files, *login.known_hosts_command[:1]]) or "any file: there is none"
    revoked = await asyncio.to_thread(_read_revoked_files, login.revoked_host_keys)
    return await asyncio.to_thread(  # a thread does this, because thousands of lines take a while
        HostKeyVerifier,
        login.host,
        login.port,
        lines,
        source=source,
        alias=login.alias,
        revoked=revoked,
        rules=login.rules,
    )


def _select_existing(files: Sequence[str]) -> list[str]:
    """Return the files that exist. Like ssh, skip a file that is missing, without an error.

    A file in an unreadable directory, or in the home of an unknown user, counts as missing.
    """
    return [file for file in files if os.path.exists(os.path.expanduser(file))]  # noqa: PTH110, PTH111 -- never raise


def _read_known_hosts(files: Sequence[str]) -> list[KnownHostsLine]:
    return [line for file in files for line in parse_known_hosts(_read_file(file, "known_hosts"), file)]


def _read_revoked_files(files: Sequence[str]) -> list[bytes]:
    return [key for file in files for key in parse_revoked_keys(_read_file(file, "ssh_config"), file)]


def _read_file(file: str, field: str) -> bytes:
    try:
        return Path(file).expanduser().read_bytes()
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError means an unknown user, ValueError a NUL
        raise ConfigError(
            f"cannot read the host keys in {file}: {error}",
            field=field,
            value=file,
            expected="a file of host keys in the format of ssh",
        ) from error


async def _run_known_hosts_command(command: Sequence[str]) -> list[KnownHostsLine]:
    if not command:
        return []
    code, printed, words = await run_locally(command)
    if code:
        raise TransportError(f"KnownHostsCommand {command[0]} failed with exit code {code}: {words}", retryable=False)
    return list(parse_known_hosts(printed, command[0], is_printed=True))


def _raise_translated(endpoint: Endpoint, error: Exception) -> NoReturn:
    """Raise the contract's error for an error of asyncssh. The message never holds a key or a password."""
    if isinstance(error, _AUTH_FAILURES):
        raise AuthenticationError(f"{endpoint}: login refused: {error}") from error
    unknown = isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN
    lost = isinstance(error, asyncssh.ConnectionLost | OSError) and not unknown
    raise TransportError(f"{endpoint}: cannot be reached: {error}", retryable=lost) from error
