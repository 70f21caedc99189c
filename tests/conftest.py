"""What every test may use: programs that start quickly."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import Protocol

import pytest


class RunModule(Protocol):
    """Runs a module as ``python -P -m`` does, to its end."""

    def __call__(
        self, module: str, *arguments: str, directory: Path, variables: Mapping[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        """Run it. PYTHONPATH is honoured; other variables that Python reads when it starts are not."""
        ...


@pytest.fixture(scope="session")
def run_module() -> Iterator[RunModule]:
    """Return what runs a module in a process that is forked, and so has most of its imports already."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server = [sys.executable, "-P", str(Path(__file__).with_name("forking.py"))]

    def run(
        module: str, *arguments: str, directory: Path, variables: Mapping[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        request = {"module": module, "arguments": arguments, "variables": dict(variables), "directory": str(directory)}
        with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            socket.send_fds(ours, [json.dumps(request, default=str).encode()], [out.fileno(), err.fileno()])
            pid = int(ours.recv(64))
            try:
                code = int(ours.recv(64))
            except TimeoutError:
                os.kill(pid, 9)
                ours.recv(64)
                raise
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess([module, *arguments], code, out.read(), err.read())

    with subprocess.Popen(server, stdin=theirs.fileno(), stdout=subprocess.DEVNULL), ours:  # without us it ends
        theirs.close()
        ours.settimeout(60)
        yield run
