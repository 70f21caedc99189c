"""Fixtures of all tests: a function that runs Python modules quickly."""

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
    """A function that runs a module to its end, as ``python -P -m`` does."""

    def __call__(
        self, module: str, *arguments: str, directory: Path, variables: Mapping[str, str]
    ) -> "subprocess.CompletedProcess[str]":
        """Run a module. PYTHONPATH is used, and other variables that Python reads at its start are not."""
        ...


@pytest.fixture(scope="session")
def run_module() -> Iterator[RunModule]:
    """Return a function that runs modules in forked processes, which have most imports already."""
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

    with subprocess.Popen(server, stdin=theirs.fileno(), stdout=subprocess.DEVNULL), ours:  # it ends with this process
        theirs.close()
        ours.settimeout(60)
        yield run
