"""The one ssh connection of a transport: made when it is first needed, made again when it was lost."""

import asyncio
import contextlib
import ipaddress
import random
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn, cast

import asyncssh

from intercede.contract.credentials import (
    CredentialNeed,
    CredentialProvider,
    CredentialSet,
    FreshCredentials,
    Password,
    PrivateKey,
)
from intercede.contract.errors import AuthenticationError, ConfigError, TransportError

__all__ = ["Link", "Place", "Server"]

_ATTEMPTS = 8
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
_KEEPALIVES = 3
_CLOSE_SECONDS = 5.0
_USER = r"(?!-)[^@\s\x00-\x1f'\"`;&<>|(){}]+"
"""As for ``ssh``: a configured ProxyCommand may hand it to a shell."""
_HOST = r"\[[0-9A-Fa-f:.%]+\]|(?!-)[^:@\[\]$\\\s\x00-\x1f'\"`;&<>|(){}]+"
_PLACE = re.compile(rf"(?:(?P<user>{_USER})@)?(?P<host>{_HOST})(?::(?P<port>[0-9]{{1,5}}))?")
_PORTS = range(1, 65536)
_DEFAULT_KNOWN_HOSTS = "~/.ssh/known_hosts"
_NOTHING_ELSE: dict[str, object] = {
    "agent_path": None,
    "pkcs11_provider": None,
    "client_certs": [],
    "gss_auth": False,
    "gss_kex": False,
}
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
        match = _PLACE.fullmatch(text)
        if match is None or int(match["port"] or 22) not in _PORTS:
            raise _no_sense(field, text, "[user@]host[:port]")
        port = None if match["port"] is None else int(match["port"])
        return cls(match["host"].strip("[]"), port, match["user"])

    def but(self, port: int | None, username: str | None) -> "Place":
        """Return it with what is said of port and username elsewhere.

        Raises:
            ConfigError: They have no sense.
        """
        if port is not None and port not in _PORTS:
            raise _no_sense("port", port, "a number from 1 to 65535")
        if username is not None and not re.fullmatch(_USER, username):
            raise _no_sense("username", username, "a user's name there")
        return Place(self.host, port or self.port, username or self.username)

    def options(self) -> dict[str, object]:
        """Return what asyncssh is told of it."""
        given = {"host": self.host, "port": self.port, "username": self.username}
        return {name: value for name, value in given.items() if value is not None}

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
        self._connecting: asyncio.Task[asyncssh.SSHClientConnection] | None = None

    async def connection(self) -> asyncssh.SSHClientConnection:
        """Return the open connection, made now if need be.

        Raises:
            TransportError: The server cannot be reached, or is not the one that is known.
            AuthenticationError: It does not let us in.
        """
        if self._connecting is None:  # or else the chain's end is a jump host
            if self._chain and not self._chain[-1].is_closed():
                return self._chain[-1]
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._connected)
        return await asyncio.shield(self._connecting)

    def _connected(self, task: asyncio.Task[asyncssh.SSHClientConnection]) -> None:
        self._connecting = None
        if not task.cancelled():
            task.exception()  # whoever waits has it; nobody may

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
        try:
            await self._log_in_all_the_way(deadline)
        except BaseException:
            await self._hang_up()
            raise
        return self._chain[-1]

    async def _log_in_all_the_way(self, deadline: float) -> None:
        way = _Way(self._server)
        await way.read_config()
        for place in (*way.jump, self._server.place):
            seconds = max(0.1, deadline - asyncio.get_running_loop().time())
            try:
                async with asyncio.timeout(seconds):
                    self._chain.append(await self._log_in(place, way, seconds))
            except TimeoutError as error:
                raise TransportError(f"{place}: no answer within {self._server.connect_s:g} s") from error
            except (asyncssh.Error, OSError, ValueError) as error:
                _raise_translated(place, error)

    async def _log_in(self, place: Place, way: "_Way", seconds: float) -> asyncssh.SSHClientConnection:
        fresh = self._fresh.get(place)
        was_kept = fresh is not None and fresh.is_kept
        try:
            return await self._logged_in(place, way, seconds)
        except _NOT_LET_IN:
            self._forget(place)
            if not was_kept:
                raise
        return await self._logged_in(place, way, seconds)  # what was kept is old, and may have been replaced

    async def _logged_in(self, place: Place, way: "_Way", seconds: float) -> asyncssh.SSHClientConnection:
        known_hosts = await way.known_hosts(place)
        try:
            return await self._connected_to(place, known_hosts, seconds)
        except asyncssh.HostKeyNotVerifiable as error:
            raise TransportError(f"{place}: {known_hosts.verdict}", retryable=False) from error

    async def _connected_to(
        self, place: Place, known_hosts: "_HostKeys", seconds: float
    ) -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            config=None if self._server.ssh_config is None else [self._server.ssh_config],
            tunnel=self._chain[-1] if self._chain else None,
            known_hosts=known_hosts,
            connect_timeout=seconds,
            login_timeout=seconds,
            keepalive_interval=self._server.keepalive_s,
            keepalive_count_max=_KEEPALIVES,
            agent_forwarding=False,
            **await self._shown_to(place) | place.options(),
        )

    def _forget(self, place: Place) -> None:
        if place in self._fresh:
            self._fresh[place].forget()

    async def _shown_to(self, place: Place) -> dict[str, object]:
        if self._provider is None:
            return {}
        if place not in self._fresh:
            need = CredentialNeed(resource=place.host, kinds=("private_key", "password"))
            self._fresh[place] = FreshCredentials(self._provider, need)
        return await asyncio.to_thread(_shown, await self._fresh[place].get())


class _Way:
    """What ``ssh_config`` adds to what is configured: which hosts are jumped over, and where host keys stand."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.jump = tuple(server.jump)

    async def read_config(self) -> None:
        """Take ProxyJump where no jump host is configured: hosts on the way are verified as the last one is."""
        if self._server.ssh_config is not None and not self.jump:
            tunnel = (await self._settings(self._server.place)).tunnel
            hops = tunnel.split(",") if isinstance(tunnel, str) and tunnel != "none" else ()
            self.jump = tuple(Place.read(each, "ProxyJump") for each in hops)
            for place in self.jump[:1]:
                await self._refuse_another_way(place, tunnel)

    async def _refuse_another_way(self, place: Place, known: object) -> None:
        """OpenSSH would follow it; we would log in directly, where somebody did not want that."""
        tunnel = (await self._settings(place)).tunnel
        if isinstance(tunnel, str) and tunnel not in {"none", known}:
            raise ConfigError(
                f"{self._server.ssh_config} has a ProxyJump for the jump host {place} as well: name the whole way",
                field="jump",
                value=str(place),
                expected=f"jump = [{tunnel!r}, {str(place)!r}]",
            )

    async def known_hosts(self, place: Place) -> "_HostKeys":
        """Read the keys of hosts, anew for each login: they are mended while we run.

        Raises:
            ConfigError: They cannot be read, or the configuration file wants no host keys verified.
        """
        if self._server.known_hosts is not None:
            return await asyncio.to_thread(_known_hosts, [self._server.known_hosts])
        files: object = [] if self._server.ssh_config is None else (await self._settings(place)).known_hosts
        if isinstance(files, list):
            named = [str(each) for each in cast("list[object]", files)] or [_DEFAULT_KNOWN_HOSTS]
            return await asyncio.to_thread(lambda: _known_hosts(list(filter(_is_there, named))))
        raise ConfigError(
            f"{self._server.ssh_config} sets UserKnownHostsFile none for {place}, and host keys are always verified",
            field="ssh_config",
            value=self._server.ssh_config,
            expected="a file of host keys, or the option known_hosts",
        )

    async def _settings(self, place: Place) -> asyncssh.SSHClientConnectionOptions:
        options = partial(asyncssh.SSHClientConnectionOptions, client_keys=None, agent_path=None)
        try:
            return await asyncio.to_thread(options, config=[self._server.ssh_config], **place.options())
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"the ssh configuration {self._server.ssh_config} cannot be read: {error}",
                field="ssh_config",
                value=self._server.ssh_config,
                expected="a configuration file of OpenSSH's client",
            ) from error


def _is_there(file: str) -> bool:
    return Path(file).expanduser().exists()


class _HostKeys:
    """The keys of a host, by its name: whoever has its address for now, and a key of its own there, is not it."""

    def __init__(self, files: Sequence[str]) -> None:
        self._known = asyncssh.read_known_hosts(files)
        self._where = " or ".join(files) or "any file: there is none"
        self.verdict = "its host key could not be verified"
        """Of a host key that was refused: why, and what to do."""

    def __call__(self, host: str, _address: str, port: int | None) -> tuple[object, ...]:
        """Return its keys, those of authorities that vouch for it, and those that were revoked."""
        found = self._known.match(host, "", port)[:3]
        if any(found):
            self.verdict = (
                f"its host key is not the one that stands for {host} in {self._where}: either its operators gave it a "
                "new one, which they will confirm, or somebody else answers in its place"
            )
        else:
            ask = f"ssh-keyscan {f'-p {port} ' if port else ''}{host}"
            self.verdict = (
                f"its host key is not known, no line for {host} stands in {self._where}: `{ask}` shows it; compare it "
                "with what its operators publish, then add it"
            )
        return found


def _known_hosts(files: Sequence[str]) -> _HostKeys:
    try:
        return _HostKeys(files)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the known hosts in {', '.join(files)} cannot be read: {error}",
            field="known_hosts",
            value=files,
            expected="a file of host keys, as ssh writes it",
        ) from error


def _shown(credentials: CredentialSet) -> dict[str, object]:
    """Write what is shown to a server. Decrypting a key takes long on purpose, so this runs in a thread."""
    key, password = credentials.first(PrivateKey), credentials.first(Password)
    username = next((each.username for each in (key, password) if each is not None and each.username), None)
    return {
        "client_keys": None if key is None else [_key_pair(key)],
        "password": None if password is None else password.password.get_secret_value,  # called: no frame holds it
        **_NOTHING_ELSE,
        **({} if username is None else {"username": username}),
    }


def _key_pair(credential: PrivateKey) -> object:
    passphrase = None if credential.passphrase is None else credential.passphrase.get_secret_value()
    key = asyncssh.import_private_key(credential.key.get_secret_value(), passphrase)
    return key if credential.certificate is None else (key, asyncssh.import_certificate(credential.certificate))


def _raise_translated(place: Place, error: Exception) -> NoReturn:
    """Say it in the contract's words. Nothing of a key or a password stands in these errors."""
    if isinstance(error, _NOT_LET_IN):
        raise AuthenticationError(f"{place}: not let in: {error}") from error
    unknown = isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN
    lost = isinstance(error, asyncssh.ConnectionLost | OSError) and not unknown
    raise TransportError(f"{place}: cannot be reached: {error}", retryable=lost) from error
