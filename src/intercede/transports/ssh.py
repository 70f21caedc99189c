"""The transport ``ssh``: commands on another machine, over one connection that all of them share.

There it needs a POSIX sh and nothing else, whatever the user's login shell is. Host keys are always verified. Needs
the extra ``ssh``.
"""

import asyncio
from collections.abc import AsyncIterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncssh

from intercede.contract.credentials import CredentialProvider
from intercede.contract.errors import ConfigError, NotOpenError, TransportError
from intercede.contract.transport import ByteSink, CommandResult
from intercede.transports._ssh_command import Command, build_command_line
from intercede.transports._ssh_link import Link, Place, Server
from intercede.transports._streams import is_being_cancelled, wait_uninterrupted

__all__ = ["SshTransport"]

_FIRST_WAIT, _LONGEST_WAIT = 0.05, 1.0
_WITHHELD_SECONDS = 60.0
_END_SECONDS = 20.0
"""More than ending a command takes, which bounds itself."""
_MOST = 10**6


class SshTransport:
    """Runs commands over ssh. See ``intercede.contract.Transport`` for what that promises.

    Without a provider of credentials it logs in as ``ssh`` does: with the agent and the user's own keys. With one, it
    shows what that answers and nothing else.

    A connection that is lost is made again when the next command is to run. A command that was running by then raises
    TransportError: how it ended cannot be told. One of which nothing was sent yet is begun anew.

    A command is over when its own process is: what it left running in the background lives on, unheard. Ending a
    command (cancelling ``run``, an exception of sink or iterator, leaving) sends TERM to its process group, its session
    and its descendants with theirs, waits at most two seconds for the command itself, and sends KILL to what is left
    until nothing is. What has detached itself, a session whose starter has ended, lives on. Where there is no /proc or
    no awk that is the process group alone.

    Args:
        host: The login host; where ``ssh_config`` is given, an alias from there will do.
        port: None: 22, or what the configuration says.
        username: None: what the credentials or the configuration say, else the user's name here.
        jump: Hosts to jump over, the nearest first, each ``[user@]host[:port]``. Their keys are verified, too.
        known_hosts: The only file of host keys. None: those that ``ssh`` reads.
        ssh_config: A configuration file to follow as ``ssh -F`` does, ``~/.ssh/config`` for instance: OpenSSH's client
            resolves it. None: no configuration.
        connect_s: Seconds that connecting may take, retries included, and then each login shell until a command begins.
        keepalive_s: Seconds of silence after which the server is asked whether it is there; after three more it is lost.
        sessions: How many commands may run at once. Where the server allows fewer, fewer do.
        credentials: Who answers for credentials.

    Raises:
        ConfigError: An option has no sense.
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
        self._link = Link(
            Server(
                place=Place.read(host, "host").but(port, username),
                jump=tuple(Place.read(each, "jump") for each in jump),
                known_hosts=known_hosts,
                ssh_config=ssh_config and _path(ssh_config),
                connect_s=_positive("connect_s", connect_s),
                keepalive_s=_positive("keepalive_s", keepalive_s),
            ),
            credentials,
        )
        self._connect_s = connect_s
        self._most = int(_positive("sessions", int(sessions)))
        self._sessions = _Sessions(self._most)
        self._open = False
        self._runs: set[asyncio.Task[CommandResult]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._commands: set[Command] = set()

    def commands_in_flight(self) -> int:
        """As many as there may be sessions."""
        return self._most

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            TransportError: The host, or one on the way, cannot be reached, or its key is not the one that is known.
            AuthenticationError: It does not let us in.
            ConfigError: The configuration file cannot be read, there is no ``ssh`` to read it, or it wants what we cannot do.
        """
        self._sessions = _Sessions(self._most)
        try:
            await self._link.connection()
        except BaseException:
            await self._link.close()  # whoever is cancelled on the way in never leaves
            raise
        self._open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """End every command that still runs (each such ``run`` raises NotOpenError), and hang up."""
        self._open = False
        runs, self._runs = self._runs, set()
        for run in runs:
            run.cancel()
        try:
            for tasks in (runs, self._closing):
                if tasks:
                    await asyncio.wait(tasks)
        finally:
            self._sessions.close()
            await self._link.close()

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: AsyncIterable[bytes] | None = None,
        stdout: ByteSink | None = None,
    ) -> CommandResult:
        """Run a command there and wait for its end.

        Args:
            argv: The command, found on PATH there unless it holds a slash, and its arguments.
            stdin: Streamed to its stdin; None: ``/dev/null``.
            stdout: Takes its stdout as it comes; None: all of it is in the result.

        Returns:
            How it ended. 127: there is no such command; 126: it cannot be executed; stderr then says why.

        Raises:
            NotOpenError: Before entering or after leaving; also when the transport is left while the command runs.
            InvalidSpecError: argv is empty, or holds what no argument can (a NUL, a lone surrogate).
            TransportError: No connection, or it was lost while the command ran.
            AuthenticationError: A new connection was needed, and the server did not let us in.
            Exception: Whatever the sink or the iterator raised; the command is ended first.
        """
        if not self._open:
            raise NotOpenError("run was called on an ssh transport that is not open: use it inside 'async with'")
        build_command_line(argv, piped=stdin is not None, mark="")  # what cannot be said raises before anything starts
        run = asyncio.create_task(self._run(argv, stdin, stdout))
        self._runs.add(run)
        try:
            return await run
        except asyncio.CancelledError:
            if run in self._runs or is_being_cancelled():
                raise
            raise NotOpenError(f"the ssh transport was left while {argv[0]!r} ran: the command was ended") from None
        finally:
            self._runs.discard(run)

    async def _run(
        self, argv: Sequence[str], stdin: AsyncIterable[bytes] | None, stdout: ByteSink | None
    ) -> CommandResult:
        command = await self._begun()
        try:
            return await command.run(argv, stdin, stdout)
        except BaseException:
            await wait_uninterrupted(asyncio.ensure_future(command.end()), _END_SECONDS)
            raise
        finally:
            self._let_go(command)

    async def _begun(self) -> Command:
        """Return a session whose sh waits for its command. Nothing was sent yet, so what fails may be tried again."""
        clock = asyncio.get_running_loop().time
        left, wait = self._connect_s, _FIRST_WAIT  # what it waits for other commands to end does not count
        refusals = 0  # although no other command runs
        while True:
            command = await self._session()
            is_alone = all(each is command or each.is_lost for each in self._commands)
            began = clock()
            try:
                async with asyncio.timeout(left):
                    await command.begin()
            except (asyncssh.Error, OSError, TransportError) as error:
                self._let_go(command)
                left -= clock() - began + wait
                if left <= 0 or not (command.is_refused or command.is_lost):
                    raise TransportError(f"{self._host}: no command could be begun: {_why(error, command)}") from error
                refusals = refusals + 1 if command.is_refused and is_alone else 0
                if refusals > 1:  # once may be too soon after the last one
                    self._link.renew()
            except BaseException:
                self._let_go(command)
                raise
            else:
                self._link.has_served = True
                return command
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _session(self) -> Command:
        await self._sessions.take()
        try:
            connection = await self._link.connection()
        except BaseException:
            self._sessions.give()
            raise
        command = Command(connection, self._link.another)
        self._commands.add(command)
        return command

    def _let_go(self, command: Command) -> None:
        """Close its session. Another one may be opened when the server has let go of it, no sooner."""
        closing = asyncio.create_task(command.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        closing.add_done_callback(lambda _: self._commands.discard(command))
        closing.add_done_callback(lambda _: self._sessions.give(refused=command.is_refused))


class _Sessions:
    """How many there may be at once. Where the server refused one there is one fewer, for a while."""

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)
        self._most = most
        self._withheld: list[asyncio.TimerHandle] = []

    async def take(self) -> None:
        """Wait for one."""
        await self._free.acquire()

    def give(self, *, refused: bool = False) -> None:
        """Give it back: at once, or later where it was refused, unless it is the last one."""
        if refused and len(self._withheld) + 1 < self._most:
            self._withheld.append(asyncio.get_running_loop().call_later(_WITHHELD_SECONDS, self._again))
        else:
            self._free.release()

    def _again(self) -> None:
        self._withheld.pop(0)
        self._free.release()

    def close(self) -> None:
        """Wait for nothing any more."""
        for timer in self._withheld:
            timer.cancel()


def _why(error: Exception, command: Command) -> str:
    if isinstance(error, TimeoutError) and not command.has_session:
        return "the server did not answer in time whether it gives a session"
    if isinstance(error, TimeoutError):
        return "its login shell did not get so far in time; does an rc file wait for input?"
    return str(error) or type(error).__name__


def _path(ssh_config: str) -> str:
    try:
        return str(Path(ssh_config).expanduser().absolute())
    except RuntimeError as error:  # there is no such user
        raise ConfigError(
            f"the home of ssh_config {ssh_config!r} cannot be told: {error}",
            field="ssh_config",
            value=ssh_config,
            expected="a path to a configuration file",
        ) from None


def _positive(field: str, value: float) -> float:
    if isinstance(value, bool) or not 0 < value < _MOST:
        expected = f"a number above 0 and below {_MOST}"
        raise ConfigError(f"{field} must be {expected}, not {value!r}", field=field, value=value, expected=expected)
    return value
