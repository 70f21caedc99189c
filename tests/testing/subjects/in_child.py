"""Functions that the tests call in child processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from intercede.testing.subjects.child import ChildContext


def report_itself(child: ChildContext) -> None:
    """Report the class of the subject, the arguments and the process id, and print something."""
    child.report([type(child.subject.make_backend()).__name__, child.arguments, os.getpid()])
    sys.stdout.write("not reported")


def sleep_long(_: ChildContext) -> None:
    """Sleep for longer than any test takes."""
    time.sleep(1000)


def exit_with_text(child: ChildContext) -> None:
    """Exit with a message after a report."""
    child.report([])
    sys.exit("no such thing")


def report_nothing(_: ChildContext) -> None:
    """Return without a report."""


def kill_itself(_: ChildContext) -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def report_broken_json(child: ChildContext) -> None:
    """Write a report that is not valid JSON."""
    Path(str(child.request["report"])).write_text("[")


def start_helper(child: ChildContext) -> None:
    """Start a process that outlives this one, and report its id."""
    child.report([subprocess.Popen(["sleep", "1000"]).pid])


def write_id_and_sleep(child: ChildContext) -> None:
    """Write the process id to a file, and sleep."""
    Path(child.arguments[0]).write_text(f"{os.getpid()}\n")
    time.sleep(1000)


def print_much(_: ChildContext) -> None:
    """Exit with a message after printing megabytes."""
    sys.stderr.write("x" * 40_000_000)
    sys.exit("\nthe reason")


def kill_keeper(_: ChildContext) -> None:
    """Print something, and kill the process that watches this one."""
    sys.stderr.write("mine\n")
    sys.stderr.flush()
    os.kill(os.getppid(), signal.SIGKILL)


def stop_keeper_and_sleep(child: ChildContext) -> None:
    """Stop the process that watches this one, write its id to a file, and sleep."""
    os.kill(os.getppid(), signal.SIGSTOP)
    Path(child.arguments[0]).write_text(f"{os.getppid()}\n")
    time.sleep(60)


def replace_json(child: ChildContext) -> None:
    """Report after json.dumps was replaced, as a subject could do."""
    json.dumps = str  # type: ignore[assignment]  # a subject could do so
    child.report(["the truth"])
