"""A check asks its subject in a child process."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import pytest
from tests.testing.memory import Memory, make_clauses
from tests.testing.subjects import in_child

from intercede.testing.frontends.check import run_checks
from intercede.testing.model.verdict import State
from intercede.testing.run.context import Context
from intercede.testing.subjects.child import ChildFunction


def test_a_child_process_builds_the_same_subject() -> None:
    """A child process makes the same subject, gets the arguments, and is killed if it takes too long."""

    async def asks(context: Context) -> None:
        told = await context.run_child(in_child.report_itself, "a b", "", what="telling")
        name, arguments, pid = cast("list[object]", told)
        context.expect((name, arguments) == ("Memory", ["a b", ""]), expected="the same subject", observed=told)
        context.expect(pid != os.getpid(), expected="another process", observed=told)
        await context.run_child(in_child.sleep_long, what="sleeping", within=0.3)

    (result,) = run_checks(Memory, clauses=make_clauses(asks=asks)).results.values()

    assert result.message.startswith("expected child process to answer within 0.3 s"), result.detail


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (in_child.exit_with_text, "exit code 1: no such thing"),
        (in_child.report_nothing, "exit code 0: nothing on stderr"),
        (in_child.kill_itself, "exit code 137: nothing on stderr"),
        (in_child.report_broken_json, "exit code 0: nothing on stderr"),
    ],
)
def test_a_child_process_that_fails_is_a_finding(function: ChildFunction, words: str) -> None:
    """A child process that fails or gives no valid answer is a finding with its exit code and its last output."""

    async def asks(context: Context) -> None:
        await context.run_child(function, what="telling")

    (result,) = run_checks(Memory, clauses=make_clauses(asks=asks)).results.values()

    assert result.state is State.FAILED
    assert result.message == f"expected telling to work in a child process; observed it ended with {words}"


def test_a_helper_of_a_child_process_ends_with_it() -> None:
    """A process that a child process started is killed with it, unless the child was asked to start jobs."""
    pids: list[int] = []

    async def asks(context: Context) -> None:
        for jobs in (False, True):
            told = await context.run_child(in_child.start_helper, what="helping", jobs=jobs, within=10)
            pids.extend(cast("list[int]", told))

    (result,) = run_checks(Memory, clauses=make_clauses(asks=asks)).results.values()

    assert result.state is State.PASSED, result.detail
    helping, job = pids
    goes_on = _is_running(job)
    os.kill(job, signal.SIGKILL)
    assert goes_on
    end = time.monotonic() + 10
    while _is_running(helping):
        assert time.monotonic() < end
        time.sleep(0.01)


def _is_running(pid: int) -> bool:
    """Say whether a process exists and has not ended. A zombie has ended."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except FileNotFoundError:
        return False


def test_a_script_without_a_main_guard_starts_no_endless_children(tmp_path: Path) -> None:
    """A child process refuses to run the checks of a script that has no `if __name__ == "__main__"`."""
    script = tmp_path / "script.py"
    script.write_text(
        "from intercede.testing import run_checks\n"
        "from intercede.testing.gallery.fake import FakeBackend\n"
        "class Mine(FakeBackend): pass\n"
        "report = run_checks(Mine, ['IC-LIFE-01'])\n"
        "print(report.results['IC-LIFE-01'].detail)\n"
    )

    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)

    assert "put the call that runs the checks below `if __name__" in ended.stdout


async def _start_sleeper(context: Context, within: float) -> tuple[asyncio.Future[object], int, float]:
    """Start a child that writes its process id and sleeps. Give it more time if it is ended before it writes."""
    file = context.tmp / f"pid-{within}"
    child = context.run_child(in_child.write_id_and_sleep, str(file), what="sleeping", within=within)
    asking = asyncio.ensure_future(child)
    while not asking.done():
        if file.exists() and (text := file.read_text()):
            return asking, int(text), within
        await asyncio.sleep(0.01)
    assert asking.exception() is not None
    return await _start_sleeper(context, 2 * within)


@pytest.mark.slow
def test_a_child_process_ends_without_its_parents_help() -> None:
    """A child process ends in time even if the event loop that would kill it is blocked."""

    async def asks(context: Context) -> None:
        asking, pid, within = await _start_sleeper(context, 1)
        time.sleep(within + 1.5)  # noqa: ASYNC251 -- blocks the loop on purpose
        assert _is_running(pid) is False
        await asking

    (result,) = run_checks(Memory, clauses=make_clauses(asks=asks)).results.values()

    assert result.state is State.FAILED
    assert re.search("child process to answer within [0-9]+ s", result.message)


def test_the_end_of_a_long_output_is_reported() -> None:
    """The finding holds the end of what a child process printed, even after 40 MB of other output."""

    async def asks(context: Context) -> None:
        await context.run_child(in_child.print_much, what="telling")

    (result,) = run_checks(Memory, clauses=make_clauses(asks=asks)).results.values()

    assert result.message.endswith("exit code 1: the reason")


def test_a_child_writes_its_report_with_its_own_functions() -> None:
    """A subject that replaces functions of the library changes no report."""

    async def asks(context: Context) -> None:
        told = await context.run_child(in_child.replace_json, what="telling")
        context.expect(told == ["the truth"], expected="the report", observed=told)

    (result,) = run_checks(Memory, clauses=make_clauses(asks=asks)).results.values()

    assert result.state is State.PASSED, result.detail
