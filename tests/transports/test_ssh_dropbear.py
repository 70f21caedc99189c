"""Tests of the transport ``ssh`` with a real dropbear, whose sh leads no process group."""

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest
from tests.sleepers import list_sleepers

from intercede.transports.ssh import SshTransport

PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
PAYLOADS = {
    "a child": "sleep 297 & wait",
    "a group of its own": "timeout 300 sleep 297",
    "a session of its own": "setsid sleep 297 & wait",
}


def find_tool(name: str) -> str:
    """Return the path of a tool, even if only root's PATH has it."""
    found = shutil.which(name, path=PATH)
    assert found is not None
    return found


@pytest.fixture
def dropbear(home: Path) -> Iterator[int]:
    """Yield the port of a server on loopback, whose user has another home, in which it looks for keys."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    host_key, keygen = home / "host_key", find_tool("dropbearkey")
    subprocess.run([keygen, "-t", "ed25519", "-f", str(host_key)], check=True, capture_output=True)
    told = subprocess.run([keygen, "-y", "-f", str(host_key)], check=True, capture_output=True, text=True).stdout
    public = next(line for line in told.splitlines() if line.startswith("ssh-"))
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")
    user_key = asyncssh.read_private_key(home / ".ssh" / "id_ed25519")
    (home / ".ssh" / "authorized_keys").write_bytes(user_key.export_public_key())
    for each in (home, home / ".ssh"):
        each.chmod(0o700)
    script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    there = pwd.getpwuid(os.getuid()).pw_dir
    server = [
        find_tool("dropbear"),
        "-F",
        "-E",
        "-r",
        str(host_key),
        "-p",
        f"127.0.0.1:{port}",
        "-P",
        str(host_key.with_name("pid")),
    ]  # dropbear removes the file that -P names
    with (home / "log").open("wb") as log:
        running = subprocess.Popen(["unshare", "--mount", "sh", "-c", script, "sh", home, there, *server], stderr=log)
    deadline = time.monotonic() + 20
    while b"Not backgrounding" not in (home / "log").read_bytes():
        assert running.poll() is None, (home / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield port
    running.terminate()
    running.wait(20)


@pytest.mark.needs("dropbear", "mount", "unshare")
@pytest.mark.asyncio
async def test_cancelling_ends_a_command_whose_sh_leads_no_group(dropbear: int, home: Path) -> None:
    """Cancelling ends a command and what it started, but no other command of the same connection."""
    word = f"WORD={home}"
    async with SshTransport("127.0.0.1", port=dropbear) as transport:
        other = asyncio.create_task(transport.run(["env", f"{word}.", "sh", "-c", "sleep 297; :"]))
        for script in PAYLOADS.values():
            run = asyncio.create_task(transport.run(["env", f"{word}/", "sh", "-c", script]))
            async with asyncio.timeout(20):
                while not list_sleepers(f"{word}/") or not list_sleepers(f"{word}."):  # noqa: ASYNC110 -- jobs set no event
                    await asyncio.sleep(0.02)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert list_sleepers(f"{word}/") == []
            assert len(list_sleepers(f"{word}.")) == 1
        assert (await transport.run(["echo", "fine"])).stdout == b"fine\n"
        other.cancel()
        await asyncio.wait({other})
    assert list_sleepers(f"{word}.") == []
