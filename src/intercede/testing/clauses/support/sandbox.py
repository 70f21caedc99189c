"""A sandbox for fragments. Every command is a stub that records its calls, except harmless tools."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from intercede.batch.remote.api import Verb, write_program
from intercede.testing.clauses.support.scheduler_questions import SUBMISSION_ID

__all__ = ["CANARY", "GLOBBED", "Sandbox"]

CANARY = "icpwned"
"""The name of a command that occurs only in hostile data. If the command is called, a shell interpreted data."""
GLOBBED = "xglobbed"
"""A file in the working directory of each fragment. If its name is an argument, a shell expanded a pattern in data."""
_HARMLESS = (
    "[", "awk", "basename", "cat", "cksum", "comm", "cp", "cut", "date", "dirname", "env", "expr", "false", "fold",
    "grep", "head", "id", "join", "ln", "ls", "mkdir", "mkfifo", "mktemp", "mv", "nl", "od", "paste", "printf", "pwd",
    "rm", "rmdir", "sed", "seq", "sh", "sort", "stat", "tail", "tee", "test", "touch", "tr", "true", "uname", "uniq",
    "wc", "xargs",
)  # fmt: skip
_SECONDS = 5.0
_MOST_OUTPUT = 1 << 20
"""The maximum number of bytes that a fragment may print."""


class Sandbox:
    """A directory with its own commands, in which fragments run.

    Args:
        place: An empty directory.
        texts: Fragments. Each of their words gets a stub, since it may be a command.
        api: The functions that the fragments may call, as ``write_api`` writes them for the scheduler.
    """

    def __init__(self, place: Path, texts: Iterable[str], api: str) -> None:
        self._api = api
        self._bin, self._root, self._log = place / "bin", place / "root", place / "log"
        self._listing, self._stdout = place / "listing", place / "stdout"
        self._bin.mkdir()
        for name in _HARMLESS:
            if found := shutil.which(name):
                (self._bin / name).symlink_to(found)
        stub = place / "stub"
        note = f'{{ printf \'%s\\0\' "$(($# + 1))" "${{0##*/}}" "$@"; }} >>\'{self._log}\''
        stub.write_text(f"#!/bin/sh\n{note}\n[ ! -s '{self._listing}' ] || cat '{self._listing}'\n", "utf-8")
        stub.chmod(0o700)
        for word in {word for text in texts for word in re.findall(r"\w[\w.+-]*", text)} - {*_HARMLESS, CANARY}:
            if len(word) < 60:  # noqa: PLR2004 -- no command has a longer name, and some file systems refuse it
                (self._bin / word).symlink_to(stub)
        (self._bin / CANARY).symlink_to(stub)

    def read(self, text: str) -> str:
        """Let a shell read a fragment without running it, and return its error messages."""
        (self._bin.parent / "text").write_text(text, "utf-8")
        return self._sh(["-n", str(self._bin.parent / "text")], self._bin.parent)

    @property
    def stdout(self) -> bytes:
        """The stdout of the last fragment."""
        return self._stdout.read_bytes()

    def run(self, verb: Verb, text: str, ids: Sequence[str] = (), *, listing: str = "") -> list[list[str]]:
        """Run a fragment as a backend does, and return the calls of stubs with their arguments.

        Args:
            verb: The fragment's verb. A fragment that submits runs in the submission's directory.
            text: The fragment.
            ids: The lines of the file ``$IC_IDS``.
            listing: The output of every stub.
        """
        shutil.rmtree(self._root, ignore_errors=True)
        here = self._root / SUBMISSION_ID
        here.mkdir(parents=True)
        (here / "wrapper").write_text("exit 0\n", "utf-8")
        (here / GLOBBED).touch()
        (self._root / GLOBBED).touch()
        (self._root / "ids").write_text("".join(f"{each}\n" for each in ids), "utf-8")
        self._log.write_bytes(b"")
        self._listing.write_text(listing, "utf-8", "surrogateescape")
        script = self._bin.parent / "script"
        # The limits end the shell even if this process is killed before it can end the shell.
        limit = f"ulimit -t {_SECONDS:.0f}\nulimit -f {_MOST_OUTPUT // 512}"
        script.write_text(f"{limit}\n{write_program(verb, self._api, self._use_stubs(text))}", "utf-8")
        self._sh([str(script)], here if verb == "submit" else self._root)
        return list(_read_calls(self._log.read_bytes()))

    def find_injection(self, calls: Sequence[Sequence[str]]) -> str:
        """Return a description of how a shell interpreted data in the last run.

        The description is empty if no shell interpreted data.
        """
        if any(call[0] == CANARY for call in calls):
            return f"it ran the command {CANARY!r} that is part of the text"
        if any(path.name == CANARY for path in self._root.rglob("*")):
            return f"it wrote to the file {CANARY!r} that is part of the text"
        globbed = [call for call in calls if any(GLOBBED in word for word in call)]
        return f"it expanded a pattern to the file {GLOBBED!r}: {globbed[0]}" if globbed else ""

    def _use_stubs(self, text: str) -> str:
        """Replace the absolute path of each command with the path of the stub for that command."""

        def replace_command(found: re.Match[str]) -> str:
            path = Path(found[0])
            known = os.access(path, os.X_OK) and path.is_file() and (self._bin / path.name).exists()
            return str(self._bin / path.name) if known else found[0]

        return re.sub(r"(?<![\w.])(?:/[\w.+-]+)+", replace_command, text)

    def _sh(self, arguments: Sequence[str], cwd: Path) -> str:
        environment = {"PATH": str(self._bin), "HOME": str(self._root), "IC_IDS": str(self._root / "ids")}
        complaint = self._bin.parent / "complaint"
        with complaint.open("wb") as stderr, self._stdout.open("wb") as stdout:
            shell = subprocess.Popen(  # noqa: S603 -- the fragments run in a sandbox
                [shutil.which("sh") or "/bin/sh", *arguments],
                cwd=cwd,
                env={**environment, "TMPDIR": str(self._root)},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
            code = _wait_for_shell(shell)
        return complaint.read_text("utf-8", "replace").strip() or f"exit code {code}" if code else ""


def _wait_for_shell(shell: subprocess.Popen[bytes]) -> int:
    """Wait for a shell, kill everything that it started, and return its exit code.

    The code is 0 if the shell timed out: a fragment may wait for output that stubs do not write.
    """
    try:
        return shell.wait(_SECONDS)
    except subprocess.TimeoutExpired:
        return 0
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()


def _read_calls(log: bytes) -> Iterable[list[str]]:
    words = log.decode("utf-8", "surrogateescape").split("\0")[:-1]
    while words:
        count = int(words[0])
        yield words[1 : count + 1]
        words = words[count + 1 :]
