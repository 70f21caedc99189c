"""The one ssh connection of a transport: made when it is first needed, made again when it was lost."""

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
from intercede.transports._ssh_config import Login, run_locally
from intercede.transports._ssh_keys import show, show_own
from intercede.transports._ssh_proxy import Proxy
from intercede.transports._ssh_trust import Line, Trust, read_lines, read_revoked

__all__ = ["Link", "Place", "Server"]

_ATTEMPTS = 8
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
_KEEPALIVES = 3
_CLOSE_SECONDS = 5.0
_USER = r"(?!-)[^\s\x00-\x1f\x7f'\"`;&<>|(){}]+(?<!\\)"
"""As for ``ssh``: a configured ProxyCommand may hand it to a shell."""
_HOST = r"\[[0-9A-Fa-f:.%]+\]|(?!-)[^:@\[\]$\\\s\x00-\x1f'\"`;&<>|(){}]+"
_PLACE = re.compile(rf"(?:(?P<user>{_USER})@)?(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?")
_PORTS = range(1, 65536)
_MOST_HOPS = 32
_SCHEME = "ssh://"
_NOT_LET_IN = (asyncssh.PermissionDenied, asyncssh.KeyImportError, asyncssh.KeyEncryptionError)


@dataclass(frozen=True)
class Place:
    """Where one login leads: ``[user@]host[:port]``."""

    host: str
    port: int | None = None
    username: str | None = None

    @classmethod
    def read(cls, text: str, field: str) -> "Place":
        """Read what ssh's ``-J`` takes; ``field`` is what it was given as.

        Raises:
            ConfigError: It is no place.
        """
        if _is_ipv6(text):
            return cls(text)
        if "@" in text and ":" in text.rpartition("@")[0].removeprefix(_SCHEME):
            raise _password_in(field, "[user@]host[:port]")
        match = _PLACE.fullmatch(text.removeprefix(_SCHEME).removesuffix("/") if _SCHEME in text else text)
        if match is None or int(match["port"] or 22) not in _PORTS:
            raise _no_sense(field, text, "[user@]host[:port]")
        port = None if match["port"] is None else int(match["port"])
        user = urllib.parse.unquote(match["user"]) if match["user"] and _SCHEME in text else match["user"]
        return cls(match["host"].strip("[]"), port).but(None, user)

    def but(self, port: int | None, username: str | None) -> "Place":
        """Return it with what is said of port and username elsewhere.

        Raises:
            ConfigError: They have no sense.
        """
        if port is not None and port not in _PORTS:
            raise _no_sense("port", port, "a number from 1 to 65535")
        if username is not None and not re.fullmatch(_USER, username):
            if ":" in username:
                raise _password_in("username", "a user's name there")
            raise _no_sense("username", username, "a user's name there")
        return Place(self.host, port or self.port, username or self.username)

    def __str__(self) -> str:
        """Write it as it is read."""
        user = "" if self.username is None else f"{self.username}@"
        return user + self.host + ("" if self.port is None else f":{self.port}")


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _password_in(field: str, expected: str) -> ConfigError:
    """Say that it seems to be there, and do not repeat it."""
    return ConfigError(
        f"{field} names a user with a password, and a secret is never an option: hand a credential provider over",
        field=field,
        expected=expected,
    )


def _no_sense(field: str, value: object, expected: str) -> ConfigError:
    return ConfigError(
        f"{field} {value!r} makes no sense: {expected} would", field=field, value=value, expected=expected
    )


@dataclass(frozen=True)
class Server:
    """What is configured of the way there."""

    place: Place
    jump: Sequence[Place] = ()
    known_hosts: str | None = None
    ssh_config: str | None = None
    connect_s: float = 30.0
    keepalive_s: float = 15.0


class Link:
    """Connects once for however many ask, again after a loss, and again with backoff where the server is busy.

    Args:
        server: Where to.
        credentials: Who answers for credentials; None: the agent and the user's own keys, as for ``ssh``.
    """

    def __init__(self, server: Server, credentials: CredentialProvider | None) -> None:
        self._server = server
        self._provider = credentials
        self._fresh: dict[Place, FreshCredentials] = {}
        self._chain: list[asyncssh.SSHClientConnection] = []
        self._proxy: Proxy | None = None
        self.has_served = False
        """Whether the connection has given a session."""
        self._connecting: asyncio.Task[asyncssh.SSHClientConnection] | None = None

    async def connection(self) -> asyncssh.SSHClientConnection:
        """Return the open connection, made now if need be.

        Raises:
            TransportError: The server cannot be reached, or is not the one that is known.
            AuthenticationError: It does not let us in.
            ConfigError: The configuration says what we cannot do.
        """
        if self._connecting is None:  # or else the chain's end is a jump host
            if self._chain and not self._chain[-1].is_closed():
                return self._chain[-1]
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._connected)
        return await asyncio.shield(self._connecting)

    def renew(self) -> None:
        """Give up a connection that has given sessions and gives no more; the next command makes another."""
        if self.has_served and self._connecting is None and self._chain:
            self._chain[-1].abort()

    def _connected(self, task: asyncio.Task[asyncssh.SSHClientConnection]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody may

    @contextlib.asynccontextmanager
    async def another(self) -> AsyncGenerator[asyncssh.SSHClientConnection]:
        """Yield a connection beside the one that all share.

        Raises:
            TransportError, AuthenticationError, ConfigError: As for ``connection``.
        """
        link = Link(self._server, self._provider)
        try:
            yield await link.connection()
        finally:
            await link.close()

    async def close(self) -> None:
        """Close it, in bounded time."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        await self._hang_up()

    async def _hang_up(self) -> None:
        """Close what there is, the end of the chain first."""
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

    async def _connect(self) -> asyncssh.SSHClientConnection:
        deadline = asyncio.get_running_loop().time() + self._server.connect_s
        wait = _FIRST_WAIT
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._attempt(deadline)
            except TransportError as error:
                pause = random.uniform(0.5, 1.0) * wait  # noqa: S311 -- spreads those who were refused together
                late = asyncio.get_running_loop().time() + pause >= deadline
                if not error.retryable or late or attempt == _ATTEMPTS:
                    raise
            await asyncio.sleep(pause)
            wait = min(2 * wait, _LONGEST_WAIT)
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, deadline: float) -> asyncssh.SSHClientConnection:
        await self._hang_up()  # what is left of the last one
        self.has_served = False
        try:
            await self._log_in_all_the_way(deadline)
        except BaseException:
            await self._hang_up()
            raise
        return self._chain[-1]

    async def _log_in_all_the_way(self, deadline: float) -> None:
        async with self._in_time(self._server.place, deadline):
            way = await _way(self._server)
        for place, login in way:
            async with self._in_time(place, deadline) as seconds:
                self._chain.append(await self._log_in(place, login, seconds))

    @contextlib.asynccontextmanager
    async def _in_time(self, place: Place, deadline: float) -> AsyncGenerator[float]:
        seconds = max(0.1, deadline - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(seconds):
                yield seconds
        except TimeoutError as error:
            raise TransportError(f"{place}: no answer within {self._server.connect_s:g} s") from error
        except (
            asyncssh.Error,
            OSError,
            ValueError,
            ArithmeticError,
        ) as error:  # the latter two: of numbers that it sent
            _raise_translated(place, error)

    async def _log_in(self, place: Place, login: Login, seconds: float) -> asyncssh.SSHClientConnection:
        fresh = self._fresh.get(place)
        was_kept = fresh is not None and fresh.is_kept
        try:
            return await self._logged_in(place, login, seconds)
        except _NOT_LET_IN:
            self._forget(place)
            if not was_kept:
                raise
        return await self._logged_in(place, login, seconds)  # what was kept is old, and may have been replaced

    async def _logged_in(self, place: Place, login: Login, seconds: float) -> asyncssh.SSHClientConnection:
        trust = await _trust(self._server, login)
        await self._start_proxy(login)
        try:
            async with self._shown_to(place, login) as shown:
                return await self._connected_to(place, login, trust, seconds, shown)
        except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
            if trust.verdict is None:
                raise
            raise TransportError(f"{place}: {trust.verdict}", retryable=False) from error
        except (asyncssh.ConnectionLost, OSError) as error:
            if self._proxy is None or not (words := await self._proxy.last_words()):
                raise
            raise TransportError(f"{place}: cannot be reached: {error}; ProxyCommand said: {words}") from error

    async def _start_proxy(self, login: Login) -> None:
        if login.proxy_command is not None:
            await self._hang_up()  # the one of a login that was not let in
            self._proxy = await Proxy.start(login.proxy_command)

    async def _connected_to(
        self, place: Place, login: Login, trust: Trust, seconds: float, shown: dict[str, object]
    ) -> asyncssh.SSHClientConnection:
        tunnel = self._chain[-1] if self._chain else None
        sock = None if self._proxy is None or tunnel else self._proxy.socket
        is_direct = tunnel is None and sock is None
        username = place.username or shown.pop("username", None) or login.username
        return await asyncssh.connect(
            login.host,
            login.port,
            config=None,
            tunnel=tunnel,
            sock=sock,
            client_factory=lambda: _Client(trust, is_direct=is_direct, is_checked=login.is_address_checked),
            known_hosts=([], [], []),  # none but ours: _Client sees to it
            server_host_key_algs=trust.algorithms(),
            connect_timeout=seconds,
            login_timeout=seconds,
            keepalive_interval=self._server.keepalive_s,
            keepalive_count_max=_KEEPALIVES,
            agent_forwarding=False,
            agent_path=None,
            client_certs=[],
            gss_kex=False,
            **{**login.options, **shown, **({} if username is None else {"username": username})},
        )

    def _forget(self, place: Place) -> None:
        if place in self._fresh:
            self._fresh[place].forget()

    @contextlib.asynccontextmanager
    async def _shown_to(self, place: Place, login: Login) -> AsyncGenerator[dict[str, object]]:
        if self._provider is None:
            async with show_own(login) as own:
                yield own
            return
        if place not in self._fresh:
            need = CredentialNeed(resource=place.host, kinds=("private_key", "password"))
            self._fresh[place] = FreshCredentials(self._provider, need)
        yield await asyncio.to_thread(show, await self._fresh[place].get())


class _Client(asyncssh.SSHClient):
    """Has host keys verified by ``Trust``: of a file of known hosts asyncssh knows less than ``ssh`` does."""

    def __init__(self, trust: Trust, *, is_direct: bool, is_checked: bool) -> None:
        self._trust, self._is_direct, self._is_checked = trust, is_direct, is_checked

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Take over before any key is shown. Should asyncssh ask another way, it trusts none."""
        if self._is_direct:
            self._trust.meet(conn.get_extra_info("peername")[0], is_checked=self._is_checked)
        conn.validate_server_host_key = self._trust.verified  # type: ignore[method-assign]  # there is no other hook


async def _way(server: Server) -> list[tuple[Place, Login]]:
    """Return every login on the way, the last one being the server's: as ``ssh`` goes it.

    Raises:
        ConfigError: It does not end, or one of them is none that we can go.
    """
    return await _way_to(server, server.place, server.jump, ())


async def _way_to(
    server: Server, place: Place, jump: Sequence[Place], before: Sequence[Place]
) -> list[tuple[Place, Login]]:
    """What leads to the first hop is its own affair; the others are reached from the one before."""
    if place in before or len(before) > _MOST_HOPS:
        raise ConfigError(
            f"{server.ssh_config} leads in a circle: {' by '.join(map(str, (*before, place)))}",
            field="ssh_config",
            value=server.ssh_config,
            expected="a way that ends",
        )
    login = await _resolved(server, place)
    hops = jump or [Place.read(hop, "ProxyJump") for hop in login.jump]
    if not hops:
        return [(place, login)]
    way = await _way_to(server, hops[0], (), (*before, place))
    way += [(hop, replace(await _resolved(server, hop), proxy_command=None)) for hop in hops[1:]]
    return [*way, (place, replace(login, proxy_command=None))]


async def _resolved(server: Server, place: Place) -> Login:
    if server.ssh_config is None:
        return Login(place.host, place.port or 22, place.username)
    return await Login.resolve(server.ssh_config, place.host, place.port, place.username)


async def _trust(server: Server, login: Login) -> Trust:
    """Read the keys of hosts, anew for each login: they are mended while we run.

    Raises:
        ConfigError: They cannot be read.
        TransportError: The command that prints them fails.
    """
    if server.known_hosts is not None:
        lines = await asyncio.to_thread(_known_hosts, [server.known_hosts])
        where = server.known_hosts
    else:
        files = await asyncio.to_thread(_existing, login.known_hosts)
        lines = [*await asyncio.to_thread(_known_hosts, files), *await _printed(login.known_hosts_command)]
        where = " or ".join([*files, *login.known_hosts_command[:1]]) or "any file: there is none"
    revoked = await asyncio.to_thread(_revoked, login.revoked_host_keys)
    return await asyncio.to_thread(  # of thousands of lines it takes a while
        Trust, login.host, login.port, lines, where=where, alias=login.alias, revoked=revoked, rules=login.rules
    )


def _existing(files: Sequence[str]) -> list[str]:
    """Return those that are there: ssh does without the others, also where a directory is closed or no home is known."""
    return [file for file in files if os.path.exists(os.path.expanduser(file))]  # noqa: PTH110, PTH111 -- pathlib's raise


def _known_hosts(files: Sequence[str]) -> list[Line]:
    return [line for file in files for line in read_lines(_content(file, "known_hosts"), file)]


def _revoked(files: Sequence[str]) -> list[bytes]:
    return [key for file in files for key in read_revoked(_content(file, "ssh_config"), file)]


def _content(file: str, field: str) -> bytes:
    try:
        return Path(file).expanduser().read_bytes()
    except (OSError, RuntimeError, ValueError) as error:  # the latter two: no such user's home, a NUL
        raise ConfigError(
            f"the host keys in {file} cannot be read: {error}",
            field=field,
            value=file,
            expected="a file of host keys, as ssh writes it",
        ) from error


async def _printed(command: Sequence[str]) -> list[Line]:
    if not command:
        return []
    code, printed, words = await run_locally(command)
    if code:
        raise TransportError(f"KnownHostsCommand {command[0]} failed with exit code {code}: {words}", retryable=False)
    return list(read_lines(printed, command[0], is_printed=True))


def _raise_translated(place: Place, error: Exception) -> NoReturn:
    """Say it in the contract's words. Nothing of a key or a password stands in these errors."""
    if isinstance(error, _NOT_LET_IN):
        raise AuthenticationError(f"{place}: not let in: {error}") from error
    unknown = isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN
    lost = isinstance(error, asyncssh.ConnectionLost | OSError) and not unknown
    raise TransportError(f"{place}: cannot be reached: {error}", retryable=lost) from error
