"""Whom an ending signals: only what is a copy's, whatever /proc tells and whatever kill there is."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.schedulers.test_direct import SUBMISSION_ID, Place, batch, until
from tests.tools import each_tool

from intercede.contract.errors import SchedulerError
from intercede.schedulers.direct import DirectScheduler

ENDING = (Path(__file__).parents[2] / "src/intercede/schedulers/direct.ending.sh").read_text()
SHELLS = each_tool("dash", "bash", "busybox sh", "zsh --emulate sh", "yash", "posh", "mksh")


def _stat(pid: int, parent: int, group: int, session: int, name: bytes = b"sleep") -> bytes:
    rest = b" ".join([b"0"] * 13)
    return b"%d (%b) S %d %d %d %b 1 0 %d 0\n" % (pid, name, parent, group, session, rest, 1000 + pid)


def _survey(proc: Path, known: str, locale: str = "C") -> tuple[list[str], list[str]]:
    """Return what is known, and what a signal would reach, with that directory in the place of /proc."""
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
def test_what_no_copy_can_be_is_never_known(tmp_path: Path, known: str) -> None:
    """A note that is broken ends nothing: 0 and 1 are everybody's parents, groups and sessions in a container."""
    _fill(tmp_path, {1: _stat(1, 0, 1, 1), 2: _stat(2, 0, 0, 0), 30: _stat(30, 1, 1, 1), 31: _stat(31, 1, 0, 0)})
    assert _survey(tmp_path, known) == ([], [])


def test_what_came_in_from_outside_is_ended_alone(tmp_path: Path) -> None:
    """Its group's leader is outside of the pid namespace, so that its group is told as 0, as is that of others."""
    _fill(tmp_path, {1: _stat(1, 0, 1, 1), 30: _stat(30, 0, 0, 0), 31: _stat(31, 0, 0, 0)})
    assert _survey(tmp_path, "30:1030") == (["30:1030"], ["30"])


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_only_kin_is_reached(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Of any table of processes: nothing that is 0, 1 or -1, and no group without a process that is the copy's."""
    proc = tmp_path_factory.mktemp("proc")
    pids = data.draw(st.lists(st.integers(1, 12), min_size=1, unique=True))
    number = st.integers(0, 12)
    _fill(
        proc,
        {pid: _stat(pid, data.draw(number), data.draw(number), data.draw(number)) for pid in pids},
        frozenset(data.draw(st.lists(st.sampled_from(pids), unique=True))),
    )
    known = data.draw(st.lists(st.builds("{}:{}".format, number, st.integers(1000, 1012))))
    _, left = _survey(proc, " ".join(known))
    assert {"0", "1", "-0", "-1", "-"}.isdisjoint(left)
    assert all(each.lstrip("-").isdigit() for each in left)


@pytest.mark.parametrize("name", [b"pr\xc3", b"a b\xff) S 1 1", b"\xc3 x"])
def test_a_name_that_is_no_text_hides_nothing(tmp_path: Path, name: bytes) -> None:
    """Linux cuts names behind 15 bytes, within a character too; gawk's patterns do not match such a one in UTF-8."""
    _fill(tmp_path, {40: _stat(40, 1, 40, 40, name), 41: _stat(41, 40, 41, 40, name), 50: _stat(50, 1, 50, 50, name)})
    known, left = _survey(tmp_path, "40:1040", "C.UTF-8")
    assert sorted(known) == ["40:1040", "41:1041"]
    assert sorted(left) == ["-40", "-41"]


@pytest.mark.parametrize("shell", SHELLS)
def test_no_kill_reaches_more_than_it_is_told(shell: tuple[str, ...]) -> None:
    """A process, its group, or nothing, and whether anything was reached: busybox' kill counts -- as one that is not there."""
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
        assert _output(shell, script) == reached
    assert _output(shell, f"{ENDING}\nsend TERM -{leader.pid} && echo yes") == "yes"
    assert leader.wait() == -signal.SIGTERM
    assert _output(shell, f"{ENDING}\nsend TERM $$ -$$ || echo no") == "no"
    assert other.poll() is None
    other.kill()
    other.wait()


def _output(shell: tuple[str, ...], script: str) -> str:
    return subprocess.run([*shell, "-c", script], capture_output=True, text=True, check=False).stdout.strip()


def test_no_kill_is_told_where_no_process_could_be_started_that_ends_them(tmp_path: Path) -> None:
    """A kill that ended nothing is an error, not ok."""
    place, scheduler = Place(tmp_path), DirectScheduler(slots=1, grace_s=0)
    ids = place.start(scheduler, "exec sleep 297", batch(1))
    until(lambda: place.words(scheduler, ids) == ["running"])
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "uname", "readlink", "grep", "awk", "sleep"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    without = scheduler.kill_script().replace("answer=$(", f"answer=$(PATH={tmp_path}/bin; ")
    with pytest.raises(SchedulerError, match="no process could be started"):
        scheduler.parse_kill(ids, place.run(without, ids))
    assert place.words(scheduler, ids) == ["running"]
    place.run(scheduler.kill_script(), ids)
    until(lambda: place.words(scheduler, ids) == [None])


def test_more_copies_than_an_argument_holds_are_killed(tmp_path: Path) -> None:
    """Some hundreds a process: none of their lists is longer than Linux lets an argument be."""
    place, scheduler = Place(tmp_path), DirectScheduler(slots=1)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    host, space = os.uname().nodename, Path("/proc/self/ns/pid").readlink()
    (place.here / "direct").mkdir()
    (place.here / "direct" / "host").write_text(f"{host} {boot} 2 1 1000 {space}\n")
    for index in range(1000):
        (place.here / "direct" / str(index)).write_text("4194304 1 0\n")  # one that is over: no number is as high
    ids = [f"{SUBMISSION_ID}.{index}" for index in range(1000)]
    counting = scheduler.kill_script().replace("answer=$(", "printf '%s\\n' \"${#batch}\" >&2; answer=$(")
    result = place.run(counting.replace("wait_for_end\n    for", "for"), ids)
    assert len(scheduler.parse_kill(ids, result)) == len(ids)
    assert max(map(int, result.stderr.split())) < 10000
