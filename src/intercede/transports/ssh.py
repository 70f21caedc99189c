"""The transport ``ssh``: runs commands on a remote host, all of them over one shared connection.

The remote host needs a POSIX sh and nothing else; the user's login shell may be any shell. Host keys are always
verified. The transport needs the extra ``ssh``.
"""

import asyncio
from collections.abc import AsyncIterable, Sequence
from pathlib import Path
from typing import Self

import asyncssh

from intercede.contract.credentials import CredentialProvider
from intercede.contract.errors import ConfigError, TransportError
from intercede.contract.transport import ByteSink, CommandResult
from intercede.plugin_tools.options import check_number
from intercede.plugin_tools.transport import RunningCommands, wait_uninterrupted
from intercede.transports._ssh_command import Command
from intercede.transports._ssh_connection import Connection, Endpoint, Server

__all__ = ["SshTransport"]

_FIRST_WAIT, _LONGEST_WAIT = 0.05, 1.0
_WITHHELD_SECONDS = 60.0
_END_SECONDS = 20.0
"""The maximum number of seconds that ending a command takes. Each of its steps has a shorter limit."""
_MOST = 10**6 - 1


class SshTransport:
    """Runs commands over ssh. See ``intercede.contract.Transport`` for what a transport promises.

    Without a credential provider it logs in as ``ssh`` does, with the agent and the user's own keys. With a provider,
    it uses only the credentials that the provider returns.

    If the connection is lost, the next command opens a new one. A command that was running raises TransportError,
    because its exit code is lost. A command that was not sent yet is started on the new connection.

    A command has ended when its own process has ended. Processes that it left in the background continue, and their
    output is ignored. Ending a command (``run`` is cancelled, the sink or the iterator raises, the transport is left)
    sends TERM to its process group, its session, and its descendants with their groups and sessions. It waits at most
    two seconds for the command itself, and sends KILL until no process is left. A process that has detached itself (it
    has started a session of its own, and its parent has ended) continues. Without /proc or awk, only the process group
    is signalled.

    Args:
        host: The login host, or an alias from ``ssh_config``.
        port: The port of the host. None means the configured port, or 22.
        username: The user on the host. None means the name from the credentials or the configuration, else the name of
            the local user.
        jump: Jump hosts, the nearest first, each ``[user@]host[:port]``. Their host keys are verified as well.
        known_hosts: The only file of host keys to read. None means the files that ``ssh`` reads.
        ssh_config: A configuration file, such as ``~/.ssh/config``, to follow as ``ssh -F`` does: OpenSSH's client
            resolves it. None means no configuration.
        connect_s: Seconds that connecting may take, retries included; and seconds that a login shell may take until
            a command begins.
        keepalive_s: Seconds of silence after which the server is asked for a sign of life. The connection is lost
            after three more such periods.
        sessions: The maximum number of commands at once. If the server allows fewer, fewer run.
        credentials: The credential provider.

    Raises:
        ConfigError: An option is invalid.
    """

    def __init__(
        self,
        host: str,
        *,
        port: int | None = None,
        username: str | None = None,
        jump: Sequence[str] = (),
        known_hosts: str | None = None,
        ssh_config: str | None = None,
        connect_s: float = 30.0,
        keepalive_s: float = 15.0,
        sessions: int = 8,
        credentials: CredentialProvider | None = None,
    ) -> None:
        self._host = host
        self._connection = Connection(
            Server(
                endpoint=Endpoint.parse(host, "host").override(port, username),
                jump=tuple(Endpoint.parse(each, "jump") for each in jump),
                known_hosts=known_hosts,
                ssh_config=ssh_config and _expand_path(ssh_config),
                connect_s=check_number("connect_s", connect_s, float, above=0, most=_MOST),
                keepalive_s=check_number("keepalive_s", keepalive_s, float, above=0, most=_MOST),
            ),
            credentials,
        )
        self._connect_s = connect_s
        self._max_sessions = check_number("sessions", sessions, int, least=1, most=_MOST)
        self._sessions = _SessionLimit(self._max_sessions)
        self._running = RunningCommands()
        self._closing: set[asyncio.Task[None]] = set()
        self._commands: set[Command] = set()

    def commands_in_flight(self) -> int:
        """Return the maximum number of commands at once: the option ``sessions``."""
        return self._max_sessions

    async def __aenter__(self) -> Self:
        """Connect to the host.

        Raises:
            TransportError: The host or a jump host cannot be reached, or its host key is not the known one.
            AuthenticationError: A host refuses the login.
            ConfigError: The configuration file cannot be read, ``ssh`` is not installed to resolve it, or it asks for
                something that this transport does not support.
        """
        self._sessions = _SessionLimit(self._max_sessions)
        try:
            await self._connection.connect()
        except BaseException:
            await self._connection.close()  # ``__aexit__`` is not called if ``__aenter__`` fails
            raise
        self._running.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """End every running command, so that its ``run`` raises NotOpenError, and close the connection."""
        try:
            await self._running.close()
            if self._closing:
                await asyncio.wait(self._closing)
        finally:
            self._sessions.close()
            await self._connection.close()

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: AsyncIterable[bytes] | None = None,
        stdout: ByteSink | None = None,
    ) -> CommandResult:
        """Run a command on the remote host and wait for its end.

        Args:
            argv: The command and its arguments. A command without a slash is searched for on the remote PATH.
            stdin: Streamed to the command's stdin. None means ``/dev/null``.
            stdout: Receives the command's stdout while it runs. None means that the result holds all of it.

        Returns:
            The result of the command. The exit code is 127 if the command does not exist, and 126 if it cannot be
            executed; stderr then holds the reason.

        Raises:
            NotOpenError: The transport is not entered or was left, before the call or while the command ran.
            InvalidSpecError: argv is empty, is a text, or holds anything other than text; or an argument holds a NUL or
                a lone surrogate, except U+DC80 to U+DCFF. Each of these becomes one byte, 0x80 to 0xFF.
            TransportError: There is no connection, or it was lost while the command ran.
            AuthenticationError: A new connection was needed, and the server refused the login.
            Exception: Any exception of the sink or the iterator; the command is ended first.
        """
        return await self._running.run(self._run, argv, stdin, stdout)

    async def _run(
        self, argv: Sequence[str], stdin: AsyncIterable[bytes] | None, stdout: ByteSink | None
    ) -> CommandResult:
        command = await self._begin_command()
        try:
            return await command.run(argv, stdin, stdout)
        except BaseException:
            await wait_uninterrupted(asyncio.ensure_future(command.end()), _END_SECONDS)
            raise
        finally:
            self._release(command)

    async def _begin_command(self) -> Command:
        """Open a session whose sh waits for a command. A failure may be retried: no part of a command is sent yet."""
        clock = asyncio.get_running_loop().time
        left, wait = self._connect_s, _FIRST_WAIT  # the time limit excludes waiting for other commands
        refusals = 0  # the number of refusals in a row while no other command runs
        while True:
            command = await self._take_session()
            is_alone = all(each is command or each.is_lost for each in self._commands)
            began = clock()
            try:
                async with asyncio.timeout(left):
                    await command.begin()
            except (asyncssh.Error, OSError, TransportError) as error:
                self._release(command)
                left -= clock() - began + wait
                if left <= 0 or not (command.is_refused or command.is_lost):
                    raise TransportError(f"{self._host}: cannot begin a command: {_explain(error, command)}") from error
                refusals = refusals + 1 if command.is_refused and is_alone else 0
                if refusals > 1:  # after the first refusal, the server may only need time to release a session
                    self._connection.renew()
            except BaseException:
                self._release(command)
                raise
            else:
                self._connection.has_served = True
                return command
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _take_session(self) -> Command:
        await self._sessions.acquire()
        try:
            connection = await self._connection.connect()
        except BaseException:
            self._sessions.release()
            raise
        command = Command(connection, self._connection.open_another)
        self._commands.add(command)
        return command

    def _release(self, command: Command) -> None:
        """Close the session of a command. Another session is opened only after the server has released this one."""
        closing = asyncio.create_task(command.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        closing.add_done_callback(lambda _: self._commands.discard(command))
        closing.add_done_callback(lambda _: self._sessions.release(refused=command.is_refused))


class _SessionLimit:
    """Limits the number of open sessions. After a refusal by the server the limit is one lower for a minute."""

    def __init__(self, limit: int) -> None:
        self._free = asyncio.Semaphore(limit)
        self._limit = limit
        self._withheld: list[asyncio.TimerHandle] = []

    async def acquire(self) -> None:
        """Wait for a free session."""
        await self._free.acquire()

    def release(self, *, refused: bool = False) -> None:
        """Give a session back: at once, or a minute later if the server refused it. The limit stays at least one."""
        if refused and len(self._withheld) + 1 < self._limit:
            self._withheld.append(asyncio.get_running_loop().call_later(_WITHHELD_SECONDS, self._restore))
        else:
            self._free.release()

    def _restore(self) -> None:
        self._withheld.pop(0)
        self._free.release()

    def close(self) -> None:
        """Cancel the timers that would restore the limit on concurrent commands."""
        for timer in self._withheld:
            timer.cancel()


def _explain(error: Exception, command: Command) -> str:
    if isinstance(error, TimeoutError) and not command.has_session:
        return "the server did not answer the request for a session in time"
    if isinstance(error, TimeoutError):
        return "its login shell did not start the command in time; does an rc file wait for input?"
    return str(error) or type(error).__name__


def _expand_path(ssh_config: str) -> str:
    try:
        return str(Path(ssh_config).expanduser().absolute())
    except RuntimeError as error:  # there is no such user
        raise ConfigError(
            f"cannot find the home directory in ssh_config {ssh_config!r}: {error}",
            field="ssh_config",
            value=ssh_config,
            expected="a path to a configuration file",
        ) from None
