"""Tests with different login shells: whatever a shell prints, the streams of a command hold only its own output."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from tests.tools import each_tool

from intercede.contract.errors import TransportError

if TYPE_CHECKING:
    from tests.transports.sshd import Sshd

    from intercede.transports.ssh import SshTransport

SHELLS = each_tool("sh", "dash", "bash -l", "busybox sh", "csh", "tcsh", "fish", "zsh", "ksh", "mksh", "yash", "posh")
HOSTILE = ("", " ", "two\nlines\n", "it's", '"$HOME" `id`', "*", "!!", "%s", "\\", "~", "{a,b}", "-n", "\udcff", "ü")
DATA = bytes(range(256)) * 300
NOISES = {
    "banner": "echo Welcome; echo Welcome >&2",
    "no newline": "printf Welcome; printf Welcome >&2",
    "much": 'head -c 300000 /dev/zero | tr "\\0" "x"; head -c 300000 /dev/zero | tr "\\0" "x" >&2',
    "its own command": 'echo "$2"; echo "$2" >&2',
    "binary": "head -c 5000 /dev/urandom; head -c 5000 /dev/urandom >&2",
    "trace": "set -- -x",
    "verbose": "set -- -xv",
}


def set_startup(sshd: Sshd, script: str) -> None:
    """Make the login shell run this script first."""
    shell = sshd.home / "shell"
    shell.write_text(f'#!/bin/sh\ncommand=$2\n{script}\n[ $# = 2 ] && exec bash "$@"\nexec bash "$@" -c "$command"\n')
    shell.chmod(0o755)
    sshd.shell = (str(shell),)


async def read_chunks() -> AsyncIterator[bytes]:
    """Yield the input that is echoed."""
    for at in range(0, len(DATA), 10_000):
        yield DATA[at : at + 10_000]


async def check_commands(transport: SshTransport) -> None:
    """Run commands that would notice foreign output."""
    shown = await transport.run(["sh", "-c", 'printf "%s\\0" "$@"; printf bad >&2; exit 7', "sh", *HOSTILE])
    wanted = b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in HOSTILE)
    assert (shown.returncode, shown.stdout, shown.stderr) == (7, wanted, b"bad")
    copied = await transport.run(["cat"], stdin=read_chunks())
    assert (copied.returncode, copied.stdout, copied.stderr) == (0, DATA, b"")


@pytest.mark.asyncio
@pytest.mark.parametrize("shell", SHELLS)
async def test_every_login_shell_works(sshd: Sshd, transport: SshTransport, shell: tuple[str, ...]) -> None:
    """Each login shell passes arguments, streams and codes exactly, and its commands can be ended."""
    sshd.shell = shell
    await check_commands(transport)
    run = asyncio.create_task(transport.run(["sh", "-c", "echo > began; sleep 100"]))
    await sshd.wait_until((sshd.home / "began").exists)
    run.cancel()
    await asyncio.wait({run})
    await sshd.wait_until_idle()


@pytest.mark.asyncio
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
async def test_output_of_a_login_shell_is_ignored(sshd: Sshd, transport: SshTransport, noise: str) -> None:
    """A banner, an echo or a trace of the login shell is not part of any result."""
    set_startup(sshd, noise)
    await check_commands(transport)


@pytest.mark.asyncio
@pytest.mark.parametrize("script", ["cat > taken", "read -r line; echo $line > taken"], ids=["all", "a line"])
async def test_a_login_shell_that_waits_for_input(sshd: Sshd, script: str) -> None:
    """A login shell that waits for input times out after connect_s, and the error says so."""
    set_startup(sshd, script)
    start = time.monotonic()
    with pytest.raises(TransportError, match="does an rc file wait for input"):
        async with sshd.open_transport(connect_s=0.5) as transport:
            await transport.run(["cat"], stdin=read_chunks())
    assert time.monotonic() - start < 5
    assert not (sshd.home / "taken").exists() or (sshd.home / "taken").read_text() in ("", "\n")


@pytest.mark.asyncio
@pytest.mark.parametrize("stream", [1, 2])
async def test_a_login_shell_that_ends_at_once(sshd: Sshd, transport: SshTransport, stream: int) -> None:
    """If the login shell ends at once, the error comes at once and quotes its output."""
    set_startup(sshd, f"echo 'This account is currently not available.' >&{stream}; exit 1")
    with pytest.raises(TransportError, match=r"currently not available"):
        await transport.run(["true"])
    assert len(sshd.commands) == 1


@pytest.mark.asyncio
async def test_a_login_shell_without_stderr(sshd: Sshd, transport: SshTransport) -> None:
    """If the login shell closes stderr, run raises an error in bounded time, and never returns a wrong result."""
    set_startup(sshd, "exec 2>/dev/null")
    with pytest.raises(TransportError):
        await transport.run(["echo", "x"])


@pytest.mark.asyncio
async def test_a_login_shell_that_starts_another(sshd: Sshd, transport: SshTransport) -> None:
    """A command is ended even if its sh does not lead the session."""
    set_startup(sshd, 'bash "$@"; exit $?')
    run = asyncio.create_task(transport.run(["sh", "-c", "echo > began; sleep 100"]))
    await sshd.wait_until((sshd.home / "began").exists)
    run.cancel()
    await asyncio.wait({run})
    await sshd.wait_until_idle()

    assert (await transport.run(["echo", "fine"])).stdout == b"fine\n"
