"""A check asks its subject in another process."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import pytest
from tests.testing.memory import Memory, make_clauses

from intercede.testing.frontends.check import run_checks
from intercede.testing.model.verdict import State
from intercede.testing.run.context import Context


def test_a_child_process_builds_the_same_subject() -> None:
    """From the file of the factory, with arguments, and killed when it takes too long."""

    async def asks(context: Context) -> None:
        source = "import os; tell([type(make_backend()).__name__, arguments, os.getpid()]); print('not told')"
        told = await context.run_child(source, "a b", "", what="telling")
        name, arguments, pid = cast("list[object]", told)
        context.expect((name, arguments) == ("Memory", ["a b", ""]), expected="the same subject", observed=told)
        context.expect(pid != os.getpid(), expected="another process", observed=told)
        await context.run_child("import time; time.sleep(1000)", what="sleeping", within=0.3)

    (result,) = run_checks(Memory, clauses=make_clauses(asks=asks)).results.values()

    assert result.message.startswith("expected child process to answer within 0.3 s"), result.detail


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import sys; tell([]); sys.exit('no such thing')", "exit code 1: no such thing"),
        ("pass", "exit code 0: nothing on stderr"),
        ("import os; os.kill(os.getpid(), 9)", "exit code 137: nothing on stderr"),
        ("open(request['told'], 'w').write('[')", "exit code 0: nothing on stderr"),
    ],
)
def test_a_child_process_that_does_not_work_is_a_finding(source: str, words: str) -> None:
    """With its exit code and what it printed last, also where it tells nothing, or what is no JSON."""

    async def asks(context: Context) -> None:
        await context.run_child(source, what="telling")

    (result,) = run_checks(Memory, clauses=make_clauses(asks=asks)).results.values()

    assert result.state is State.FAILED
    assert result.message == f"expected telling to work in a child process; observed it ended with {words}"


def test_what_a_child_process_leaves_behind_ends_with_it() -> None:
    """A helper that inherits its streams is waited for by nobody, and killed; where jobs are started, they go on."""
    pids: list[int] = []
    helper = "import subprocess, sys; tell([subprocess.Popen(['sleep', '1000']).pid])"

    async def asks(context: Context) -> None:
        for jobs in (False, True):
            pids.extend(cast("list[int]", await context.run_child(helper, what="helping", jobs=jobs, within=10)))

    (result,) = run_checks(Memory, clauses=make_clauses(asks=asks)).results.values()

    assert result.state is State.PASSED, result.detail
    helping, job = pids
    goes_on = _runs(job)
    os.kill(job, signal.SIGKILL)
    assert goes_on
    end = time.monotonic() + 10
    while _runs(helping):
        assert time.monotonic() < end
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    """Whether a process is there that has not ended: whoever inherited it may take its time to ask how."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except FileNotFoundError:
        return False


def test_a_script_that_inspects_without_a_guard_starts_no_children_without_end(tmp_path: Path) -> None:
    """The child that loads the script to make the subject refuses to inspect, and says what to do."""
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


@pytest.mark.slow
def test_a_child_process_that_nobody_waits_for_ends_by_itself() -> None:
    """Where the loop that would kill it stands still for good."""
    pids: list[int] = []

    async def asks(context: Context) -> None:
        file = context.tmp / "pid"
        source = f"import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
        asking = asyncio.ensure_future(context.run_child(source, what="sleeping", within=1))
        while not (file.exists() and file.read_text()):  # noqa: ASYNC110 -- another process writes it
            await asyncio.sleep(0.01)
        pids.append(int(file.read_text()))
        time.sleep(2.5)  # noqa: ASYNC251 -- the loop stands still
        assert _runs(pids[0]) is False
        await asking

    (result,) = run_checks(Memory, clauses=make_clauses(asks=asks)).results.values()

    assert result.state is State.FAILED
    assert "child process to answer within 1 s" in result.message


def test_of_what_is_printed_at_length_the_last_words_are_told() -> None:
    """The reason stands at the end, whatever went before it."""

    async def asks(context: Context) -> None:
        source = "import sys; sys.stderr.write('x' * 40_000_000); sys.exit('\\nthe reason')"
        await context.run_child(source, what="telling")

    (result,) = run_checks(Memory, clauses=make_clauses(asks=asks)).results.values()

    assert result.message.endswith("exit code 1: the reason")
