"""An ending signals only processes of the copy, whatever /proc holds and whichever kill the shell has."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.schedulers.test_direct import SUBMISSION_ID, Place, make_batch, wait_until
from tests.tools import each_tool

from intercede.contract.errors import SchedulerError
from intercede.schedulers.direct import DirectScheduler

ENDING = (Path(__file__).parents[2] / "src/intercede/schedulers/direct.ending.sh").read_text()
SHELLS = each_tool("dash", "bash", "busybox sh", "zsh --emulate sh", "yash", "posh", "mksh")


def _format_stat(pid: int, parent: int, group: int, session: int, name: bytes = b"sleep") -> bytes:
    rest = b" ".join([b"0"] * 13)
    return b"%d (%b) S %d %d %d %b 1 0 %d 0\n" % (pid, name, parent, group, session, rest, 1000 + pid)


def _list_kin(proc: Path, known: str, locale: str = "C") -> tuple[list[str], list[str]]:
    """Return the known processes and the targets of a signal, with a directory in the place of /proc."""
    script = ENDING.replace("/proc/", f"{proc}/").replace("substr($0, 7)", f"substr($0, {len(str(proc)) + 2})")
    script = script.replace("part[3]", f"part[{len(proc.parts) + 1}]")
    script += '\nknown=$1 marks="IC_COPY=marked/"\nlist_processes\necho "$known"\necho "$targets"\n'
    told = subprocess.run(
        ["sh", "-c", script, "sh", known],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": locale},
    )
    first, second = told.stdout.split("\n")[:2]
    return first.split(), second.split()


def _fill(proc: Path, stats: dict[int, bytes], marked: frozenset[int] = frozenset()) -> None:
    for pid, stat in stats.items():
        (proc / str(pid)).mkdir(parents=True)
        (proc / str(pid) / "stat").write_bytes(stat)
        (proc / str(pid) / "environ").write_bytes(b"A=b\0IC_COPY=marked/\0" if pid in marked else b"A=b\0")


@pytest.mark.parametrize("known", ["0:1000", "1:1001", "1:", ":", "-1:5", "01:1001", "x:1", "0: 1: 00: 1:1001"])
def test_a_damaged_note_ends_nothing(tmp_path: Path, known: str) -> None:
    """A damaged note of a process ends nothing.

    The numbers 0 and 1 are parents, groups and sessions of many in a container.
    """
    _fill(
        tmp_path,
        {
            1: _format_stat(1, 0, 1, 1),
            2: _format_stat(2, 0, 0, 0),
            30: _format_stat(30, 1, 1, 1),
            31: _format_stat(31, 1, 0, 0),
        },
    )
    assert _list_kin(tmp_path, known) == ([], [])


def test_a_process_from_outside_its_namespace_is_ended_alone(tmp_path: Path) -> None:
    """A process whose group's leader is outside of the pid namespace is ended alone, since its group is shown as 0."""
    _fill(tmp_path, {1: _format_stat(1, 0, 1, 1), 30: _format_stat(30, 0, 0, 0), 31: _format_stat(31, 0, 0, 0)})
    assert _list_kin(tmp_path, "30:1030") == (["30:1030"], ["30"])


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_only_processes_of_the_copy_are_signalled(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """No table of processes leads to a signal to 0, 1 or -1, or to a group without a process of the copy."""
    proc = tmp_path_factory.mktemp("proc")
    pids = data.draw(st.lists(st.integers(1, 12), min_size=1, unique=True))
    number = st.integers(0, 12)
    _fill(
        proc,
        {pid: _format_stat(pid, data.draw(number), data.draw(number), data.draw(number)) for pid in pids},
        frozenset(data.draw(st.lists(st.sampled_from(pids), unique=True))),
    )
    known = data.draw(st.lists(st.builds("{}:{}".format, number, st.integers(1000, 1012))))
    _, left = _list_kin(proc, " ".join(known))
    assert {"0", "1", "-0", "-1", "-"}.isdisjoint(left)
    assert all(each.lstrip("-").isdigit() for each in left)


@pytest.mark.parametrize("name", [b"pr\xc3", b"a b\xff) S 1 1", b"\xc3 x"])
def test_a_process_name_that_is_not_text_hides_nothing(tmp_path: Path, name: bytes) -> None:
    """A process whose name is no valid UTF-8 is found.

    Linux cuts names after 15 bytes, and gawk's patterns match only valid UTF-8.
    """
    _fill(
        tmp_path,
        {
            40: _format_stat(40, 1, 40, 40, name),
            41: _format_stat(41, 40, 41, 40, name),
            50: _format_stat(50, 1, 50, 50, name),
        },
    )
    known, left = _list_kin(tmp_path, "40:1040", "C.UTF-8")
    assert sorted(known) == ["40:1040", "41:1041"]
    assert sorted(left) == ["-40", "-41"]


@pytest.mark.parametrize("shell", SHELLS)
def test_kill_reaches_only_its_targets(shell: tuple[str, ...]) -> None:
    """The function `send` signals only valid targets, and says whether one was reached.

    The kill of busybox counts -- as a missing target.
    """
    other = subprocess.Popen(["sleep", "297"], start_new_session=True)
    leader = subprocess.Popen(["sleep", "297"], start_new_session=True)
    over = subprocess.Popen(["true"], start_new_session=True)
    over.wait()
    for left, reached in (
        ("0 1 -1 -0 - -01 x '' --5", "no"),
        (f"{over.pid} -{over.pid}", "no"),
        (f"-{over.pid} -{leader.pid}", "yes"),
    ):
        script = f"{ENDING}\nsend CONT {left} && echo yes || echo no"
        assert _get_output(shell, script) == reached
    assert _get_output(shell, f"{ENDING}\nsend TERM -{leader.pid} && echo yes") == "yes"
    assert leader.wait() == -signal.SIGTERM
    assert _get_output(shell, f"{ENDING}\nsend TERM $$ -$$ || echo no") == "no"
    assert other.poll() is None
    other.kill()
    other.wait()


def _get_output(shell: tuple[str, ...], script: str) -> str:
    return subprocess.run([*shell, "-c", script], capture_output=True, text=True, check=False).stdout.strip()


def test_a_kill_that_cannot_run_is_an_error(tmp_path: Path) -> None:
    """A kill is an error if no process could be started that ends the copies."""
    place, scheduler = Place(tmp_path), DirectScheduler(slots=1, grace_s=0)
    ids = place.start(scheduler, "exec sleep 297", make_batch(1))
    wait_until(lambda: place.words(scheduler, ids) == ["running"])
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "uname", "readlink", "grep", "awk", "sleep"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    without = scheduler.kill_script().replace("answer=$(", f"answer=$(PATH={tmp_path}/bin; ")
    with pytest.raises(SchedulerError, match="no process could be started"):
        scheduler.parse_kill(ids, place.run(without, ids))
    assert place.words(scheduler, ids) == ["running"]
    place.run(scheduler.kill_script(), ids)
    wait_until(lambda: place.words(scheduler, ids) == [None])


def test_more_copies_than_an_argument_holds_are_killed(tmp_path: Path) -> None:
    """A kill of a thousand copies runs processes whose arguments are within Linux's limit."""
    place, scheduler = Place(tmp_path), DirectScheduler(slots=1)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    host, space = os.uname().nodename, Path("/proc/self/ns/pid").readlink()
    (place.here / "direct").mkdir()
    (place.here / "direct" / "host").write_text(f"{host} {boot} 2 1 1000 {space}\n")
    for index in range(1000):
        (place.here / "direct" / str(index)).write_text("4194304 1 0\n")  # no process has a number as high
    ids = [f"{SUBMISSION_ID}.{index}" for index in range(1000)]
    counting = scheduler.kill_script().replace("answer=$(", "printf '%s\\n' \"${#batch}\" >&2; answer=$(")
    result = place.run(counting.replace("wait_for_end\n    for", "for"), ids)
    assert len(scheduler.parse_kill(ids, result)) == len(ids)
    assert max(map(int, result.stderr.split())) < 10000
